"""The weights and similarities of one batch as distributions: over pairs and over anchors."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from goal_analysis.pictures.style import INK, PULL, PUSH
from goal_analysis.pictures.surfaces import similarity_label
from goal_analysis.symbolic.language.similarity import COSINE, Similarity

DECADES = 8
"""A weight this many powers of ten below the largest, or farther, is not drawn."""


def draw_weight_distribution(pairs: pd.DataFrame, ax: Axes) -> Axes:
    """How many pairs have a weight of at least so much, |w⁺| of positives beside |w⁻| of negatives, on log scales.

    Args:
        pairs: of `pairs_frame`.
        ax: where.
    """
    sizes = pairs["weight"].abs()
    floor = sizes.max() / 10**DECADES
    for kind, symbol, colour in (("positive", "w^+", PULL), ("negative", "w^-", PUSH)):
        of_kind = sizes[pairs["kind"] == kind].to_numpy()
        shown = np.sort(of_kind[of_kind > floor])
        left_out = 1 - len(shown) / len(of_kind) if len(of_kind) else 0.0
        below = f", {left_out:.0%} of them 0" if left_out and not (of_kind[of_kind <= floor] > 0).any() else ""
        below = below or (f", {left_out:.0%} below" if left_out else "")
        share = np.arange(len(shown), 0, -1) / max(len(of_kind), 1)
        ax.step(shown, share, where="pre", color=colour, label=f"$|{symbol}|$, {len(of_kind):,} pairs{below}")
    ax.set(xscale="log", yscale="log", xlabel="weight (log scale)")
    ax.set_ylabel("share of pairs with at least it (log scale)")
    _whole_decades(ax, sizes[sizes > floor])
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def _whole_decades(ax: Axes, sizes: pd.Series) -> None:
    """Let both axes span whole powers of ten, so that their marks have room."""
    if len(sizes):
        low, high = np.floor(np.log10(sizes.min())), np.ceil(np.log10(sizes.max()))
        ax.set_xlim(10.0**low, 10.0 ** max(high, low + 1))
    ax.set_ylim(10.0 ** min(np.floor(np.log10(ax.get_ylim()[0])), -1), 1.3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())


def draw_shares(anchors: pd.DataFrame, ax: Axes) -> Axes:
    """The anchors by the share of their weight that pushes; at ½ an anchor pulls as much as it pushes.

    Args:
        anchors: of `anchors_frame`.
        ax: where.
    """
    found = anchors["push_share"].dropna()
    ax.hist(found, bins=np.linspace(0, 1, 41).tolist(), color=PUSH)
    still = anchors["push_share"].isna().sum()
    total = anchors["push"].sum() / max((anchors["push"] + anchors["pull"]).sum(), np.finfo(float).tiny)
    ax.axvline(total, color=INK, linewidth=0.8, linestyle="--", label=f"of the whole batch: {total:.2f}")
    ax.set(xlim=(0, 1), xlabel=r"push share  $\sum|w^-| / \sum(|w^+| + |w^-|) \in [0, 1]$", ylabel="anchors")
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), title=f"{still} of {len(anchors)} without weight" if still else None
    )
    return ax


def draw_effective_negatives(anchors: pd.DataFrame, ax: Axes) -> Axes:
    """The anchors by how many negatives share the weight that pushes.

    Args:
        anchors: of `anchors_frame`.
        ax: where.
    """
    found = anchors["effective_negatives"].dropna()
    top = max(float(found.max()) if len(found) else 1.0, 1.01)
    ax.hist(found, bins=np.geomspace(0.98, 1.02 * top, 31).tolist(), color=PUSH)
    mean = found.mean()
    ax.axvline(mean, color=INK, linewidth=0.8, linestyle="--", label=f"mean {mean:.1f}")
    ax.set(xscale="log" if top > 20 else "linear", ylabel="anchors")
    ax.set_xlabel("effective negatives\n$\\exp$ of the entropy of $|w^-|$" + (" (log scale)" if top > 20 else ""))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def draw_similarities(pairs: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """The distribution of s_p and that of s_n.

    Args:
        pairs: of `pairs_frame`.
        ax: where.
        similarity: what s measures.
    """
    bins = np.linspace(float(similarity.opposite), float(similarity.identical), 81).tolist()
    for kind, symbol, colour in (("positive", "s_p", PULL), ("negative", "s_n", PUSH)):
        s = pairs.loc[pairs["kind"] == kind, "s"]
        ax.hist(s, bins=bins, density=True, histtype="stepfilled", color=colour, alpha=0.5, label=f"${symbol}$")
    ax.set(xlim=(bins[0], bins[-1]), xlabel=similarity_label("s", similarity), ylabel="density")
    ax.legend(loc="upper left")
    return ax
