"""The small way: both gradients of a small batch in few calls, through its whole matrix of scores.

The anchors stand in one vector, those of the rows before those of the columns, and their positives in slots; so
aggregates and T are worked out for both axes at once. No matrix tells which pairs match: their places do.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Side, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import inner, kind_of
from goal_analysis.numeric.engine.positives import both, handed_over, of_positives, where

SMALL = 40.0
"""Exponents up to which sums of exponentials keep their digits in float32 as they are."""

MOST = {"max": 2**16, "exponential": 2**18, "linear": 2**18, "each": 2**18, "none": 2**18}
"""How many scores of a batch are few, by how the negatives are aggregated: maxima alone have a sparse way besides."""


@dataclass(frozen=True, eq=False)
class Slots:
    """Where the positives of the anchors stand in the flattened matrix of scores.

    Args:
        shape: rows, which are anchors, and columns.
        anchors: how many anchors are rows, and how many columns: all or none.
        places: shape ``(anchors, slots)``; None where row i matches column i alone.
        members: which slots hold a positive; None where all do.
        counts: how many positives the anchors of each axis have; nothing where each has one.
        matching: the places of all pairs that match; None for the diagonal.
        complete: whether every anchor has a positive and a negative.
    """

    shape: tuple[int, int]
    anchors: tuple[int, int]
    places: Tensor | None = None
    members: Tensor | None = None
    counts: tuple[Tensor, ...] = ()
    matching: Tensor | None = None
    complete: bool = True

    @classmethod
    def of(
        cls, functions: Functions, shape: tuple[int, int], row_ids: Tensor | None, column_ids: Tensor | None
    ) -> Slots:
        """The slots of a batch of these ids; without ids row i matches column i."""
        anchors = shape[0], shape[1] * functions.columns
        if row_ids is None:
            return cls(shape, anchors)
        i = torch.arange(shape[0], device=row_ids.device)[:, None]
        at, members, counts, (least, most) = _matching(row_ids, row_ids if column_ids is None else column_ids)
        if column_ids is None and most == 1:
            return cls(shape, anchors)
        of_rows = i * shape[1] + at
        matching = of_rows.flatten() if members is None else of_rows[members]
        complete = least > 0 and most < shape[1]
        found = [(of_rows, members, counts)]
        if functions.columns:
            j = i
            if column_ids is not None:
                j = torch.arange(shape[1], device=row_ids.device)[:, None]
                at, members, counts, (least, most) = _matching(column_ids, row_ids)
                complete = complete and least > 0 and most < shape[0]
            found.append((at * shape[1] + j, members, counts))
        most = max(places.shape[1] for places, *_ in found)
        same = all(members is None and places.shape[1] == most for places, members, _ in found)
        joined = None
        if not same:
            all_there = [torch.ones_like(p, dtype=torch.bool) if m is None else m for p, m, _ in found]
            joined = torch.cat([_padded(there, most) for there in all_there])
        places = torch.cat([_padded(places, most) for places, *_ in found])
        return cls(shape, anchors, places, joined, tuple(counts for *_, counts in found), matching, complete)

    @property
    def axes(self) -> list[int]:
        """0 for the rows, and 1 where the columns are anchors."""
        return [0, 1] if self.anchors[1] else [0]

    @property
    def several(self) -> Tensor | None:
        """Which slots hold a positive; None where every anchor has one positive."""
        if self.places is None:
            return None
        return torch.ones_like(self.places, dtype=torch.bool) if self.members is None else self.members

    def read(self, s: Tensor) -> Tensor:
        """The scores of the positives, shape ``(anchors, slots)``."""
        if self.places is not None:
            return s.view(-1)[self.places]
        return torch.cat([s.diagonal()] * len(self.axes))[:, None]

    def fill(self, matrix: Tensor, value: float) -> None:
        """Put a value where pairs match."""
        if self.matching is None:
            matrix.fill_diagonal_(value)
        else:
            matrix.view(-1).index_fill_(0, self.matching, value)

    def subtract(self, matrix: Tensor, pulls: Tensor) -> None:
        """Subtract what the anchors' positives are pulled with."""
        if self.places is not None:
            matrix.view(-1).index_add_(0, self.places.flatten(), pulls.flatten(), alpha=-1)
            return
        d = matrix.diagonal()
        for part in pulls[:, 0].split(len(d)):
            d.sub_(part)

    def on_matrix(self, values: Tensor) -> list[Tensor]:
        """One number an anchor, to be broadcast to the matrix of scores from each axis."""
        rows, columns = values.split(self.anchors)
        return [rows[:, None], columns][: len(self.axes)]

    def negatives(self, like: Tensor) -> Tensor | float:
        """How many negatives every anchor has."""
        opposite = self.shape[::-1][: len(self.axes)]
        if not self.counts and len(set(opposite)) == 1:
            return float(opposite[0] - 1)
        counts = self.counts or [like.new_ones(of) for of in self.anchors[: len(self.axes)]]
        return torch.cat([n - count for n, count in zip(opposite, counts, strict=True)]).to(like.dtype)

    def present(self, term: Term, like: Tensor) -> Tensor | None:
        """Which anchors have what a term needs; None where all have."""
        if self.complete:
            return None
        there = torch.cat(self.counts) > 0 if term.positives is not None else None
        if term.negatives is not None and term.negatives.pool == "own":
            there = both(there, torch.as_tensor(self.negatives(like)) > 0)
        return there


