"""Directions as factors: on unit vectors every similarity is a function of every other one.

So where the direction is the gradient of another similarity than the scores are of, the weight of every pair is
multiplied by a function of its score, and the product is judged, valued and trained as any weights are.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from goal_analysis.numeric.similarity import DIRECTIONS, TANGENTIAL
from goal_analysis.symbolic.language.primitives import s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Objective, Term

LINEAR = frozenset(("mean", "sum", "each", "each_mean"))
"""Aggregators whose mining weights do not depend on the scores."""

SOFT = frozenset(("soft_max", "soft_min", "logsumexp", "softmin"))
"""Aggregators log Σ exp(β·x)/β."""

_COSINE = {COSINE.name: s_p, NEGATIVE_SQUARED_EUCLIDEAN.name: 1 + s_p / 2, NEGATIVE_EUCLIDEAN.name: 1 - s_p**2 / 2}
"""The cosine of unit vectors as a function of another similarity, s_p."""

_BY_COSINE = {
    COSINE.name: sp.S.One,
    DOT.name: sp.S.One,
    TANGENTIAL.name: sp.S.One,
    NEGATIVE_SQUARED_EUCLIDEAN.name: sp.Integer(2),
}
"""Directions of unit vectors as multiples of that of the cosine."""


def rate_of(objective: Objective) -> sp.Expr | None:
    """How often the direction is that of the similarity, a function of the similarity s_p; None where it is not."""
    moved, similarity = objective.direction, objective.similarity
    named = [d for d in DIRECTIONS if d == moved]
    if moved is None or (named and moved.name == similarity.name):
        return sp.S.One
    if not named or similarity.name not in _COSINE:
        return None
    if moved.name == NEGATIVE_EUCLIDEAN.name:
        return 1 / sp.sqrt(2 - 2 * s_p) if similarity == COSINE else 1 / (2 * sp.sqrt(-s_p))
    if moved.name not in _BY_COSINE:
        return None
    return _BY_COSINE[moved.name] * sp.diff(_COSINE[similarity.name], s_p)


def along_similarity(objective: Objective) -> Objective | None:
    """The objective whose weights along the similarity's own gradient are what trains; None where there is none.

    On unit vectors every similarity of this package is a function of every other one. So a direction that is the
    gradient of another similarity multiplies the weight of every pair by a function of its score.
    """
    rate = rate_of(objective)
    if rate is None:
        return None
    own = replace(objective, direction=None)
    if rate == 1:
        return own

    def times_rate(term: Term) -> Term:
        if rate.is_number:
            outer, triplet = (None if e is None else rate * e for e in (term.outer, term.triplet))
            return replace(term, outer=outer, triplet=triplet)
        return term.with_sides(lambda side, s: replace(side, weight=side.slope(s) * rate.subs(s_p, s)))

    return replace(own, name=f"{objective.name} (recombined)", terms=tuple(map(times_rate, objective.terms)))


def has_constant_weights(objective: Objective) -> bool:
    """Whether W does not depend on the scores."""
    return not objective.relative and all(
        not any(t.has(x_p, x_n) for t in term.triplet_weights)
        and all(side.aggregator.name in LINEAR and side.selection is None for side in term.sides)
        and not any(side.slope(s).has(s) for _, s, side in term.named_sides)
        for term in objective.terms
    )
