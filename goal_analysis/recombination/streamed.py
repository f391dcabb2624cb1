"""Softmax mining straight from embeddings: the scores pass by twice in tiles, and no matrix of them is kept.

The first pass adds up exp(β·s) over every anchor's negatives, which gives T; the second makes the weights of a tile in
place and adds their products with the embeddings to the gradients. Where β·|s| is small by the embeddings' lengths one
exponential serves rows and columns; otherwise each side is kept relative to its own largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from goal_analysis.numeric.formula import formula
from goal_analysis.numeric.mining import Softmax
from goal_analysis.recombination.positives import Positives, Tile, tile_size, tiles
from goal_analysis.recombination.products import add_product, dtype_of_products, product
from goal_analysis.recombination.sparse import SparseWeights
from goal_analysis.recombination.weighting import Weighting
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.objective import Anchors

STRIP = 8192
"""Rows whose parts of ⟨W, S⟩ are made at once."""

SMALL = 40.0
"""Exponents up to which sums of exponentials keep their digits in float32 as they are."""


def soft_gradients(
    weighting: Weighting,
    mining: Softmax,
    x: Tensor,
    y: Tensor,
    positives: Positives,
    size: tuple[int, int] | None = None,
    small: float = SMALL,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W·Y and Wᵀ·X of softly mined triplets.

    Args:
        weighting: T, P⁺ and P⁻ without relative similarities; which axes are anchors.
        mining: with both scales above zero.
        x: shape ``(images, dim)``; see `factors`.
        y: shape ``(texts, dim)``.
        positives: which pairs match; all others are negatives.
        size: rows and columns of a tile; by default that of `tile_size`.
        small: the largest exponent for which one exponential serves both sides.

    Returns:
        The gradients of x and y, ⟨W, S⟩, and how many anchors had a triplet.
    """
    scores = _Scores(x, y, positives, size or tile_size(x, y, kept=4))
    largest = torch.linalg.vector_norm(x, dim=1).max() * torch.linalg.vector_norm(y, dim=1).max()
    shared = bool(mining.negative_scale * largest <= small)
    of_pairs, rows, columns = _sums(scores, mining.negative_scale, shared)
    w = of_pairs.new_zeros(len(positives) + 1)
    present = []
    for side, sums, members in (
        (Anchors.ROWS, rows, positives.by_row),
        (Anchors.COLUMNS, columns, positives.by_column),
    ):
        if weighting.anchors in (side, Anchors.BOTH):
            x_p, q = _softest(of_pairs, members, mining.positive_scale)
            x_n = sums.logarithm() / mining.negative_scale
            there = x_p.isfinite() & x_n.isfinite() | x_p.isnan() | x_n.isnan()
            x_p, x_n = x_p.masked_fill(~there, 0), x_n.masked_fill(~there, 0)
            t = formula(weighting.triplet_weight.expression, (s_p, s_n), weighting.values)(x_p, x_n)
            t = t.masked_fill(~there, 0)
            sums.weigh(t)
            w[members] += t[:, None] * q
            present.append(there.sum())
    pull = w[:-1] * formula(weighting.pair_weights.positive, (s_p,), weighting.values)(of_pairs)
    to_x, to_y = _pushed(scores, weighting, mining.negative_scale, rows, columns, shared)
    if positives.diagonal:
        to_x, to_y = (g.addcmul_(pull[:, None], e, value=-1) for g, e in ((to_x, y), (to_y, x)))
    else:
        w_p = SparseWeights(positives.row, positives.column, -pull)
        of_x, of_y = (e.to(to_x.dtype) for e in (x, y))
        to_x, to_y = to_x.add_(w_p.times(of_y, len(x))), to_y.add_(w_p.transposed.times(of_x, len(y)))
    strips = zip(to_x.split(STRIP), x.split(STRIP), strict=True)
    value = torch.cat([torch.linalg.vecdot(g, e.to(g.dtype)) for g, e in strips]).sum()
    return to_x, to_y, value, torch.stack(present).sum()


@dataclass(frozen=True, eq=False)
class _Scores:
    """The scores, a tile at a time, in one place of memory; a single tile is made once."""

    x: Tensor
    y: Tensor
    positives: Positives
    size: tuple[int, int]
    kept: dict[str, Tensor] = field(default_factory=dict)

    def room(self, name: str, tile: Tile) -> Tensor:
        """Memory for a tile and one number more."""
        if name not in self.kept:
            most = min(self.size[0], len(self.x)) * min(self.size[1], len(self.y))
            self.kept[name] = self.x.new_empty(most + 1, dtype=dtype_of_products(self.x))
        return self.kept[name][: tile.shape[0] * tile.shape[1] + 1]

    def __iter__(self) -> Iterator[tuple[Tile, Tensor]]:
        made = "scores" in self.kept and self.size[0] >= len(self.x) and self.size[1] >= len(self.y)
        for tile in tiles(self.positives, len(self.x), len(self.y), self.size):
            flat = self.room("scores", tile)
            if not made:
                x, y = self.x[tile.top : tile.bottom], self.y[tile.left : tile.right]
                product(x, y.T, out=flat[:-1].view(tile.shape))
            yield tile, flat