def _padded(slots: Tensor, most: int) -> Tensor:
    return slots if slots.shape[1] == most else torch.nn.functional.pad(slots, (0, most - slots.shape[1]))


def _matching(of: Tensor, among: Tensor) -> tuple[Tensor, Tensor | None, Tensor, tuple[int, int]]:
    """What each one matches, in slots that repetitions fill up; how many, and the least and the most of these."""
    ordered, order = among.sort(stable=True)
    first, last = torch.searchsorted(ordered, of), torch.searchsorted(ordered, of, right=True)
    counts = last - first
    least, most = (int(n) for n in torch.aminmax(counts))
    slots = first[:, None] + torch.arange(max(most, 1), device=of.device)
    if least == most > 0:
        return order[slots], None, counts, (least, most)
    members = slots < last[:, None]
    return order[torch.minimum(slots, (last - 1).clamp_min_(0)[:, None])], members, counts, (least, most)


def is_small(functions: Functions, similarity: str, rows: int, columns: int) -> bool:
    """Whether a batch of this shape goes the small way."""
    if not (rows > 1 and columns > 1 and fits(functions)):
        return False
    kinds = [kind_of(term) for term in functions.terms]
    most = min(2**18 if kind == "max" and similarity in DISTANCES else MOST[kind] for kind in kinds)
    return rows * columns <= most


def fits(functions: Functions) -> bool:
    """Whether there is a small way for an objective of these functions."""
    ends = any(term.negatives is not None and term.negatives.pool == "both ends" for term in functions.terms)
    return not ends and None not in [kind_of(term) for term in functions.terms]


def gradients_at_once(functions: Functions, geometry: Geometry, slots: Slots) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the embeddings, and ⟨W, S⟩, of a batch for which `is_small` holds.

    Args:
        functions: the objective.
        geometry: the embeddings.
        slots: which match; all others are negatives.
    """
    x, y = geometry.x, geometry.y
    s = x @ y.T
    geometry.score(s, slice(None), slice(None))
    positives = slots.read(s)
    pushes, pulls = zip(*(_weights(functions, term, slots, s, positives) for term in functions.terms), strict=True)
    pushes, pulls = ([part for part in parts if part is not None] for parts in (pushes, pulls))
    w = functools.reduce(Tensor.add_, pushes) if pushes else torch.zeros_like(s)
    if pulls:
        slots.subtract(w, sum(pulls[1:], pulls[0]))
    value = torch.dot(w.view(-1), s.view(-1))
    if geometry.similarity not in DISTANCES:
        return w @ y, w.T @ x, value
    geometry.by_products(w, s)
    return (
        torch.addcmul(w @ y, w.sum(1)[:, None], x, value=-1),
        torch.addcmul(w.T @ x, w.sum(0)[:, None], y, value=-1),
        value,
    )


def _weights(
    functions: Functions, term: Term, slots: Slots, s: Tensor, positives: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What the negatives of a term get, as a matrix, and what its positives lose, in their slots."""
    p, n, kind, there = term.positives, term.negatives, kind_of(term), slots.present(term, s)
    share = 1.0
    if functions.reduction == "mean":
        share = float(sum(slots.anchors)) if there is None else there.sum().clamp(min=1).double()
    x_p, factor, q = positives[:, :1] * 0, 1.0, None
    if p is not None:
        x_p, factor, q = handed_over(p, positives, slots.several)
    inside = both(slots.members if q is None and p is not None else None, None if there is None else there[:, None])
    factor = factor / share
    pulled: Tensor | None
    if kind == "each":
        weight = where(inside, torch.ones_like(x_p) * factor)
        matrix, pulled = _each(term, slots, s, x_p, weight)
    else:
        x_n, spread = (torch.zeros_like(x_p[:, 0]), None) if n is None else _LOOKS[kind](n, slots, s)
        x_n = where(there, x_n)[:, None]
        pushed = where(inside, term.push(x_p, x_n) * factor)
        pulled = pushed if term.pull is term.push else where(inside, term.pull(x_p, x_n) * factor)
        received = pushed[:, 0] if pushed.shape[1] == 1 else pushed.sum(1)
        matrix = None if spread is None else spread(received, there)
    if matrix is not None and kind != "max":
        if n.hints.constant is None:
            matrix.mul_(n.weight(s))
        elif n.hints.constant != 1:
            matrix.mul_(n.hints.constant)
        if n.pool != "all" and (n.hints.constant is None or kind == "linear"):
            slots.fill(matrix, 0.0)
    if p is None:
        return matrix, None
    pulled = pulled if q is None else pulled * q
    return matrix, pulled if p.hints.constant == 1 else pulled * of_positives(p, positives)


