"""What an objective does to one batch, pair by pair and anchor by anchor, and where its triplets lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from goal_analysis.numeric.gradient_statistics import effective_number
from goal_analysis.numeric.matches import Matches
from goal_analysis.pictures.scales import Scale
from goal_analysis.pictures.style import PUSH
from goal_analysis.pictures.weights import draw_surface
from goal_analysis.symbolic.language.similarity import COSINE, Similarity

TRIPLETS = 50_000
"""Of more triplets than this, so many are drawn at random."""

CELLS = 28
"""Cells of the joint histogram along each side of the square."""


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
        surface: of `goal_analysis.pictures.weights.surface_frame`.
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
        color=PUSH,
        linewidths=0.3,
        edgecolors="white",
    )
    ax.set_title(f"{len(triplets):,} triplets; area: share of them")
    return ax
