"""The loss of a batch in plain loops over directions and anchors: what verification holds the engine against.

It shares nothing with the engine: no mask, no padding, no chain rule. Every anchor's pairs are looked up one after the
other, an aggregator is its own formula on as many values as there are, and the gradient is autograd's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.compilation import Compiled, compiled
from goal_analysis.numeric.formula import Formula, Values, formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.symbolic.language.aggregators import MAX, MIN, Aggregator, Pool, Side
from goal_analysis.symbolic.language.primitives import count_n, count_p, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term

DIRECTIONS = {Anchors.ROWS: (False,), Anchors.COLUMNS: (True,), Anchors.BOTH: (False, True)}

Table = Sequence[Sequence[bool]]
Handed = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class AnchorByAnchor:
    """The loss L of a batch and ∂L/∂S by autograd, in float64, with the sizes of what both are summed from.

    ``value_scale`` is |L| + Σ|s·∂L/∂s| over pairs, directions, terms and sides; ``gradient_scale`` is the largest sum
    of magnitudes at one place of ∂L/∂S.
    """

    value: Float[Tensor, ""]
    gradient: Float[Tensor, "rows columns"]
    value_scale: float
    gradient_scale: float


def anchor_by_anchor(
    loss: Objective,
    scores: Float[Tensor, "rows columns"],
    matches: Matches,
    settings: Mapping[str, float | int] | None = None,
) -> AnchorByAnchor:
    """The loss of a batch and its gradient by the scores, one anchor after the other.

    Among equal values the first is the largest, or the smallest; every other aggregator is its formula, with what is
    detached detached.
    """
    values = tuple(loss.values(settings).items())
    s = scores.detach().to("cpu", torch.float64)
    positives, negatives = matches.positives.tolist(), matches.negatives.tolist()
    copies: list[Tensor] = []
    total = torch.zeros((), dtype=torch.float64)
    for term in loss.terms:
        anchors: list[Handed] = []
        for by_columns in DIRECTIONS[loss.anchors]:
            tables = [_turned(table, s.shape[1]) if by_columns else table for table in (positives, negatives)]
            # The two sides read copies, so that their shares of the gradient are told apart.
            own = [s.clone().requires_grad_() for _ in range(2)]
            copies += own
            of_positives, of_negatives = (copy.T if by_columns else copy for copy in own)
            anchors += _anchors(term, of_positives, of_negatives, tables[0], tables[1], values)
        summed = sum((factors @ phi for factors, phi in anchors), torch.zeros_like(total))
        total = total + summed / max(_count(loss.reduction, [phi for _, phi in anchors]), 1)
    if total.requires_grad:
        shares = torch.stack(torch.autograd.grad(total, copies, materialize_grads=True))
    else:
        shares = torch.zeros_like(torch.stack(copies))
    sizes = shares.detach().nan_to_num(0.0, 0.0, 0.0).abs().sum(0)
    return AnchorByAnchor(
        value=total.detach(),
        gradient=shares.sum(0),
        value_scale=float(total.detach().abs() + (sizes * s.abs()).sum()),
        gradient_scale=float(sizes.max()) if sizes.numel() else 0.0,
    )


def _count(reduction: Reduction, values: list[Tensor]) -> int:
    """What the sum of a term is divided by, from the values of Φ of every anchor."""
    every = {Reduction.SUM: 1, Reduction.MEAN: len(values), Reduction.MEAN_EACH: sum(map(len, values))}
    return every[reduction] if reduction in every else sum(int((phi > 0).sum()) for phi in values)


def _turned(table: Table, columns: int) -> Table:
    return [[row[j] for row in table] for j in range(columns)]


def _anchors(
    term: Term, of_positives: Tensor, of_negatives: Tensor, positives: Table, negatives: Table, values: Values
) -> Iterator[Handed]:
    """The factors and the values of Φ of every anchor that has some."""
    outer = formula(term.effective_outer, (x_p, x_n, *(one.symbol for one in term.named), count_p, count_n), values)
    for i in range(len(positives)):
        own = [j for j, is_positive in enumerate(positives[i]) if is_positive]
        counts = [of_positives.new_tensor(float(sum(table[i]))) for table in (positives, negatives)]
        handed_p = _handed(term.positives, s_p, of_positives, [(i, j) for j in own], values)
        if handed_p is None:
            continue
        factors_p, of_p = handed_p
        factors, evaluated = [], []
        for some, ends in _sharing_negatives(term, own):
            mine = of_positives[i, ends[0]] if len(ends) == 1 else None
            handed = [
                _handed(side, s_n, of_negatives, _pairs(side, i, ends, positives, negatives), values, mine)
                for side in (term.negatives, *(one.side for one in term.named))
            ]
            there = [one for one in handed if one is not None]
            if len(there) == len(handed):
                (factors_n, x), *named = there
                factors.append((factors_p[some, None] * factors_n).flatten())
                phi = outer(of_p[some, None], x, *(z for _, z in named), *counts)
                evaluated.append(phi.expand(len(of_p[some]), len(x)).flatten())
        if evaluated:
            yield torch.cat(factors), torch.cat(evaluated)


def _sharing_negatives(term: Term, own: list[int]) -> list[tuple[slice, list[int]]]:
    """Which of what the positives hand to Φ meet the same negatives, and the positives whose ends those are."""
    apart = not term.plain or (term.negatives is not None and term.negatives.pool is Pool.BOTH_ENDS)
    if apart and term.positives is not None and term.positives.aggregator.enumerates:
        return [(slice(place, place + 1), [j]) for place, j in enumerate(own)]
    return [(slice(None), own)]


def _pairs(side: Side | None, i: int, ends: list[int], positives: Table, negatives: Table) -> list[tuple[int, int]]:
    if side is None:
        return []
    pairs = []
    if side.pool is not Pool.POSITIVES:
        pairs += [(i, j) for j, is_negative in enumerate(negatives[i]) if is_negative]
    if side.pool in (Pool.ALL, Pool.POSITIVES):
        pairs += [(i, j) for j, is_positive in enumerate(positives[i]) if is_positive]
    if side.pool is Pool.BOTH_ENDS:
        pairs += [(k, j) for j in ends for k, row in enumerate(negatives) if row[j]]
    return pairs


def _handed(
    side: Side | None,
    variable: sp.Symbol,
    scores: Tensor,
    pairs: list[tuple[int, int]],
    values: Values,
    own: Tensor | None = None,
) -> Handed | None:
    """The factors that Φ counts for with what the side hands to it; None where it has no pairs."""
    if side is None:
        return scores.new_ones(1), scores.new_zeros(1)
    if not pairs:
        return None
    rows, columns = zip(*pairs, strict=True)
    read = scores[list(rows), list(columns)]
    if own is not None and side.inner.has(s_p):
        of_pairs = formula(side.inner, (variable, s_p), values)(read, own)
    else:
        of_pairs = formula(side.inner, (variable,), values)(read)
    aggregator = side.aggregator
    if aggregator.enumerates:
        with torch.no_grad():
            return torch.stack(_weights(aggregator, len(pairs), values)(*of_pairs.unbind())), of_pairs
    if aggregator == MAX:
        aggregate = of_pairs[of_pairs.argmax()]
    elif aggregator == MIN:
        aggregate = of_pairs[of_pairs.argmin()]
    else:
        aggregate = _combined(aggregator, len(pairs), values)(*of_pairs.unbind())
    return scores.new_ones(1), aggregate.reshape(1)


@lru_cache(maxsize=1024)
def _combined(aggregator: Aggregator, count: int, values: Values) -> Formula:
    places = sp.symbols(f"a:{count}", real=True)
    return formula(aggregator.combine(places), places, values)


@lru_cache(maxsize=1024)
def _weights(aggregator: Aggregator, count: int, values: Values) -> Compiled:
    places = sp.symbols(f"a:{count}", real=True)
    return compiled([weight.xreplace(dict(values)) for weight in aggregator.weights(places)], places)
