"""A loss taken apart at the gradient: triplet weight, pair weights and mining weights, all derived.

w⁺ = −∂L/∂s_p is T·P⁺(s_p) and w⁻ = ∂L/∂s_n is T·P⁻(s_n) if and only if w⁺/w⁻ is a function of s_p times one of s_n.
T takes every positive constant of P⁺ (of P⁻ where P⁺ is zero), and P⁺ is positive in the middle of the range.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy as sp

from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.primitives import hinge, logsumexp, s_n, s_p, softplus, step, undetach
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.proof.identity import Ranges, Undecided, Witness, find_witness, random_points, refute_zero
from goal_analysis.symbolic.proof.tidying import bounded_factor, simplest, tidy
from goal_analysis.symbolic.weight import Factors, WeightField

CHECKED = 24  # points at which simplified weights are compared with the bare derivatives
BASES = 4  # points through which factors are read off the weights where the algebra shows none


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
    """Derive the weights of any objective."""
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
    term = objective.terms[0]
    t, of_n = map(undetach, term.triplet_weights)
    if len(objective.terms) > 1 or not term.plain or t != of_n:
        return None
    ((_, at),) = term.gathered((s_p,), (s_n,))
    (positive,), (negative,) = objective.of_terms((replace(term, outer=None, triplet=sp.S.One),)).weights()
    if positive.has(s_n) or negative.has(s_p):  # a side gathers both kinds of pairs
        return None
    return Factors(undetach(t.subs(at, simultaneous=True)), positive, negative)


def _agree(derivatives: tuple[sp.Expr, ...], written: tuple[sp.Expr, ...], field: WeightField) -> bool:
    pairs = zip(derivatives, written, strict=True)
    return not any(find_witness(derivative - weight, field.ranges, CHECKED) for derivative, weight in pairs)


def _pairwise(*xs: sp.Expr) -> sp.Expr:
    """logsumexp of two values as a softplus, whose derivative shows the factors at once."""
    if len(xs) != 2:
        return logsumexp(*xs)
    first, second = sorted(xs, key=lambda x: not x.has(s_p))
    return first + softplus(second - first)


@dataclass(frozen=True)
class Contradiction:
    """Why there are no factors: T·P would make an expression of w at (s_p1, s_n1), ... zero that is not zero."""

    what: str
    witness: Witness

    def __str__(self) -> str:
        return f"{self.what} is {self.witness}"


def separate(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> tuple[Factors | None, Contradiction | None]:
    """T, P⁺ and P⁻ with T·P⁺ and T·P⁻ as given, or the contradiction that they lead to, or neither."""
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
    for form in (sp.factor_terms, bounded_factor):
        written_p, written_n = form(positive), form(negative)
        of_p, of_n = form(written_p / written_n).as_independent(s_n, as_Add=False)
        if not of_n.has(s_p):
            factors = _normalised(written_p / of_p, of_p, 1 / of_n, ranges)
            powers = set().union(*(e.atoms(sp.Pow) for e in (factors.triplet, factors.positive, factors.negative)))
            if not any(p.exp.could_extract_minus_sign() and p.base.has(hinge, step) for p in powers):
                return factors, None
    contradiction = _contradiction(positive, negative, ranges)
    if contradiction is None:
        return _separate_from_a_base_point(positive, negative, ranges), None
    return None, contradiction


def _normalised(triplet: sp.Expr, positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Factors:
    pair_weight = positive if positive != 0 else negative
    content = _positive_content(pair_weight) * _sign_in_the_middle(pair_weight, ranges)
    return Factors(*(simplest(e) for e in (triplet * content, positive / content, negative / content)))


def _sign_in_the_middle(pair_weight: sp.Expr, ranges: Ranges) -> int:
    symbols = tuple(sorted(pair_weight.free_symbols, key=str))
    compiled = program([pair_weight], symbols)
    for share in (0.5, 0.5625, 0.75, 0.9375):
        at = (low + (high - low) * share for low, high in (ranges[s] for s in symbols))
        (value,) = compiled.run(FLOAT, *map(float, at))
        if value < 0 or value > 0:
            return 1 if value > 0 else -1
    return 1


def _positive_content(weight: sp.Expr) -> sp.Expr:
    factors = sp.Mul.make_args(simplest(weight))
    constants = [f for f in factors if not f.has(s_p, s_n)]
    return sp.Mul(*(abs(f) if f.is_number else f for f in constants if f.is_positive or f.is_Rational))


def _contradiction(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Contradiction | None:
    p, n = ([sp.Symbol(f"{s}{i}", real=True) for i in (1, 2)] for s in (s_p, s_n))
    wider = {**ranges, **dict.fromkeys(p, ranges[s_p]), **dict.fromkeys(n, ranges[s_n])}
    (p11, p12, p21, p22), (n11, n12, n21, n22) = (
        [weight.xreplace({s_p: at_p, s_n: at_n}) for at_p in p for at_n in n] for weight in (positive, negative)
    )

    def vanishes(weight: sp.Expr) -> sp.Expr:
        """1 where a weight is exactly zero. Beyond a kink it can be zero on a whole region."""
        return 4 * (1 - step(weight)) * (1 - step(-weight))

    implied = {
        "w⁺₁₁·w⁺₂₂·w⁻₁₂·w⁻₂₁ − w⁺₁₂·w⁺₂₁·w⁻₁₁·w⁻₂₂": p11 * p22 * n12 * n21 - p12 * p21 * n11 * n22,
        "where w⁻₁₁ = 0, w⁺₁₁·w⁻₂₁": vanishes(n11) * p11 * n21,
        "where w⁺₁₁ = 0, w⁻₁₁·w⁺₁₂": vanishes(p11) * n11 * p12,
    }
    for what, expression in implied.items():
        witness = find_witness(expression, wider)
        if witness:
            return Contradiction(what, witness)
    return None


def _separate_from_a_base_point(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Factors | None:
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
