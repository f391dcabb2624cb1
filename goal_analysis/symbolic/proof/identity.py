"""Is an expression zero? Proved by algebra, refuted by a witness, never guessed.

A proof is made by `kernels`. A refutation is a point at which the value
differs from zero, the same in 50 digits and in 100, so that no rounding explains it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import mpmath
import sympy as sp

from goal_analysis.symbolic.proof.arithmetic import FLOAT, MULTIPRECISION
from goal_analysis.symbolic.proof.evaluation import Program, program
from goal_analysis.symbolic.proof.kernels import proves_zero

Ranges = Mapping[sp.Symbol, tuple[sp.Rational, sp.Rational]]
"""From where to where every symbol is tried."""

POINTS = 160
"""Points that floats screen; an identity that fails does so almost everywhere in some region."""

PROMISING = 6
"""Of these, the points with the largest values, and as many others, are looked at in many digits."""


class Undecided(ValueError):
    """Neither a proof nor a witness was found."""


@dataclass(frozen=True)
class Witness:
    """A point at which an expression is not zero."""

    point: tuple[tuple[str, float], ...]
    value: float

    def __str__(self) -> str:
        place = ", ".join(f"{name} = {value:.4g}" for name, value in self.point)
        return f"{self.value:.4g} at {place}" if place else f"{self.value:.4g} everywhere"


def refute_zero(expression: sp.Expr, ranges: Ranges) -> Witness | None:
    """None if ``expression`` is proved to be zero almost everywhere, else a witness against it.

    Raises:
        Undecided: the value is zero at every point that was tried, but the algebra does not prove it.

    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid
    >>> unit = {s_p: (sp.S(-1), sp.S(1)), s_n: (sp.S(-1), sp.S(1))}
    >>> refute_zero(sigmoid(s_n) + sigmoid(-s_n) - 1, unit) is None
    True
    >>> refute_zero(sigmoid(s_n) + sigmoid(s_p) - 1, unit) is None
    False
    """
    if expression == 0:
        return None
    witness = find_witness(expression, ranges)
    if witness is None and not proves_zero(expression):
        raise Undecided(f"neither a proof nor a witness that this is zero: {expression}; none of {POINTS} points tells")
    return witness


def find_witness(expression: sp.Expr, ranges: Ranges, points: int = POINTS) -> Witness | None:
    """A point within ``ranges`` at which ``expression`` is certainly not zero: the clearest found."""
    symbols = tuple(sorted(expression.free_symbols, key=str))
    compiled = program([expression], symbols)
    tried = list(random_points(symbols, ranges, points))
    by_size = sorted(tried, key=lambda point: -_size(compiled, point))
    for point in (*by_size[:PROMISING], *tried[:PROMISING]):
        value = certain_value(compiled, tuple(point.values()))
        if value:
            return Witness(tuple((symbol.name, float(x)) for symbol, x in point.items()), float(value))
    return None


def _size(compiled: Program, point: dict[sp.Symbol, sp.Rational]) -> float:
    """The magnitude of the value as far as floats tell."""
    (value,) = compiled.run(FLOAT, *map(float, point.values()))
    return abs(value) if math.isfinite(value) else 0.0


def random_points(symbols: tuple[sp.Symbol, ...], ranges: Ranges, count: int) -> Iterator[dict[sp.Symbol, sp.Rational]]:
    """``count`` points with rational coordinates strictly within ``ranges``, the same in every run."""
    source = random.Random(20221024)
    for _ in range(count):
        yield {
            symbol: low + (high - low) * sp.Rational(source.randrange(1, 9973), 9973)
            for symbol, (low, high) in ((symbol, ranges[symbol]) for symbol in symbols)
        }


def certain_value(compiled: Program, point: tuple[sp.Rational, ...]) -> mpmath.mpf | None:
    """The value of a program's output if 50 and 100 digits agree on it, else None: zero, or not a number."""
    values = []
    for digits in (50, 100):
        with mpmath.workdps(digits):
            numbers = (mpmath.mpf(x.p) / x.q for x in point)
            values.append(compiled.run(MULTIPRECISION, *numbers)[0])
    coarse, fine = values
    agree = mpmath.isfinite(fine) and fine != 0 and abs(coarse - fine) <= abs(fine) * mpmath.mpf("1e-6")
    return fine if agree else None
