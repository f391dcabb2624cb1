"""The tiled way: from embeddings to W·Y and Wᵀ·X without a matrix of scores.

The scores pass by in tiles. A first look adds up every anchor's aggregate of the negatives, which gives T; a second
makes the weights of a tile in place and multiplies them with the embeddings. Where rows alone are anchors a tile is a
strip of whole rows, so both looks are at the same scores. Where every aggregate of negatives is a maximum there is no
second look: every anchor has weights on few pairs, and the gradients are sums over few others.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Side, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.pairs import Pairs, Segments, Tile, tile_size, tiles
from goal_analysis.numeric.engine.products import add_product, dtype_of_products, product
from goal_analysis.numeric.engine.sparse import SparseWeights, largest_of_columns, largest_of_rows

SMALL = 40.0
"""Exponents up to which sums of exponentials keep their digits in float32 as they are."""

STRIP = (512, 2**22)
"""Rows of a strip of whole rows, and scores in it, at most."""

CHUNK = 2**17
"""Scores that are worked on at a time: what a core's own cache holds."""

SEGMENTED = frozenset(
    ("each", "each_mean", "min", "max", "logsumexp", "softmin", "soft_max", "soft_min", "mean", "sum")
)
"""Aggregators of positives that are worked out on the list of pairs."""

EXPONENTIAL = frozenset(("logsumexp", "soft_max"))
LINEAR = frozenset(("mean", "sum"))


def tileable(functions: Functions) -> bool:
    """Whether there is a tiled way for an objective of these functions."""
    kinds = [_kind(term) for term in functions.terms]
    looked = [kind for kind in kinds if kind != "none"]
    return None not in kinds and (len(set(looked)) <= 1 or "max" not in looked)


def _kind(term: Term) -> str | None:
    """How the negatives of a term are looked at; None where there is no tiled way."""
    p, n = term.positives, term.negatives
    if term.relative is not None or any(side is not None and side.selection is not None for side in (p, n)):
        return None
    if p is not None and p.aggregator.name not in SEGMENTED:
        return None
    if n is None:
        return "none"
    name = n.aggregator.name
    if name == "max":
        return "max" if n.hints.rises and n.pool == "own" else None
    if name in EXPONENTIAL:
        return "exponential" if n.pool != "both ends" or (p is not None and p.aggregator.enumerates) else None
    if n.pool != "own":
        return None
    return "linear" if name in LINEAR else "each" if n.aggregator.enumerates and p is None else None


@dataclass(eq=False)
class Axis:
    """What is known of one term's anchors on one axis.

    Args:
        segments: the pairs of every anchor.
        opposite: how many anchors the other axis has.
        total: Σ over the negatives, of exp(β·h(s) − shift) or of h(s).
        shift: what exponents are relative to.
        weight: what the mining of a negative is multiplied with.
    """

    segments: Segments
    opposite: int
    total: Tensor
    shift: Tensor
    weight: Tensor

    @property
    def logarithm(self) -> Tensor:
        """The logsumexp; −∞ without negatives."""
        return self.total.log() + self.shift


