"""The arithmetic of formulas: SymPy's, refused before a number gets huge, complex or undefined.

SymPy computes, factors and looks for signs as soon as it builds an expression: so every operation is checked before.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import mpmath
import sympy as sp
from mpmath.ctx_iv import MPIntervalContext

from goal_analysis.symbolic.language.primitives import PRIMITIVES, hinge, logsumexp, sigmoid, softplus, step

MAX_BITS = 512  # of a numerator or denominator: its square still fits into a float64
MAX_EXPONENT = 64  # largest numeric exponent: no published loss goes past 4, and SymPy expands powers of numbers
MAX_ROOT = 100  # the largest denominator of a numeric exponent
MAX_ROOT_BITS = 256  # bits of a number under a root, times the root: SymPy raises its prime factors up to that power
MAX_SIZE = 2_000  # nodes of an expression, written out as a tree: `abs` and `max` write their argument twice

MAX_TERMS, MAX_CONSTANT_TERMS = 3_000, 100
"""Summands of an expression multiplied out, which later steps may do and which SymPy does to constants."""

MAX_NESTING = 100  # levels of an expression, so that whoever walks it stays clear of Python's recursion limit
_MAX, _MAX_LOG = 2.0**512, 512 * math.log(2)


class Refused(ArithmeticError):
    """What is wrong with an expression or an operation, in words."""


class Facts(NamedTuple):
    """What is known of an expression within the bounds; ``interval`` lies around a constant, None with symbols."""

    size: int
    nesting: int
    terms: int
    interval: Any


class Arithmetic:
    """Operations on expressions of one formula, still to be `checked`; `Refused` where the language is left."""

    def __init__(self) -> None:
        self._known: dict[sp.Expr, Facts] = {}

    def checked(self, expression: sp.Expr) -> sp.Expr:
        """The expression, if it is real, defined and small."""
        self._facts(expression)
        return expression

    def divide(self, a: sp.Expr, b: sp.Expr) -> sp.Expr:
        """a/b."""
        if b == 0:
            raise Refused("got a division by zero but expected a divisor other than zero")
        return a / b

    def power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        """baseᵉ."""
        self._check_power(base, exponent)
        return _with_hinges(base**exponent)

    def exp(self, x: sp.Expr) -> sp.Expr:
        """eˣ."""
        interval = self._facts(x).interval
        if interval is not None and not (interval.a >= -_MAX_LOG and interval.b <= _MAX_LOG):
            raise Refused(f"got exp of a number past ±{_MAX_LOG:.0f} but expected a smaller one")
        for product in x.atoms(sp.Mul):  # exp(c·log(x)) is a power, and SymPy computes it as one
            coefficient = product.as_coeff_Mul()[0]
            for factor in product.args:
                if isinstance(factor, sp.log):
                    self._check_power(factor.args[0], coefficient)
        return _with_hinges(sp.exp(x))

    def log(self, x: sp.Expr) -> sp.Expr:
        """The natural logarithm of x."""
        self._check_positive(x, "log")
        return sp.log(x)

    def acos(self, x: sp.Expr) -> sp.Expr:
        """The angle in [0, π] whose cosine is x."""
        interval = self._facts(x).interval
        if interval is not None and not (interval.a >= -1 and interval.b <= 1) and abs(x) != 1:
            raise Refused(f"got acos of {_in_words(x)} but expected a number between -1 and 1 under it")
        return sp.acos(x)

    def _facts(self, expression: sp.Expr) -> Facts:
        if expression not in self._known:
            self._known[expression] = self._look_at(expression)
        return self._known[expression]

    def _look_at(self, x: sp.Expr) -> Facts:
        if not isinstance(x, _LANGUAGE):
            raise Refused(f"got {_NOT_NUMBERS.get(x, 'no number')} but expected a real number")
        if x.is_Rational and _bits_of(x) > MAX_BITS:
            raise Refused(f"got a number of {_bits_of(x)} bits but expected up to {MAX_BITS}")
        if x.is_Pow:
            self._check_own_power(*x.args)
        parts = [self._facts(part) for part in x.args]
        size, nesting = 1 + sum(p.size for p in parts), 1 + max((p.nesting for p in parts), default=0)
        if size > MAX_SIZE:
            raise Refused(f"got an expression of more than {MAX_SIZE} parts but expected a smaller one")
        if nesting > MAX_NESTING:
            raise Refused(f"got an expression of more than {MAX_NESTING} levels but expected fewer")
        terms, constant = _terms(x, parts), not x.is_Symbol and all(p.interval is not None for p in parts)
        limit = MAX_CONSTANT_TERMS if constant else MAX_TERMS
        if terms > limit:
            raise Refused(f"got an expression of more than {limit} terms, multiplied out, but expected fewer")
        return Facts(size, nesting, terms, _interval_of(x, [p.interval for p in parts]) if constant else None)

    def _check_own_power(self, base: sp.Expr, exponent: sp.Expr) -> None:
        _check_exponent(exponent)
        interval = self._facts(base).interval
        if interval is not None and interval.b < 0 and not exponent.is_Integer:
            raise Refused(f"got {_NOT_NUMBERS[sp.I]} but expected a real number")
        if base.is_Rational and exponent.is_Rational:
            _check_root(base, exponent)

    def _check_power(self, base: sp.Expr, exponent: sp.Expr) -> None:
        _check_exponent(exponent)
        if base == 0:
            if not exponent.is_Rational or exponent < 0:
                raise Refused(f"got zero to the power of {_in_words(exponent)} but expected another base")
            return
        if not exponent.is_Integer:
            self._check_positive(base, "a root or a power that is not whole")
        for factor in sp.Mul.make_args(base):
            number, already = factor.args if factor.is_Pow else (factor, sp.S.One)
            if number.is_Rational and exponent.is_Rational and already.is_Rational:
                if abs(number) != 1 and _bits_of(number) * abs(exponent * already) > MAX_BITS:
                    raise Refused(f"got a power of more than {MAX_BITS} bits but expected a smaller number")
                _check_root(number, exponent * already)

    def _check_positive(self, x: sp.Expr, what: str) -> None:
        interval = self._facts(x).interval
        if interval is not None and not interval.a > 0:
            raise Refused(f"got {what} of {_in_words(x)} but expected a positive number under it")


def _with_hinges(x: sp.Expr) -> sp.Expr:
    """SymPy reads the root of a square as its own absolute value."""
    return x.replace(sp.Abs, lambda y: hinge(y) + hinge(-y)) if x.has(sp.Abs) else x


def _terms(x: sp.Expr, parts: list[Facts]) -> int:
    if x.is_Add:
        return sum(part.terms for part in parts)
    if x.is_Mul:
        return math.prod(part.terms for part in parts)
    if x.is_Pow and parts[0].terms > 1:
        exponent = parts[1].interval or _interval_of(x.args[1].as_coeff_Add()[0], [])
        times = math.ceil(min(float(abs(exponent).b) * (1 - 1e-12), 1e4)) or 1
        return math.comb(parts[0].terms + times - 1, times)
    if isinstance(x, sp.log):  # of a product or a quotient
        return 2 if x.args[0].is_Rational and x.args[0].q > 1 else len(sp.Mul.make_args(x.args[0]))
    return 1


def _check_exponent(exponent: sp.Expr) -> None:
    for term in sp.Add.make_args(exponent):
        if abs(term.as_coeff_Mul()[0]) > MAX_EXPONENT or (term.is_Rational and term.q > MAX_ROOT):
            limits = f"one up to ±{MAX_EXPONENT} with a denominator up to {MAX_ROOT}, or a name"
            raise Refused(f"got the exponent {_in_words(exponent)} but expected {limits}")


def _check_root(number: sp.Rational, exponent: sp.Rational) -> None:
    bits = _bits_of(number) * exponent.q
    if exponent.q > 1 and bits > MAX_ROOT_BITS:
        limits = f"the number's bits times the root up to {MAX_ROOT_BITS}"
        raise Refused(f"got a root of {_in_words(number)}, {bits} bits by that measure, but expected {limits}")


def _bits_of(number: sp.Rational) -> int:
    return max(abs(number.p).bit_length(), number.q.bit_length())


def _in_words(x: sp.Expr) -> str:
    return str(x) if len(x.args) < 20 and len(str(x)) < 40 else "this constant"


# --- where constants lie -------------------------------------------------------------------------

_iv = MPIntervalContext()
_iv.prec = 128


def _interval_of(x: sp.Expr, parts: list[Any]) -> Any:
    if x.is_Rational:
        return _iv.mpf(x.p) / x.q
    try:
        found = _RULES[type(x)](*parts)
    except (ValueError, ArithmeticError) as problem:
        raise Refused(f"got {_in_words(x)}, which is no real number that floats reach") from problem
    if not (found.a >= -_MAX and found.b <= _MAX):
        raise Refused(f"got a constant past ±2**{MAX_BITS} but expected a smaller one")
    if found.a <= 1 / _MAX and found.b >= -1 / _MAX:
        raise Refused(f"got {_in_words(x)}, not told from zero, but expected a constant of a clear sign")
    return found


def _power(base: Any, exponent: Any) -> Any:
    return base ** int(exponent.a) if exponent.delta == 0 and exponent.a == int(exponent.a) else base**exponent


def _softplus(x: Any) -> Any:
    y = _iv.exp(x)
    return _iv.mpf([(y / (1 + y)).a, y.b]) if x.b < -40 else _iv.log(1 + y)  # log(1 + y) lies between y/(1 + y) and y


def _of_ends(monotone: Any, x: Any) -> Any:
    with mpmath.workprec(_iv.prec):
        ends = [monotone(mpmath.mpf(end)) for end in (x.a, x.b)]
    return _iv.mpf([min(ends), max(ends)]) * _iv.mpf([1 - 2.0**-52, 1 + 2.0**-52])


_RULES: dict[type, Any] = {
    type(sp.pi): lambda: +_iv.pi,
    type(sp.E): lambda: +_iv.e,
    sp.Add: lambda *xs: sum(xs),
    sp.Mul: lambda *xs: math.prod(xs),
    sp.Pow: _power,
    **{f: getattr(_iv, f.__name__) for f in (sp.exp, sp.log, sp.sin, sp.cos)},
    **{f: partial(_of_ends, getattr(mpmath, f.__name__)) for f in (sp.acos, sp.atan, sp.erf)},
    hinge: lambda x: _iv.mpf([max(x.a, 0), max(x.b, 0)]),
    step: lambda x: _iv.mpf(int(x.a > 0)),
    sigmoid: lambda x: 1 / (1 + _iv.exp(-x)),
    softplus: _softplus,
    logsumexp: lambda *xs: _iv.log(sum(map(_iv.exp, xs))),
}
_LANGUAGE = (sp.Rational, sp.Symbol, *(set(_RULES) | set(PRIMITIVES)))
_NOT_NUMBERS = {
    sp.zoo: "a division by zero",
    sp.nan: "an undefined number",
    sp.oo: "infinity",
    -sp.oo: "infinity",
    sp.I: "a complex number",
}