@dataclass(eq=False)
class _Sums:
    """Σ exp(β·s) over the negatives of every anchor, as total·exp(shift); then T over it."""

    total: Tensor
    shift: Tensor
    weight: Tensor

    @classmethod
    def none(cls, like: Tensor, shared: bool) -> _Sums:
        total = like.new_zeros(len(like), dtype=dtype_of_products(like))
        shift = total.clone() if shared else torch.full_like(total, torch.finfo(total.dtype).min)
        return cls(total, shift, torch.zeros_like(total))

    def add(self, logits: Tensor, room: Tensor, part: slice, dim: int) -> None:
        """Add a tile's exponentials, −∞ where no negative is, relative to the largest so far."""
        before = self.shift[part]
        shift = torch.maximum(before, logits.amax(dim))
        torch.sub(logits, shift.unsqueeze(dim), out=room).exp_()
        self.total[part] = self.total[part] * (before - shift).exp() + room.sum(dim)
        self.shift[part] = shift

    def logarithm(self) -> Tensor:
        """The logsumexp; −∞ without negatives."""
        return self.total.log() + self.shift

    def weigh(self, t: Tensor) -> None:
        """Keep T over the sum, so that T times the softmax is this times an exponential."""
        self.weight = t / self.total.masked_fill(self.total == 0, 1)


def _sums(scores: _Scores, scale: float, shared: bool) -> tuple[Tensor, _Sums, _Sums]:
    positives = scores.positives
    rows, columns = _Sums.none(scores.x, shared), _Sums.none(scores.y, shared)
    of_pairs = rows.total.new_zeros(len(positives))
    for tile, s in scores:
        down, across = slice(tile.top, tile.bottom), slice(tile.left, tile.right)
        pairs, place = tile.within(positives)
        of_pairs[pairs] = tile.read(positives, s, place, of_pairs[pairs])
        e = scores.room("weights", tile)
        torch.mul(s[:-1], scale, out=e[:-1])
        matrix = e[:-1].view(tile.shape)
        if shared:
            e[:-1].exp_()
            e[place] = 0
            rows.total[down] += matrix.sum(1)
            columns.total[across] += matrix.sum(0)
        else:
            e[place] = -torch.inf
            other = scores.room("other", tile)[:-1].view(tile.shape)
            rows.add(matrix, other, down, 1)
            columns.add(matrix, other, across, 0)
    return of_pairs, rows, columns


def _pushed(
    scores: _Scores, weighting: Weighting, scale: float, rows: _Sums, columns: _Sums, shared: bool
) -> tuple[Tensor, Tensor]:
    """What the weights of the negatives make of the embeddings."""
    x, y = scores.x, scores.y
    to_x, to_y = (torch.zeros_like(e, dtype=dtype_of_products(e)) for e in (x, y))
    negative = weighting.pair_weights.negative.subs(weighting.values)
    p_n = formula(negative, (s_n,))
    constant = float(negative) if negative.is_number else None
    if constant is not None:
        rows.weight, columns.weight = constant * rows.weight, constant * columns.weight
    for tile, s in scores:
        down, across = slice(tile.top, tile.bottom), slice(tile.left, tile.right)
        flat = scores.room("weights", tile)
        w, other = flat[:-1].view(tile.shape), scores.room("other", tile)[:-1].view(tile.shape)
        matrix = s[:-1].view(tile.shape)
        if shared:
            torch.mul(matrix, scale, out=w).exp_()
            w.mul_(torch.add(rows.weight[down, None], columns.weight[None, across], out=other))
        else:
            torch.add(-rows.shift[down, None], matrix, alpha=scale, out=w).exp_().mul_(rows.weight[down, None])
            torch.add(-columns.shift[None, across], matrix, alpha=scale, out=other).exp_()
            w.addcmul_(other, columns.weight[None, across])
        if constant is None:
            w.mul_(p_n(matrix))
        flat[tile.within(scores.positives)[1]] = 0
        add_product(to_x[down], w, y[across])
        add_product(to_y[across], w.T, x[down])
    return to_x, to_y


def _softest(of_pairs: Tensor, members: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """−log Σ exp(−scale·s)/scale over the positive pairs of every anchor, and its gradient; +∞ and 0 without any."""
    values = torch.cat([of_pairs, of_pairs.new_tensor([torch.inf])])[members]
    empty = (members == len(of_pairs)).all(1)
    logits = (-scale * values).masked_fill(empty[:, None], 0)
    aggregate = torch.logsumexp(logits, 1) / -scale
    return aggregate.masked_fill(empty, torch.inf), torch.softmax(logits, 1)