@dataclass(eq=False)
class Look:
    """One term at the scores of one call.

    Args:
        term: which.
        kind: how its negatives are looked at.
        axes: the anchors that are rows, and those that are columns; None where those gather no negatives.
        whole: whether every tile has whole rows and rows alone gather: then one exponential is relative to its row.
        shared: whether exponentials need no shift.
        pull: shape ``(pairs,)``; what W loses at the pairs.
    """

    term: Term
    kind: str
    axes: tuple[Axis | None, Axis | None]
    whole: bool
    shared: bool
    pull: Tensor

    @property
    def keeps(self) -> bool:
        """Whether what `first` leaves is what `second` begins with, if it is still there."""
        return self.kind == "exponential" and (self.shared or self.whole)

    def first(self, tile: Tile, s: Tensor, flat: Tensor, place: Tensor) -> None:
        """Add a tile's negatives to the aggregates.

        Args:
            tile: which.
            s: its scores; ``flat`` may be the same memory.
            flat: room for a number a score and one more.
            place: of the pairs that match, in ``flat``.
        """
        side = self.term.negatives
        matrix = flat[:-1].view(tile.shape)
        scale = side.aggregator.scale if self.kind == "exponential" else 1.0
        for part in _chunks(tile.shape):
            _inner(side, s[part], scale, matrix[part])
            if self.shared:
                matrix[part].exp_()
        if side.pool != "all":
            flat[place] = -torch.inf if self.kind == "exponential" and not self.shared else 0
        rows, columns = self.axes
        for part in _chunks(tile.shape):
            chunk = matrix[part]
            down = slice(tile.top + part.start, tile.top + part.start + len(chunk))
            if self.kind == "exponential" and not self.shared:
                if self.whole:
                    shift = chunk.amax(1).clamp_min(torch.finfo(chunk.dtype).min)
                    rows.shift[down] = shift
                    rows.total[down] = chunk.sub_(shift[:, None]).exp_().sum(1)
                    continue
                for axis, where, dim in ((rows, down, 1), (columns, tile.across, 0)):
                    if axis is not None:
                        before = axis.shift[where]
                        shift = torch.maximum(before, chunk.amax(dim))
                        total = (chunk - shift.unsqueeze(dim)).exp_().sum(dim)
                        axis.total[where] = axis.total[where] * (before - shift).exp() + total
                        axis.shift[where] = shift
                continue
            if rows is not None:
                rows.total[down] += chunk.sum(1)
            if columns is not None:
                columns.total[tile.across] += chunk.sum(0)

    def second(self, tile: Tile, s: Tensor, flat: Tensor, place: Tensor, kept: bool) -> None:
        """Put the weights of a tile's negatives into ``flat``.

        Args:
            tile: which.
            s: its scores; ``flat`` may be the same memory.
            flat: room for a number a score and one more.
            place: of the pairs that match.
            kept: whether ``flat`` holds what `first` has left there.
        """
        side = self.term.negatives
        matrix = flat[:-1].view(tile.shape)
        rows, columns = self.axes
        for part in _chunks(tile.shape):
            chunk, scores = matrix[part], s[part]
            down = slice(tile.top + part.start, tile.top + part.start + len(chunk))
            of_rows = None if rows is None else rows.weight[down, None]
            of_columns = None if columns is None else columns.weight[None, tile.across]
            factor = of_rows if of_columns is None else of_columns if of_rows is None else of_rows + of_columns
            if self.kind == "linear":
                chunk.copy_(factor.expand(chunk.shape))
            elif self.kind == "each":
                values = side.inner(scores)
                torch.mul(self.term.push(torch.zeros_like(values), values), factor, out=chunk)
            elif self.keeps:
                if not kept:
                    _inner(side, scores, side.aggregator.scale, chunk)
                    (chunk if self.shared else chunk.sub_(rows.shift[down, None])).exp_()
                chunk.mul_(factor)
            else:
                values = side.inner(scores)
                parts = []
                for axis, weight, where in ((rows, of_rows, (down, None)), (columns, of_columns, (None, tile.across))):
                    if axis is not None:
                        shifted = torch.add(-axis.shift[where], values, alpha=side.aggregator.scale)
                        parts.append(shifted.exp_().mul_(weight))
                chunk.copy_(parts[0]) if len(parts) == 1 else torch.add(*parts, out=chunk)
            if side.hints.constant is None:
                chunk.mul_(side.weight(scores))
        if side.pool != "all":
            flat[place] = 0


