"""The tiled way: from embeddings to W·Y and Wᵀ·X without a matrix of scores.

The scores pass by in tiles. A first look adds up every anchor's aggregate of the negatives, which gives T; a second
makes the weights of a tile in place and multiplies them with the embeddings. Where rows alone are anchors a tile is a
strip of whole rows, so both looks are at the same scores. Where every aggregate of negatives is a maximum there is no
second look: every anchor has weights on few pairs, and the gradients are sums over few others.

Several ranks share one batch: each looks at the scores of its own rows, all exchange what they found of every anchor,
O(N) numbers, and each makes the gradients of its own rows and columns.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import Axis, Look, kind_of
from goal_analysis.numeric.engine.pairs import PART, TILE, WHOLE, Block, Pairs, Rank, Tile, tile_size, tiles
from goal_analysis.numeric.engine.positives import (
    add_pull,
    anchors,
    divisor,
    finish_each,
    handed_over,
    of_positives,
    present,
    present_in,
    settle,
    turned,
    where,
)
from goal_analysis.numeric.engine.products import add_product, dtype_of_products, product
from goal_analysis.numeric.engine.small import SMALL
from goal_analysis.numeric.engine.sparse import SparseWeights, largest_of_columns, largest_of_rows

STRIP = (512, 2**22)
"""Rows of a strip of whole rows, and scores in it, at most."""


def tileable(functions: Functions) -> bool:
    """Whether there is a tiled way for an objective of these functions."""
    kinds = [kind_of(term) for term in functions.terms]
    looked = [kind for kind in kinds if kind != "none"]
    return None not in kinds and (len(set(looked)) <= 1 or "max" not in looked)


def tiled(
    functions: Functions,
    geometry: Geometry,
    pairs: Pairs,
    size: tuple[int, int] | None = None,
    small: float = SMALL,
    rank: Rank | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the embeddings, and ⟨W, S⟩.

    Args:
        functions: of which `tileable` is true.
        geometry: the embeddings; of float32 at least, or of bfloat16 on a GPU.
        pairs: which match; all others are negatives.
        size: rows and columns of a tile, for tests; by default what suits the device.
        small: the largest exponent for which one exponential serves both axes.
        rank: what this rank does of a batch that several have; the gradients of other embeddings mean nothing then.

    Returns:
        ∂/∂X, shape ``(rows, dim)``; ∂/∂Y, shape ``(columns, dim)``; ⟨W, S⟩.
    """
    if functions.columns and not functions.rows:
        rows = replace(functions, rows=True, columns=False)
        other = rank and rank.transposed
        to_y, to_x, value = tiled(rows, geometry.transposed, pairs.transposed, size and size[::-1], small, other)
        return to_x, to_y, value
    to_x, to_y = (torch.empty_like(e, dtype=dtype_of_products(e)) for e in (geometry.x, geometry.y))
    made = _Made(to_x, to_y, *(to.new_zeros(len(to)) for to in (to_x, to_y)))
    shares = [divisor(functions, term, pairs) for term in functions.terms]
    unit = any(kind_of(term) == "exponential" for term in functions.terms) and geometry.unit
    rows, columns = pairs.shape
    height = size[0] if size else rows if made.to_x.is_cuda else max(1, min(STRIP[0], STRIP[1] // max(columns, 1)))
    pools = {term.negatives.pool for term in functions.terms if term.negatives is not None}
    both = functions.columns or "both ends" in pools
    if both or rank is not None:
        tile = (height, columns) if rank is not None and not made.to_x.is_cuda else tile_size(geometry.x, geometry.y, 2)
        size = (size or tile) if both else (height, columns)
        value = _gradients(functions, geometry, unit, pairs, shares, size, small, {}, made, True, rank)
        return *made.gradients(geometry), value
    value = made.to_x.new_zeros(())
    room: dict[str, Tensor] = {}
    for top in range(0, rows, height):
        bottom = min(rows, top + height)
        given = (geometry.strip(top, bottom), unit, pairs.strip(top, bottom), shares, (height, columns), small, room)
        value = value + _gradients(functions, *given, made.strip(top, bottom), not top)
    return *made.gradients(geometry), value


@dataclass(eq=False)
class _Made:
    """The products of W′ with the embeddings of the other side, and where distances are measured its sums."""

    to_x: Tensor
    to_y: Tensor
    of_x: Tensor
    of_y: Tensor

    def strip(self, top: int, bottom: int) -> _Made:
        """The same of a run of rows."""
        return _Made(self.to_x[top:bottom], self.to_y, self.of_x[top:bottom], self.of_y)

    def gradients(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """The gradients of both sides."""
        if geometry.similarity in DISTANCES:
            for to, of, e in ((self.to_x, self.of_x, geometry.x), (self.to_y, self.of_y, geometry.y)):
                to.addcmul_(of[:, None], e.to(to.dtype), value=-1)
        return self.to_x, self.to_y


def _gradients(
    functions: Functions,
    geometry: Geometry,
    unit: bool,
    pairs: Pairs,
    shares: list[Tensor | float],
    size: tuple[int, int],
    small: float,
    room: dict[str, Tensor],
    made: _Made,
    first: bool,
    rank: Rank | None = None,
) -> Tensor:
    """Put what W of these rows makes of the embeddings, added to what earlier rows did to Y; ⟨W, S⟩."""
    to_x, to_y = made.to_x, made.to_y
    x, y = geometry.x, geometry.y
    rows, columns = (slice(0, n) for n in pairs.shape)
    down = rows if rank is None else rank.rows
    scores = _Scores(geometry, pairs, size, room, part=rank and (down, columns))
    looks = [_look(functions, term, pairs, unit, to_x, small) for term in functions.terms]
    pushing = [look for look in looks if look.kind != "none"]
    distances = geometry.similarity in DISTANCES
    # One term whose weights need the scores no more leaves its exponentials in their place.
    consumed = scores.whole and len(pushing) == 1 and pushing[0].forgets and not distances
    kept = [look.keeps and (consumed or scores.roomy) for look in pushing]
    names = ["scores" if consumed else f"weights {i * keep}" for i, keep in enumerate(kept)]
    positives = scores.of_pairs()
    for tile, s in scores:
        for look, name in zip(pushing, names, strict=True):
            if look.kind in ("exponential", "linear"):
                look.first(tile, s, scores.room(name, tile))
    for look in pushing if rank is not None else ():
        look.exchange(rank)
    pulls: list[Tensor | None] = [None] * len(positives)
    for look, share in zip(looks, shares, strict=True):
        settle(look, functions, positives, pulls, share)
    value = to_x.new_zeros(())
    by_scores = distances or (scores.single and not consumed and len(y) <= y.shape[1])
    late = [look for look in looks if look.kind == "each" and look.term.positives is not None]
    passes = [(scores, True, rank is None)]
    if rank is not None:
        passes.append((_Scores(geometry, pairs, size, {}, part=(rows, rank.columns)), False, True))
    for part, of_x, of_y in passes:
        for tile, s in part:
            w = None
            for look, name, keep in zip(pushing, names, kept, strict=True):
                matrix = part.room(name if w is None or keep else "more", tile)
                look.second(tile, s, matrix, keep and of_x, pulls=of_x)
                w = matrix if w is None else w.add_(matrix)
            w = part.room("weights 0", tile).zero_() if w is None else w
            if scores.single:
                for look in late:
                    finish_each(look, functions, positives, pulls)
                for (block, _), pull in zip(positives, pulls, strict=True):
                    if pull is not None:
                        block.subtract(w, pull)
            if by_scores and of_x:
                value += torch.dot(w.view(-1), s.view(-1))
            if distances:
                geometry.by_products(w, s)
            if of_x:
                add_product(to_x[tile.down], w, y[tile.across], fresh=not tile.left)
            if of_y:
                add_product(to_y[tile.across], w.T, x[tile.down], fresh=first and not tile.top)
            if distances and of_x:
                made.of_x[tile.down] += w.sum(1)
            if distances and of_y:
                made.of_y[tile.across] += w.sum(0)
    if rank is not None:
        value = rank.gathered(value).sum(0)
        for axis in (axis for look in late for axis in look.axes if axis is not None):
            axis.pulled = rank.gathered(axis.pulled).sum(0)
    if not scores.single:
        for look in late:
            finish_each(look, functions, positives, pulls)
        for (block, s), pull in zip(positives, pulls, strict=True):
            if pull is None:
                continue
            if distances:
                value -= (pull * s).sum()
                geometry.by_products(pull, s)
            sides = ((block, pull, to_x, made.of_x, y), (block.transposed, pull.mT, to_y, made.of_y, x))
            for axis, (of, w, to, sums, other) in enumerate(sides):
                of, w = (of, w) if rank is None else of.within((rank.columns if axis else rank.rows), w)
                of.subtract_product(to, w, other)
                if distances:
                    of.add_to_anchors(sums, -w)
    if by_scores:
        return value
    strips = zip(to_x[down].split(STRIP[0]), x[down].split(STRIP[0]), strict=True)
    value = torch.cat([torch.linalg.vecdot(g, e.to(g.dtype)) for g, e in strips]).sum()
    return value if rank is None else rank.gathered(value).sum(0)


@dataclass(eq=False)
class _Scores:
    """The scores, a tile at a time; they are made once where all of them are kept."""

    geometry: Geometry
    pairs: Pairs
    size: tuple[int, int]
    kept: dict[str, Tensor]
    keep: bool = True
    made: bool = False
    part: tuple[slice, slice] | None = None

    @property
    def single(self) -> bool:
        """Whether one tile has all scores."""
        return self.part is None and self.size[0] >= self.pairs.shape[0] and self.size[1] >= self.pairs.shape[1]

    @property
    def whole(self) -> bool:
        """Whether all scores are kept."""
        if self.single or not self.keep or self.size[1] < self.pairs.shape[1]:
            return self.single
        if self.part is not None:
            embeddings = self.geometry.x.numel() + self.geometry.y.numel()
            return (self.part[0].stop - self.part[0].start) * self.pairs.shape[1] <= max(PART, embeddings)
        return max(self.pairs.shape) <= WHOLE

    @property
    def roomy(self) -> bool:
        """Whether there is room for another number a score."""
        rows, columns = self.pairs.shape
        return self.single and rows * columns <= max(PART, self.geometry.y.numel())

    def room(self, name: str, tile: Tile) -> Tensor:
        """Memory for a number a score of a tile; scores that are kept have memory each."""
        (rows, columns), start = self.pairs.shape, 0
        most = min(self.size[0], rows) * min(self.size[1], columns)
        if name == "scores" and self.whole:
            down = slice(0, rows) if self.part is None else self.part[0]
            most, start = (down.stop - down.start) * columns, (tile.top - down.start) * columns
        if name not in self.kept:
            self.kept[name] = self.geometry.x.new_empty(most, dtype=dtype_of_products(self.geometry.x))
        height, width = tile.shape
        return self.kept[name][start : start + height * width].view(height, width)

    def __iter__(self) -> Iterator[tuple[Tile, Tensor]]:
        for tile in tiles(self.pairs, self.size, self.part):
            s = self.room("scores", tile)
            if not (self.whole and self.made):
                product(self.geometry.x[tile.down], self.geometry.y[tile.across].T, out=s)
                self.geometry.score(s, tile.down, tile.across)
            yield tile, s
        self.made = True

    def of_pairs(self) -> list[tuple[Block, Tensor]]:
        """Blocks of the pairs that match, with their scores."""
        if not self.single:
            return [(block, self.geometry.of_pairs(block)) for block in self.pairs.blocks]
        ((_, s),) = self
        return [(block, block.read(s)) for block in self.pairs.blocks]


def _look(functions: Functions, term: Term, pairs: Pairs, unit: bool, like: Tensor, small: float) -> Look:
    kind, side = kind_of(term) or "none", term.negatives
    shared = side is not None and kind == "exponential" and unit
    shared = shared and abs(side.aggregator.scale) * side.hints.bound * 1.05 <= small
    ends = side is not None and side.pool == "both ends"
    lowest = torch.finfo(like.dtype).min if kind == "exponential" and not shared else 0.0
    axes: list[Axis | None] = []
    for axis, n in enumerate(pairs.shape):
        if axis not in anchors(functions) and not ends:
            axes.append(None)
            continue
        counts, there = pairs.counts and pairs.counts[axis], present(term, pairs, axis)
        total, shift, weight = like.new_zeros(n), like.new_full((n,), lowest), like.new_zeros(n)
        axes.append(Axis(counts, there, pairs.shape[1 - axis], total, shift, weight))
    return Look(term, kind, (axes[0], axes[1]), axes[1] is None, shared)


def hardest(
    functions: Functions,
    geometry: Geometry,
    pairs: Pairs,
    size: tuple[int, int] | None = None,
    rank: Rank | None = None,
) -> tuple[SparseWeights, Tensor]:
    """W of an objective whose aggregates of negatives are maxima, as entries, and ⟨W, S⟩.

    Args:
        functions: of which `tileable` is true, with maxima alone.
        geometry: the embeddings.
        pairs: which match; all others are negatives.
        size: rows and columns of a tile, for tests.
        rank: what this rank looks at of a batch that several have.
    """
    size = size or (tile_size(geometry.x, geometry.y) if geometry.x.is_cuda else TILE)
    part = rank and (rank.rows, slice(0, pairs.shape[1]))
    scores = _Scores(geometry, pairs, size, {}, keep=False, part=part)
    like = geometry.x.new_zeros((), dtype=dtype_of_products(geometry.x))
    axes = anchors(functions)
    positives = scores.of_pairs()
    best: dict[int, tuple[Tensor, Tensor]] = {}
    for tile, s in scores:
        tile.mask(s, -torch.inf)
        for axis in axes:
            found = (largest_of_columns if axis else largest_of_rows)(s)
            start, offset = (tile.left, tile.top) if axis else (tile.top, tile.left)
            best[axis] = found if scores.single else _larger(best.get(axis), found, start, offset, pairs.shape[axis])
    for axis in axes if rank is not None else ():
        n = pairs.shape[axis]
        own = best.get(axis) or (like.new_full((n,), -torch.inf), torch.zeros(n, dtype=torch.long, device=like.device))
        found = zip(*map(rank.gathered, own), strict=True)
        best[axis] = functools.reduce(lambda best, new, n=n: _larger(best, new, 0, 0, n), found)
    entries: list[tuple[Tensor, Tensor, Tensor]] = []
    pulls: list[Tensor | None] = [None] * len(positives)
    value = like
    for term in functions.terms:
        share, (p, n) = divisor(functions, term, pairs), (term.positives, term.negatives)
        for axis in axes:
            hard, at = best[axis]
            there = present(term, pairs, axis)
            hard = where(there, hard)
            x_n = torch.zeros_like(hard) if n is None else n.inner(hard)
            push = torch.zeros_like(hard)
            if p is None:
                push = where(there, term.push(push, x_n)) / share
            for place, pair in enumerate(positives if p is not None else ()):
                block, s = turned(*pair, axis)
                x_p, factor, q = handed_over(p, s, block.several)
                inside, x, factor = present_in(block, there, q is None), block.of_anchors(x_n), factor / share
                t_p, t_n = (where(inside, t(x_p, x) * factor) for t in (term.pull, term.push))
                add_pull(pulls, place, axis, (t_p if q is None else t_p * q) * of_positives(p, s))
                block.add_to_anchors(push, t_n)
            if n is not None:
                push = where(there, push * of_positives(n, hard))
                own = torch.arange(len(hard), device=hard.device)
                entries.append((at, own, push) if axis else (own, at, push))
                value = value + torch.dot(push, hard)
    less = [(block, pull) for (block, _), pull in zip(positives, pulls, strict=True) if pull is not None]
    for (_, s), pull in zip(positives, pulls, strict=True):
        value = value if pull is None else value - (pull * s).sum()
    none = torch.zeros(0, dtype=torch.long, device=like.device)
    of = zip(*(entries or [(none, none, like.new_zeros(0))]), strict=True)
    return SparseWeights(*map(torch.cat, of), less), value


def _larger(
    best: tuple[Tensor, Tensor] | None, new: tuple[Tensor, Tensor], start: int, offset: int, anchors: int
) -> tuple[Tensor, Tensor]:
    """One axis's maxima and where they stand with those of a tile; an earlier tile's equal value stays."""
    if best is None:
        best = new[0].new_full((anchors,), -torch.inf), new[1].new_zeros(anchors)
    part = slice(start, start + len(new[0]))
    before = best[0][part]
    larger = (new[0] > before) | new[0].isnan()
    best[0][part] = torch.where(larger, new[0], before)
    best[1][part] = torch.where(larger, new[1] + offset, best[1][part])
    return best
