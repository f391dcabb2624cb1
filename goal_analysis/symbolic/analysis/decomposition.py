"""A loss taken apart at the gradient: triplet weight, pair weights and mining weights, all derived.

On one triplet w⁺ = −∂L/∂s_p and w⁻ = ∂L/∂s_n. Factors T·P⁺ = w⁺ and T·P⁻ = w⁻, with P⁺ of s_p alone and P⁻ of s_n
alone, exist if and only if w⁺/w⁻ is a function of s_p times one of s_n. They are then unique up to one constant, which
a convention fixes: every positive factor of P⁺ that does not depend on s_p moves into T (of P⁻ on s_n, where P⁺ is
zero), and P⁺ is positive in the middle of the range. So P⁺ is a pure shape, T carries the scale, and P⁻ keeps its
size relative to P⁺.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp

from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.primitives import hinge, logsumexp, s_n, s_p, softplus, step, undetach
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, program
from goal_analysis.symbolic.proof.identity import (
    Ranges,
    Undecided,
    Witness,
    factored_in_exponentials,
    find_witness,
    random_points,
    refute_zero,
)
from goal_analysis.symbolic.proof.tidying import bounded_factor, simplest, tidy
from goal_analysis.symbolic.weight import Factors, WeightField

CHECKED = 24  # points at which simplified weights are compared with the bare derivatives
TOLERANCE = 1e-6  # the largest relative difference between them there
DIGITS = 60  # with which a difference in floats is checked


@dataclass(frozen=True, repr=False)
class Decomposition(Displayed):
    """A loss with its derived weights.

    Args:
        loss: the loss.
        field: w⁺ and w⁻ on one triplet, with T, P⁺ and P⁻ where they exist.
        contradiction: what T·P would imply and where it fails, where one was found.
    """

    loss: Objective
    field: WeightField
    contradiction: Contradiction | None

    @property
    def separable(self) -> bool | None:
        """Whether w⁺ = T·P⁺ and w⁻ = T·P⁻ with P⁺ of s_p alone and P⁻ of s_n alone; None where that is open."""
        return True if self.field.factors is not None else None if self.contradiction is None else False

    @property
    def reason(self) -> str:
        """Why the weights separate, or why not, in one sentence."""
        if self.separable:
            return "w⁺/w⁻ is a function of s_p alone times a function of s_n alone"
        if self.contradiction is None:
            return "neither factors of w⁺ and w⁻ were found nor a contradiction that they would lead to"
        return (
            "w⁺/w⁻ is no product of a function of s_p and one of s_n: at two values of each, "
            f"{self.contradiction}, which T·P makes 0"
        )


def decompose(loss: Objective) -> Decomposition:
    """Derive the weights of any objective.

    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.language.primitives import gap
    >>> soft_margin = Term(outer=softplus(gap), positives=EACH(s_p), negatives=EACH(s_n))
    >>> loss = Objective(name="soft_margin", title="Softmax-margin triplet loss", terms=(soft_margin,))
    >>> decompose(loss).field.factors
    Factors(triplet=sigmoid(s_n - s_p), positive=1, negative=1)
    """
    found = _decomposed(loss)
    return found if found.loss is loss else replace(found, loss=loss)  # an equal one may have another note


@lru_cache(maxsize=1024)
def _decomposed(loss: Objective) -> Decomposition:
    if loss.is_loss:
        on_triplet = loss.expression().replace(logsumexp, _pairwise)
        positive, negative = undetach(-sp.diff(on_triplet, s_p)), undetach(sp.diff(on_triplet, s_n))
    else:
        (positive,), (negative,) = loss.weights()
    field = WeightField(
        name=loss.name,
        positive=positive,
        negative=negative,
        hyperparameters=loss.hyperparameters,
        relative=loss.relative,
        similarity=loss.similarity,
    )
    if not loss.is_loss and (own := _own_factors(loss)) is not None:
        return Decomposition(loss, replace(field, factors=own), None)
    derivatives = positive, negative
    if loss.is_loss:
        positive, negative = (tidy(derivative, loss.similarity) for derivative in derivatives)
        if _agree(derivatives, (positive, negative), field):
            field = replace(field, positive=positive, negative=negative)
    # Every hyperparameter has its own value: there a witness has to hold.
    ranges = field.ranges | {symbol: (value, value) for symbol, value in field.values().items()}
    factors, contradiction = separate(field.positive, field.negative, ranges)
    if loss.is_loss and factors is not None:
        products = factors.triplet * factors.positive, factors.triplet * factors.negative
        factors = factors if _agree(derivatives, products, field) else None
    return Decomposition(loss, replace(field, factors=factors), contradiction)


def _own_factors(objective: Objective) -> Factors | None:
    """What the only term prescribes, with the mining weights of a single pair, where one T serves both sides."""
    term = objective.terms[0]
    t, of_n = map(undetach, term.triplet_weights)
    if len(objective.terms) > 1 or not objective.plain or t != of_n:
        return None
    ((_, at),) = term.gathered((s_p,), (s_n,))
    (positive,), (negative,) = objective.of_terms((replace(term, outer=None, triplet=sp.S.One),)).weights()
    return Factors(undetach(t.subs(at, simultaneous=True)), positive, negative)


def _agree(derivatives: Sequence[sp.Expr], written: Sequence[sp.Expr], field: WeightField) -> bool:
    """Whether the weights as they are written equal the bare derivatives at points where both are defined."""
    known = (s_p, s_n, *(h.symbol for h in field.hyperparameters))
    carried = set().union(*(d.free_symbols for d in derivatives)) - set(known)
    symbols = (*known, *sorted(carried, key=str))
    computed = program([*derivatives, *written], symbols)
    for point in random_points(symbols, field.ranges, CHECKED):
        if _differ(computed.run(FLOAT, *map(float, point.values()))):
            with mpmath.workdps(DIGITS):  # floats lose digits where large exponentials cancel
                if _differ(computed.run(MULTIPRECISION, *(mpmath.mpf(x.p) / x.q for x in point.values()))):
                    return False
    return True


def _differ(values: Sequence[Any]) -> bool:
    pairs = zip(values[:2], values[2:], strict=True)
    return any(mpmath.isfinite(a) and not abs(b - a) <= TOLERANCE * (1 + abs(a)) for a, b in pairs)


def _pairwise(*xs: sp.Expr) -> sp.Expr:
    """logsumexp of two values as a softplus, whose derivative shows the factors at once."""
    if len(xs) != 2:
        return logsumexp(*xs)
    first, second = sorted(xs, key=lambda x: not x.has(s_p))
    return first + softplus(second - first)


BASES = 4  # points through which factors are read off the weights where the algebra shows none


@dataclass(frozen=True)
class Contradiction:
    """Why there are no factors: T·P would make an expression of w at (s_p1, s_n1), ... zero that is not zero."""

    what: str
    witness: Witness

    def __str__(self) -> str:
        return f"{self.what} is {self.witness}"


def separate(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> tuple[Factors | None, Contradiction | None]:
    """T, P⁺ and P⁻ with T·P⁺ and T·P⁻ as given, or the contradiction that they lead to, or neither where neither was
    found.
    """
    if positive.is_zero and negative.is_zero:
        return Factors(sp.S.Zero, sp.S.One, sp.S.One), None
    constant = {e for e in positive.atoms(step) | negative.atoms(step) if not e.has(s_p, s_n)}
    if constant:  # a step of what pairs carry is a factor like any other, and moves as a positive one does
        places = {e: sp.Dummy(positive=True) for e in constant}
        ranges = {**ranges, **dict.fromkeys(places.values(), (sp.S.One, sp.S.One))}
        found, against = separate(positive.xreplace(places), negative.xreplace(places), ranges)
        back = {place: e for e, place in places.items()}
        parts = () if found is None else (found.triplet, found.positive, found.negative)
        return (Factors(*(e.xreplace(back) for e in parts)) if found else None), against
    if not positive.has(s_n) and not negative.has(s_p):
        return _normalised(sp.S.One, positive, negative, ranges), None
    if positive == 0 or negative == 0:
        ones = sp.Integer(positive != 0), sp.Integer(negative != 0)
        return _normalised(sp.Add(positive, negative), *ones, ranges), None
    forms = (sp.factor_terms, bounded_factor)
    if not positive.has(hinge, step) and not negative.has(hinge, step):
        forms = (*forms, factored_in_exponentials)
    for form in forms:
        written_p, written_n = form(positive), form(negative)
        of_p, of_n = _univariate(form(written_p / written_n))
        if of_p is not None:
            factors = _normalised(written_p / of_p, of_p, 1 / of_n, ranges)
            if not _divides_by_a_step(factors):
                return factors, None
    contradiction = _contradiction(positive, negative, ranges)
    if contradiction is None:
        return _separate_from_a_base_point(positive, negative, ranges), None
    return None, contradiction


def _univariate(ratio: sp.Expr) -> tuple[sp.Expr | None, sp.Expr]:
    """The factors of ``ratio`` with s_p and those with s_n, if none has both."""
    of_p, of_n = sp.S.One, sp.S.One
    for factor in sp.Mul.make_args(ratio):
        if factor.has(s_p) and factor.has(s_n):
            return None, of_n
        if factor.has(s_n):
            of_n *= factor
        else:
            of_p *= factor
    return of_p, of_n


def _divides_by_a_step(factors: Factors) -> bool:
    """Whether a factor is infinite on a whole region. The products say nothing there."""
    powers = set().union(*(e.atoms(sp.Pow) for e in (factors.triplet, factors.positive, factors.negative)))
    return any(p.exp.could_extract_minus_sign() and p.base.has(hinge, step) for p in powers)


def _normalised(triplet: sp.Expr, positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Factors:
    pair_weight = positive if positive != 0 else negative
    content = _positive_content(pair_weight) * _sign_in_the_middle(pair_weight, ranges)
    return Factors(*(simplest(e) for e in (triplet * content, positive / content, negative / content)))


def _sign_in_the_middle(pair_weight: sp.Expr, ranges: Ranges) -> int:
    """The sign of a pair weight at the middle of the range, or, where it is zero or none there, nearest above it."""
    symbols = tuple(sorted(pair_weight.free_symbols, key=str))
    compiled = program([pair_weight], symbols)
    for share in (0.5, 0.5625, 0.75, 0.9375):
        (value,) = compiled.run(
            FLOAT, *(float(low + (high - low) * share) for low, high in (ranges[s] for s in symbols))
        )
        if value == value and value != 0:
            return 1 if value > 0 else -1
    return 1


def _positive_content(weight: sp.Expr) -> sp.Expr:
    factors = sp.Mul.make_args(simplest(weight))
    constants = [f for f in factors if not f.has(s_p, s_n)]
    return sp.Mul(*(abs(f) if f.is_number else f for f in constants if f.is_positive or f.is_Rational))


def _contradiction(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Contradiction | None:
    """An identity that T·P implies at two values of each similarity, with a point at which it fails."""
    p = [sp.Symbol(f"s_p{i}", real=True) for i in (1, 2)]
    n = [sp.Symbol(f"s_n{i}", real=True) for i in (1, 2)]
    wider = {**ranges, **dict.fromkeys(p, ranges[s_p]), **dict.fromkeys(n, ranges[s_n])}

    def plus(i: int, j: int) -> sp.Expr:
        return positive.xreplace({s_p: p[i - 1], s_n: n[j - 1]})

    def minus(i: int, j: int) -> sp.Expr:
        return negative.xreplace({s_p: p[i - 1], s_n: n[j - 1]})

    def vanishes(weight: sp.Expr) -> sp.Expr:
        """1 where a weight is exactly zero. Beyond a kink it can be zero on a whole region."""
        return 4 * (1 - step(weight)) * (1 - step(-weight))

    implied = {
        "w⁺₁₁·w⁺₂₂·w⁻₁₂·w⁻₂₁ − w⁺₁₂·w⁺₂₁·w⁻₁₁·w⁻₂₂": plus(1, 1) * plus(2, 2) * minus(1, 2) * minus(2, 1)
        - plus(1, 2) * plus(2, 1) * minus(1, 1) * minus(2, 2),
        "where w⁻₁₁ = 0, w⁺₁₁·w⁻₂₁": vanishes(minus(1, 1)) * plus(1, 1) * minus(2, 1),
        "where w⁺₁₁ = 0, w⁻₁₁·w⁺₁₂": vanishes(plus(1, 1)) * minus(1, 1) * plus(1, 2),
    }
    for what, expression in implied.items():
        witness = find_witness(expression, wider)
        if witness:
            return Contradiction(what, witness)
    return None


def _separate_from_a_base_point(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Factors | None:
    """The factors read off the weights along the two lines through a point, if their products are the weights."""
    for base in random_points((s_p, s_n), ranges, BASES):
        of_p = (positive / negative).subs(s_n, base[s_n])
        of_n = (negative / positive).subs(s_p, base[s_p]) * of_p.subs(s_p, base[s_p])
        if of_p.has(sp.nan, sp.zoo) or of_n.has(sp.nan, sp.zoo) or of_p == 0:
            continue
        triplet = positive / of_p
        with suppress(Undecided):
            if refute_zero(triplet * of_n - negative, ranges) is None:
                return _normalised(triplet, of_p, of_n, ranges)
    return None
