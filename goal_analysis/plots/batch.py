"""What an objective does to one batch: where its triplets lie, how weight is spread, who pulls and who pushes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from torch import Tensor

from goal_analysis.numeric.gradient_statistics import effective_number
from goal_analysis.numeric.matches import Matches
from goal_analysis.plots.scales import Scale
from goal_analysis.plots.style import INK, PULL, PUSH
from goal_analysis.plots.surfaces import similarity_label
from goal_analysis.plots.weights import draw_surface
from goal_analysis.symbolic.similarity import COSINE, Similarity

TRIPLETS = 50_000
"""Of more triplets than this, so many are drawn at random."""

CELLS = 28
"""Cells of the joint histogram along each side of the square."""

DECADES = 8
"""A weight this many powers of ten below the largest, or farther, is put with the smallest."""


def pairs_frame(
    scores: Float[Tensor, "anchors candidates"], weights: Float[Tensor, "anchors candidates"], matches: Matches
) -> pd.DataFrame:
    """Every pair of a batch with its weight.

    Args:
        scores: S; the rows are the anchors.
        weights: W = ∂L/∂S, or what takes its place: −w⁺ at positives, w⁻ at negatives.
        matches: which pairs are positives and which negatives; the others are left out.

    Returns:
        ``anchor``, ``candidate``, ``kind`` (``positive`` or ``negative``), ``s``, ``weight`` (w⁺ or w⁻).

    Raises:
        ValueError: shapes that do not fit.

    >>> s, w = torch.tensor([[0.9, 0.1]]), torch.tensor([[-2.0, 1.0]])
    >>> pairs_frame(s, w, Matches(torch.tensor([[True, False]]), torch.tensor([[False, True]])))
       anchor  candidate      kind    s  weight
    0       0          0  positive  0.9     2.0
    1       0          1  negative  0.1     1.0
    """
    matches.check(scores, "pairs_frame")
    parts = []
    for kind, mask, sign in (("positive", matches.positives, -1.0), ("negative", matches.negatives, 1.0)):
        anchor, candidate = (index.cpu().numpy() for index in mask.nonzero(as_tuple=True))
        s, weight = (x.detach().cpu().double()[anchor, candidate].numpy() for x in (scores, weights))
        columns = {"anchor": anchor, "candidate": candidate, "kind": kind, "s": s, "weight": sign * weight + 0.0}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def triplets_frame(pairs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Every triplet of a batch in the plane: each positive of an anchor with each of its negatives.

    Args:
        pairs: of `pairs_frame`.
        seed: of the choice, where there are more than `TRIPLETS`.

    Returns:
        ``anchor``, ``s_p``, ``s_n``.
    """
    positives, negatives = (pairs.loc[pairs["kind"] == kind, ["anchor", "s"]] for kind in ("positive", "negative"))
    triplets = positives.merge(negatives, on="anchor", suffixes=("_p", "_n"))
    if len(triplets) > TRIPLETS:
        triplets = triplets.sample(TRIPLETS, random_state=seed).sort_index()
    return triplets.reset_index(drop=True)


def anchors_frame(pairs: pd.DataFrame) -> pd.DataFrame:
    """What every anchor of a batch does.

    Args:
        pairs: of `pairs_frame`.

    Returns:
        A row an anchor: ``pull`` = Σ|w⁺|, ``push`` = Σ|w⁻|, ``push_share`` = push/(pull + push), NaN of an anchor
        without any weight, and ``effective_negatives``, the exponential of the entropy of its |w⁻|, NaN where nothing
        pushes.
    """
    sizes = pairs.assign(weight=pairs["weight"].abs())
    totals = sizes.pivot_table(index="anchor", columns="kind", values="weight", aggfunc="sum", fill_value=0.0)
    totals = totals.reindex(columns=["positive", "negative"], fill_value=0.0)
    negatives = sizes[sizes["kind"] == "negative"]
    table = negatives.pivot_table(index="anchor", columns="candidate", values="weight", fill_value=0.0)
    table = table.reindex(totals.index, fill_value=0.0)
    number = effective_number(torch.from_numpy(table.to_numpy(dtype=float, copy=True)))
    pull, push = totals["positive"].to_numpy(), totals["negative"].to_numpy()
    with np.errstate(invalid="ignore"):
        share = push / (pull + push)
    columns = {"anchor": totals.index, "pull": pull, "push": push, "push_share": share}
    return pd.DataFrame(columns | {"effective_negatives": number.numpy()})


def draw_joint(
    triplets: pd.DataFrame,
    surface: pd.DataFrame,
    ax: Axes,
    weight: str = "T",
    similarity: Similarity = COSINE,
    scale: Scale | None = None,
    colourbar: bool = True,
) -> Axes:
    """The joint histogram of (s_p, s_n), squares whose area is the share of triplets, on the surface of a weight.

    Args:
        triplets: of `triplets_frame`.
        surface: of `goal_analysis.plots.weights.surface_frame`.
        ax: where.
        weight: what the surface is of.
        similarity: what s_p and s_n measure.
        scale: of the surface's colours.
        colourbar: whether one stands beside it.
    """
    draw_surface(surface, ax, weight, similarity, scale, colourbar)
    low, high = ax.get_xlim()
    count, *edges = np.histogram2d(triplets["s_p"], triplets["s_n"], CELLS, [(low, high), (low, high)])
    x, y = ((e[:-1] + e[1:]) / 2 for e in edges)
    at_p, at_n = np.nonzero(count)
    share = count[at_p, at_n] / count.max(initial=1)
    largest = 72 * ax.get_window_extent().width / ax.get_figure(root=True).dpi / CELLS  # pyright: ignore
    ax.scatter(
        x[at_p],
        y[at_n],
        s=np.maximum(share * largest**2, 0.15),
        marker="s",
        color=INK,
        linewidths=0.3,
        edgecolors="white",
    )
    ax.set_title(f"{len(triplets):,} triplets; area: share of them")
    return ax


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
    ax.set_xlabel("effective negatives  $\\exp$ of the entropy of $|w^-|$" + (" (log scale)" if top > 20 else ""))
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