def _chunks(shape: tuple[int, int]) -> list[slice]:
    height = max(1, CHUNK // max(shape[1], 1))
    return [slice(top, min(top + height, shape[0])) for top in range(0, shape[0], height)]


def _inner(side: Side, s: Tensor, scale: float, out: Tensor) -> None:
    """scale·h(s), which may be put where s is."""
    if side.hints.line is None:
        torch.mul(side.inner(s), scale, out=out)
        return
    slope, offset = side.hints.line
    torch.mul(s, scale * slope, out=out)
    if offset:
        out.add_(scale * offset)


def tiled(
    functions: Functions, geometry: Geometry, pairs: Pairs, size: tuple[int, int] | None = None, small: float = SMALL
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the embeddings, and ⟨W, S⟩.

    Args:
        functions: of which `tileable` is true.
        geometry: the embeddings; of float32 at least, or of bfloat16 on a GPU.
        pairs: which match; all others are negatives.
        size: rows and columns of a tile, for tests; by default what suits the device.
        small: the largest exponent for which one exponential serves both axes.

    Returns:
        ∂/∂X, shape ``(rows, dim)``; ∂/∂Y, shape ``(columns, dim)``; ⟨W, S⟩.
    """
    if functions.columns and not functions.rows:
        turned = replace(functions, rows=True, columns=False)
        to_y, to_x, value = tiled(turned, geometry.transposed, pairs.transposed, size and size[::-1], small)
        return to_x, to_y, value
    to_x, to_y = (torch.zeros_like(e, dtype=dtype_of_products(e)) for e in (geometry.x, geometry.y))
    divisors = [_anchors(functions, term, pairs) for term in functions.terms]
    unit = geometry.unit
    rows, columns = pairs.shape
    if functions.columns or any(t.negatives is not None and t.negatives.pool == "both ends" for t in functions.terms):
        size = size or tile_size(geometry.x, geometry.y, kept=2)
        return to_x, to_y, _gradients(functions, geometry, unit, pairs, divisors, size, small, {}, to_x, to_y)
    height = size[0] if size else rows if to_x.is_cuda else max(1, min(STRIP[0], STRIP[1] // max(columns, 1)))
    value = to_x.new_zeros(())
    room: dict[str, Tensor] = {}
    for top in range(0, rows, height):
        bottom = min(rows, top + height)
        of_strip = pairs if bottom - top == rows else pairs.strip(top, bottom)[1]
        given = (geometry.strip(top, bottom), unit, of_strip, divisors, (height, columns), small, room)
        value = value + _gradients(functions, *given, to_x[top:bottom], to_y)
    return to_x, to_y, value


def _anchors(functions: Functions, term: Term, pairs: Pairs) -> Tensor | float:
    """What a term is divided by: how many anchors have what it needs."""
    if not functions.mean:
        return 1.0
    there, every = [], 0
    for used, axis in ((functions.rows, 0), (functions.columns, 1)):
        if used:
            present = _present(term, pairs.by_column if axis else pairs.by_row, pairs.shape[1 - axis])
            every += pairs.shape[axis] if present is None else 0
            there += [] if present is None else [present]
    return (torch.cat(there).sum() + every).clamp(min=1).double() if there else float(max(every, 1))


def _present(term: Term, segments: Segments, opposite: int) -> Tensor | None:
    """Which anchors have what a term needs; None where all have."""
    own = term.negatives is not None and term.negatives.pool == "own"
    if (segments.single or term.positives is None) and ((opposite > 1 and segments.single) or not own):
        return None
    lengths = segments.lengths
    there = lengths > 0 if term.positives is not None else torch.ones_like(lengths, dtype=torch.bool)
    return there & (lengths < opposite) if own else there


def _where(there: Tensor | None, values: Tensor) -> Tensor:
    """The values, and zero where there is nothing."""
    return values if there is None else values.masked_fill(~there, 0)


def _gradients(
    functions: Functions,
    geometry: Geometry,
    unit: bool,
    pairs: Pairs,
    divisors: list[Tensor | float],
    size: tuple[int, int],
    small: float,
    room: dict[str, Tensor],
    to_x: Tensor,
    to_y: Tensor,
) -> Tensor:
    """Add to the gradients what W of these rows makes of them; ⟨W, S⟩."""
    x, y = geometry.x, geometry.y
    scores = _Scores(geometry, pairs, size, room)
    looks = [_look(functions, term, pairs, unit, to_x, small) for term in functions.terms]
    gathering = [look for look in looks if look.kind in ("exponential", "linear")]
    pushing = [look for look in looks if look.kind != "none"]
    distances = geometry.similarity in DISTANCES
    # One term whose weights need the scores no more leaves its exponentials in their place.
    consumed = scores.single and len(pushing) == 1 and pushing[0].keeps and not distances
    consumed = (
        consumed
        and pushing[0].term.negatives.hints.constant is not None
        and pushing[0].term.negatives.hints.line is not None
    )
    names = {id(look): "scores" if consumed else f"weights {i * scores.single}" for i, look in enumerate(pushing)}
    of_pairs = to_x.new_zeros(len(pairs))
    for tile, s, part, place in scores:
        flat = scores.room("scores", tile)
        of_pairs[part] = (
            flat[place] if scores.single else torch.where(place < len(flat) - 1, flat[place], of_pairs[part])
        )
        for look in gathering:
            look.first(tile, s, scores.room(names[id(look)], tile), place)
    for look, divisor in zip(looks, divisors, strict=True):
        _settle(look, functions, pairs, of_pairs, divisor)
    pull = looks[0].pull if len(looks) == 1 else torch.stack([look.pull for look in looks]).sum(0)
    value = to_x.new_zeros(())
    for tile, s, part, place in scores:
        total = None
        for look in pushing:
            kept = scores.single and look.keeps
            flat = scores.room(names[id(look)] if total is None or kept else "more", tile)
            look.second(tile, s, flat, place, kept)
            total = flat if total is None else total.add_(flat)
        total = scores.room("weights 0", tile).zero_() if total is None else total
        w = total[:-1].view(tile.shape)
        total[place] -= pull[part]
        if distances:
            value += (w * s).sum()
            geometry.by_products(w, s)
            to_x[tile.down] -= w.sum(1)[:, None] * x[tile.down]
            to_y[tile.across] -= w.sum(0)[:, None] * y[tile.across]
        add_product(to_x[tile.down], w, y[tile.across])
        add_product(to_y[tile.across], w.T, x[tile.down])
    if distances:
        return value
    strips = zip(to_x.split(8192), x.split(8192), strict=True)
    return torch.cat([torch.linalg.vecdot(g, e.to(g.dtype)) for g, e in strips]).sum()


@dataclass(eq=False)
class _Scores:
    """The scores, a tile at a time, in one place of memory; a single tile is made once."""

    geometry: Geometry
    pairs: Pairs
    size: tuple[int, int]
    kept: dict[str, Tensor]
    made: bool = False

    @property
    def single(self) -> bool:
        return self.size[0] >= self.pairs.shape[0] and self.size[1] >= self.pairs.shape[1]

    def room(self, name: str, tile: Tile) -> Tensor:
        """Memory for a number a score of a tile and one more."""
        if name not in self.kept:
            most = min(self.size[0], self.pairs.shape[0]) * min(self.size[1], self.pairs.shape[1])
            self.kept[name] = self.geometry.x.new_empty(most + 1, dtype=dtype_of_products(self.geometry.x))
        return self.kept[name][: tile.shape[0] * tile.shape[1] + 1]

    def __iter__(self) -> Iterator[tuple[Tile, Tensor, slice, Tensor]]:
        for tile in tiles(self.pairs, self.size):
            s = self.room("scores", tile)[:-1].view(tile.shape)
            if not (self.single and self.made):
                product(self.geometry.x[tile.down], self.geometry.y[tile.across].T, out=s)
                self.geometry.score(s, tile.down, tile.across)
                self.made = True
            yield tile, s, *tile.within(self.pairs)


def _look(functions: Functions, term: Term, pairs: Pairs, unit: bool, like: Tensor, small: float) -> Look:
    kind, side = _kind(term) or "none", term.negatives
    shared = side is not None and kind == "exponential" and unit
    shared = shared and abs(side.aggregator.scale) * side.hints.bound * 1.05 <= small
    ends = side is not None and side.pool == "both ends"
    axes: list[Axis | None] = []
    for used, axis in ((functions.rows, 0), (functions.columns, 1)):
        if not (used or ends):
            axes.append(None)
            continue
        segments, n = (pairs.by_column if axis else pairs.by_row), pairs.shape[axis]
        lowest = torch.finfo(like.dtype).min if kind == "exponential" and not shared else 0.0
        axes.append(
            Axis(segments, pairs.shape[1 - axis], like.new_zeros(n), like.new_full((n,), lowest), like.new_zeros(n))
        )
    whole = axes[1] is None
    return Look(term, kind, (axes[0], axes[1]), whole, shared, like.new_zeros(len(pairs)))


def _settle(look: Look, functions: Functions, pairs: Pairs, of_pairs: Tensor, divisor: Tensor | float) -> None:
    """From the aggregates to T: what W loses at the pairs, and what the mining of the negatives is multiplied with."""
    term, (p, n) = look.term, (look.term.positives, look.term.negatives)
    for used, axis, opposite in ((functions.rows, *look.axes), (functions.columns, *look.axes[::-1])):
        if not used:
            continue
        segments, there = axis.segments, _present(term, axis.segments, axis.opposite)
        if look.kind == "each":
            present = 1.0 if there is None else there.to(axis.weight.dtype)
            axis.weight += present * _share(n, axis) / divisor
            continue
        x_p, factor, q = _of_positives(p, of_pairs, segments)
        per_pair = p is not None and q is None
        ends = n is not None and n.pool == "both ends"
        if ends:
            own, end = segments.of_anchors(axis.logarithm), opposite.segments.of_anchors(opposite.logarithm)
            x_n = torch.logaddexp(own, end) / n.aggregator.scale
        else:
            x_n = _of_negatives(look, axis)
            x_n = segments.of_anchors(x_n) if per_pair else x_n
        if there is not None or ends:
            there = None if there is None else segments.of_anchors(there) if per_pair else there
            finite = x_n.isfinite() | x_n.isnan()
            there = finite if there is None else there & finite
            x_n = _where(there, x_n)
        factor = factor / divisor
        pull, push = (_where(there, t(x_p, x_n) * factor) for t in (term.pull, term.push))
        if p is not None:
            look.pull += (pull if per_pair else segments.of_anchors(pull) * q) * _weight(p, of_pairs)
        if n is None:
            continue
        if ends:
            for one, part in ((axis, own), (opposite, end)):
                share = _where(there, push * (part - x_n * n.aggregator.scale).exp())
                one.weight += one.segments.total(share) * _share(n, one)
        else:
            axis.weight += (segments.total(push) if per_pair else push) * _share(n, axis)


def _share(side: Side, axis: Axis) -> Tensor | float:
    """What the mining weight of a negative is, but for its exponential, times P⁻ where that is one number."""
    constant = 1.0 if side.hints.constant is None else side.hints.constant
    if side.aggregator.name in EXPONENTIAL:
        return constant / axis.total.masked_fill(axis.total == 0, 1)
    if side.aggregator.name in ("mean", "each_mean"):
        return constant / (axis.opposite - axis.segments.lengths).clamp(min=1).to(axis.total.dtype)
    return constant


def _weight(side: Side, s: Tensor) -> Tensor | float:
    return side.weight(s) if side.hints.constant is None else side.hints.constant


def _of_negatives(look: Look, axis: Axis) -> Tensor:
    """x_n of every anchor."""
    side = look.term.negatives
    if look.kind == "exponential":
        return axis.logarithm / side.aggregator.scale
    if look.kind == "linear" and side.aggregator.name == "mean":
        return axis.total / (axis.opposite - axis.segments.lengths).clamp(min=1)
    return axis.total


def _of_positives(
    side: Side | None, of_pairs: Tensor, segments: Segments
) -> tuple[Tensor, Tensor | float, Tensor | None]:
    """What the positives hand over, what it counts for, and the mining weights; None for enumerated ones."""
    if side is None:
        return of_pairs.new_zeros(segments.lengths.shape), 1.0, None
    values = side.inner(of_pairs)
    name, lengths = side.aggregator.name, segments.lengths
    if segments.single:  # every aggregate of one value is that value
        return values, 1.0, None
    if side.aggregator.enumerates:
        return values, 1.0 if name == "each" else 1 / segments.of_anchors(lengths).to(values.dtype), None
    if name in LINEAR:
        divisor = (lengths.clamp(min=1) if name == "mean" else torch.ones_like(lengths)).to(values.dtype)
        return segments.total(values) / divisor, 1.0, segments.of_anchors(1 / divisor)
    if name in ("min", "max"):
        sign = -1 if name == "min" else 1
        top, q = segments.largest(sign * values)
        return (sign * top).masked_fill(lengths == 0, 0), 1.0, q
    scale = side.aggregator.scale
    top = segments.largest(scale * values)[0].masked_fill(lengths == 0, 0)
    relative = (scale * values - segments.of_anchors(top)).exp()
    total = segments.total(relative).masked_fill(lengths == 0, 1)
    return (total.log() + top) / scale, 1.0, relative / segments.of_anchors(total)


def hardest(
    functions: Functions, geometry: Geometry, pairs: Pairs, size: tuple[int, int] | None = None
) -> tuple[SparseWeights, Tensor]:
    """W of an objective whose aggregates of negatives are maxima, as entries, and ⟨W, S⟩.

    Args:
        functions: of which `tileable` is true, with maxima alone.
        geometry: the embeddings.
        pairs: which match; all others are negatives.
        size: rows and columns of a tile, for tests.
    """
    size = size or tile_size(geometry.x, geometry.y)
    scores = _Scores(geometry, pairs, size, {})
    like = geometry.x.new_zeros((), dtype=dtype_of_products(geometry.x))
    of_pairs = like.new_zeros(len(pairs))
    axes = [axis for axis, used in ((0, functions.rows), (1, functions.columns)) if used]
    best = [
        (like.new_full((n,), -torch.inf), torch.zeros(n, dtype=torch.long, device=like.device)) for n in pairs.shape
    ]
    for tile, s, part, place in scores:
        flat = scores.room("scores", tile)
        of_pairs[part] = (
            flat[place] if scores.single else torch.where(place < len(flat) - 1, flat[place], of_pairs[part])
        )
        flat[place] = -torch.inf
        for axis in axes:
            found = (largest_of_columns if axis else largest_of_rows)(s)
            start, offset = (tile.left, tile.top) if axis else (tile.top, tile.left)
            best[axis] = found if scores.single else _larger(best[axis], found, start, offset)
    entries: list[tuple[Tensor, Tensor, Tensor]] = []
    pull, value = None, like.clone()
    for term in functions.terms:
        divisor, (p, n) = _anchors(functions, term, pairs), (term.positives, term.negatives)
        for axis in axes:
            segments, (hard, at) = (pairs.by_column if axis else pairs.by_row), best[axis]
            there = of_anchors = _present(term, segments, pairs.shape[1 - axis])
            x_p, factor, q = _of_positives(p, of_pairs, segments)
            per_pair = p is not None and q is None
            hard = _where(there, hard)
            x_n = torch.zeros_like(hard) if n is None else n.inner(hard)
            if per_pair:
                x_n, there = segments.of_anchors(x_n), None if there is None else segments.of_anchors(there)
            factor = factor / divisor
            t_p, t_n = (_where(there, t(x_p, x_n) * factor) for t in (term.pull, term.push))
            if p is not None:
                part = (t_p if per_pair else segments.of_anchors(t_p) * q) * _weight(p, of_pairs)
                pull = part if pull is None else pull + part
            if n is not None:
                push = _where(of_anchors, (segments.total(t_n) if per_pair else t_n) * _weight(n, hard))
                own = pairs.row if segments.single else torch.arange(len(hard), device=hard.device)
                entries.append((at, own, push) if axis else (own, at, push))
                value = value + torch.dot(push, hard)
    pull = torch.zeros_like(of_pairs) if pull is None else pull
    value = value - torch.dot(pull, of_pairs)
    used = slice(None) if pairs.diagonal else pull.nonzero()[:, 0]
    entries.append((pairs.row[used], pairs.column[used], -pull[used]))
    return SparseWeights(*(torch.cat(parts) for parts in zip(*entries, strict=True))), value


def _larger(best: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], start: int, offset: int) -> tuple[Tensor, Tensor]:
    """One axis's maxima and where they stand with those of a tile; an earlier tile's equal value stays."""
    part = slice(start, start + len(new[0]))
    before = best[0][part]
    larger = (new[0] > before) | new[0].isnan()
    best[0][part] = torch.where(larger, new[0], before)
    best[1][part] = torch.where(larger, new[1] + offset, best[1][part])
    return best
