"""Pictures of training: retrieval and weights by epoch or step, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from goal_analysis.numeric.bootstrap import mean_interval
from goal_analysis.pictures.style import PULL, PUSH, line_of

LEVEL = 95
"""Of intervals, in percent."""

RESAMPLES = 2000
"""Of the bootstrap."""

NAMES = {
    "rsum": "RSUM (of 600)",
    "active_share": r"active anchors, share $\in [0, 1]$",
    "effective_negatives": "effective negatives",
    "push_share": r"push share $\in [0, 1]$",
    "pull_share": r"pull share $\in [0, 1]$",
    **{
        f"{way}_r{k}": f"R@{k} {words} (%)"
        for way, words in (("i2t", "image → text"), ("t2i", "text → image"))
        for k in (1, 5, 10)
    },
}
"""How an axis calls a column of the log; others are called as they are."""


@dataclass(frozen=True)
class Records:
    """The log of one run.

    Args:
        objective: what trained.
        seed: of the run.
        records: the log, each with its ``kind`` (``epoch``, ``probe`` or another) and ``step``.
    """

    objective: str
    seed: int
    records: Sequence[Mapping[str, Any]]


def log_frame(runs: Sequence[Records], kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The numbers of several runs' logs, one a row.

    Args:
        runs: the logs.
        kind: of the records: ``epoch`` has retrieval on dev, ``probe`` the weights on a batch.
        columns: which; by default all numbers.

    Returns:
        ``objective``, ``seed``, ``step``, ``epoch`` (NaN in a probe), ``quantity``, ``value``.

    Raises:
        ValueError: a column that no record has.

    >>> run = Records("nca / constant", 0, [{"kind": "epoch", "step": 9, "epoch": 1, "rsum": 250.0}])
    >>> log_frame([run], "epoch")
            objective  seed  step  epoch quantity  value
    0  nca / constant     0     9    1.0     rsum  250.0
    """
    rows = []
    for run in runs:
        for record in (r for r in run.records if r["kind"] == kind):
            numbers = {k: v for k, v in record.items() if k not in ("kind", "step", "epoch") and _is_number(v)}
            head = {"objective": run.objective, "seed": run.seed, "step": record["step"]}
            head["epoch"] = float(record.get("epoch", np.nan))
            rows += [head | {"quantity": name, "value": float(value)} for name, value in numbers.items()]
    names = ["objective", "seed", "step", "epoch", "quantity", "value"]
    frame = pd.DataFrame(rows, columns=names)
    for column in columns or ():
        if column not in set(frame["quantity"]):
            known = ", ".join(sorted(set(frame["quantity"]))) or "none: there is no such record"
            raise ValueError(f"log: got the column {column!r} of {kind} records but expected one of {known}")
    return frame if columns is None else frame[frame["quantity"].isin(columns)].reset_index(drop=True)


def over_seeds(frame: pd.DataFrame, by: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """The mean over seeds with its interval, the percentile bootstrap's of 95 %; NaN of a single seed.

    Args:
        frame: with ``value`` and the columns of ``by``; what else there is, is averaged over.
        by: what tells the means apart.
        seed: of the resampling.

    Returns:
        The columns of ``by``, ``seeds``, ``mean``, ``low``, ``high``.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        values = group["value"].dropna().to_numpy(dtype=float)
        low, high = mean_interval(values, RESAMPLES, LEVEL / 100, seed)
        mean = values.mean() if len(values) else np.nan
        rows.append((*key, len(values), mean, low, high))
    return pd.DataFrame(rows, columns=[*by, "seeds", "mean", "low", "high"])


def draw_curves(frame: pd.DataFrame, ax: Axes, quantity: str, along: str = "epoch") -> Axes:
    """A quantity by epoch or step, a line an objective, its mean over seeds with the interval as a band.

    Args:
        frame: of `log_frame`.
        ax: where.
        quantity: which.
        along: ``epoch`` or ``step``.
    """
    means = over_seeds(frame[frame["quantity"] == quantity], ("objective", along))
    for place, (name, line) in enumerate(means.groupby("objective", sort=False)):
        seeds = int(line["seeds"].max())
        looks = line_of(place)
        mark = "o" if len(line) == 1 else None
        ax.plot(line[along], line["mean"], label=f"{name} ({seeds} seed{'s' * (seeds > 1)})", marker=mark, **looks)
        if line["low"].notna().any():
            ax.fill_between(line[along], line["low"], line["high"], color=looks["color"], alpha=0.2, linewidth=0)
    ax.set(xlabel=along, ylabel=NAMES.get(quantity, quantity))
    if quantity.endswith("_share"):  # what rounding makes of a share that never changes is no news
        ax.set_ylim(-0.02, 1.02)
    if means[along].nunique() == 1:
        ax.set_xlim(means[along].iloc[0] - 1, means[along].iloc[0] + 1)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    return ax


def draw_quantiles(frame: pd.DataFrame, ax: Axes, quantity: str) -> Axes:
    """The median of s or of |w| over training, of positives and of negatives, with the middle eight tenths as a band.

    Args:
        frame: of `log_frame` of the probes of one objective; of several seeds, the mean of each quantile is shown.
        ax: where.
        quantity: ``s`` or ``w``.
    """
    means = frame.groupby(["quantity", "step"])["value"].mean()
    bare = {"s": "s", "w": "w"}[quantity]
    for side, colour, symbol in (("p", PULL, "p" if bare == "s" else "+"), ("n", PUSH, "n" if bare == "s" else "-")):
        low, middle, high = (means[f"{bare}_{side}_q{level}"] for level in (10, 50, 90))
        label = f"$s_{symbol}$" if bare == "s" else f"$|w^{symbol}|$"
        ax.plot(middle.index, middle, color=colour, label=label, marker="o" if len(middle) == 1 else None)
        ax.fill_between(middle.index, low, high, color=colour, alpha=0.2, linewidth=0)
    what = "similarity" if bare == "s" else "weight"
    ax.set(xlabel="step", ylabel=f"{what}: median, 10 % to 90 %")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
