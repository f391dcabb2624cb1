"""Is an expression zero? A proof or a witness says so; nothing is guessed.

A proof expands the numerator of a rational function in every case of a `step` or `hinge`. A witness is a point at which
the value is not zero, in 50 digits as in 100.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType

import mpmath
import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, logsumexp, opened, sigmoid, softplus, step
from goal_analysis.symbolic.proof.enclosures import Region, sign_over
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, Program, program
from goal_analysis.symbolic.proof.tidying import bounded_factor_list, terms_multiplied_out

Ranges = Mapping[sp.Symbol, tuple[sp.Rational, sp.Rational]]

POINTS = 160  # points that are tried in floats. A false identity fails almost everywhere in some region
PROMISING = 6  # how many points with the largest values, and how many others, are then tried in many digits


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
    """None if ``expression`` is proved zero almost everywhere, else a witness; `Undecided` where neither is found."""
    if expression == 0:
        return None
    witness = find_witness(expression, ranges)
    if witness is None and not proves_zero(expression):
        raise Undecided(f"neither a proof nor a witness that this is zero: {expression}; none of {POINTS} points tells")
    return witness


def find_witness(
    expression: sp.Expr, ranges: Ranges, points: int = POINTS, symbols: tuple[sp.Symbol, ...] = ()
) -> Witness | None:
    """The clearest point within ``ranges`` at which ``expression`` is certainly not zero; it names all ``symbols``."""
    symbols = symbols or tuple(sorted(expression.free_symbols, key=str))
    compiled = program([expression], symbols)
    tried = _drawn(tuple(ranges[s] for s in symbols), points)
    by_size = sorted(tried, key=lambda point: -_size(compiled, point))
    for point in (*by_size[:PROMISING], *tried[:PROMISING]):
        value = certain_value(compiled, point)
        if value:
            named = zip(symbols, point, strict=True)
            return Witness(tuple((symbol.name, float(x)) for symbol, x in named), float(value))
    return None


def _size(compiled: Program, point: tuple[Fraction, ...]) -> float:
    (value,) = compiled.run(FLOAT, *map(float, point))
    return abs(value) if math.isfinite(value) else 0.0


def random_points(symbols: tuple[sp.Symbol, ...], ranges: Ranges, count: int) -> Iterator[dict[sp.Symbol, sp.Rational]]:
    """``count`` points with rational coordinates strictly within ``ranges``, the same in every run."""
    for point in _drawn(tuple(ranges[s] for s in symbols), count):
        yield {s: sp.Rational(x.numerator, x.denominator) for s, x in zip(symbols, point, strict=True)}


@lru_cache(maxsize=1024)
def _drawn(ends: tuple[tuple[sp.Expr, sp.Expr], ...], count: int) -> list[tuple[Fraction, ...]]:
    source, lines = random.Random(20221024), [(_fraction(low), _fraction(high)) for low, high in ends]
    return [tuple(a + (b - a) * Fraction(source.randrange(1, 9973), 9973) for a, b in lines) for _ in range(count)]


def _fraction(number: sp.Expr) -> Fraction:
    return Fraction(str(number if number.is_Rational else sp.Rational(str(number.evalf(20)))))


def certain_value(compiled: Program, point: Sequence[sp.Rational | Fraction]) -> mpmath.mpf | None:
    """The value of a program's output if 50 and 100 digits agree on it, else None: zero, or not a number."""
    values = []
    for digits in (50, 100):
        with mpmath.workdps(digits):
            numbers = (mpmath.mpf(x.numerator) / x.denominator for x in point)
            values.append(compiled.run(MULTIPRECISION, *numbers)[0])
    coarse, fine = values
    agree = mpmath.isfinite(fine) and fine != 0 and abs(coarse - fine) <= abs(fine) * mpmath.mpf("1e-6")
    return fine if agree else None


MOST_OPERATIONS = 400  # no proof is tried for expressions with more operations
MOST_TERMS = 20_000  # ... or with more terms after the numerator is multiplied out
MOST_KINKS = 7  # ... or with more kinks: every combination of signs is a case


