"""Pictures of measurements: errors of verification by loss and dtype, ratios of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from goal_analysis.pictures.style import FAINT, INK, PUSH, line_of

EXACT = 1e-17
"""Where an error of zero is drawn on a logarithmic axis."""


def verification_frame(records: Iterable[Mapping[str, object]], dtypes: Sequence[str]) -> pd.DataFrame:
    """The largest relative errors of verification, one a row.

    Args:
        records: one a loss: ``loss``, ``verified``, and the largest relative error under the name of every dtype; NaN
            where verification failed or could not be computed.
        dtypes: which.

    Returns:
        ``loss``, ``dtype``, ``relative``, ``verified``.

    >>> verification_frame([{"loss": "nca", "verified": True, "float64": 2e-16}], ["float64"])
      loss    dtype      relative  verified
    0  nca  float64  2.000000e-16      True
    """
    rows = [
        (record["loss"], dtype, float(str(record[dtype])), bool(record["verified"]))
        for record in records
        for dtype in dtypes
        if dtype in record
    ]
    return pd.DataFrame(rows, columns=["loss", "dtype", "relative", "verified"])


def draw_verification(frame: pd.DataFrame, ax: Axes) -> Axes:
    """A line a loss, a mark a dtype, on a logarithmic axis; a cross at the right edge where there is no error to show.

    Args:
        frame: of `verification_frame`.
        ax: where.
    """
    losses = list(dict.fromkeys(frame["loss"]))
    ax.hlines(range(len(losses)), 0, 1, transform=ax.get_yaxis_transform(), color=FAINT, linewidth=0.3, zorder=0)
    for place, (dtype, group) in enumerate(frame.groupby("dtype", sort=False)):
        known = group[group["relative"].notna()]
        at = known["relative"].clip(lower=EXACT)
        rows = [losses.index(loss) for loss in known["loss"]]
        ax.plot(
            at,
            rows,
            linestyle="none",
            marker="osD^v"[place % 5],
            markersize=4,
            color=line_of(place)["color"],
            label=dtype,
        )
    ax.set(xscale="log", xlabel="largest relative error (log scale)", ylim=(len(losses) - 0.5, -0.5))
    failed = frame[frame["relative"].isna() | ~frame["verified"]]["loss"].unique()
    if len(failed):
        rows = [losses.index(loss) for loss in failed]
        ax.plot(
            [1.02] * len(rows),
            rows,
            "x",
            color=PUSH,
            transform=ax.get_yaxis_transform(),
            clip_on=False,
            label="not verified",
        )
    ax.xaxis.set_major_locator(LogLocator(numticks=6))
    ax.set_yticks(range(len(losses)), losses)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax


def ratios_frame(rows: Iterable[Mapping[str, object]], case: str = "case", size: str = "N") -> pd.DataFrame:
    """Ratios of a benchmark with their quartiles, one a row.

    Args:
        rows: the benchmark's table, with the quartiles as ``25 %``, ``median`` and ``75 %``; a row without numbers,
            such as of a case that did not fit into memory, is left out.
        case: the column of the contestant.
        size: the column of the size.

    Returns:
        ``case``, ``size``, ``low``, ``median``, ``high``.

    Raises:
        ValueError: a column is missing.
    """
    columns = {"case": case, "size": size, "low": "25 %", "median": "median", "high": "75 %"}
    table = pd.DataFrame(list(rows))
    if missing := [name for name in columns.values() if name not in table]:
        raise ValueError(f"ratios: got no column {missing[0]!r} but expected {', '.join(columns.values())}")
    found = pd.DataFrame({name: table[of] for name, of in columns.items()})
    numbers = ["size", "low", "median", "high"]
    found[numbers] = found[numbers].apply(pd.to_numeric, errors="coerce")
    return found.dropna(subset=numbers).reset_index(drop=True)


def draw_ratios(frame: pd.DataFrame, ax: Axes, unit: str = "one matmul") -> Axes:
    """Medians over the size, both logarithmic, with quartiles as bars; the unit itself as a line at 1.

    Args:
        frame: of `ratios_frame`.
        ax: where.
        unit: what the ratios are multiples of.
    """
    for place, (case, line) in enumerate(frame.sort_values("size").groupby("case", sort=False)):
        spread = np.abs(line[["low", "high"]].to_numpy().T - line["median"].to_numpy())
        ax.errorbar(
            line["size"], line["median"], yerr=spread, marker="o", markersize=3, label=case, capsize=2, **line_of(place)
        )
    ax.axhline(1, color=INK, linewidth=0.6, zorder=0)
    sizes = sorted(frame["size"].unique())
    ax.set(xscale="log", yscale="log", xlabel="size (log scale)", ylabel=f"multiples of {unit} (log scale)")
    ax.set_xticks(sizes, [f"{s:g}" for s in sizes])
    ax.minorticks_off()
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax
