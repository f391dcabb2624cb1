"""Objectives ranked by a number over seeds, and recall curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from goal_analysis.pictures.style import FAINT, INK, PULL, line_of
from goal_analysis.pictures.training import LEVEL, over_seeds


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
    ax.set(ylim=(len(frame) - 0.5, -0.5), xlabel=f"{metric}\nmean over seeds, {LEVEL} % bootstrap interval")
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