def _each(term: Term, slots: Slots, s: Tensor, x_p: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same, but for P, where every negative meets every x_p by itself."""
    n, pulls = term.negatives, term.positives is not None
    values = n.inner(s)
    if n.aggregator.name == "each_mean":
        count = slots.negatives(s)
        weight = weight / (count.clamp(min=1)[:, None] if isinstance(count, Tensor) else count)
    matrix, pulled = torch.zeros_like(s), []
    for x, by in zip(x_p.unbind(1), weight.unbind(1), strict=True):
        sums = []
        for axis, at, times in zip(slots.axes, slots.on_matrix(x), slots.on_matrix(by), strict=True):
            t = term.push(at, values) * times
            slots.fill(t, 0.0)
            matrix += t
            if pulls and term.pull is not term.push:
                t = term.pull(at, values) * times
                slots.fill(t, 0.0)
            if pulls:
                sums.append(t.sum(1 - axis))
        pulled += [torch.cat(sums)] if pulls else []
    return matrix, torch.stack(pulled, 1) if pulls else weight


Spread = Callable[[Tensor, Tensor | None], Tensor]
"""A matrix of what every anchor's negatives get, from what the anchors receive, which are there."""


def _largest(side: Side, slots: Slots, s: Tensor) -> tuple[Tensor, Spread]:
    """The most similar negative of every anchor."""
    masked = s.clone()
    slots.fill(masked, -torch.inf)
    found = [masked.max(1 - axis) for axis in slots.axes]
    hard = torch.cat([value for value, _ in found])

    def spread(received: Tensor, there: Tensor | None) -> Tensor:
        weights = where(there, received * of_positives(side, where(there, hard)))
        matrix = torch.zeros_like(s)
        for axis, (_, at), weight in zip(slots.axes, found, weights.split([len(at) for _, at in found]), strict=True):
            matrix.scatter_add_(1 - axis, at.unsqueeze(1 - axis), weight.unsqueeze(1 - axis))
        return matrix

    return side.inner(hard), spread


def _exponential(side: Side, slots: Slots, s: Tensor) -> tuple[Tensor, Spread]:
    """log Σ exp(β·h(s))/β over every anchor's negatives: one exponential for both axes where it keeps its digits."""
    scale, z = side.aggregator.scale, torch.empty_like(s)
    inner(side, s, scale, z)
    least, most = torch.aminmax(z)
    shared = float(least) >= -SMALL and float(most) <= SMALL
    z = z.exp_() if shared else z
    if side.pool != "all":
        slots.fill(z, 0.0 if shared else -torch.inf)
    e, shifts = [z], []
    if not shared:
        shifts = [z.amax(1 - axis, keepdim=True).clamp_min(torch.finfo(z.dtype).min) for axis in slots.axes]
        e = [torch.sub(z, shift).exp_() for shift in shifts]
    total = torch.cat([e[-1 if axis else 0].sum(1 - axis) for axis in slots.axes])
    logarithm = total.log() if shared else total.log() + torch.cat([shift.flatten() for shift in shifts])

    def spread(received: Tensor, there: Tensor | None) -> Tensor:
        weights = slots.on_matrix(received / (total if there is None else total.masked_fill(~there, 1)))
        if len(e) == 1:
            return e[0].mul_(weights[0] if len(weights) == 1 else weights[0] + weights[1])
        first, second = (part.mul_(weight) for part, weight in zip(e, weights, strict=True))
        return first.add_(second)

    return logarithm if scale == 1 else logarithm / scale, spread


def _linear(side: Side, slots: Slots, s: Tensor) -> tuple[Tensor, Spread]:
    """Σ h(s) over every anchor's negatives, or their mean."""
    values = side.inner(s).clone()
    slots.fill(values, 0.0)
    count = slots.negatives(s) if side.aggregator.name == "mean" else 1.0
    count = count.clamp(min=1) if isinstance(count, Tensor) else count

    def spread(received: Tensor, there: Tensor | None) -> Tensor:
        return sum(slots.on_matrix(received / count), torch.zeros_like(s))

    return torch.cat([values.sum(1 - axis) for axis in slots.axes]) / count, spread


_LOOKS = {"max": _largest, "exponential": _exponential, "linear": _linear}
