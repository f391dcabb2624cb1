"""The small way: both gradients of a small batch in few calls, through its whole matrix of scores.

Aggregates and T are worked out for both axes at once. No matrix tells which pairs match: their places do.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Side, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import inner, kind_of
from goal_analysis.numeric.engine.pairs import Pairs
from goal_analysis.numeric.engine.positives import divisor, handed_over, lost, only, pair_weights, triplet_weights

SMALL = 40.0
"""Exponents up to which sums of exponentials keep their digits in float32 as they are."""

MOST = 2**18
MOST_OF_MAXIMA = 2**16
"""How many scores of a batch are few; those of maxima, which have a sparse way besides, unless they are distances."""


def _axes(pairs: Pairs) -> range:
    """0 for the rows, and 1 where the columns are anchors."""
    return range(1 + (pairs.anchors > pairs.shape[0]))


def _on_matrix(pairs: Pairs, values: Tensor) -> list[Tensor]:
    """One number an anchor, to be broadcast to the matrix of scores from each axis."""
    rows = pairs.shape[0]
    return [values[:rows, None], values[rows:]][: len(_axes(pairs))]


def is_small(functions: Functions, similarity: str, rows: int, columns: int) -> bool:
    """Whether a batch of this shape goes the small way."""
    if not (rows > 1 and columns > 1 and fits(functions)):
        return False
    maxima = similarity not in DISTANCES and "max" in [kind_of(term) for term in functions.terms]
    return rows * columns <= (MOST_OF_MAXIMA if maxima else MOST)


def fits(functions: Functions) -> bool:
    """Whether there is a small way for an objective of these functions."""
    ends = any(term.negatives is not None and term.negatives.pool == "both ends" for term in functions.terms)
    return not ends and None not in [kind_of(term) for term in functions.terms]


def gradients_at_once(functions: Functions, geometry: Geometry, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the embeddings, and ⟨W, S⟩, of a batch for which `is_small` holds.

    Args:
        functions: the objective.
        geometry: the embeddings.
        pairs: which match; all others are negatives.
    """
    x, y = geometry.x, geometry.y
    s = x @ y.T
    geometry.score(s, slice(None), slice(None))
    positives = pairs.read(s)
    pushes, pulls = zip(*(_weights(functions, term, pairs, s, positives) for term in functions.terms), strict=True)
    pushes, pulls = ([part for part in parts if part is not None] for parts in (pushes, pulls))
    w = functools.reduce(Tensor.add_, pushes) if pushes else torch.zeros_like(s)
    if pulls:
        pairs.subtract(w, sum(pulls[1:], pulls[0]))
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
    functions: Functions, term: Term, pairs: Pairs, s: Tensor, positives: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What the negatives of a term get, as a matrix, and what its positives lose, in their slots."""
    p, n, kind, there = term.positives, term.negatives, kind_of(term), pairs.present(term, s)
    x_p, factor, q, inside = handed_over(term, positives, pairs, there, divisor(functions, pairs, there))
    if kind == "each":
        matrix, pulled = _each(term, pairs, s, x_p, only(inside, torch.ones_like(x_p) * factor))
    else:
        x_n, spread = (torch.zeros_like(x_p[:, 0]), None) if n is None else _LOOKS[kind](n, pairs, s)
        pushed, pulled = triplet_weights(term, x_p, only(there, x_n)[:, None], factor, inside)
        matrix = None if spread is None else spread(pushed[:, 0] if pushed.shape[1] == 1 else pushed.sum(1), there)
    if matrix is not None and kind != "max":
        if n.hints.constant is None:
            matrix.mul_(n.weight(s))
        elif n.hints.constant != 1:
            matrix.mul_(n.hints.constant)
        if n.pool != "all" and (n.hints.constant is None or kind == "linear"):
            pairs.fill(matrix, 0.0)
    return matrix, None if p is None else lost(p, positives, pulled, q)


def _each(term: Term, pairs: Pairs, s: Tensor, x_p: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same, but for P, where every negative meets every x_p by itself."""
    n, pulls = term.negatives, term.positives is not None
    values = n.inner(s)
    if n.aggregator.name == "each_mean":
        count = pairs.negatives(s)
        weight = weight / (count.clamp(min=1)[:, None] if isinstance(count, Tensor) else count)
    matrix, pulled = torch.zeros_like(s), []
    for x, by in zip(x_p.unbind(1), weight.unbind(1), strict=True):
        sums = []
        for axis, at, times in zip(_axes(pairs), _on_matrix(pairs, x), _on_matrix(pairs, by), strict=True):
            t = term.push(at, values) * times
            pairs.fill(t, 0.0)
            matrix += t
            if pulls and term.pull is not term.push:
                t = term.pull(at, values) * times
                pairs.fill(t, 0.0)
            if pulls:
                sums.append(t.sum(1 - axis))
        pulled += [torch.cat(sums)] if pulls else []
    return matrix, torch.stack(pulled, 1) if pulls else weight


