"""The arithmetic of formulas: SymPy's, refused before a number gets huge, complex or undefined.

SymPy computes powers of numbers, factors what is under a root and looks for the sign of constants as soon as
an expression is built, so every operation is looked at first, and its result after.
"""

from __future__ import annotations

import math

import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge
from goal_analysis.symbolic.parsing.formula_bounds import (
    MAX_BITS,
    Bounds,
    Refused,
    bits_of,
    check_exponent,
    check_root,
    in_words,
)

__all__ = ["Arithmetic", "Refused"]

_MAX_LOG = MAX_BITS * math.log(2)


class Arithmetic:
    """Operations on expressions that stay inside the language and its bounds; one object for one formula.

    Every method and `checked` raise `Refused` with the reason.
    """

    def __init__(self) -> None:
        self._bounds = Bounds()

    def checked(self, expression: sp.Expr) -> sp.Expr:
        """Return the expression if it is real, defined and small."""
        self._bounds.facts(expression)
        return expression

    def divide(self, a: sp.Expr, b: sp.Expr) -> sp.Expr:
        """a/b."""
        if b == 0:
            raise Refused("got a division by zero but expected a divisor other than zero")
        return self.checked(a / b)

    def power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        """baseᵉ."""
        self._check_power(base, exponent)
        result = base**exponent
        if result.has(sp.Abs):  # SymPy's reading of the root of a square
            result = result.replace(sp.Abs, lambda x: hinge(x) + hinge(-x))
        return self.checked(result)

    def sqrt(self, x: sp.Expr) -> sp.Expr:
        """√x."""
        return self.power(x, sp.S.Half)

    def exp(self, x: sp.Expr) -> sp.Expr:
        """eˣ."""
        enclosure = self._bounds.facts(x).enclosure
        if enclosure is not None and not -_MAX_LOG <= enclosure.low <= enclosure.high <= _MAX_LOG:
            raise Refused(f"got exp of a number past ±{_MAX_LOG:.0f} but expected a smaller one")
        for product in x.atoms(sp.Mul):  # exp(c·log(x)) is a power, and SymPy computes it as one
            coefficient = product.as_coeff_Mul()[0]
            for factor in product.args:
                if isinstance(factor, sp.log):
                    self._check_power(factor.args[0], coefficient)
        return self.checked(sp.exp(x))

    def log(self, x: sp.Expr) -> sp.Expr:
        """The natural logarithm of x."""
        self._check_positive(x, "log")
        return self.checked(sp.log(x))

    def absolute(self, x: sp.Expr) -> sp.Expr:
        """|x|, spelt [x]₊ + [−x]₊."""
        return self.checked(hinge(x) + hinge(-x))

    def _check_positive(self, x: sp.Expr, what: str) -> None:
        enclosure = self._bounds.facts(x).enclosure
        if enclosure is not None and enclosure.low <= 0:
            raise Refused(f"got {what} of {in_words(x)} but expected a positive number under it")

    def _check_power(self, base: sp.Expr, exponent: sp.Expr) -> None:
        check_exponent(exponent)
        if base == 0:
            if not exponent.is_Rational or exponent < 0:
                raise Refused(f"got zero to the power of {in_words(exponent)} but expected another base")
            return
        if not exponent.is_Integer:
            self._check_positive(base, "a root or a power that is not whole")
        for factor in sp.Mul.make_args(base):
            number, already = factor.args if factor.is_Pow else (factor, sp.S.One)
            if number.is_Rational and exponent.is_Rational and already.is_Rational:
                if abs(number) != 1 and bits_of(number) * abs(exponent * already) > MAX_BITS:
                    raise Refused(f"got a power of more than {MAX_BITS} bits but expected a smaller number")
                check_root(number, exponent * already)
