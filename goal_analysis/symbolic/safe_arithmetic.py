"""The arithmetic of formulas: SymPy's, refused before a number gets huge, complex or undefined.

SymPy computes powers of numbers, factors what is under a root and looks for the sign of constants as soon as
an expression is built, so every operation is looked at first, and its result after.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import sympy as sp

from goal_analysis.symbolic.enclosure import Enclosure, enclosure_of
from goal_analysis.symbolic.primitives import PRIMITIVES, hinge

MAX_BITS = 512
"""Bits of a numerator or denominator: its square still fits into a float64."""

MAX_EXPONENT = 64
"""Largest numeric exponent: no published loss goes past 4, and SymPy expands powers of numbers."""

MAX_ROOT = 100
"""Largest denominator of a numeric exponent."""

MAX_ROOT_BITS = 256
"""Bits of a number under a root, times the root: SymPy raises its prime factors up to that power."""

MAX_SIZE = 2_000
"""Nodes of an expression, written out as a tree: `abs` and `max` write their argument twice."""

MAX_NESTING = 100
"""Levels of an expression, so that whoever walks it stays clear of Python's recursion limit."""


class Refused(ArithmeticError):
    """What is wrong with an operation, in words."""


class _Facts(NamedTuple):
    size: int
    nesting: int
    enclosure: Enclosure | None
    """Where the value lies; None for what has symbols."""


class Arithmetic:
    """Operations on expressions that stay inside the language and its bounds; one object for one formula.

    Every method and `checked` raise `Refused` with the reason.
    """

    def __init__(self) -> None:
        self._facts: dict[sp.Expr, _Facts] = {}

    def checked(self, expression: sp.Expr) -> sp.Expr:
        """Return the expression if it is real, defined and small."""
        self._facts_of(expression)
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
        enclosure = self._facts_of(x).enclosure
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
        enclosure = self._facts_of(x).enclosure
        if enclosure is not None and enclosure.low <= 0:
            raise Refused(f"got {what} of {_short(x)} but expected a positive number under it")

    def _check_power(self, base: sp.Expr, exponent: sp.Expr) -> None:
        _check_exponent(exponent)
        if base == 0:
            if not exponent.is_Rational or exponent < 0:
                raise Refused(f"got zero to the power of {_short(exponent)} but expected another base")
            return
        if not exponent.is_Integer:
            self._check_positive(base, "a root or a power that is not whole")
        for factor in sp.Mul.make_args(base):
            number, already = factor.args if factor.is_Pow else (factor, sp.S.One)
            if number.is_Rational and exponent.is_Rational and already.is_Rational:
                if abs(number) != 1 and _bits(number) * abs(exponent * already) > MAX_BITS:
                    raise Refused(f"got a power of more than {MAX_BITS} bits but expected a smaller number")
                _check_root(number, exponent * already)

    def _facts_of(self, expression: sp.Expr) -> _Facts:
        if expression not in self._facts:
            self._facts[expression] = self._look_at(expression)
        return self._facts[expression]

    def _look_at(self, x: sp.Expr) -> _Facts:
        if not isinstance(x, _LANGUAGE):
            raise Refused(f"got {_NOT_NUMBERS.get(x, 'no number')} but expected a real number")
        if x.is_Rational:
            if _bits(x) > MAX_BITS:
                raise Refused(f"got a number of {_bits(x)} bits but expected up to {MAX_BITS}")
            return _Facts(1, 1, enclosure_of(x, []))
        if x.is_Pow:
            self._check_written_power(*x.args)
        parts = [self._facts_of(part) for part in x.args]
        size = 1 + sum(part.size for part in parts)
        if size > MAX_SIZE:
            raise Refused(f"got an expression of more than {MAX_SIZE} parts but expected a smaller one")
        nesting = 1 + max((part.nesting for part in parts), default=0)
        if nesting > MAX_NESTING:
            raise Refused(f"got an expression of more than {MAX_NESTING} levels but expected fewer")
        if x.is_Symbol or any(part.enclosure is None for part in parts):
            return _Facts(size, nesting, None)
        try:
            enclosure = enclosure_of(x, [part.enclosure for part in parts])
        except (ValueError, OverflowError) as error:
            raise Refused(f"got {_short(x)}, which is no real number that floats reach") from error
        if not -_MAX <= enclosure.low <= enclosure.high <= _MAX:
            raise Refused(f"got a constant past ±2**{MAX_BITS} but expected a smaller one")
        if enclosure.low <= 0 <= enclosure.high:
            raise Refused(f"got {_short(x)}, not told from zero, but expected a constant of a clear sign")
        return _Facts(size, nesting, enclosure)

    def _check_written_power(self, base: sp.Expr, exponent: sp.Expr) -> None:
        """Of a power that SymPy left or made, such as (-1)**(1/3) from the cube root of -tau."""
        _check_exponent(exponent)
        enclosure = self._facts_of(base).enclosure
        if enclosure is not None and enclosure.high < 0 and not exponent.is_Integer:
            raise Refused(f"got {_NOT_NUMBERS[sp.I]} but expected a real number")
        if base.is_Rational and exponent.is_Rational:
            _check_root(base, exponent)


def _check_exponent(exponent: sp.Expr) -> None:
    for term in sp.Add.make_args(exponent):
        if abs(term.as_coeff_Mul()[0]) > MAX_EXPONENT or (term.is_Rational and term.q > MAX_ROOT):
            limits = f"one up to ±{MAX_EXPONENT} with a denominator up to {MAX_ROOT}, or a name"
            raise Refused(f"got the exponent {_short(exponent)} but expected {limits}")


def _check_root(number: sp.Rational, exponent: sp.Rational) -> None:
    bits = _bits(number) * exponent.q
    if exponent.q > 1 and bits > MAX_ROOT_BITS:
        limits = f"the number's bits times the root up to {MAX_ROOT_BITS}"
        raise Refused(f"got a root of {_short(number)}, {bits} bits by that measure, but expected {limits}")


_MAX = 2.0**MAX_BITS
_MAX_LOG = MAX_BITS * math.log(2)

_CONSTANTS = (sp.Rational, type(sp.pi), type(sp.E))
_FUNCTIONS = (sp.exp, sp.log, sp.sin, sp.cos, *PRIMITIVES)
_LANGUAGE = (*_CONSTANTS, sp.Symbol, sp.Add, sp.Mul, sp.Pow, *_FUNCTIONS)
_NOT_NUMBERS = {
    sp.zoo: "a division by zero",
    sp.nan: "an undefined number",
    sp.oo: "infinity",
    -sp.oo: "infinity",
    sp.I: "a complex number",
}


def _bits(number: sp.Rational) -> int:
    return max(abs(number.p).bit_length(), number.q.bit_length())


def _short(x: sp.Expr) -> str:
    return str(x) if len(x.args) < 20 and len(str(x)) < 40 else "this constant"
