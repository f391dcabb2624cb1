"""Separation: the factors T, P⁺ and P⁻ of the weights of a triplet, or the witness that there are none.

T·P⁺ = w⁺ and T·P⁻ = w⁻ with P⁺ of s_p alone and P⁻ of s_n alone exist if and only if w⁺/w⁻ is a function of s_p times
one of s_n, and are then unique up to one constant. It is fixed so: every positive factor of P⁺ that does not depend on
s_p (of P⁻ on s_n, where P⁺ is zero) moves into T. So P⁺ is a pure shape, T carries the scale, and P⁻ keeps its size
relative to P⁺.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, step
from goal_analysis.symbolic.proof.identity import Ranges, Undecided, Witness, find_witness, random_points, refute_zero
from goal_analysis.symbolic.proof.kernels import factored_in_exponentials
from goal_analysis.symbolic.proof.tidying import bounded_factor, simplest
from goal_analysis.symbolic.weight import Factors

BASES = 4
"""Points through which factors are read off the weights where the algebra shows none."""


@dataclass(frozen=True)
class Contradiction:
    """Why there are no factors: something that T·P makes zero is not.

    Args:
        what: the expression that would vanish, in words of the weights at points (s_p1, s_n1), (s_p1, s_n2), ...
        witness: where it does not.
    """

    what: str
    witness: Witness

    def __str__(self) -> str:
        return f"{self.what} is {self.witness}"


def separate(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> tuple[Factors | None, Contradiction | None]:
    """T, P⁺ and P⁻ with T·P⁺ = ``positive`` and T·P⁻ = ``negative``, or the contradiction that they lead to, or
    neither where neither was found.
    """
    if positive.is_zero and negative.is_zero:
        return Factors(sp.S.Zero, sp.S.One, sp.S.One), None
    if not positive.has(s_n) and not negative.has(s_p):
        return _normalised(sp.S.One, positive, negative), None
    if positive == 0 or negative == 0:
        return _normalised(sp.Add(positive, negative), sp.Integer(positive != 0), sp.Integer(negative != 0)), None
    forms = (sp.factor_terms, bounded_factor)
    if not positive.has(hinge, step) and not negative.has(hinge, step):
        forms = (*forms, factored_in_exponentials)
    for form in forms:
        written_p, written_n = form(positive), form(negative)
        of_p, of_n = _univariate(form(written_p / written_n))
        if of_p is not None:
            factors = _normalised(written_p / of_p, of_p, 1 / of_n)
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
    """Whether a factor is infinite on a whole region, so that the products say nothing there."""
    powers = set().union(*(e.atoms(sp.Pow) for e in (factors.triplet, factors.positive, factors.negative)))
    return any(p.exp.could_extract_minus_sign() and p.base.has(hinge, step) for p in powers)


def _normalised(triplet: sp.Expr, positive: sp.Expr, negative: sp.Expr) -> Factors:
    """The factors with the free constant fixed by the module's convention."""
    content = _positive_content(positive if positive != 0 else negative)
    return Factors(*(simplest(e) for e in (triplet * content, positive / content, negative / content)))


def _positive_content(weight: sp.Expr) -> sp.Expr:
    factors = sp.Mul.make_args(simplest(weight))
    constants = [f for f in factors if not f.has(s_p, s_n)]
    return sp.Mul(*(abs(f) if f.is_number else f for f in constants if f.is_positive or f.is_Rational))


def _contradiction(positive: sp.Expr, negative: sp.Expr, ranges: Ranges) -> Contradiction | None:
    """What T·P implies at any two values of each similarity, across kinks and zeros too, and where it fails."""
    p = [sp.Symbol(f"s_p{i}", real=True) for i in (1, 2)]
    n = [sp.Symbol(f"s_n{i}", real=True) for i in (1, 2)]
    wider = {**ranges, **dict.fromkeys(p, ranges[s_p]), **dict.fromkeys(n, ranges[s_n])}

    def plus(i: int, j: int) -> sp.Expr:
        return positive.xreplace({s_p: p[i - 1], s_n: n[j - 1]})

    def minus(i: int, j: int) -> sp.Expr:
        return negative.xreplace({s_p: p[i - 1], s_n: n[j - 1]})

    def vanishes(weight: sp.Expr) -> sp.Expr:
        """1 where a weight is exactly zero, which a kink can make it on a whole region."""
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
                return _normalised(triplet, of_p, of_n)
    return None
