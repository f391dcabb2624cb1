"""Whether two objectives are one: equal, or one a multiple of the other, which AdamW hardly tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from goal_analysis.numeric.mining import Softmax
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.language.hyperparameter import exact
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.proof.identity import Ranges, find_witness, random_points

SCREENED = 6
"""Points at which floats are compared before formulas are."""

CLOSE = 1e-9

Formulas = tuple[sp.Expr, ...]


@dataclass(frozen=True, eq=False)
class Signature:
    """What is compared of an objective.

    Args:
        rest: mining, direction, similarity, reduction and anchors.
        parts: formulas that may each be multiplied by a constant of its own: the weights w⁺ and w⁻ together; with
            softmax mining T, which reads aggregates, and P⁺ with P⁻.
        ranges: of s_p and s_n.
    """

    rest: tuple[object, ...]
    parts: tuple[Formulas, ...]
    ranges: Ranges

    @classmethod
    def of(cls, objective: GradientObjective) -> Signature:
        """The signature of an objective without relative similarities."""
        values = {symbol: exact(value) for symbol, value in objective.weighting.values}
        t, p, n = (
            e.subs(values)
            for e in (
                objective.triplet_weight.expression,
                objective.pair_weights.positive,
                objective.pair_weights.negative,
            )
        )
        parts = ((t,), (p, n)) if isinstance(objective.mining, Softmax) else ((t * p, t * n),)
        direction = None if objective.direction is None else objective.direction.formula
        rest = (objective.mining, direction, objective.similarity, objective.reduction, objective.anchors)
        return cls(rest, parts, objective.field.ranges)

    def same_as(self, other: Signature) -> bool:
        """Whether one is a multiple of the other: floats say so at a few points, and then no witness says otherwise.

        >>> from losses_catalog.weights import constant_pair, linear_pair, nca_triplet
        >>> from goal_analysis.symbolic.weight import PairWeights
        >>> double = PairWeights(name="double", positive=2 - 2 * s_p, negative=2 * s_n)
        >>> linear, twice, constant = (
        ...     Signature.of(GradientObjective(nca_triplet, p)) for p in (linear_pair, double, constant_pair)
        ... )
        >>> linear.same_as(twice), linear.same_as(constant)
        (True, False)
        """
        if self.rest != other.rest or len(self.parts) != len(other.parts):
            return False
        if not all(abs(a - b) <= CLOSE for a, b in zip(self._at_points, other._at_points, strict=True)):
            return False
        return all(_proportional(*pair, self.ranges) for pair in zip(self.parts, other.parts, strict=True))

    @cached_property
    def _at_points(self) -> list[float]:
        return [value for formulas in self.parts for value in _values(formulas, self.ranges)]


def _values(formulas: Formulas, ranges: Ranges) -> list[float]:
    """At a few points, over the largest of them."""
    compiled = program(formulas, (s_p, s_n))
    found = [
        float(value)
        for point in random_points((s_p, s_n), ranges, SCREENED)
        for value in compiled.run(FLOAT, float(point[s_p]), float(point[s_n]))
    ]
    return [value / (max(map(abs, found)) or 1.0) for value in found]


def _proportional(ours: Formulas, theirs: Formulas, ranges: Ranges) -> bool:
    (point,) = random_points((s_p, s_n), ranges, 1)
    a, b = (formulas[-1].subs(point) for formulas in (ours, theirs))
    return all(find_witness(mine * b - its * a, ranges) is None for mine, its in zip(ours, theirs, strict=True))
