"""Pictures of training: retrieval and weights by epoch over seeds, objectives ranked, recall curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from seaborn.algorithms import bootstrap

from goal_analysis.plots.style import FAINT, INK, PULL, PUSH, line_of

LEVEL = 95
"""Of intervals, in percent."""

NAMES = {
    "rsum": "RSUM (of 600)",
    "active_share": "share of anchors with weight",
    "effective_negatives": "effective negatives",
    "push_share": "push share",
    "pull_share": "pull share",
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
        low = high = np.nan
        if len(values) > 1:
            means = bootstrap(values, n_boot=2000, seed=seed)
            low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
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


def ranking_frame(found: Mapping[str, Mapping[int, float]], seed: int = 0) -> pd.DataFrame:
    """Objectives by the mean of a number over seeds, the best first.

    Args:
        found: the number by objective and seed.
        seed: of the resampling.

    Returns:
        ``objective``, ``seeds``, ``mean``, ``low``, ``high`` (NaN of a single seed), ``values``.

    >>> ranking_frame({"a": {0: 1.0}, "b": {0: 3.0, 1: 3.0}})[["objective", "seeds", "mean", "low"]]
      objective  seeds  mean  low
    0         b      2   3.0  3.0
    1         a      1   1.0  NaN
    """
    long = pd.DataFrame(
        [(name, value) for name, s in found.items() for value in s.values()], columns=["objective", "value"]
    )
    means = over_seeds(long, ("objective",), seed)
    means["values"] = [tuple(found[name].values()) for name in means["objective"]]
    return means.sort_values("mean", ascending=False, ignore_index=True)


def draw_ranking(frame: pd.DataFrame, ax: Axes, metric: str = "dev RSUM (of 600)", baseline: str | None = None) -> Axes:
    """A line an objective: every seed faint, the mean with its interval; the baseline's mean as a vertical line.

    Args:
        frame: of `ranking_frame`.
        ax: where.
        metric: the number's name.
        baseline: an objective of the frame.
    """
    for row, (_, line) in enumerate(frame.iterrows()):
        ax.plot(line["values"], [row] * len(line["values"]), "o", color=FAINT, markersize=3, alpha=0.6)
        ax.plot([line["low"], line["high"]], [row, row], color=PULL, linewidth=2)
        ax.plot(line["mean"], row, "o", color=PULL, markersize=5)
    if baseline is not None:
        at = frame.loc[frame["objective"] == baseline, "mean"].iloc[0]
        ax.axvline(at, color=INK, linewidth=0.7, linestyle="--", zorder=0)
    ax.set_yticks(range(len(frame)), [f"{n} ({s})" for n, s in zip(frame["objective"], frame["seeds"], strict=True)])
    ax.set(ylim=(len(frame) - 0.5, -0.5), xlabel=f"{metric}: mean over seeds, {LEVEL} % bootstrap interval")
    ax.set_ylabel("objective (seeds)")
    return ax


def recall_frame(ranks: Mapping[str, ArrayLike], most: int = 100) -> pd.DataFrame:
    """Recall@K for every K up to ``most``.

    Args:
        ranks: by name, the place of what is right for every query, the first being 1.
        most: the largest K.

    Returns:
        ``name``, ``k``, ``recall`` in percent.

    >>> recall_frame({"i2t": [1, 3]}, most=3)["recall"].tolist()
    [50.0, 50.0, 100.0]
    """
    ks = np.arange(1, most + 1)
    parts = []
    for name, places in ranks.items():
        in_order = np.sort(np.asarray(places))
        recall = 100 * np.searchsorted(in_order, ks, side="right") / len(in_order)
        parts.append(pd.DataFrame({"name": name, "k": ks, "recall": recall}))
    return pd.concat(parts, ignore_index=True)


def draw_recall(frame: pd.DataFrame, ax: Axes) -> Axes:
    """Recall@K over K on a logarithmic axis.

    Args:
        frame: of `recall_frame`.
        ax: where.
    """
    for place, (name, line) in enumerate(frame.groupby("name", sort=False)):
        ax.plot(line["k"], line["recall"], label=name, drawstyle="steps-post", **line_of(place))
    top = int(frame["k"].max())
    marks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= top]
    ax.set_xscale("log")
    ax.set_xticks(marks, [str(k) for k in marks])
    ax.minorticks_off()
    ax.set(xlim=(1, max(top, 2)), ylim=(0, 100), xlabel="K (log scale)", ylabel=r"Recall@K $\in [0, 100]$ %")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
