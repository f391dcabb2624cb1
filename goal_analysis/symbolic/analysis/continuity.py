"""What the form of a loss proves: that it is continuous for any number of pairs, and where its aggregates lie."""

from __future__ import annotations

import math
from dataclasses import replace

import sympy as sp

from goal_analysis.symbolic.analysis.kinks import is_continuous
from goal_analysis.symbolic.language.aggregators import MAX, MEAN, MEAN_ACTIVE, MIN, SUM, Side
from goal_analysis.symbolic.language.primitives import count_n, count_p, s_n, s_p, total, undetach, x_n, x_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Objective, Reduction, Term
from goal_analysis.symbolic.proof.enclosures import Region, enclosure, sign_over
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.weight import WeightField

TRIED = 32  # similarities at which an inner function is evaluated

_EXCEEDS = {
    **dict.fromkeys(("each", "each_mean", "max", "min", "mean", "softmax_mean"), (False, False)),
    **dict.fromkeys(("logsumexp", "soft_max"), (False, True)),
    **dict.fromkeys(("softmin", "soft_min"), (True, False)),
}
"""Whether an aggregate may lie below, and above, all values of its pairs."""


def with_active(loss: Objective) -> Objective:
    """The loss with a mean over active values written as a mean where all are."""
    if loss.reduction is Reduction.MEAN_ACTIVE and all(
        sign_over(term.effective_outer, handed(term, loss.similarity)) > 0 for term in loss.terms
    ):
        loss = replace(loss, reduction=Reduction.MEAN_EACH)

    def read(side: Side, _: sp.Symbol) -> Side:
        all_active = side.aggregator == MEAN_ACTIVE and sign_over(side.inner, loss.similarity.region) > 0
        return replace(side, aggregator=MEAN) if all_active else side

    terms = tuple(term.with_sides(read) for term in loss.terms)
    return loss if terms == loss.terms else replace(loss, terms=terms)


def is_continuous_loss(loss: Objective) -> bool:
    """Whether a loss is proved to be continuous for any number of pairs, and stops no gradient."""
    if loss.detaches:
        return False
    for term in loss.terms:
        read = handed(term, loss.similarity)
        if not is_continuous(term.effective_outer, read):
            return False
        ends = (sp.S.Zero if sign_over(term.effective_outer, read) > 0 else -sp.oo, sp.oo)
        if term.total is not None and not is_continuous(term.total, {total: ends}):
            return False
        if not all(is_continuous_side(side, loss.similarity) for side in term.sides):
            return False
    return True


def chooses_extremes(side: Side, similarity: Similarity) -> bool:
    """Whether the most or the least similar pair is chosen, as what is compared rises or falls with the similarity."""
    rises = (sp.diff(undetach(side.inner), s) for s in side.inner.free_symbols & {s_p, s_n})
    return side.aggregator in (MAX, MIN) and all(sign_over(slope, similarity.region) for slope in rises)


def adds(term: Term, x: sp.Symbol) -> bool:
    """Whether a side is a sum over pairs for Φ too, which is a line of it."""
    side, outer = term.positives if x is x_p else term.negatives, term.effective_outer
    return side is not None and side.aggregator in (MEAN, SUM) and outer.is_polynomial(x) and sp.degree(outer, x) < 2


def handed(term: Term, similarity: Similarity) -> Region:
    """Between which numbers everything lies that Φ reads."""
    counts = dict.fromkeys((count_p, count_n), (sp.S.Zero, sp.oo))
    return counts | {x: reach(side, similarity) for x, _, side in term.aggregates}


def is_continuous_side(side: Side, similarity: Similarity) -> bool:
    """Whether an aggregate is proved to be continuous, for any number of pairs."""
    of_two = side.aggregator.combine((x_p, x_n))
    everywhere = dict.fromkeys((x_p, x_n), (-sp.oo, sp.oo))
    return is_continuous(side.inner, similarity.region) and is_continuous(of_two, everywhere)


def plane(term: Term, similarity: Similarity) -> tuple[sp.Expr, Region] | None:
    """A term as a function of its sides' similarities, or continuous aggregates, and where these lie, or None."""
    if not term.plain:
        return None
    at: dict[sp.Symbol, sp.Expr] = {}
    region = {}
    for x, s, side in term.aggregates:
        if side.aggregator.enumerates or adds(term, x):
            at[x], region[s] = side.inner, (similarity.opposite, similarity.identical)
        elif is_continuous_side(side, similarity):
            at[x], region[x] = x, reach(side, similarity)
        else:
            return None
    return term.effective_outer.subs(at, simultaneous=True), region


def reach(side: Side, similarity: Similarity) -> tuple[sp.Expr, sp.Expr]:
    """Between which numbers an aggregate certainly lies, whatever the number of pairs."""
    low, high = enclosure(side.inner, similarity.region)
    if side.aggregator.name == "sum":
        grows_only = low.is_nonnegative or side.inner.is_nonnegative
        return sp.Max(low, 0) if grows_only else -sp.oo, high if high.is_nonpositive else sp.oo
    below, above = _EXCEEDS.get(side.aggregator.name, (True, True))
    return -sp.oo if below else low, sp.oo if above else high


def attained(side: Side, field: WeightField) -> tuple[sp.Expr, sp.Expr] | None:
    """Two numbers between which every one is an aggregate of a few pairs; None where that is not known."""
    values, aggregator = field.values(), side.aggregator
    s = next(iter(side.inner.free_symbols & {s_p, s_n}), s_n)
    low, high = field.similarity.window
    compiled = program([side.inner.subs(values)], (s,))
    tried = [compiled.run(FLOAT, float(low + (high - low) * sp.Rational(i, TRIED)))[0] for i in range(TRIED + 1)]
    found = [sp.Rational(value).limit_denominator(10**6) for value in tried if math.isfinite(value)]
    sharpness = sp.sympify(aggregator.parameters[0]).subs(values) if aggregator.parameters else sp.S.One
    if not found or not sharpness.is_positive:
        return None
    if aggregator.name == "sum":
        return 3 * min(found), 3 * max(found)
    if aggregator.name not in _EXCEEDS:
        return None
    below, above = (2 / sharpness if exceeds else 0 for exceeds in _EXCEEDS[aggregator.name])
    return min(found) - below, max(found) + above