def proves_zero(expression: sp.Expr, region: Region = MappingProxyType({})) -> bool:
    """Whether the algebra shows that ``expression`` is zero almost everywhere in the region; False proves nothing."""
    if expression == 0:
        return True
    too_large = sp.count_ops(expression) > MOST_OPERATIONS or len(expression.atoms(hinge, step)) > MOST_KINKS
    return not too_large and all(_smooth_part_vanishes(case) for case in cases(expression, region))


def cases(
    expression: sp.Expr,
    region: Region = MappingProxyType({}),
    settled: Mapping[sp.Expr, sp.Expr] = MappingProxyType({}),
) -> Iterator[sp.Expr]:
    """``expression`` without kinks, for every combination of signs at its unsettled steps that the region allows."""
    expression = opened(expression).replace(step, lambda x: step(sp.expand(x).primitive()[1]))
    while not settled.keys().isdisjoint(expression.atoms(step)):
        expression = expression.xreplace(settled)
    steps = sorted(expression.atoms(step), key=lambda s: (len(s.atoms(step)), sp.default_sort_key(s)))
    if not steps:
        yield expression
        return
    innermost = steps[0]
    x = innermost.args[0]
    opposite = step(-x)
    for inside in (sp.S.Zero, sp.S.One):
        positive = x if inside else -x
        known = (s.args[0] for s, on in settled.items() if on == 1)
        contradicted = sign_over(positive, region) < 0 or any(_contradict(positive, y) for y in known)
        if not contradicted:
            yield from cases(expression, region, {**settled, innermost: inside, opposite: 1 - inside})


def _contradict(x: sp.Expr, y: sp.Expr) -> bool:
    """Whether x > 0 and y > 0 are never true at once, as a sum of positive multiples of both is a number below zero."""
    for s in x.free_symbols & y.free_symbols:
        of_x, of_y = sp.diff(x, s), sp.diff(y, s)
        if of_x.is_number and of_y.is_number and (-of_x / of_y).is_positive:
            return bool(sp.expand(x - y * of_x / of_y).is_nonpositive)
    return False


def _smooth_part_vanishes(expression: sp.Expr) -> bool:
    above = sp.numer(sp.together(_with_letters(_in_exponentials(expression))))
    if terms_multiplied_out(above) > MOST_TERMS:
        return False
    numerator = sp.expand(above)
    roots = any(power.exp.is_Rational and not power.exp.is_Integer for power in numerator.atoms(sp.Pow))
    return numerator == 0 or (roots and sp.expand(numerator) == 0)


def _with_letters(expression: sp.Expr) -> sp.Expr:
    """Exponentials, and powers by what is no number, as powers of letters, which are multiplied out quicker."""
    letters: dict[tuple[sp.Expr, sp.Expr], sp.Dummy] = {}

    def power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        number, rest = exponent.as_coeff_Mul(rational=True)
        if rest == 1 and base != sp.E:
            return base**number
        return letters.setdefault((base, rest / number.q), sp.Dummy(positive=True)) ** number.p

    def product(e: sp.Expr) -> sp.Expr:
        base, exponent = e.as_base_exp()
        return sp.Mul(*(power(base, term) for term in sp.Add.make_args(sp.expand(exponent))))

    found = expression.replace(lambda e: isinstance(e, sp.exp | sp.Pow) or e == sp.E, product)
    return found.xreplace({letter: sp.Dummy() for letter in letters.values()})  # of a sign SymPy 1.12 seeks all roots


def _in_exponentials(expression: sp.Expr) -> sp.Expr:
    """A rational function of exponentials of single terms, of logarithms of factors, and of roots."""

    def log(x: sp.Expr) -> sp.Expr:
        parts = zip(sp.fraction(sp.together(x)), (1, -1), strict=True)
        factors = ((sign, *bounded_factor_list(part)) for part, sign in parts)
        return sp.Add(
            *(
                sign * (sp.log(content) + sp.Add(*(power * sp.log(factor) for factor, power in of_part)))
                for sign, content, of_part in factors
            )
        )

    spelt = expression.rewrite([sigmoid, softplus, logsumexp, sp.sin, sp.cos], sp.exp)
    return spelt.replace(sp.exp, lambda x: sp.exp(sp.expand(x)).expand(power_exp=True)).replace(sp.log, log)
