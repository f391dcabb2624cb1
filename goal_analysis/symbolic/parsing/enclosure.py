"""Where a constant lies: an interval of floats around its value, computed from those of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, logsumexp, sigmoid, softplus, step


class Enclosure(NamedTuple):
    """Floats that a constant lies between."""

    low: float
    high: float


def enclosure_of(constant: sp.Expr, parts: list[Enclosure]) -> Enclosure:
    """Where a constant lies whose parts lie in ``parts``.

    Args:
        constant: an expression without symbols.
        parts: the enclosures of its ``args``.

    Raises:
        ValueError: the value is not real.
        OverflowError: it is past the floats.
        KeyError: the function is not one of the language.

    >>> enclosure_of(sp.exp(2), [Enclosure(2.0, 2.0)])
    Enclosure(low=7.38905609893064..., high=7.3890560989306...)
    """
    if constant.is_Rational:
        return _wider(float(constant), float(constant))
    return _wider(*_RULES[type(constant)](*parts))


def _wider(low: float, high: float) -> Enclosure:
    """With room for the rounding of one operation."""
    return Enclosure(low - abs(low) * 1e-15, high + abs(high) * 1e-15)


def _product(a: Enclosure, b: Enclosure) -> Enclosure:
    corners = [x * y for x in a for y in b]
    return _wider(min(corners), max(corners))


def _rising(function: Callable[[float], float]) -> Callable[[Enclosure], Enclosure]:
    return lambda x: Enclosure(function(x.low), function(x.high))


def _wave(function: Callable[[float], float]) -> Callable[[Enclosure], Enclosure]:
    def enclosure(x: Enclosure) -> Enclosure:
        middle, radius = (x.low + x.high) / 2, (x.high - x.low) / 2 + 1e-15
        return Enclosure(function(middle) - radius, function(middle) + radius)

    return enclosure


def _power(base: Enclosure, exponent: Enclosure) -> Enclosure:
    if base.low <= 0:  # a whole power of a negative constant
        even = round(exponent.low) % 2 == 0
        return _product(Enclosure(1, 1) if even else Enclosure(-1, -1), _power(_product(base, _MINUS), exponent))
    powers = [_exp(e * math.log(b)) for e in exponent for b in base]
    return Enclosure(min(powers) * (1 - 1e-12), max(powers) * (1 + 1e-12))


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _logsumexp(*xs: float) -> float:
    return max(xs) + math.log(sum(math.exp(x - max(xs)) for x in xs))


_MINUS = Enclosure(-1, -1)
_RULES: dict[type, Callable[..., Enclosure]] = {
    type(sp.pi): lambda: Enclosure(math.pi, math.pi),
    type(sp.E): lambda: Enclosure(math.e, math.e),
    sp.Add: lambda *xs: Enclosure(math.fsum(x.low for x in xs), math.fsum(x.high for x in xs)),
    sp.Mul: lambda *xs: reduce(_product, xs),
    sp.Pow: _power,
    sp.exp: _rising(_exp),
    sp.log: _rising(math.log),
    sp.sin: _wave(math.sin),
    sp.cos: _wave(math.cos),
    hinge: _rising(lambda x: max(x, 0.0)),
    step: _rising(lambda x: float(x > 0)),
    sigmoid: _rising(lambda x: math.exp(-_softplus(-x))),
    softplus: _rising(_softplus),
    logsumexp: lambda *xs: Enclosure(_logsumexp(*(x.low for x in xs)), _logsumexp(*(x.high for x in xs))),
}
