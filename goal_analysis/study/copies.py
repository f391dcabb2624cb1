"""Whether two objectives are one: equal, or one a multiple of the other, which AdamW hardly tells apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import sympy as sp

from goal_analysis.symbolic.language.aggregators import MAX, MIN, Side
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, step, undetach, x_n, x_p
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.proof.identity import Ranges, random_points

POINTS, CLOSE = 24, 1e-9  # at which weights are compared, and how close they are where they are equal


@dataclass(frozen=True, eq=False)
class Signature:
    """What decides whether two objectives are one: all but the weights, and these at random points; kinks too, for no
    point is a witness of a margin that differs a little.
    """

    rest: tuple[object, ...]
    weights: np.ndarray  # T·P⁺ and T·P⁻ of every term, over the largest of all

    @classmethod
    def of(cls, objective: Objective) -> Signature:
        """The signature of an objective, at its own values."""
        values = objective.values()
        plain = all(term.plain for term in objective.terms)
        weights = tuple(w for term in objective.terms for w in _weights(term, values)) if plain else ()
        sides = tuple(_aggregates(side, values) for t in objective.terms for side in (t.positives, t.negatives))
        rest = (
            *sides,
            *(() if plain else (term.map(lambda e: e.subs(values)) for term in objective.terms)),
            objective.relative,
            None if objective.direction is None else objective.direction.formula,
            objective.similarity,
            objective.reduction,
            objective.anchors,
            frozenset(at.args[0] for weight in weights for at in weight.atoms(step, hinge)),
            objective.grouped,
        )
        ranges: Ranges = dict.fromkeys((s_p, s_n, x_p, x_n), objective.similarity.window)
        ranges = {**ranges, **{r.symbol: (sp.S.Zero, sp.S.One) for r in objective.relative}}
        symbols = tuple(ranges)
        points, compiled = random_points(symbols, ranges, POINTS), program(weights, symbols)
        found = np.array([compiled.run(FLOAT, *(float(point[s]) for s in symbols)) for point in points], dtype=float)
        return cls(rest, found / (np.abs(found).max(initial=0) or 1.0))

    def same_as(self, other: Signature) -> bool:
        """Whether one is a multiple of the other, as floats at random points say."""
        alike = self.rest == other.rest and self.weights.shape == other.weights.shape
        return alike and bool((np.abs(self.weights - other.weights) <= CLOSE).all())


def _weights(term: Term, values: dict[sp.Symbol, sp.Expr]) -> Iterator[sp.Expr]:
    """T reads the similarity of the pair where the aggregate is that of one pair, and else x_p and x_n."""
    of_one_pair = {
        x: undetach(side.inner)
        for x, _, side in term.aggregates
        if side.aggregator.enumerates or side.aggregator in (MAX, MIN)
    }
    pull, push = (undetach(weight).subs(of_one_pair, simultaneous=True) for weight in term.triplet_weights)
    for _, s, side in term.aggregates:
        yield sp.sympify((pull if s == s_p else push) * undetach(side.slope(s))).subs(values)


def _aggregates(side: Side | None, values: dict[sp.Symbol, sp.Expr]) -> object:
    if side is None:
        return None
    numbers = tuple(p.subs(values) for p in side.aggregator.parameters)
    return side.aggregator.name, numbers, side.inner.subs(values), side.pool, side.selection
