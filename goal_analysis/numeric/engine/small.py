"""The small way: both gradients of a small batch in few calls, through its whole matrix of scores."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import SMALL, Look, bounded, kind_of
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
    x, y, w = geometry.x, geometry.y, None
    s = torch.mm(x, y.T)
    geometry.score(s, slice(None), slice(None))
    distances, positives = geometry.similarity in DISTANCES, pairs.read(s)
    only_term = len(functions.terms) == 1 and not distances  # the scores are read no more then
    pulls = []
    for term in functions.terms:
        look = Look.of(term, pairs, s, bounded(term, geometry) or _keeps_digits(term, s))
        if look.kind in ("each", "none") or (look.kind == "exponential" and not look.shared):
            look.begin(s)
        matrix = s if only_term and (look.kind == "max" or look.forgets) else torch.empty_like(s)
        hits = []
        if look.kind == "max":
            masked = s if only_term else s.clone()
            pairs.mask(masked, -torch.inf)
            found = [_first_largest(masked, dim) for _, dim in look.sides(pairs)]
            look.total, hits = torch.cat([best.view(-1) for best, _ in found]), [hit for _, hit in found]
        elif look.kind in ("exponential", "linear"):
            look.first(pairs, s, matrix)
        pull = look.settle(positives, divisor(functions, pairs, look.there))
        if hits:
            parts = look.parts(look.of_largest()[1], pairs)
            matrix = hits[0].mul_(parts[0])
            if len(hits) > 1:
                matrix.addcmul_(hits[1], parts[1])
        elif look.kind != "none":
            look.second(pairs, s, matrix, look.keeps)
        pull = look.lost_late(positives) if look.late else pull
        if look.kind != "none":
            w = matrix if w is None else w.add_(matrix)
        pulls += [pull] if pull is not None else []
    w = torch.zeros_like(s) if w is None else w
    for pull in pulls:
        pairs.subtract(w, pull)
    if not distances:
        to_x = torch.mm(w, y)
        return to_x, torch.mm(w.T, x), torch.dot(to_x.view(-1), x.reshape(-1))
    value = torch.dot(w.view(-1), s.view(-1))
    geometry.by_products(w, s)
    return (
        torch.addcmul(w @ y, w.sum(1)[:, None], x, value=-1),
        torch.addcmul(w.T @ x, w.sum(0)[:, None], y, value=-1),
        value,
    )


def _first_largest(s: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The largest along an axis, and 1 where the first of them stands, 0 elsewhere."""
    best = s.amax(dim, keepdim=True)
    hit = torch.eq(s, best, out=torch.empty_like(s))
    if float(hit.sum(dim).prod()) != 1:  # there are several, or none that is a number
        best, at = s.max(dim, keepdim=True)
        hit.zero_().scatter_(dim, at, 1)
    return best, hit


def _keeps_digits(term: Term, s: Tensor) -> bool:
    side = term.negatives
    if kind_of(term) != "exponential":
        return False
    ends = torch.aminmax(side.inner(s))
    return max(abs(float(end)) for end in ends) * abs(side.aggregator.scale) <= SMALL
