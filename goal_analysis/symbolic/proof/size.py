"""How large an expression would become: what is too large is neither multiplied out nor factored."""

from __future__ import annotations

import math

import sympy as sp

ENDLESS = 1e9
"""Counts stop here."""


def terms_multiplied_out(e: sp.Expr) -> float:
    """At most how many terms ``e`` has when it is multiplied out.

    >>> x, y = sp.symbols("x y")
    >>> terms_multiplied_out((x + y) * (x - y) ** 3)
    16
    """
    if e.is_Add:
        return sum(map(terms_multiplied_out, e.args))
    if e.is_Mul:
        return min(math.prod(map(terms_multiplied_out, e.args)), ENDLESS)
    if e.is_Pow and e.exp.is_Integer:
        base = terms_multiplied_out(e.base)
        return ENDLESS if base > 1 and abs(e.exp) > 30 else min(base ** abs(int(e.exp)), ENDLESS)
    return 1


def degree_multiplied_out(e: sp.Expr) -> int:
    """At most which degree ``e`` has as a polynomial, where an exponential of p/q·x is the p-th power of that of x/q.

    >>> x, y = sp.symbols("x y")
    >>> degree_multiplied_out(x**3 * (y**2 + sp.sin(x)) + 7), degree_multiplied_out(sp.exp(x * sp.Rational(145, 100)))
    (5, 29)
    """
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
