"""The small way: both gradients of a small batch in few calls, through its whole matrix of scores."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Term
from goal_analysis.numeric.engine.geometry import DISTANCES, Geometry
from goal_analysis.numeric.engine.looks import SMALL, Look, bounded, inner, kind_of
from goal_analysis.numeric.engine.pairs import Pairs
from goal_analysis.numeric.engine.positives import divisor, of_side, only, weighted

MOST = 2**18
MOST_OF_MAXIMA = 2**16
"""How many scores of a batch are few; those of maxima, which have a sparse way besides, unless they are distances."""


@lru_cache(maxsize=4096)
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
    x, y, w, pulls = geometry.x, geometry.y, None, []
    s = torch.mm(x, y.T)
    distances = geometry.similarity in DISTANCES
    if distances:
        geometry.score(s, slice(None), slice(None))
    positives = pairs.read(s)
    only_term = len(functions.terms) == 1 and not distances  # the scores are read no more then
    for term in functions.terms:
        small = kind_of(term) == "exponential" and ((bounded(term) and geometry.unit) or _keeps_digits(term, s))
        look = Look.of(term, pairs, s, small)
        share = divisor(functions, pairs, look.there)
        if look.kind == "max":
            matrix, pull = _of_largest(look, s if only_term else s.clone(), positives, share)
        elif small:
            consumed = only_term and term.negatives.hints.constant is not None
            matrix, pull = _of_exponentials(look, s, s if consumed else torch.empty_like(s), positives, share)
        else:
            matrix, pull = _looked_at(look, s, positives, share)
        if matrix is not None:
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
    of_x, of_y = w.sum(1)[:, None], w.sum(0)[:, None]
    return torch.addcmul(w @ y, of_x, x, value=-1), torch.addcmul(w.T @ x, of_y, y, value=-1), value


def _of_largest(look: Look, s: Tensor, positives: Tensor, share: Tensor | float) -> tuple[Tensor, Tensor | None]:
    """W at the most similar negatives, of scores that it may change, and what it loses at the positives."""
    pairs, side, rows, there = look.pairs, look.term.negatives, look.pairs.shape[0], look.there
    pairs.mask(s, -torch.inf)
    best = [s.amax(1, keepdim=True)] if look.whole else [s.amax(1, keepdim=True), s.amax(0, keepdim=True)]
    found = [_first_equal(s, of_axis, 1 - axis) for axis, of_axis in enumerate(best)]
    hard = only(there, torch.cat([of_axis.view(-1) for of_axis in best]))
    push, pull = look.settled(positives, of_side(side, hard), share)
    push = only(there, weighted(side, push, hard))
    w = found[0].mul_(push[:rows, None])
    return w if look.whole else w.addcmul_(found[1], push[rows:]), pull


def _first_equal(s: Tensor, best: Tensor, dim: int) -> Tensor:
    """1 where the first of the largest along an axis stands, 0 elsewhere."""
    found = torch.eq(s, best, out=torch.empty_like(s))
    if found.sum(dim).prod().item() != 1:  # there are several somewhere, or none that is a number
        found.zero_().scatter_(dim, s.max(dim, keepdim=True).indices, 1)
    return found


def _of_exponentials(
    look: Look, s: Tensor, out: Tensor, positives: Tensor, share: Tensor | float
) -> tuple[Tensor, Tensor | None]:
    """W at the negatives, and what it loses at the positives, where exponentials keep their digits as they are."""
    side, constant = look.term.negatives, look.term.negatives.hints.constant
    inner(side, s, side.aggregator.scale, out)
    out.exp_()
    if side.pool != "all":
        look.pairs.mask(out, 0.0)
    total = out.sum(1) if look.whole else torch.cat((out.sum(1), out.sum(0)))
    push, pull = look.settled(positives, only(look.there, total.log() / side.aggregator.scale), share)
    weight = push / (total if look.there is None else total.masked_fill(total == 0, 1))
    weight = weight if constant in (None, 1) else weight * constant
    rows = s.shape[0]
    of_rows = weight[:rows, None]
    out.mul_(of_rows if look.whole else of_rows + weight[rows:])
    if constant is None:
        out.mul_(side.weight(s))
        if side.pool != "all":  # there P may be infinite
            look.pairs.mask(out, 0.0)
    return out, pull


def _looked_at(look: Look, s: Tensor, positives: Tensor, share: Tensor | float) -> tuple[Tensor | None, Tensor | None]:
    """The same of any other kind of negatives, as the tiled way has them."""
    look.begin(s)
    matrix = None if look.kind == "none" else torch.empty_like(s)
    if look.kind in ("exponential", "linear"):
        look.first(look.pairs, s, matrix)
    pull = look.settle(positives, share)
    if matrix is not None:
        look.second(look.pairs, s, matrix, look.keeps)
    return matrix, look.lost_late(positives) if look.late else pull


def _keeps_digits(term: Term, s: Tensor) -> bool:
    side = term.negatives
    ends = torch.aminmax(side.inner(s))
    return max(abs(float(end)) for end in ends) * abs(side.aggregator.scale) <= SMALL
