"""What one term makes of a tile of scores: every anchor's aggregate of the negatives first, then their weights."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalSubscript=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Side, Term
from goal_analysis.numeric.engine.pairs import Rank, Tile, chunks

EXPONENTIAL = frozenset(("logsumexp", "soft_max"))
LINEAR = frozenset(("mean", "sum"))


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


@dataclass(eq=False)
class Axis:
    """What is known of one term's anchors on one axis.

    Args:
        counts: how many positives every anchor has; None for one.
        there: which anchors have what the term needs; None where all have.
        opposite: how many anchors the other axis has.
        total: Σ over the negatives, of exp(β·h(s) − shift) or of h(s); or the most similar negative.
        shift: what exponents are relative to.
        weight: what the mining of a negative is multiplied with; a column per x_p where negatives are enumerated.
        x: x_p of every anchor, in columns, where negatives are enumerated.
        pulled: Σ T⁺ over the negatives, of every x_p.
    """

    counts: Tensor | None
    there: Tensor | None
    opposite: int
    total: Tensor
    shift: Tensor
    weight: Tensor
    x: Tensor | None = None
    pulled: Tensor | None = None

    @property
    def logarithm(self) -> Tensor:
        """The logsumexp; −∞ without negatives."""
        return self.total.log() + self.shift

    def share(self, side: Side) -> Tensor | float:
        """What the mining weight of a negative is, but for its exponential."""
        if side.aggregator.name in EXPONENTIAL:
            return self.total.masked_fill(self.total == 0, 1).reciprocal_()
        if side.aggregator.name in ("mean", "each_mean"):
            if self.counts is None:
                return 1 / max(self.opposite - 1, 1)
            return (self.opposite - self.counts).clamp(min=1).to(self.total.dtype).reciprocal_()
        return 1.0

    def of_negatives(self, side: Side) -> Tensor:
        """x_n of every anchor."""
        if side.aggregator.name in EXPONENTIAL:
            return self.logarithm / side.aggregator.scale
        if side.aggregator.name == "max":
            return side.inner(self.total)
        return self.total * self.share(side)


@dataclass(eq=False)
class Look:
    """One term at the scores of one call.

    Args:
        term: which.
        kind: how its negatives are looked at.
        axes: the anchors that are rows, and those that are columns; None where those gather no negatives.
        whole: whether every tile has whole rows and rows alone gather: then one exponential is relative to its row.
        shared: whether exponentials need no shift.
    """

    term: Term
    kind: str
    axes: tuple[Axis | None, Axis | None]
    whole: bool
    shared: bool

    @property
    def keeps(self) -> bool:
        """Whether what `first` leaves is what `second` begins with, if it is still there."""
        return self.kind == "exponential" and (self.shared or self.whole)

    @property
    def forgets(self) -> bool:
        """Whether the weights are made of what `first` leaves alone, without the scores."""
        side = self.term.negatives
        return self.keeps and side.hints.constant is not None and side.hints.line is not None

    def first(self, tile: Tile, s: Tensor, matrix: Tensor) -> None:
        """Add a tile's negatives to the aggregates.

        Args:
            tile: which.
            s: its scores.
            matrix: room for a number a score, which may be the same memory.
        """
        side = self.term.negatives
        scale = side.aggregator.scale if self.kind == "exponential" else 1.0
        for part in chunks(matrix):
            inner(side, s[part], scale, matrix[part])
            if self.shared:
                matrix[part].exp_()
        if side.pool != "all":
            tile.mask(matrix, -torch.inf if self.kind == "exponential" and not self.shared else 0.0)
        rows, columns = self.axes
        for part in chunks(matrix):
            chunk = matrix[part]
            down = slice(tile.down.start + part.start, tile.down.start + part.start + len(chunk))
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

    def exchange(self, rank: Rank) -> None:
        """Put together what all ranks have added up."""
        for axis in self.axes:
            if axis is not None and self.kind != "each":
                totals, shifts = rank.gathered(torch.stack((axis.total, axis.shift))).unbind(1)
                axis.shift = shifts.amax(0)
                axis.total = (totals * (shifts - axis.shift).exp()).sum(0)

    def second(self, tile: Tile, s: Tensor, matrix: Tensor, kept: bool, pulls: bool = True) -> None:
        """Put the weights of a tile's negatives into a matrix.

        Args:
            tile: which.
            s: its scores.
            matrix: room for a number a score, which may be the same memory where the scores are not needed.
            kept: whether it holds what `first` has left there.
            pulls: whether negatives that meet every x_p are added to what the positives lose.
        """
        side = self.term.negatives
        if self.kind == "each":
            self._each(tile, s, matrix, pulls and self.term.positives is not None)
            return
        rows, columns = self.axes
        constant = side.hints.constant
        of_rows, of_columns = (
            None if axis is None else axis.weight[where] if constant in (None, 1) else axis.weight[where] * constant
            for axis, where in ((rows, tile.down), (columns, tile.across))
        )
        for part in chunks(matrix):
            chunk, scores = matrix[part], s[part]
            down = slice(tile.down.start + part.start, tile.down.start + part.start + len(chunk))
            weights = [w for w in (None if of_rows is None else of_rows[part, None], of_columns) if w is not None]
            if self.kind == "linear":
                chunk.copy_((weights[0] if len(weights) == 1 else weights[0] + weights[1]).expand(chunk.shape))
            elif self.keeps:
                if not kept:
                    inner(side, scores, side.aggregator.scale, chunk)
                    (chunk if self.shared else chunk.sub_(rows.shift[down, None])).exp_()
                chunk.mul_(weights[0] if len(weights) == 1 else weights[0] + weights[1])
            else:
                values = side.inner(scores)
                parts = []
                for axis, weight, where in ((rows, weights[0], (down, None)), (columns, weights[-1], tile.across)):
                    if axis is not None:
                        shifted = torch.add(-axis.shift[where], values, alpha=side.aggregator.scale)
                        parts.append(shifted.exp_().mul_(weight))
                chunk.copy_(parts[0]) if len(parts) == 1 else torch.add(*parts, out=chunk)
            if constant is None:
                chunk.mul_(side.weight(scores))
        if side.pool != "all":
            tile.mask(matrix, 0.0)

    def _each(self, tile: Tile, s: Tensor, matrix: Tensor, pulls: bool) -> None:
        """The weights of negatives that meet every x_p by themselves."""
        side = self.term.negatives
        values, first = side.inner(s), True
        for axis, where, dim in zip(self.axes, (tile.down, tile.across), (1, 0), strict=True):
            for slot in range(0 if axis is None else axis.x.shape[1]):
                x, weight = (of[where, slot].unsqueeze(dim) for of in (axis.x, axis.weight))
                t = _fresh(self.term.push(x, values), x, values)
                tile.mask(t, 0.0)
                torch.mul(t, weight, out=matrix) if first else matrix.addcmul_(t, weight)
                first = False
                if pulls and self.term.pull is not self.term.push:
                    t = _fresh(self.term.pull(x, values), x, values)
                    tile.mask(t, 0.0)
                if pulls:
                    axis.pulled[where, slot] += t.sum(dim)
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
