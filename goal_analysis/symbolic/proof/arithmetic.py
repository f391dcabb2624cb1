"""What the operations of a program mean on Python's floats, and on numbers of many digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp
from mpmath import iv

Table = Mapping[str, Callable[..., Any]]
"""What every operation of a program means, by name; ``constant`` takes an exact SymPy number."""


def _float_exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _float_div(a: float, b: float) -> float:
    return a / b if b else math.copysign(math.inf, a) if a else math.nan


def _float_pow(a: float, b: float) -> float:
    try:
        return math.pow(a, b)
    except ValueError:
        return math.nan
    except OverflowError:
        return math.inf


def _float_logsumexp(*xs: float) -> float:
    top = max(xs)
    return top if math.isinf(top) else top + math.log(math.fsum(math.exp(x - top) for x in xs))


@lru_cache(maxsize=65536)
def _float_constant(e: sp.Expr) -> float:
    return float(e) if e.is_extended_real else math.nan


FLOAT: Table = {
    "constant": _float_constant,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": _float_div,
    "neg": lambda a: -a,
    "pow": _float_pow,
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else math.nan,
    "exp": _float_exp,
    "log": lambda a: math.log(a) if a > 0 else -math.inf if a == 0 else math.nan,
    "sin": lambda a: math.sin(a) if math.isfinite(a) else math.nan,
    "cos": lambda a: math.cos(a) if math.isfinite(a) else math.nan,
    "hinge": lambda a: max(a, 0.0),
    "step": lambda a: 0.5 if a == 0 else float(a > 0),
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)) if a >= 0 else _float_exp(a) / (1 + _float_exp(a)),
    "softplus": lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))),
    "logsumexp": _float_logsumexp,
}
"""Python's floats: overflow is infinite, what has no real value is NaN."""


def _multiprecision_real(function: Callable[..., Any]) -> Callable[..., Any]:
    def real_or_nan(*values: Any) -> Any:
        try:
            value = function(*values)
        except (ZeroDivisionError, ValueError):
            return mpmath.nan
        return mpmath.nan if isinstance(value, mpmath.mpc) and value.imag else mpmath.mpf(value.real)

    return real_or_nan


@lru_cache(maxsize=65536)
def _multiprecision_constant(e: sp.Expr, digits: int) -> Any:
    if not e.is_extended_real:
        return mpmath.nan
    return e.evalf(digits + 5)._to_mpmath(mpmath.mp.prec) if e.is_finite else mpmath.mpf(float(e))


MULTIPRECISION: Table = {
    "constant": lambda e: _multiprecision_constant(e, mpmath.mp.dps),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": _multiprecision_real(lambda a, b: a / b),
    "neg": lambda a: -a,
    "pow": _multiprecision_real(lambda a, b: mpmath.power(a, b)),
    "sqrt": _multiprecision_real(mpmath.sqrt),
    "exp": mpmath.exp,
    "log": _multiprecision_real(mpmath.log),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "hinge": lambda a: max(a, mpmath.mpf(0)),
    "step": lambda a: mpmath.mpf("0.5") if a == 0 else mpmath.mpf(a > 0),
    "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
    "softplus": lambda a: mpmath.log1p(mpmath.exp(a)) if a < 0 else a + mpmath.log1p(mpmath.exp(-a)),
    "logsumexp": lambda *xs: mpmath.log(mpmath.fsum(mpmath.exp(x) for x in xs)),
}
"""Numbers of as many digits as mpmath's context says, for witnesses that no rounding can explain."""


def _interval_constant(e: sp.Expr) -> Any:
    if e.is_Rational:
        return iv.mpf(e.p) / e.q
    number = e.evalf(30) if e.is_extended_real else sp.nan
    around = iv.mpf(str(number)) if number.is_finite else _EVERYTHING
    return around * (1 + iv.mpf([-1e-14, 1e-14]))


_EVERYTHING = iv.mpf([-mpmath.inf, mpmath.inf])


def _interval_or_everything(function: Callable[..., Any]) -> Callable[..., Any]:
    def interval(*values: Any) -> Any:
        try:
            found = function(*values)
        except (ValueError, ZeroDivisionError, OverflowError, NotImplementedError):
            return _EVERYTHING
        return found if isinstance(found, type(_EVERYTHING)) and found.a <= found.b else _EVERYTHING

    return interval


def _interval_sigmoid(x: Any) -> Any:
    return iv.mpf([(1 / (1 + iv.exp(-x.a))).a, (1 / (1 + iv.exp(-x.b))).b])


def _interval_step(x: Any) -> Any:
    return iv.mpf([1 if x.a > 0 else 0, 0 if x.b < 0 else 1])


INTERVAL: Table = {
    "constant": _interval_constant,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "hinge": lambda x: iv.mpf([max(x.a, iv.mpf(0).a), max(x.b, iv.mpf(0).b)]),
    "step": _interval_step,
    **{
        name: _interval_or_everything(function)
        for name, function in {
            "div": lambda a, b: a / b,
            "pow": lambda a, b: a**b,
            "sqrt": iv.sqrt,
            "exp": iv.exp,
            "log": iv.log,
            "sin": iv.sin,
            "cos": iv.cos,
            "sigmoid": _interval_sigmoid,
            "softplus": lambda x: iv.log(1 + iv.exp(x)),
            "logsumexp": lambda *xs: iv.log(sum(map(iv.exp, xs))),
        }.items()
    },
}
"""Intervals that hold every value of their operands' intervals, for proofs about whole boxes."""
