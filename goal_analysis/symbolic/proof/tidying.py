"""Tidying: the same expression in fewer words, without undoing a stable form or making it too large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, step, undetach
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.proof.enclosures import Region, sign_over

MOST_TERMS = 400  # expressions with more terms are not factored
MOST_DEGREE = 100  # ... nor those of a higher degree. An exponential with a constant of many digits has a high degree


def tidy(weight: sp.Expr, similarity: Similarity) -> sp.Expr:
    """``weight`` in its simplest form, without `detach` and what has one sign over the similarity's range."""
    return simplest(settled(undetach(weight), similarity.region))


def settled(expression: sp.Expr, region: Region) -> sp.Expr:
    """``expression`` without a `hinge` or `step` of one sign over the region."""

    def of_sign(primitive: type[sp.Function], x: sp.Expr, when_positive: sp.Expr) -> sp.Expr:
        sign = sign_over(x, region)
        return when_positive if sign > 0 else sp.S.Zero if sign < 0 else primitive(x)

    without = expression.replace(hinge, lambda x: of_sign(hinge, x, x))
    return without.replace(step, lambda x: of_sign(step, x, sp.S.One))


def simplest(expression: sp.Expr) -> sp.Expr:
    """The form with the fewest operations of the expression, its factors, and these with x·1[x > 0] as [x]₊."""
    opened = _opened(expression)
    shields = {f: sp.Dummy(real=True) for f in _outermost_functions(opened)}
    factored = bounded_factor(opened.xreplace(shields)).xreplace({dummy: f for f, dummy in shields.items()})
    folded = sp.Mul(*_with_hinges(sp.Mul.make_args(factored)))
    candidates = (sp.factor_terms(expression), folded, expression)
    return min(candidates, key=lambda e: (sp.count_ops(e), candidates.index(e)))


@lru_cache(maxsize=4096)
def bounded_factor(expression: sp.Expr) -> sp.Expr:
    """`sympy.factor`, unless it would take too long, or makes of a root what is no formula of the language."""
    found = sp.factor(expression) if _can_be_factored(expression) else sp.factor_terms(expression)
    return expression if found.has(sp.Abs) else found


def bounded_factor_list(polynomial: sp.Expr) -> tuple[sp.Expr, list[tuple[sp.Expr, int]]]:
    """`sympy.factor_list`, unless it would take too long: then the polynomial is its only factor."""
    return sp.factor_list(polynomial) if _can_be_factored(polynomial) else (sp.S.One, [(polynomial, 1)])


def _can_be_factored(e: sp.Expr) -> bool:
    return terms_multiplied_out(e) <= MOST_TERMS and degree_multiplied_out(e) <= MOST_DEGREE


def _outermost_functions(e: sp.Expr) -> set[sp.Expr]:
    if e.is_Function:
        return {e}
    return set().union(*map(_outermost_functions, e.args)) if e.args else set()


def _opened(e: sp.Expr) -> sp.Expr:
    """``e`` with [x]₊ written x·1[x > 0] where it is a factor or a summand, not inside of another function."""
    if isinstance(e, hinge):
        return e.args[0] * step(e.args[0])
    if e.is_Pow and not (e.exp.is_Integer and e.exp.is_positive):
        return e  # 1[x > 0] to a power below one would be 0 to that power, or worse
    return e.func(*map(_opened, e.args)) if e.is_Add or e.is_Mul or e.is_Pow else e


def _with_hinges(factors: Sequence[sp.Expr]) -> list[sp.Expr]:
    left = list(factors)
    for kink in [f for f in factors if isinstance(f, step)]:
        inside = kink.args[0]
        for f in factors:
            sign = next((sign for sign in (1, -1) if sp.expand(sign * f - inside) == 0), None)
            if sign is not None and f in left:
                left.remove(f)
                left.remove(kink)
                left.append(sign * hinge(inside))
                break
    return left


ENDLESS = 1e9  # the largest count


def terms_multiplied_out(e: sp.Expr) -> float:
    """At most how many terms ``e`` has when it is multiplied out."""
    if e.is_Add:
        return sum(map(terms_multiplied_out, e.args))
    if e.is_Mul:
        return min(math.prod(map(terms_multiplied_out, e.args)), ENDLESS)
    if e.is_Pow and e.exp.is_Integer:
        base = terms_multiplied_out(e.base)
        return ENDLESS if base > 1 and abs(e.exp) > 30 else min(base ** abs(int(e.exp)), ENDLESS)
    return 1


def degree_multiplied_out(e: sp.Expr) -> int:
    """At most which degree ``e`` has as a polynomial of exponentials too."""
    if e.is_Number:
        return 0
    if e.is_Add:
        return max(map(degree_multiplied_out, e.args))
    if e.is_Mul:
        return sum(map(degree_multiplied_out, e.args))
    if e.is_Pow or isinstance(e, sp.exp):
        base, exponent = e.as_base_exp()
        factors = (term.as_coeff_Mul(rational=True)[0] for term in sp.Add.make_args(exponent))
        return sum(abs(int(factor.p)) for factor in factors) * (degree_multiplied_out(base) or 1)
    return 1