Spread = Callable[[Tensor, Tensor | None], Tensor]
"""A matrix of what every anchor's negatives get, from what the anchors receive, which are there."""


def _largest(side: Side, pairs: Pairs, s: Tensor) -> tuple[Tensor, Spread]:
    """The most similar negative of every anchor."""
    masked = s.clone()
    pairs.fill(masked, -torch.inf)
    found = [masked.max(1 - axis) for axis in _axes(pairs)]
    hard = torch.cat([value for value, _ in found])

    def spread(received: Tensor, there: Tensor | None) -> Tensor:
        weights = only(there, received * pair_weights(side, only(there, hard)))
        matrix = torch.zeros_like(s)
        for axis, (_, at), weight in zip(_axes(pairs), found, weights.split([len(at) for _, at in found]), strict=True):
            matrix.scatter_add_(1 - axis, at.unsqueeze(1 - axis), weight.unsqueeze(1 - axis))
        return matrix

    return side.inner(hard), spread


def _exponential(side: Side, pairs: Pairs, s: Tensor) -> tuple[Tensor, Spread]:
    """log Σ exp(β·h(s))/β over every anchor's negatives: one exponential for both axes where it keeps its digits."""
    scale, z = side.aggregator.scale, torch.empty_like(s)
    inner(side, s, scale, z)
    least, most = torch.aminmax(z)
    shared = float(least) >= -SMALL and float(most) <= SMALL
    z = z.exp_() if shared else z
    if side.pool != "all":
        pairs.fill(z, 0.0 if shared else -torch.inf)
    e, shifts = [z], []
    if not shared:
        shifts = [z.amax(1 - axis, keepdim=True).clamp_min(torch.finfo(z.dtype).min) for axis in _axes(pairs)]
        e = [torch.sub(z, shift).exp_() for shift in shifts]
    total = torch.cat([e[-1 if axis else 0].sum(1 - axis) for axis in _axes(pairs)])
    logarithm = total.log() if shared else total.log() + torch.cat([shift.flatten() for shift in shifts])

    def spread(received: Tensor, there: Tensor | None) -> Tensor:
        weights = _on_matrix(pairs, received / (total if there is None else total.masked_fill(~there, 1)))
        if len(e) == 1:
            return e[0].mul_(weights[0] if len(weights) == 1 else weights[0] + weights[1])
        first, second = (part.mul_(weight) for part, weight in zip(e, weights, strict=True))
        return first.add_(second)

    return logarithm if scale == 1 else logarithm / scale, spread


def _linear(side: Side, pairs: Pairs, s: Tensor) -> tuple[Tensor, Spread]:
    """Σ h(s) over every anchor's negatives, or their mean."""
    values = side.inner(s).clone()
    pairs.fill(values, 0.0)
    count = pairs.negatives(s) if side.aggregator.name == "mean" else 1.0
    count = count.clamp(min=1) if isinstance(count, Tensor) else count

    def spread(received: Tensor, there: Tensor | None) -> Tensor:
        return sum(_on_matrix(pairs, received / count), torch.zeros_like(s))

    return torch.cat([values.sum(1 - axis) for axis in _axes(pairs)]) / count, spread


_LOOKS = {"max": _largest, "exponential": _exponential, "linear": _linear}
