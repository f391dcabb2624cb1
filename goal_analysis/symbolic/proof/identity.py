"""Is an expression zero? A proof or a witness says so; nothing is guessed.

A proof is algebra. The cases of every `step` and `hinge` are distinguished; what is left is written as a rational
function of independent kernels (exponentials, logarithms, roots, sines), and its numerator is expanded. A witness is a
point at which the value differs from zero, the same in 50 digits and in 100, so that no rounding explains it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from types import MappingProxyType

import mpmath
import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, logsumexp, sigmoid, softplus, step
from goal_analysis.symbolic.proof.enclosures import Region, sign_over
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, Program, program
from goal_analysis.symbolic.proof.tidying import bounded_factor, bounded_factor_list, terms_multiplied_out

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
    """None if ``expression`` is proved to be zero almost everywhere, else a witness against it.

    Raises:
        Undecided: the value is zero at every point that was tried, but the algebra does not prove it.
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
    (value,) = compiled.run(FLOAT, *map(float, point.values()))
    return abs(value) if math.isfinite(value) else 0.0


def random_points(symbols: tuple[sp.Symbol, ...], ranges: Ranges, count: int) -> Iterator[dict[sp.Symbol, sp.Rational]]:
    """``count`` points with rational coordinates strictly within ``ranges``, the same in every run."""
    source = random.Random(20221024)
    lines = [(symbol, *(Fraction(str(end)) for end in ranges[symbol])) for symbol in symbols]
    for _ in range(count):
        shares = (Fraction(source.randrange(1, 9973), 9973) for _ in symbols)
        drawn = (low + (high - low) * share for (_, low, high), share in zip(lines, shares, strict=True))
        yield {symbol: sp.Rational(x.numerator, x.denominator) for symbol, x in zip(symbols, drawn, strict=True)}


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
    """``expression`` without kinks, once for every combination of signs at its steps that the region allows and that
    are not ``settled``.
    """
    expression = expression.replace(hinge, lambda x: x * step(x))
    expression = expression.replace(step, lambda x: step(sp.expand(x).primitive()[1]))
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
    if expression == 0:
        return True
    kernels = _Kernels()
    above = sp.numer(sp.together(kernels.convert(expression)))
    if terms_multiplied_out(above) > MOST_TERMS:
        return False
    numerator = sp.expand(above)
    for symbol, relation in kernels.relations:
        numerator = sp.expand(sp.rem(numerator, sp.numer(sp.together(relation)), symbol))
    return numerator == 0


def factored_in_exponentials(expression: sp.Expr) -> sp.Expr:
    """A smooth expression with its sigmoids and softpluses written with exp and log, in factors."""
    kernels = _Kernels()
    factored = bounded_factor(sp.together(kernels.convert(expression)))
    spelt = {dummy: _SPELT[key[0]](*key[1:]) for key, dummy in kernels.dummies.items()}
    while not factored.free_symbols.isdisjoint(spelt):
        factored = factored.xreplace(spelt)
    return factored


_SPELT = {
    "exp": sp.exp,
    "log": sp.log,
    "sin": sp.sin,
    "cos": sp.cos,
    "root": lambda base, degree: sp.Pow(base, sp.Rational(1, degree)),
    "power": sp.Pow,
    "opaque": lambda e: e,
}


class _Kernels:
    """Writes a smooth expression as a rational function of symbols and of kernels, one dummy for each."""

    def __init__(self) -> None:
        self.dummies: dict[tuple, sp.Dummy] = {}
        self.exponents: dict[sp.Dummy, sp.Expr] = {}
        self.relations: list[tuple[sp.Dummy, sp.Expr]] = []

    def convert(self, e: sp.Expr) -> sp.Expr:
        if e.is_Rational or e.is_Symbol:
            return e
        if e is sp.E:
            return self.exp(sp.S.One)
        if e.is_Add or e.is_Mul:
            return e.func(*map(self.convert, e.args))
        if isinstance(e, sigmoid):
            return 1 / (1 + self.exp(-e.args[0]))
        if isinstance(e, softplus):
            return self.log(1 + self.exp(e.args[0]))
        if isinstance(e, logsumexp):
            return self.log(sp.Add(*map(self.exp, e.args)))
        if isinstance(e, sp.exp):
            return self.exp(e.args[0])
        if isinstance(e, sp.log):
            return self.log(self.convert(e.args[0]))
        if isinstance(e, sp.sin | sp.cos):
            return self.circular(e)
        if e.is_Pow:
            return self.power(*e.as_base_exp())
        return self.dummy("opaque", e)

    def dummy(self, *key) -> sp.Dummy:
        return self.dummies.setdefault(key, sp.Dummy())

    def exp(self, exponent: sp.Expr) -> sp.Expr:
        """exp of a sum is a product of powers of kernels, exp(c·log u) is u to the c."""
        exponent = sp.expand(self.convert(exponent))
        product = sp.S.One
        for term in sp.Add.make_args(exponent):
            number, rest = term.as_coeff_Mul()
            inside = next((key[1] for key, d in self.dummies.items() if d == rest and key[0] == "log"), None)
            if inside is not None and number.is_Integer:
                product *= inside**number
                continue
            kernel = self.dummy("exp", rest / number.q)
            self.exponents[kernel] = rest / number.q
            product *= kernel**number.p
        return product

    def log(self, inside: sp.Expr) -> sp.Expr:
        """The log of a quotient is a sum over its factors; that of an exponential is its exponent."""
        numerator, denominator = sp.fraction(sp.together(inside))
        total = sp.S.Zero
        for part, sign in ((numerator, 1), (denominator, -1)):
            content, factors = bounded_factor_list(part)
            total += sign * (0 if content == 1 else self.dummy("log", content))
            for factor, power in factors:
                log = self.exponents.get(factor)
                total += sign * power * (self.dummy("log", factor) if log is None else log)
        return total

    def circular(self, e: sp.Expr) -> sp.Expr:
        angle = self.convert(e.args[0])
        sine, cosine = self.dummy("sin", angle), self.dummy("cos", angle)
        self.relate(sine, sine**2 + cosine**2 - 1)
        return sine if isinstance(e, sp.sin) else cosine

    def power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        if exponent.is_Integer:
            return self.convert(base) ** exponent
        if exponent.is_Rational:
            inside = self.convert(base)
            root = self.dummy("root", inside, exponent.q)
            self.relate(root, root**exponent.q - inside)
            return root**exponent.p
        converted = self.convert(base)
        return reduce(
            lambda product, term: product * self.real_power(converted, term),
            sp.Add.make_args(sp.expand(self.convert(exponent))),
            sp.S.One,
        )

    def real_power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
        number, rest = exponent.as_coeff_Mul()
        if rest == 1 and number.is_Integer:
            return base**number
        return self.dummy("power", base, rest / number.q) ** number.p

    def relate(self, symbol: sp.Dummy, relation: sp.Expr) -> None:
        if (symbol, relation) not in self.relations:
            self.relations.append((symbol, relation))
