"""What a formula's expressions may be: real, defined and small, down to the last part."""

from __future__ import annotations

import math
from typing import NamedTuple

import sympy as sp

from goal_analysis.symbolic.language.primitives import PRIMITIVES
from goal_analysis.symbolic.parsing.enclosure import Enclosure, enclosure_of

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

MAX_TERMS, MAX_CONSTANT_TERMS = 3_000, 100
"""Summands of an expression multiplied out: what comes after may do that, and SymPy does to constants."""

MAX_NESTING = 100
"""Levels of an expression, so that whoever walks it stays clear of Python's recursion limit."""


class Refused(ArithmeticError):
    """What is wrong with an expression or an operation, in words."""


class Facts(NamedTuple):
    """What is known of an expression that is within the bounds."""

    size: int
    nesting: int
    terms: int
    enclosure: Enclosure | None
    """Where the value lies; None for what has symbols."""


class Bounds:
    """Looks at expressions and remembers their parts; one object for one formula."""

    def __init__(self) -> None:
        self._known: dict[sp.Expr, Facts] = {}

    def facts(self, expression: sp.Expr) -> Facts:
        """What is known of an expression.

        Raises:
            Refused: it is not real and defined, or too large.
        """
        if expression not in self._known:
            self._known[expression] = self._look_at(expression)
        return self._known[expression]

    def _look_at(self, x: sp.Expr) -> Facts:
        if not isinstance(x, _LANGUAGE):
            raise Refused(f"got {_NOT_NUMBERS.get(x, 'no number')} but expected a real number")
        if x.is_Rational:
            if bits_of(x) > MAX_BITS:
                raise Refused(f"got a number of {bits_of(x)} bits but expected up to {MAX_BITS}")
            return Facts(1, 1, 1, enclosure_of(x, []))
        if x.is_Pow:
            self._check_power(*x.args)
        parts = [self.facts(part) for part in x.args]
        size = 1 + sum(part.size for part in parts)
        if size > MAX_SIZE:
            raise Refused(f"got an expression of more than {MAX_SIZE} parts but expected a smaller one")
        nesting = 1 + max((part.nesting for part in parts), default=0)
        if nesting > MAX_NESTING:
            raise Refused(f"got an expression of more than {MAX_NESTING} levels but expected fewer")
        terms, enclosures = _terms(x, parts), [part.enclosure for part in parts if part.enclosure is not None]
        constant = not x.is_Symbol and len(enclosures) == len(parts)
        limit = MAX_CONSTANT_TERMS if constant else MAX_TERMS
        if terms > limit:
            raise Refused(f"got an expression of more than {limit} terms, multiplied out, but expected fewer")
        if not constant:
            return Facts(size, nesting, terms, None)
        try:
            enclosure = enclosure_of(x, enclosures)
        except (ValueError, OverflowError) as error:
            raise Refused(f"got {in_words(x)}, which is no real number that floats reach") from error
        if not -_MAX <= enclosure.low <= enclosure.high <= _MAX:
            raise Refused(f"got a constant past ±2**{MAX_BITS} but expected a smaller one")
        if enclosure.low <= 0 <= enclosure.high:
            raise Refused(f"got {in_words(x)}, not told from zero, but expected a constant of a clear sign")
        return Facts(size, nesting, terms, enclosure)

    def _check_power(self, base: sp.Expr, exponent: sp.Expr) -> None:
        """Of a power that SymPy left or made, such as (-1)**(1/3) from the cube root of -tau."""
        check_exponent(exponent)
        enclosure = self.facts(base).enclosure
        if enclosure is not None and enclosure.high < 0 and not exponent.is_Integer:
            raise Refused(f"got {_NOT_NUMBERS[sp.I]} but expected a real number")
        if base.is_Rational and exponent.is_Rational:
            check_root(base, exponent)


def _terms(x: sp.Expr, parts: list[Facts]) -> int:
    """How many summands an expression has when it is multiplied out."""
    if x.is_Add:
        return sum(part.terms for part in parts)
    if x.is_Mul:
        return math.prod(part.terms for part in parts)
    if x.is_Pow and parts[0].terms > 1:
        exponent = parts[1].enclosure or enclosure_of(x.args[1].as_coeff_Add()[0], [])
        times = math.ceil(min(max(abs(exponent.low), abs(exponent.high)) * (1 - 1e-12), 1e4)) or 1
        return math.comb(parts[0].terms + times - 1, times)
    if isinstance(x, sp.log):  # of a product or a quotient
        return 2 if x.args[0].is_Rational and x.args[0].q > 1 else len(sp.Mul.make_args(x.args[0]))
    return 1


def check_exponent(exponent: sp.Expr) -> None:
    """Refuse an exponent that is large, or a fraction of a large denominator."""
    for term in sp.Add.make_args(exponent):
        if abs(term.as_coeff_Mul()[0]) > MAX_EXPONENT or (term.is_Rational and term.q > MAX_ROOT):
            limits = f"one up to ±{MAX_EXPONENT} with a denominator up to {MAX_ROOT}, or a name"
            raise Refused(f"got the exponent {in_words(exponent)} but expected {limits}")


def check_root(number: sp.Rational, exponent: sp.Rational) -> None:
    """Refuse a root of a large number."""
    bits = bits_of(number) * exponent.q
    if exponent.q > 1 and bits > MAX_ROOT_BITS:
        limits = f"the number's bits times the root up to {MAX_ROOT_BITS}"
        raise Refused(f"got a root of {in_words(number)}, {bits} bits by that measure, but expected {limits}")


_MAX = 2.0**MAX_BITS

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


def bits_of(number: sp.Rational) -> int:
    """The size of a number."""
    return max(abs(number.p).bit_length(), number.q.bit_length())


def in_words(x: sp.Expr) -> str:
    """An expression for an error's text."""
    return str(x) if len(x.args) < 20 and len(str(x)) < 40 else "this constant"
