"""Objectives that are refused: those with a weight that is no real number where scores, or aggregates of them, are."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product

import sympy as sp

from goal_analysis.symbolic.language.primitives import s_n, s_p, undetach, x_n, x_p
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.evaluation import FLOAT, program

SOFT = frozenset(("soft_max", "soft_min", "logsumexp", "softmin"))
"""Aggregators log Σ exp(β·x)/β."""

INSIDE = (0.05, 0.3, 0.5, 0.7, 0.95)
"""Where in the range of the similarity a weight is tried."""

BEYOND = (0.01, 0.1, 1.0)
"""How far beyond the range of the similarity a soft aggregate is tried."""


@lru_cache(maxsize=4096)
def refusal(objective: Objective) -> str | None:
    """Why an objective cannot train, or None if it can.

    A prescribed weight has to be real over the similarity's range: √s_n would be NaN for every negative with a score
    below 0. Soft aggregates of similarities leave the range, x_n above and x_p below: T has to be real there. And soft
    aggregates make no triplets, which relative similarities would compare.
    """
    values, relative = objective.values(), {r.symbol for r in objective.relative}
    low, high = map(float, objective.similarity.window)
    inside = [low + (high - low) * share for share in INSIDE]
    below, above = [low - d for d in BEYOND], [high + d for d in BEYOND]
    around = [*product(below, inside), *product(inside, above), *product(below, above)]
    for term in objective.terms:
        named = [(f"P{'⁺' if s == s_p else '⁻'}", side.weight) for _, s, side in term.named_sides]
        named = [(where, weight) for where, weight in named if weight is not None]
        triplet = None
        if term.triplet is not None and all(side.inner in (s_p, s_n) for side in term.sides):
            triplet = term.triplet.subs({x_p: s_p, x_n: s_n}, simultaneous=True)
            named.insert(0, ("the triplet weight", triplet))
        for where, expression in named:
            place = _unreal(undetach(expression).subs(values), [*product(inside, inside)])
            if place:
                return (
                    f"{objective.name}: {where}: got {expression}, which is not real at {place}; expected what is real "
                    f"from {low:g} to {high:g}, the range of the similarity {objective.similarity.name}"
                )
        if SOFT.isdisjoint(side.aggregator.name for side in term.sides):
            continue
        if relative:
            return (
                f"{objective.name}: got soft aggregates, which have no triplets to compare, beside pair weights that "
                "read other pairs, but expected another mining, such as hardest or top_k:5"
            )
        if triplet is not None and len(term.sides) == 2:
            place = _unreal(undetach(triplet).subs(values), around)
            if place:
                return (
                    f"{objective.name}: got soft aggregates, which leave the range of the similarity, but its triplet "
                    f"weight is not real at {place.replace('s_', 'x_')}; expected another mining, such as hardest"
                )
    return None


def _unreal(weight: sp.Expr, points: list[tuple[float, float]]) -> str | None:
    """Where a weight is no number, such as the root of a negative number."""
    weight = sp.sympify(weight)
    fractional = any(e.is_Pow and not e.exp.is_integer for e in sp.preorder_traversal(weight))
    if not (fractional or weight.has(sp.log, sp.acos)) or weight.free_symbols - {s_p, s_n}:
        return None
    compiled = program([weight], (s_p, s_n))
    for p, n in points:
        if math.isnan(compiled.run(FLOAT, p, n)[0]):
            return ", ".join(f"{s} = {x:.4g}" for s, x in ((s_p, p), (s_n, n)) if s in weight.free_symbols)
    return None
