"""The tiled way: from embeddings to W·Y and Wᵀ·X without a matrix of scores.

A first look adds up every anchor's aggregate of the negatives, which gives T; a second makes the weights of a tile in
place and multiplies them with the embeddings. Maxima need no second look. Of several ranks, each looks at the scores of
its own rows, and all exchange what they found of every anchor, O(N) numbers.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry, add_product, dtype_of_products, product
from goal_analysis.numeric.engine.looks import Look, bounded, kind_of
from goal_analysis.numeric.engine.pairs import PART, TILE, WHOLE, Pairs, Rank, Tile, tile_size, tiles
from goal_analysis.numeric.engine.positives import divisor

BLOCK = 64
"""Candidates whose maximum is taken first."""

STRIP = (512, 2**22)
"""Rows of a strip of whole rows, and scores in it, at most."""


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
    """∂/∂X, shape ``(rows, dim)``, ∂/∂Y, shape ``(columns, dim)``, and ⟨W, S⟩, of rows that are anchors.

    Embeddings are of float32 at least, or of bfloat16 on a GPU, with no distances where weights are `few`. Tests choose
    the ``size`` of a tile. Of a rank the gradients of other embeddings mean nothing.
    """
    (rows, columns), x, y = pairs.shape, geometry.x, geometry.y
    shares = [divisor(functions, pairs, pairs.present(term, x)) for term in functions.terms]
    if few(functions):
        entries, value = _hardest(functions, geometry, pairs, shares, size, rank)
        (to_x, *_), (to_y, *_) = _products(entries, geometry, rank)
        return to_x, to_y, value
    shared = [bounded(term) and geometry.unit for term in functions.terms]
    height = size[0] if size else rows if x.is_cuda else max(1, min(STRIP[0], STRIP[1] // max(columns, 1)))
    both = functions.columns or "both ends" in [term.negatives.pool for term in functions.terms if term.negatives]
    if both or rank is not None:
        tile = (height, columns) if rank is not None and not x.is_cuda else tile_size(x, y, 2)
        size = (size or tile) if both else (height, columns)
        return _gradients(functions, geometry, shared, pairs, shares, size, rank)
    to_x, to_y = [], torch.zeros_like(y, dtype=dtype_of_products(y))
    value = to_y.new_zeros(())
    for top in range(0, rows, height):
        bottom = min(rows, top + height)
        strip = geometry.strip(top, bottom), shared, pairs.strip(top, bottom)
        of_x, of_y, of_strip = _gradients(functions, *strip, shares, (height, columns))
        to_x.append(of_x)
        to_y, value = to_y.add_(of_y), value + of_strip
    return torch.cat(to_x), to_y, value


def _products(
    entries: tuple[Tensor, Tensor, Tensor], geometry: Geometry, rank: Rank | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What the entries of W make of the embeddings of either side, with places and weights; of a rank, its own part."""
    row, column, weight = entries
    for axis, (e, other) in enumerate(((geometry.x, geometry.y), (geometry.y, geometry.x))):
        at, across, of = (column, row, weight) if axis else entries
        if rank is not None:
            own = rank.columns if axis else rank.rows
            inside = (at >= own.start) & (at < own.stop)
            at, across, of = at[inside], across[inside], of[inside]
        yield sum_of_entries(at, across, of, other.to(weight.dtype), len(e)), at, of


