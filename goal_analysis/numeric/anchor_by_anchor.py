"""The loss of a batch in plain loops over directions and anchors: what verification holds the engine against.

It shares nothing with the engine: no mask, no padding, no chain rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import sympy as sp
import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.compilation import Compiled, Formula, Values, compiled, formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.symbolic.language.aggregators import MAX, MIN, Aggregator, Pool, Side
from goal_analysis.symbolic.language.primitives import carried_by, count_n, count_p, s_n, s_p, total, x_n, x_p, y_n, y_p
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term

DIRECTIONS = {Anchors.ROWS: (False,), Anchors.COLUMNS: (True,), Anchors.BOTH: (False, True)}

Table = Sequence[Sequence[bool]]
Handed = tuple[Tensor, Tensor]
Own = tuple[Tensor, Tensor]  # the similarity of the term's own positive, and what the pair carries


class AnchorByAnchor(NamedTuple):
    """L and ∂L/∂S of a batch by autograd, in float64, with the sizes of what both are summed from."""

    value: Float[Tensor, "*tables"]
    gradient: Float[Tensor, "*tables rows columns"]
    value_scale: Float[Tensor, "*tables"]  # |L| + Σ|s·∂L/∂s| over pairs, directions, terms and sides
    gradient_scale: Float[Tensor, "*tables"]  # the largest sum of magnitudes at one place of ∂L/∂S


def anchor_by_anchor(
    loss: Objective,
    scores: Float[Tensor, "*tables rows columns"],
    matches: Matches,
    settings: Mapping[str, float | int] | None = None,
) -> AnchorByAnchor:
    """L and ∂L/∂S of a batch, anchor after anchor; among equal values the first is the largest, or the smallest."""
    values = tuple(loss.values(settings).items())
    s = scores.detach().to("cpu", torch.float64)[None].flatten(0, -3).permute(1, 2, 0)
    carried = s.new_zeros(matches.shape) if matches.carried is None else matches.carried.to("cpu", torch.float64)
    carried = carried.unsqueeze(2).expand(-1, -1, s.shape[2])
    copies: list[Tensor] = []
    value = torch.zeros(s.shape[2], dtype=torch.float64, requires_grad=True)
    for term in loss.terms:
        anchors: list[Handed] = []
        for by_columns in DIRECTIONS[loss.anchors]:
            tables = [(e.T if by_columns else e).tolist() for e in (matches.positives, matches.negatives)]
            # The sides read copies, so that their shares of the gradient are told apart.
            own = [s.clone().requires_grad_() for _ in (s_p, s_n, *term.named)]
            copies += own
            if loss.grouped is not None:
                of_classes = (copy.unflatten(1, (matches.shape[1], -1)).movedim(2, 0) for copy in own)
                own = [_aggregate(loss.grouped, some, values) for some in of_classes]
            y, *of_sides = (copy.transpose(0, 1) if by_columns else copy for copy in (carried, *own))
            anchors += _anchors(term, of_sides, tables[0], tables[1], y, values)
        summed = sum(((factors * phi).sum(0) for factors, phi in anchors), torch.zeros_like(value))
        value = value + summed / _count(loss.reduction, [phi for _, phi in anchors])
    shares = torch.stack(torch.autograd.grad(value.sum(), copies, materialize_grads=True))
    sizes = shares.detach().nan_to_num(0.0, 0.0, 0.0).abs().sum(0)
    return AnchorByAnchor(
        value=value.detach().reshape(scores.shape[:-2]),
        gradient=shares.sum(0).permute(2, 0, 1).reshape(scores.shape),
        value_scale=(value.detach().abs() + (sizes * s.abs()).sum((0, 1))).reshape(scores.shape[:-2]),
        gradient_scale=(sizes.amax((0, 1)) if sizes.numel() else value.detach()).reshape(scores.shape[:-2]),
    )


def _aggregate(aggregator: Aggregator, of_pairs: Tensor, values: Values) -> Tensor:
    if aggregator in (MAX, MIN):
        chosen = torch.argmax if aggregator == MAX else torch.argmin
        return of_pairs.gather(0, chosen(of_pairs, 0, keepdim=True))[0]
    return _combined(aggregator, len(of_pairs), values)(*of_pairs.unbind())


def _count(reduction: Reduction, values: list[Tensor]) -> int | Tensor:
    """What the sum of a term is divided by, from the values of Φ of every anchor."""
    if reduction is Reduction.MEAN_ACTIVE and values:
        return (torch.cat(values) > 0).sum(0).clamp(min=1)
    return max({Reduction.MEAN: len(values), Reduction.MEAN_EACH: sum(map(len, values))}.get(reduction, 1), 1)


def _anchors(
    term: Term, of_sides: list[Tensor], positives: Table, negatives: Table, y: Tensor, values: Values
) -> Iterator[Handed]:
    """The factors and the values of Φ of every anchor that has some."""
    read = (x_p, x_n, *(one.symbol for one in term.named), count_p, count_n, y_p, y_n)
    outer = formula(term.effective_outer, read, values)
    of_positives = of_sides[0]
    for i in range(len(positives)):
        own = [j for j, is_positive in enumerate(positives[i]) if is_positive]
        counts = [of_positives.new_tensor(float(sum(table[i]))) for table in (positives, negatives)]
        handed_p = _handed(term.positives, s_p, of_positives, [(i, j) for j in own], y, values)
        if handed_p is None:
            continue
        factors_p, of_p, y_of_p = handed_p
        factors, evaluated = [], []
        for some, ends in _sharing_negatives(term, own):
            mine = (of_positives[i, ends[0]], y[i, ends[0]]) if len(ends) == 1 else None
            handed = [
                _handed(side, s_n, scores, _pairs(side, i, ends, positives, negatives), y, values, mine)
                for side, scores in zip((term.negatives, *(one.side for one in term.named)), of_sides[1:], strict=True)
            ]
            there = [one for one in handed if one is not None]
            if len(there) == len(handed):
                (factors_n, x, y_of_n), *named = there
                factors.append((factors_p[some, None] * factors_n).flatten(0, 1))
                phi = outer(of_p[some, None], x, *(z for _, z, _ in named), *counts, y_of_p[some, None], y_of_n)
                evaluated.append(phi.flatten(0, 1))
        if evaluated and term.total is None:
            yield torch.cat(factors), torch.cat(evaluated)
        elif evaluated:
            summed = (torch.cat(factors) * torch.cat(evaluated)).sum(0)
            yield torch.ones_like(summed[None]), formula(term.total, (total,), values)(summed[None])


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
    y: Tensor,
    values: Values,
    own: Own | None = None,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The factors that Φ counts for with what the side hands to it, and what the pairs carry; None without pairs."""
    nothing = scores.new_zeros(1, scores.shape[2])
    if side is None:
        return torch.ones_like(nothing), nothing, nothing
    if not pairs:
        return None
    rows, columns = zip(*pairs, strict=True)
    carried = y[list(rows), list(columns)]
    read = {variable: scores[list(rows), list(columns)], carried_by(variable): carried}
    if own is not None and variable == s_n:
        read |= dict(zip((s_p, y_p), own, strict=True))
    of_pairs = formula(side.inner, tuple(read), values)(*read.values())
    aggregator = side.aggregator
    if aggregator.enumerates:
        with torch.no_grad():
            return torch.stack(_weights(aggregator, len(pairs), values)(*of_pairs.unbind())), of_pairs, carried
    return torch.ones_like(nothing), _aggregate(aggregator, of_pairs, values)[None], nothing


@lru_cache(maxsize=1024)
def _combined(aggregator: Aggregator, count: int, values: Values) -> Formula:
    places = sp.symbols(f"a:{count}", real=True)
    return formula(aggregator.combine(places), places, values)


@lru_cache(maxsize=1024)
def _weights(aggregator: Aggregator, count: int, values: Values) -> Compiled:
    places = sp.symbols(f"a:{count}", real=True)
    return compiled([weight.xreplace(dict(values)) for weight in aggregator.weights(places)], places)
