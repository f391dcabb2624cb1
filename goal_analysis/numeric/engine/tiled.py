"""The tiled way: from embeddings to W·Y and Wᵀ·X without a matrix of scores.

A first look at the tiles adds up every anchor's aggregate of the negatives, which gives T; a second makes the weights
of a tile in place and multiplies them with the embeddings. Where every aggregate is a maximum there is no second look:
every anchor has weights on few pairs. Of several ranks, each looks at the scores of its own rows, all exchange what
they found of every anchor, O(N) numbers, and each makes the gradients of its own rows and columns.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import Axis, Look, kind_of
from goal_analysis.numeric.engine.pairs import PART, TILE, WHOLE, Block, Pairs, Rank, Tile, tile_size, tiles
from goal_analysis.numeric.engine.positives import (
    anchors,
    divisor,
    finish_each,
    of_positives,
    present,
    settle,
    turned,
    where,
)
from goal_analysis.numeric.engine.products import add_product, dtype_of_products, product
from goal_analysis.numeric.engine.small import SMALL
from goal_analysis.numeric.engine.sparse import largest, sum_of_entries

STRIP = (512, 2**22)
"""Rows of a strip of whole rows, and scores in it, at most."""


Pulls = list[tuple[Block, Tensor]]
"""Pairs that match, with what W loses there."""


def tileable(functions: Functions) -> bool:
    """Whether there is a tiled way for an objective of these functions."""
    kinds = [kind_of(term) for term in functions.terms]
    looked = [kind for kind in kinds if kind != "none"]
    return None not in kinds and (len(set(looked)) <= 1 or "max" not in looked)


def few(functions: Functions) -> bool:
    """Whether every anchor has weights on few pairs."""
    return all(kind_of(term) in ("max", "none") for term in functions.terms)


def tiled(
    functions: Functions,
    geometry: Geometry,
    pairs: Pairs,
    size: tuple[int, int] | None = None,
    rank: Rank | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the embeddings, and ⟨W, S⟩.

    Args:
        functions: of which `tileable` is true, and whose rows are anchors.
        geometry: the embeddings; of float32 at least, or of bfloat16 on a GPU; no distances where weights are `few`.
        pairs: which match; all others are negatives.
        size: rows and columns of a tile, for tests; by default what suits the device.
        rank: what this rank does of a batch that several have; the gradients of other embeddings mean nothing then.

    Returns:
        ∂/∂X, shape ``(rows, dim)``; ∂/∂Y, shape ``(columns, dim)``; ⟨W, S⟩.
    """
    (rows, columns), x, y = pairs.shape, geometry.x, geometry.y
    if few(functions):
        return _gradients_of_few(geometry, *_hardest(functions, geometry, pairs, size, rank), rank)
    unit = any(kind_of(term) == "exponential" for term in functions.terms) and geometry.unit
    shares = [divisor(functions, term, pairs) for term in functions.terms]
    height = size[0] if size else rows if x.is_cuda else max(1, min(STRIP[0], STRIP[1] // max(columns, 1)))
    both = functions.columns or "both ends" in [term.negatives.pool for term in functions.terms if term.negatives]
    if both or rank is not None:
        tile = (height, columns) if rank is not None and not x.is_cuda else tile_size(x, y, 2)
        size = (size or tile) if both else (height, columns)
        return _gradients(functions, geometry, unit, pairs, shares, size, rank)
    to_x, to_y = [], torch.zeros_like(y, dtype=dtype_of_products(y))
    value = to_y.new_zeros(())
    for top in range(0, rows, height):
        bottom = min(rows, top + height)
        strip = geometry.strip(top, bottom), unit, pairs.strip(top, bottom)
        of_x, of_y, of_strip = _gradients(functions, *strip, shares, (height, columns))
        to_x.append(of_x)
        to_y, value = to_y.add_(of_y), value + of_strip
    return torch.cat(to_x), to_y, value


def _gradients_of_few(
    geometry: Geometry, entries: tuple[Tensor, Tensor, Tensor], pulls: Pulls, value: Tensor, rank: Rank | None
) -> tuple[Tensor, Tensor, Tensor]:
    made, (row, column, weight) = [], entries
    for axis, (e, other) in enumerate(((geometry.x, geometry.y), (geometry.y, geometry.x))):
        at, across, of = (column, row, weight) if axis else (row, column, weight)
        if rank is not None:
            own = rank.columns if axis else rank.rows
            inside = (at >= own.start) & (at < own.stop)
            at, across, of = at[inside], across[inside], of[inside]
        made.append(sum_of_entries(at, across, of, other.to(weight.dtype), len(e)))
    for axis, block, pull, other in _sides(pulls, geometry, rank):
        block.subtract_product(made[axis], pull, other.to(weight.dtype))
    return made[0], made[1], value


def _sides(pulls: Pulls, geometry: Geometry, rank: Rank | None) -> Iterator[tuple[int, Block, Tensor, Tensor]]:
    """What W loses at the pairs of either axis, with the embeddings of the other; of a rank, in its own part."""
    for pair in pulls:
        for axis, other in enumerate((geometry.y, geometry.x)):
            block, pull = turned(*pair, axis)
            if rank is not None:
                block, pull = block.within(rank.columns if axis else rank.rows, pull)
            yield axis, block, pull, other


def _gradients(
    functions: Functions,
    geometry: Geometry,
    unit: bool,
    pairs: Pairs,
    shares: list[Tensor | float],
    size: tuple[int, int],
    rank: Rank | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    x, y = geometry.x, geometry.y
    to_x, to_y = (torch.empty_like(e, dtype=dtype_of_products(e)) for e in (x, y))
    of_x, of_y = (to.new_zeros(len(to)) for to in (to_x, to_y))  # of distances, the sums of W′
    rows, columns = (slice(0, n) for n in pairs.shape)
    down = rows if rank is None else rank.rows
    scores = _Scores(geometry, pairs, size, part=rank and (down, columns))
    looks = [_look(functions, term, pairs, unit, to_x) for term in functions.terms]
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
        passes.append((_Scores(geometry, pairs, size, part=(rows, rank.columns)), False, True))
    for part, makes_x, makes_y in passes:
        for tile, s in part:
            w = None
            for look, name, keep in zip(pushing, names, kept, strict=True):
                matrix = part.room(name if w is None or keep else "more", tile)
                look.second(tile, s, matrix, keep and makes_x, pulls=makes_x)
                w = matrix if w is None else w.add_(matrix)
            w = part.room("weights 0", tile).zero_() if w is None else w
            if scores.single:
                for look in late:
                    finish_each(look, functions, positives, pulls)
                for (block, _), pull in zip(positives, pulls, strict=True):
                    if pull is not None:
                        block.subtract(w, pull)
            if by_scores and makes_x:
                value += torch.dot(w.view(-1), s.view(-1))
            if distances:
                geometry.by_products(w, s)
            if makes_x:
                add_product(to_x[tile.down], w, y[tile.across], fresh=not tile.across.start)
                of_x[tile.down] += w.sum(1) if distances else 0
            if makes_y:
                add_product(to_y[tile.across], w.T, x[tile.down], fresh=not tile.down.start)
                of_y[tile.across] += w.sum(0) if distances else 0
    if rank is not None:
        value = rank.gathered(value).sum(0)
        for axis in (axis for look in late for axis in look.axes if axis is not None):
            axis.pulled = rank.gathered(axis.pulled).sum(0)
    if not scores.single:
        for look in late:
            finish_each(look, functions, positives, pulls)
        less = [(*pair, pull) for pair, pull in zip(positives, pulls, strict=True) if pull is not None]
        for _, s, pull in less if distances else ():
            value -= (pull * s).sum()
            geometry.by_products(pull, s)
        for axis, block, pull, other in _sides([(block, pull) for block, _, pull in less], geometry, rank):
            block.subtract_product((to_x, to_y)[axis], pull, other)
            if distances:
                block.add_to_anchors((of_x, of_y)[axis], -pull)
    if distances:
        for to, of, e in ((to_x, of_x, x), (to_y, of_y, y)):
            to.addcmul_(of[:, None], e.to(to.dtype), value=-1)
    if by_scores:
        return to_x, to_y, value
    strips = zip(to_x[down].split(STRIP[0]), x[down].split(STRIP[0]), strict=True)
    value = torch.cat([torch.linalg.vecdot(g, e.to(g.dtype)) for g, e in strips]).sum()
    return to_x, to_y, value if rank is None else rank.gathered(value).sum(0)


@dataclass(eq=False)
class _Scores:
    """The scores, a tile at a time; they are made once where all of them are kept."""

    geometry: Geometry
    pairs: Pairs
    size: tuple[int, int]
    part: tuple[slice, slice] | None = None
    keep: bool = True
    made: bool = False
    kept: dict[str, Tensor] = field(default_factory=dict)

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
            most, start = (down.stop - down.start) * columns, (tile.down.start - down.start) * columns
        if name not in self.kept:
            self.kept[name] = self.geometry.x.new_empty(most, dtype=dtype_of_products(self.geometry.x))
        height, width = (side.stop - side.start for side in (tile.down, tile.across))
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


def _look(functions: Functions, term: Term, pairs: Pairs, unit: bool, like: Tensor) -> Look:
    kind, side = kind_of(term) or "none", term.negatives
    shared = side is not None and kind == "exponential" and unit
    shared = shared and abs(side.aggregator.scale) * side.hints.bound * 1.05 <= SMALL
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


def _hardest(
    functions: Functions, geometry: Geometry, pairs: Pairs, size: tuple[int, int] | None, rank: Rank | None
) -> tuple[tuple[Tensor, Tensor, Tensor], Pulls, Tensor]:
    """The entries of W: row, column and weight; what it loses where pairs match; ⟨W, S⟩."""
    size = size or (tile_size(geometry.x, geometry.y) if geometry.x.is_cuda else TILE)
    scores = _Scores(geometry, pairs, size, rank and (rank.rows, slice(0, pairs.shape[1])), keep=False)
    like = geometry.x.new_zeros((), dtype=dtype_of_products(geometry.x))
    axes = anchors(functions)
    positives = scores.of_pairs()
    best: dict[int, tuple[Tensor, Tensor]] = {}
    for tile, s in scores:
        tile.mask(s, -torch.inf)
        for axis in axes:
            found, sides = largest(s, 1 - axis), (tile.down, tile.across)
            start, offset = sides[axis].start, sides[1 - axis].start
            best[axis] = found if scores.single else _larger(best.get(axis), found, start, offset, pairs.shape[axis])
    for axis in axes if rank is not None else ():
        n = pairs.shape[axis]
        own = best.get(axis) or (like.new_full((n,), -torch.inf), torch.zeros(n, dtype=torch.long, device=like.device))
        found = zip(*map(rank.gathered, own), strict=True)
        best[axis] = functools.reduce(lambda best, new, n=n: _larger(best, new, 0, 0, n), found)
    entries = [(torch.zeros(0, dtype=torch.long, device=like.device),) * 2 + (like.new_zeros(0),)]
    pulls: list[Tensor | None] = [None] * len(positives)
    value = like
    for term in functions.terms:
        look, n = _look(functions, term, pairs, False, like), term.negatives
        for axis in axes:
            look.axes[axis].total = best[axis][0]
        settle(look, functions, positives, pulls, divisor(functions, term, pairs))
        for axis in axes if n is not None else ():
            own, at = look.axes[axis], best[axis][1]
            hard, anchor = where(own.there, own.total), torch.arange(len(at), device=at.device)
            push = where(own.there, own.weight * of_positives(n, hard))
            entries.append((at, anchor, push) if axis else (anchor, at, push))
            value = value + torch.dot(push, hard)
    less = [(block, s, pull) for (block, s), pull in zip(positives, pulls, strict=True) if pull is not None]
    for _, s, pull in less:
        value = value - (pull * s).sum()
    row, column, weight = map(torch.cat, zip(*entries, strict=True))
    return (row, column, weight), [(block, pull) for block, _, pull in less], value


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