def _gradients(
    functions: Functions,
    geometry: Geometry,
    shared: list[bool],
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
    looks = [Look.of(term, pairs, to_x, small) for term, small in zip(functions.terms, shared, strict=True)]
    for look in looks:
        look.begin(to_x)
    pushing, late = [look for look in looks if look.kind != "none"], [look for look in looks if look.late]
    distances = geometry.similarity in DISTANCES
    # One term whose weights need the scores no more leaves its exponentials in their place.
    consumed = scores.whole and len(pushing) == 1 and pushing[0].forgets and not distances
    kept = [look.keeps and (consumed or scores.roomy) for look in pushing]
    names = ["scores" if consumed else f"weights {i * keep}" for i, keep in enumerate(kept)]
    positives = to_x.new_zeros(pairs.slots)
    for tile, s in scores:
        tile.read(s, positives)
        for look, name in zip(pushing, names, strict=True):
            if look.kind in ("exponential", "linear"):
                look.first(tile, s, scores.room(name, tile))
    if rank is not None:
        positives = rank.gathered(positives).sum(0)
        for look in pushing:
            if look.kind != "each":
                look.exchange(rank)
    positives = pairs.filled(positives, functions.middle)
    pulls = [look.settle(positives, share) for look, share in zip(looks, shares, strict=True)]
    pulls = [pull for pull in pulls if pull is not None]
    value = to_x.new_zeros(())
    by_scores = distances or (scores.single and not consumed and len(y) <= y.shape[1])
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
            for pull in (*pulls, *(look.lost_late(positives) for look in late if scores.single)):
                tile.subtract(w, pull)
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
    for look in late if not scores.single else ():
        look.pulled = look.pulled if rank is None else rank.gathered(look.pulled).sum(0)
        pull = look.lost_late(positives)
        if distances:
            value -= (pull * positives).sum()
            geometry.by_products(pull, positives)
        made = _products(pairs.entries(pull), geometry, rank)
        for (product_of, at, weight), to, of in zip(made, (to_x, to_y), (of_x, of_y), strict=True):
            to.sub_(product_of)
            of.index_add_(0, at, weight, alpha=-1)
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


def _hardest(
    functions: Functions,
    geometry: Geometry,
    pairs: Pairs,
    shares: list[Tensor | float],
    size: tuple[int, int] | None,
    rank: Rank | None,
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """The entries of W: row, column and weight; and ⟨W, S⟩."""
    size = size or (tile_size(geometry.x, geometry.y) if geometry.x.is_cuda else TILE)
    scores = _Scores(geometry, pairs, size, rank and (rank.rows, slice(0, pairs.shape[1])), keep=False)
    like, rows = geometry.x.new_zeros((), dtype=dtype_of_products(geometry.x)), pairs.shape[0]
    positives, best = like.new_zeros(pairs.slots), like.new_full((pairs.anchors,), -torch.inf)
    at = torch.zeros(pairs.anchors, dtype=torch.long, device=like.device)
    for tile, s in scores:
        tile.read(s, positives)
        tile.mask(s, -torch.inf)
        for axis, anchors in enumerate(tile.anchors):
            _enlarge(best[anchors], at[anchors], *largest(s, 1 - axis), (tile.down if axis else tile.across).start)
    if rank is not None:
        positives = rank.gathered(positives).sum(0)
        every = zip(rank.gathered(best), rank.gathered(at), strict=True)
        best, at = next(every)
        for found in every:
            _enlarge(best, at, *found, 0)
    positives = pairs.filled(positives, functions.middle)
    i = torch.arange(pairs.anchors, device=like.device)
    row, column = torch.cat((i[:rows], at[rows:])), torch.cat((at[:rows], i[rows:] - rows))
    entries, value = [], like
    for term, share in zip(functions.terms, shares, strict=True):
        look = Look.of(term, pairs, like, False)
        look.total = best
        pull = look.settle(positives, share)
        if pull is not None:
            entries.append(pairs.entries(-pull))
            value = value - (pull * positives).sum()
        if look.kind == "max":
            hard, push = look.of_largest()
            entries.append((row, column, push))
            value = value + torch.dot(push, hard)
    row, column, weight = map(torch.cat, zip(*entries, strict=True))
    return (row, column, weight), value


def _enlarge(best: Tensor, at: Tensor, value: Tensor, place: Tensor, offset: int) -> None:
    """Put larger values, and where they stand, in the place of smaller ones; an earlier equal value stays."""
    larger = (value > best) | value.isnan()
    best.copy_(torch.where(larger, value, best))
    at.copy_(torch.where(larger, place + offset, at))


def sum_of_entries(row: Tensor, column: Tensor, weight: Tensor, e: Tensor, rows: int) -> Tensor:
    """W·E of a W with these entries, which add up: every row a sum over its own, in their order, so deterministic."""
    order = torch.sort(row, stable=True)
    starts = torch.searchsorted(order.values, torch.arange(rows, device=row.device))
    weight = weight[order.indices].to(e.dtype)
    return torch.nn.functional.embedding_bag(column[order.indices], e, starts, mode="sum", per_sample_weights=weight)


def largest(s: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The largest of every row, or with ``dim`` 0 of every column, and its first place, by blocks: quick on a CPU."""
    length = s.shape[dim]
    if length <= 2 * BLOCK or (dim and s.is_cuda):
        value, at = s.max(dim)
        return value, at

    def largest_there(candidates: Tensor) -> tuple[Tensor, Tensor]:
        value, at = (candidates if dim else candidates.T.contiguous()).max(1)
        return value, at.unsqueeze(dim)

    whole, rest = s.split((length // BLOCK * BLOCK, length % BLOCK), dim)
    maxima = [whole.unflatten(dim, (-1, BLOCK)).amax(dim + 1)]
    if length % BLOCK:
        maxima.append(rest.amax(dim, keepdim=True))
    _, block = largest_there(torch.cat(maxima, dim))
    places = torch.arange(BLOCK, device=s.device)
    inside = (block * BLOCK + (places if dim else places[:, None])).clamp_max_(length - 1)
    value, at = largest_there(s.gather(dim, inside))
    return value, inside.gather(dim, at).squeeze(dim)
