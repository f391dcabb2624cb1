"""The small way: both gradients of a small batch in few calls, through its whole matrix of scores."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import functools

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import SMALL, Look, kind_of
from goal_analysis.numeric.engine.pairs import Pairs
from goal_analysis.numeric.engine.positives import divisor

MOST = 2**18
MOST_OF_MAXIMA = 2**16
"""How many scores of a batch are few; those of maxima, which have a sparse way besides, unless they are distances."""


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
    """The gradients of the embeddings, and ⟨W, S⟩, of a batch for which `is_small` holds."""
    x, y = geometry.x, geometry.y
    s = x @ y.T
    geometry.score(s, slice(None), slice(None))
    positives, pushes, pulls = pairs.read(s), [], []
    for term in functions.terms:
        look, found, matrix = Look.of(term, pairs, s, _keeps_digits(term, s)), [], torch.empty_like(s)
        if look.kind == "max":
            masked = s.clone()
            pairs.mask(masked, -torch.inf)
            found = [masked.max(dim) for _, dim in look.sides(pairs)]
            look.total = torch.cat([value for value, _ in found])
        elif look.kind in ("exponential", "linear"):
            look.first(pairs, s, matrix)
        pull = look.settle(positives, divisor(functions, pairs, look.there))
        if look.kind == "max":
            matrix.zero_()
            weights = look.of_largest()[1]
            for (own, dim), (_, at) in zip(look.sides(pairs), found, strict=True):
                matrix.scatter_add_(dim, at.unsqueeze(dim), weights[own].unsqueeze(dim))
        elif look.kind != "none":
            look.second(pairs, s, matrix, look.keeps)
        pull = look.lost_late(positives) if look.late else pull
        pushes += [matrix] if look.kind != "none" else []
        pulls += [pull] if pull is not None else []
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


def _keeps_digits(term: Term, s: Tensor) -> bool:
    side = term.negatives
    if kind_of(term) != "exponential":
        return False
    ends = torch.aminmax(side.inner(s))
    return max(abs(float(end)) for end in ends) * abs(side.aggregator.scale) <= SMALL
