"""What one term makes of a tile of scores: every anchor's aggregate of the negatives first, then their weights."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalSubscript=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Side, Term
from goal_analysis.numeric.engine.pairs import Pairs, Rank, Tile, chunks
from goal_analysis.numeric.engine.positives import (
    alone,
    both,
    handed_over,
    lost,
    of_side,
    only,
    over,
    triplet_weights,
    weighted,
)

SMALL = 40.0
"""Exponents up to which sums of exponentials keep their digits in float32 as they are."""

EXPONENTIAL = frozenset(("logsumexp", "soft_max"))
LINEAR = frozenset(("mean", "sum"))


@lru_cache(maxsize=1024)
def kind_of(term: Term) -> str | None:
    """How the negatives of a term are looked at; None where there is no tiled way."""
    p, n = term.positives, term.negatives
    if (
        term.pull is None
        or term.relative is not None
        or any(side is not None and side.selection is not None for side in (p, n))
    ):
        return None
    if n is None:
        return "none"
    name = n.aggregator.name
    if name == "max":
        rises = n.hints.line is not None and n.hints.line[0] > 0  # so both have their maximum at one pair
        return "max" if rises and n.pool == "own" else None
    if name in EXPONENTIAL:
        return "exponential" if n.pool != "both ends" or (p is not None and p.aggregator.enumerates) else None
    if n.pool != "own":
        return None
    return "linear" if name in LINEAR else "each" if n.aggregator.enumerates else None


@lru_cache(maxsize=1024)
def bounded(term: Term) -> bool:
    """Whether exponents are known to be small between unit vectors."""
    side = term.negatives
    return kind_of(term) == "exponential" and abs(side.aggregator.scale) * side.hints.bound * 1.05 <= SMALL


@dataclass(eq=False)
class Look:
    """One term at the scores of one call; its vectors have the rows before the columns that gather negatives."""

    term: Term
    kind: str  # how its negatives are looked at
    pairs: Pairs
    there: Tensor | None  # which anchors have what the term needs; None where all have
    gathering: int  # how many gather negatives
    shared: bool  # exponentials need no shift
    total: Tensor | None = None  # Σ over negatives, of exp(β·h(s) − shift) or of h(s); or the most similar negative
    shift: Tensor | None = None  # what exponents are relative to; None for zero
    weight: Tensor | None = None  # what mining is multiplied with; a column per x_p of enumerated negatives
    x: Tensor | None = None  # x_p in columns, where negatives are enumerated
    mining: Tensor | None = None  # its weights
    pulled: Tensor | None = None  # Σ T⁺ over the negatives, of every x_p

    @classmethod
    def of(cls, term: Term, pairs: Pairs, like: Tensor, shared: bool) -> Look:
        """A term before its first look."""
        kind, n = kind_of(term) or "none", term.negatives
        count = sum(pairs.shape) if n is not None and n.pool == "both ends" else pairs.anchors
        return cls(term, kind, pairs, pairs.present(term, like), count, shared)

    def begin(self, like: Tensor) -> None:
        """Have gathered nothing."""
        self.total = like.new_zeros(self.gathering)
        if self.kind == "exponential" and not self.shared:
            self.shift = like.new_full((self.gathering,), torch.finfo(like.dtype).min)

    @property
    def whole(self) -> bool:
        """Whether tiles have whole rows and rows alone gather: an exponential is relative to its row."""
        return self.gathering == self.pairs.shape[0]

    @property
    def keeps(self) -> bool:
        """Whether what `first` leaves is what `second` begins with, if it is still there."""
        return self.kind == "exponential" and (self.shared or self.whole)

    @property
    def forgets(self) -> bool:
        """Whether the weights are made of what `first` leaves alone, without the scores."""
        side = self.term.negatives
        return self.keeps and side.hints.constant is not None and side.hints.line is not None

    @property
    def late(self) -> bool:
        """Whether positives know what they lose when their negatives have passed."""
        return self.kind == "each" and self.term.positives is not None

    @property
    def logarithm(self) -> Tensor:
        """The logsumexp; −∞ without negatives."""
        return self.total.log() if self.shift is None else self.total.log() + self.shift

    @property
    def divisor(self) -> Any:
        """What the mining weight of a negative is divided by, but for its exponential."""
        if self.kind == "exponential":
            every = self.there is None and self.term.negatives.pool != "both ends"
            return self.total if every else self.total.masked_fill(self.total == 0, 1)
        if self.kind == "none" or self.term.negatives.aggregator.name not in ("mean", "each_mean"):
            return 1.0
        count = self.pairs.negatives(self.total)
        return count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1.0)

    @property
    def x_n(self) -> Tensor:
        """x_n of every anchor."""
        if self.kind == "none":
            return torch.zeros_like(self.total)
        if self.kind == "exponential":
            return self.logarithm / self.term.negatives.aggregator.scale
        return of_side(self.term.negatives, self.total) if self.kind == "max" else over(self.total, self.divisor)

    def sides(self, tile: Tile | Pairs, part: slice | None = None) -> list[tuple[slice, int]]:
        """Where the anchors of a tile, or of some of its rows, stand in the vectors, and along which axis."""
        rows, columns = self.pairs.shape
        down, across = (slice(0, rows), slice(0, columns)) if isinstance(tile, Pairs) else (tile.down, tile.across)
        down = down if part is None else slice(down.start + part.start, down.start + part.stop)
        return [(down, 1)] if self.whole else [(down, 1), (slice(rows + across.start, rows + across.stop), 0)]

    def of_both(self, vector: Tensor, sides: list[tuple[slice, int]]) -> Tensor:
        """The sum of what a vector has of the anchors of either axis, as it is broadcast to the scores there."""
        of_rows = vector[sides[0][0], None]
        return of_rows if len(sides) == 1 else of_rows + vector[sides[1][0]]

    def first(self, tile: Tile | Pairs, s: Tensor, matrix: Tensor) -> None:
        """Add a tile's negatives to the aggregates; ``matrix`` has room for a number a score, and may be the scores."""
        side, shifts = self.term.negatives, self.kind == "exponential" and not self.shared
        scale = side.aggregator.scale if self.kind == "exponential" else 1.0
        for _, chunk, scores in chunks(matrix, s):
            inner(side, scores, scale, chunk)
            if self.shared:
                chunk.exp_()
        if side.pool != "all":
            tile.mask(matrix, -torch.inf if shifts else 0.0)
        for part, chunk in chunks(matrix):
            for where, dim in self.sides(tile, part):
                if not shifts:
                    self.total[where].add_(chunk.sum(dim))
                elif self.whole:
                    self.shift[where] = shift = chunk.amax(1).clamp_min(torch.finfo(chunk.dtype).min)
                    self.total[where] = chunk.sub_(shift[:, None]).exp_().sum(1)
                else:
                    before = self.shift[where]
                    shift = torch.maximum(before, chunk.amax(dim))
                    total = (chunk - shift.unsqueeze(dim)).exp_().sum(dim)
                    self.total[where] = self.total[where] * (before - shift).exp() + total
                    self.shift[where] = shift

    def exchange(self, rank: Rank) -> None:
        """Put together what all ranks have added up."""
        totals = rank.gathered(self.total)
        if self.shift is not None:
            shifts = rank.gathered(self.shift)
            self.shift = shifts.amax(0)
            totals = totals * (shifts - self.shift).exp()
        self.total = totals.sum(0)

    def settle(self, s: Tensor, share: Tensor | float) -> Tensor | None:
        """From the aggregates and the positives' scores to T and the anchors' weights.

        It returns what W loses at the positives, as `settled` does, or None where it is known late.
        """
        term, n, pairs = self.term, self.term.negatives, self.pairs
        if self.kind != "each" and (n is None or n.pool != "both ends"):
            push, pull = self.settled(s, only(self.there, self.x_n), share)
            self.weight = over(push, self.divisor)
            return pull
        s = s[:, None] if s.ndim == 1 else s
        x_p, factor, q, there = handed_over(term, s, pairs, self.there, share)
        if self.kind == "each":
            divisor = self.divisor
            divisor = divisor[:, None] if isinstance(divisor, Tensor) else divisor
            self.weight = over(only(there, torch.ones_like(x_p) * factor), divisor)
            self.x, self.mining, self.pulled = x_p, q, torch.zeros_like(x_p)
            return None
        logarithm, partners = self.logarithm, pairs.partners
        ends = logarithm[: pairs.anchors, None], logarithm[partners]
        x = torch.logaddexp(*ends) / n.aggregator.scale
        there = both(there, x.isfinite() | x.isnan())
        x = only(there, x)
        push, pull = triplet_weights(term, x_p, x, factor, there)
        here, beyond = (only(there, push * (end - x * n.aggregator.scale).exp()) for end in ends)
        self.weight = torch.zeros_like(self.total)
        self.weight[: pairs.anchors] = here.sum(1)
        self.weight.index_add_(0, partners.flatten(), beyond.flatten())
        self.weight /= self.divisor
        return None if term.positives is None else lost(term.positives, s, pull, q)

    def settled(self, s: Tensor, x_n: Tensor, share: Tensor | float) -> tuple[Tensor, Tensor | None]:
        """T⁻ times what it counts for, of every anchor, and what W loses at positives of the scores s, if there are."""
        positives = self.term.positives
        if s.ndim == 1 and positives is not None and not alone(positives):
            s = s[:, None]
        x_p, factor, q, there = handed_over(self.term, s, self.pairs, self.there, share)
        push, pull = triplet_weights(self.term, x_p, x_n if s.ndim == 1 else x_n[:, None], factor, there)
        return push if s.ndim == 1 else push.sum(1), None if positives is None else lost(positives, s, pull, q)

    def of_largest(self) -> tuple[Tensor, Tensor]:
        """The most similar negative of every anchor, and its weight."""
        hard = only(self.there, self.total)
        return hard, only(self.there, weighted(self.term.negatives, self.weight, hard))

    def lost_late(self, s: Tensor) -> Tensor:
        """What W loses at the positives, once all negatives have met every x_p."""
        s = s[:, None] if s.ndim == 1 else s
        return lost(self.term.positives, s, self.pulled * self.weight, self.mining)

    def second(self, tile: Tile | Pairs, s: Tensor, matrix: Tensor, kept: bool, pulls: bool = True) -> None:
        """Put the weights of a tile's negatives into a matrix, which may be the scores where these are not needed.

        It is ``kept`` where it holds what `first` left; with ``pulls``, what positives lose is added up where they meet
        all.
        """
        side = self.term.negatives
        if self.kind == "each":
            self._each(tile, s, matrix, pulls and self.late)
            return
        constant = side.hints.constant
        weight = self.weight if constant in (None, 1) else self.weight * constant
        for part, chunk, scores in chunks(matrix, s):
            sides = self.sides(tile, part)
            if self.kind == "linear":
                chunk.copy_(self.of_both(weight, sides).expand(chunk.shape))
            elif self.keeps:
                if not kept:
                    inner(side, scores, side.aggregator.scale, chunk)
                    (chunk if self.shared else chunk.sub_(self.shift[sides[0][0], None])).exp_()
                chunk.mul_(self.of_both(weight, sides))
            else:
                values, parts = side.inner(scores), []
                for where, dim in sides:
                    shifted = torch.add(-self.shift[where].unsqueeze(dim), values, alpha=side.aggregator.scale)
                    parts.append(shifted.exp_().mul_(weight[where].unsqueeze(dim)))
                chunk.copy_(parts[0]) if len(parts) == 1 else torch.add(*parts, out=chunk)
            if constant is None:
                chunk.mul_(side.weight(scores))
        if side.pool != "all" and not (kept and constant is not None):
            tile.mask(matrix, 0.0)

    def _each(self, tile: Tile | Pairs, s: Tensor, matrix: Tensor, pulls: bool) -> None:
        """The weights of negatives that meet every x_p by themselves."""
        side = self.term.negatives
        values, first = side.inner(s), True
        for where, dim in self.sides(tile):
            for slot in range(self.x.shape[1]):
                x, weight = (of[where, slot].unsqueeze(dim) for of in (self.x, self.weight))
                t = _fresh(self.term.push(x, values), x, values)
                tile.mask(t, 0.0)
                torch.mul(t, weight, out=matrix) if first else matrix.addcmul_(t, weight)
                first = False
                if pulls and self.term.pull is not self.term.push:
                    t = _fresh(self.term.pull(x, values), x, values)
                    tile.mask(t, 0.0)
                if pulls:
                    self.pulled[where, slot].add_(t.sum(dim))
        if side.hints.constant is None:
            matrix.mul_(side.weight(s))
        elif side.hints.constant != 1:
            matrix.mul_(side.hints.constant)


def _fresh(t: Tensor, *inputs: Tensor) -> Tensor:
    """What a formula made of these, in memory of its own."""
    alone = t.is_contiguous() and t.data_ptr() not in [x.data_ptr() for x in inputs]
    return t if alone else t.clone(memory_format=torch.contiguous_format)


def inner(side: Side, s: Tensor, scale: float, out: Tensor) -> None:
    """scale·h(s), which may be put where s is."""
    if side.hints.line is None:
        torch.mul(side.inner(s), scale, out=out)
        return
    slope, offset = side.hints.line
    torch.mul(s, scale * slope, out=out)
    if offset:
        out.add_(scale * offset)
