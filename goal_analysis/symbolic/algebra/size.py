"""How large an expression would become: what is too large is not multiplied out."""

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
