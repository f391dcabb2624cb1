"""Hardest mining straight from embeddings: one pass over the scores, a sparse gradient, O(ND) memory.

The scores of embeddings are their dot products. They are made tile by tile and only looked at: of every row and every
column the largest negative is kept. A row's largest is looked for in blocks, whose maxima are quick on a CPU, and then
in the one block that holds it. Every anchor has weights on two pairs only, so the gradients of N embeddings are sums
over few others, in one order whatever repeats. Among equal scores the first candidate wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from goal_analysis.numeric.formula import formula
from goal_analysis.recombination.positives import Positives, tile_size, tiles
from goal_analysis.recombination.products import dtype_of_products, product
from goal_analysis.recombination.sparse import SparseWeights
from goal_analysis.recombination.weighting import Weighting
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.objective import Anchors

BLOCK = 64
"""Candidates whose maximum is taken first."""


@dataclass(frozen=True, eq=False)
class Extremes:
    """What mining finds.

    Args:
        of_pairs: shape ``(pairs,)``; the scores of the positive pairs.
        row_value: shape ``(images,)``; the largest negative score of every image, −∞ without negatives.
        row_at: shape ``(images,)``; its text.
        column_value: shape ``(texts,)``; the largest negative score of every text.
        column_at: shape ``(texts,)``; its image.
    """

    of_pairs: Tensor
    row_value: Tensor
    row_at: Tensor
    column_value: Tensor
    column_at: Tensor


def hardest_weights(
    weighting: Weighting, x: Tensor, y: Tensor, positives: Positives, size: tuple[int, int] | None = None
) -> tuple[SparseWeights, Tensor, Tensor]:
    """W of hardest triplets, as entries.

    Args:
        weighting: T, P⁺ and P⁻ without relative similarities; which axes are anchors.
        x: shape ``(images, dim)``; see `factors`.
        y: shape ``(texts, dim)``.
        positives: which pairs match; all others are negatives.
        size: rows and columns of a tile; by default that of `tile_size`.

    Returns:
        The entries, ⟨W, S⟩, and how many anchors had a triplet.
    """
    found = extremes(x, y, positives, size)
    images, texts = torch.arange(len(x), device=x.device), torch.arange(len(y), device=x.device)
    sides = []
    if weighting.anchors is not Anchors.COLUMNS:
        pair, value = _hardest_pair(found.of_pairs, positives.by_row, positives.diagonal)
        sides.append((value, found.row_value, images, found.row_at, pair))
    if weighting.anchors is not Anchors.ROWS:
        pair, value = _hardest_pair(found.of_pairs, positives.by_column, positives.diagonal)
        sides.append((value, found.column_value, found.column_at, texts, pair))
    of_p, of_n, row, column, pair = (torch.cat(parts) for parts in zip(*sides, strict=True))
    absent = None if positives.diagonal and len(x) > 1 else (of_p == torch.inf) | (of_n == -torch.inf)
    if absent is not None:
        of_p, of_n = of_p.masked_fill(absent, 0), of_n.masked_fill(absent, 0)
    t = formula(weighting.triplet_weight.expression, (s_p, s_n), weighting.values)(of_p, of_n)
    pull = t * formula(weighting.pair_weights.positive, (s_p,), weighting.values)(of_p)
    push = t * formula(weighting.pair_weights.negative, (s_n,), weighting.values)(of_n)
    if absent is not None:
        pull, push = pull.masked_fill(absent, 0), push.masked_fill(absent, 0)
    anchors = of_p.new_full((), len(of_p)) if absent is None else (~absent).sum()
    value = (push * of_n).sum() - (pull * of_p).sum()
    if positives.diagonal:
        pair, pull = images, pull.view(len(sides), -1).sum(0)
    elif len(positives):
        pair = pair.clamp_max(len(positives) - 1)
    else:
        pair, pull = pair[:0], pull[:0]
    entries = SparseWeights(
        torch.cat([positives.row[pair], row]), torch.cat([positives.column[pair], column]), torch.cat([-pull, push])
    )
    return entries, value, anchors


def extremes(x: Tensor, y: Tensor, positives: Positives, size: tuple[int, int] | None = None) -> Extremes:
    """The positives' scores, and the largest negative of every row and every column of X·Yᵀ.

    Args:
        x: shape ``(images, dim)``.
        y: shape ``(texts, dim)``.
        positives: which pairs match.
        size: rows and columns of a tile.
    """
    images, texts = len(x), len(y)
    size = size or tile_size(x, y)
    room = x.new_empty(min(size[0], images) * min(size[1], texts) + 1, dtype=dtype_of_products(x))
    of_pairs = room.new_zeros(len(positives))
    single = size[0] >= images and size[1] >= texts
    of_rows, of_columns = (
        (room.new_full((n,), -torch.inf), torch.zeros(n, dtype=torch.long, device=x.device)) for n in (images, texts)
    )
    for tile in tiles(positives, images, texts, size):
        height, width = tile.shape
        flat = room[: height * width + 1]
        s = flat[:-1].view(height, width)
        product(x[tile.top : tile.bottom], y[tile.left : tile.right].T, out=s)
        pairs, place = tile.within(positives)
        of_pairs[pairs] = tile.read(positives, flat, place, of_pairs[pairs])
        flat[place] = -torch.inf
        if single:
            of_rows, of_columns = _largest_of_rows(s), _largest_of_columns(s)
        else:
            _keep_larger(of_rows, _largest_of_rows(s), tile.top, tile.left)
            _keep_larger(of_columns, _largest_of_columns(s), tile.left, tile.top)
    return Extremes(of_pairs, *of_rows, *of_columns)


def _hardest_pair(of_pairs: Tensor, members: Tensor, diagonal: bool) -> tuple[Tensor, Tensor]:
    """The least similar positive pair of every anchor, and its score; +∞ without one."""
    if diagonal:
        return members[:, 0], of_pairs
    values = torch.cat([of_pairs, of_pairs.new_tensor([torch.inf])])[members]
    if values.shape[1] == 1:
        return members[:, 0], values[:, 0]
    least = values.argmin(1, keepdim=True)
    return members.gather(1, least)[:, 0], values.gather(1, least)[:, 0]


def _keep_larger(best: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], start: int, offset: int) -> None:
    """Update one side's maxima and where they stand from a tile; an earlier tile's equal value stays."""
    part = slice(start, start + len(new[0]))
    before = best[0][part]
    larger = (new[0] > before) | new[0].isnan()
    best[0][part] = torch.where(larger, new[0], before)
    best[1][part] = torch.where(larger, new[1] + offset, best[1][part])


def _largest_of_rows(s: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every row, and the first column where it stands."""
    width = s.shape[1]
    if width <= 2 * BLOCK or s.is_cuda:
        value, at = s.max(1)
        return value, at
    blocks = width // BLOCK
    maxima = [s[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK)).amax(2)]
    if blocks * BLOCK < width:
        maxima.append(s[:, blocks * BLOCK :].amax(1, keepdim=True))
    block = torch.cat(maxima, 1).max(1, keepdim=True).indices
    inside = (block * BLOCK + torch.arange(BLOCK, device=s.device)).clamp_max_(width - 1)
    value, at = s.gather(1, inside).max(1, keepdim=True)
    return value[:, 0], inside.gather(1, at)[:, 0]


def _largest_of_columns(s: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every column, and the first row where it stands."""
    height = s.shape[0]
    if height <= 2 * BLOCK:
        value, at = s.max(0)
        return value, at
    blocks = height // BLOCK
    maxima = [s[: blocks * BLOCK].unflatten(0, (blocks, BLOCK)).amax(1)]
    if blocks * BLOCK < height:
        maxima.append(s[blocks * BLOCK :].amax(0, keepdim=True))
    block = torch.cat(maxima).T.contiguous().max(1).indices
    inside = (block * BLOCK + torch.arange(BLOCK, device=s.device)[:, None]).clamp_max_(height - 1)
    value, at = s.gather(0, inside).T.contiguous().max(1)
    return value, inside.gather(0, at[None])[0]
