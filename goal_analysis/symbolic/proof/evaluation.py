"""Expressions as straight-line programs: one walk over the tree, one table of functions for every kind of number."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp
from mpmath import iv

from goal_analysis.symbolic.language.primitives import detach, hinge, logsumexp, sigmoid, softplus, step

OF_LIBRARIES = (sp.exp, sp.log, sp.sin, sp.cos, sp.acos, sp.atan, sp.erf)
FUNCTIONS = {f: f.__name__ for f in (hinge, step, sigmoid, softplus, logsumexp, *OF_LIBRARIES)}

FAR = 10**30  # what no exponent reaches
MOST_TERMS = 8  # of a sum that is multiplied out, lest an exponential in it is infinite


class UnsupportedFunction(ValueError):
    """An expression holds a function that programs do not know."""


@dataclass(frozen=True)
class Step:
    """One operation on earlier values; ``constant`` is set for the operation of that name alone."""

    operation: str
    operands: tuple[int, ...] = ()
    constant: sp.Expr | None = None


@dataclass(frozen=True)
class Program:
    """A straight-line program; operand i is input i, or step i − len(inputs)."""

    inputs: tuple[sp.Symbol, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def run(self, table: Table, *values: Any) -> tuple[Any, ...]:
        """The outputs for these values of the inputs, in the numbers of the table."""
        known = list(values)
        for s in self.steps:
            operands = s.operands
            if s.constant is not None:
                known.append(table["constant"](s.constant))
            elif len(operands) == 2:  # most are, and a loop over two takes longer than naming them
                known.append(table[s.operation](known[operands[0]], known[operands[1]]))
            else:
                known.append(table[s.operation](*[known[i] for i in operands]))
        return tuple(known[i] for i in self.outputs)


def program(outputs: Sequence[sp.Expr], inputs: Sequence[sp.Symbol]) -> Program:
    """The program that computes ``outputs`` from ``inputs``; `detach` reads as its argument.

    `UnsupportedFunction` names an unknown function; a symbol of an output that is no input is a ValueError.
    """
    walk = _Walk(tuple(inputs))
    places = tuple(walk.place(sp.sympify(output)) for output in outputs)
    return Program(tuple(inputs), tuple(walk.steps), places)


def evaluate(expression: sp.Expr, values: Mapping[sp.Symbol, Any], table: Table | None = None) -> Any:
    """The value of one expression; by default in floats."""
    (value,) = program([expression], tuple(values)).run(table or FLOAT, *values.values())
    return value


class _Walk:
    def __init__(self, inputs: tuple[sp.Symbol, ...]) -> None:
        self.inputs = len(inputs)
        self.places: dict[sp.Expr, int] = {symbol: i for i, symbol in enumerate(inputs)}
        self.steps: dict[Step, int] = {}

    def place(self, e: sp.Expr) -> int:
        if e not in self.places:
            self.places[e] = self._place(e)
        return self.places[e]

    def _place(self, e: sp.Expr) -> int:
        if e.is_Symbol:
            raise ValueError(f"got the symbol {e} but expected the inputs {', '.join(map(str, self.places))}")
        if e.is_number and not e.has(*FUNCTIONS):
            return self._emit("constant", constant=e)
        if isinstance(e, detach):
            return self.place(e.args[0])
        if e.is_Add:
            return self._sum(e)
        if e.is_Mul:
            return self._product(e)
        if e.is_Pow:
            return self._power(*e.as_base_exp())
        if isinstance(e, sp.log) and e.args[0].has(*FUNCTIONS) and (stable := _log(e.args[0])) is not None:
            return self.place(stable)
        if e.func in FUNCTIONS:
            return self._emit(FUNCTIONS[e.func], *map(self.place, e.args))
        raise UnsupportedFunction(
            f"got the function {e.func.__name__!r} in {e} but supported are " + ", ".join(sorted(FUNCTIONS.values()))
        )

    def _sum(self, e: sp.Add) -> int:
        if (product := _complement(e)) is not None:
            return self.place(product)
        terms = sorted(e.args, key=lambda term: (term.could_extract_minus_sign(), sp.default_sort_key(term)))
        total = self.place(terms[0])
        for term in terms[1:]:
            minus = term.could_extract_minus_sign()
            total = self._emit("sub" if minus else "add", total, self.place(-term if minus else term))
        return total

    def _product(self, e: sp.Mul) -> int:
        if e.args[0] is sp.S.NegativeOne:
            return self._emit("neg", self.place(-e))
        e = _without_overflow(e)
        if not e.is_Mul:
            return self.place(e)
        numerator, denominator = e.as_numer_denom() if e.is_number else _fraction(e)
        if denominator is not sp.S.One:
            return self._emit("div", self.place(numerator), self.place(denominator))
        total, *rest = map(self.place, sp.Mul.make_args(numerator))
        for factor in rest:
            total = self._emit("mul", total, factor)
        return total

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> int:
        if exponent.is_number and (log := _log_of_power(base**exponent)) is not None:
            return self.place(sp.exp(log))
        if exponent.is_number and exponent.is_negative:
            return self._emit("div", self.place(sp.S.One), self.place(base ** (-exponent)))
        if exponent == 2:
            return self._emit("mul", self.place(base), self.place(base))
        if exponent == sp.S.Half:
            return self._emit("sqrt", self.place(base))
        return self._emit("pow", self.place(base), self.place(exponent))

    def _emit(self, operation: str, *operands: int, constant: sp.Expr | None = None) -> int:
        return self.steps.setdefault(Step(operation, operands, constant), self.inputs + len(self.steps))


def _log(e: sp.Expr) -> sp.Expr | None:
    """log e, where e is made of exponentials, sigmoids and positive numbers by products, powers and sums."""
    if isinstance(e, sp.exp):
        return e.args[0]
    if isinstance(e, sigmoid):
        return -softplus(-e.args[0])
    if not e.has(*FUNCTIONS):
        return sp.log(e) if e.is_positive else None
    if e.is_Pow:
        of_base = _log(e.base)
        return None if of_base is None else e.exp * of_base
    if (rest := _complement(e)) is not None:
        return _log(rest)
    if not (e.is_Mul or (e.is_Add and e.has(sp.exp))):
        return None
    logs = [log for part in e.args if (log := _log(part)) is not None]
    if len(logs) < len(e.args):
        return None
    if e.is_Mul:
        return sp.Add(*logs)
    number, other = sorted(logs, key=lambda x: not x.is_number)[:2]
    return number + softplus(other - number) if len(logs) == 2 and number.is_number else logsumexp(*logs)


def _complement(e: sp.Expr) -> sp.Expr | None:
    """c − c·σ(x) as c·σ(−x), and 1 − 1/(1 + u) as u/(1 + u), which small numbers survive; None for what is neither."""
    number, rest = e.as_coeff_Add()
    if not number or not rest:
        return None
    if isinstance(-rest / number, sigmoid):
        return number * sigmoid(-(-rest / number).args[0])
    one, other = (-number / rest).as_coeff_Add()
    return number * other / (1 + other) if one == 1 and other != 0 and (-number / rest).is_Add else None


def _without_overflow(e: sp.Mul) -> sp.Expr:
    """A product in which no factor is infinite where another is zero: their logarithms are added in one exponent."""
    logs, others, infinite = [], [], False
    for factor in e.args:
        log = _log(factor) if factor.has(sp.exp, sigmoid) else None
        if log is not None:
            logs.append(log)
            base, power = factor.as_base_exp()
            infinite |= not (isinstance(base, sigmoid) and power.is_positive)
            continue
        others.append(factor)
        if isinstance(factor, step | hinge):  # nothing where it is above zero, or at it
            absent = step(-factor.args[0])
            logs.append(-FAR * absent * (2 * absent - 1))
    sums = [f for f in others if f.is_Add and len(f.args) <= MOST_TERMS and f.has(sp.exp)]
    if logs and sums:
        rest = e / sums[0]
        return sp.Add(*(rest * term for term in sums[0].args))
    return sp.Mul(sp.exp(sp.Add(*logs)), *others, evaluate=False) if infinite and len(logs) > 1 else e


def _fraction(e: sp.Mul) -> tuple[sp.Expr, sp.Expr]:
    below = [f for f in e.args if f.is_Pow and f.exp.is_number and f.exp.is_negative and _log_of_power(f) is None]
    above = [f for f in e.args if f not in below]
    return sp.Mul(*above), sp.Mul(*(1 / f for f in below))


def _log_of_power(e: sp.Pow) -> sp.Expr | None:
    """log e of a root or a quotient whose base is as `_log` has it, and no number."""
    whole = e.exp.is_Integer and e.exp.is_positive
    return None if whole or not e.base.has(*FUNCTIONS) else _log(e)


WHOLE = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg}
Table = Mapping[str, Callable[..., Any]]
"""What every operation of a program means, by name; ``constant`` takes an exact SymPy number."""


def _table(functions: Any, guarded: Callable[[Callable], Callable], **own: Callable[..., Any]) -> Table:
    partial: dict[str, Any] = {"div": operator.truediv, "pow": operator.pow} | {
        name: getattr(functions, name, None) for name in ("sqrt", *(f.__name__ for f in OF_LIBRARIES))
    }
    return {**WHOLE, **{name: guarded(function) for name, function in partial.items()}, **own}


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def value(*values: Any) -> Any:
        try:
            return function(*values)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return value


def _float_logsumexp(*xs: float) -> float:
    top = max(xs)
    return top if math.isinf(top) else top + math.log(math.fsum(math.exp(x - top) for x in xs))


@lru_cache(maxsize=65536)
def _float_constant(e: sp.Expr) -> float:
    return float(e) if e.is_extended_real else math.nan


FLOAT: Table = _table(
    math,
    _guarded,
    constant=_float_constant,
    div=lambda a, b: a / b if b else math.copysign(math.inf, a) if a else math.nan,
    pow=_guarded(math.pow),
    log=lambda a: math.log(a) if a > 0 else -math.inf if a == 0 else math.nan,
    hinge=lambda a: max(a, 0.0),
    step=lambda a: 0.5 if a == 0 else float(a > 0),
    sigmoid=lambda a: 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a)),
    softplus=lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))),
    logsumexp=_float_logsumexp,
)
"""Python's floats: overflow is infinite, what has no real value is NaN."""


def _real_or_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    def value(*values: Any) -> Any:
        try:
            found = function(*values)
        except (ZeroDivisionError, ValueError):
            return mpmath.nan
        return mpmath.nan if isinstance(found, mpmath.mpc) and found.imag else mpmath.mpf(found.real)

    return value


@lru_cache(maxsize=65536)
def _multiprecision_constant(e: sp.Expr, digits: int) -> Any:
    if not e.is_extended_real:
        return mpmath.nan
    return e.evalf(digits + 5)._to_mpmath(mpmath.mp.prec) if e.is_finite else mpmath.mpf(float(e))


MULTIPRECISION: Table = _table(
    mpmath.mp,
    _real_or_nan,
    constant=lambda e: _multiprecision_constant(e, mpmath.mp.dps),
    hinge=lambda a: max(a, mpmath.mpf(0)),
    step=lambda a: mpmath.mpf("0.5") if a == 0 else mpmath.mpf(a > 0),
    sigmoid=lambda a: 1 / (1 + mpmath.exp(-a)),
    softplus=lambda a: mpmath.log1p(mpmath.exp(a)) if a < 0 else a + mpmath.log1p(mpmath.exp(-a)),
    logsumexp=lambda *xs: mpmath.log(mpmath.fsum(mpmath.exp(x) for x in xs)),
)
"""Numbers of as many digits as mpmath's context says, for witnesses that no rounding can explain."""

_EVERYTHING = iv.mpf([-mpmath.inf, mpmath.inf])


def _interval_constant(e: sp.Expr) -> Any:
    if e.is_Rational:
        return iv.mpf(e.p) / e.q
    number = e.evalf(30) if e.is_extended_real else sp.nan
    around = iv.mpf(str(number)) if number.is_finite else _EVERYTHING
    return around * (1 + iv.mpf([-1e-14, 1e-14]))


def _or_everything(function: Callable[..., Any]) -> Callable[..., Any]:
    def interval(*values: Any) -> Any:
        try:
            found = function(*values)
        except (ValueError, ZeroDivisionError, OverflowError, NotImplementedError):
            return _EVERYTHING
        return found if isinstance(found, type(_EVERYTHING)) and found.a <= found.b else _EVERYTHING

    return interval


def _monotone(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def interval(x: Any) -> Any:
        ends = [function(mpmath.mpf(end)) for end in (x.a, x.b)]
        return iv.mpf([min(ends), max(ends)]) + iv.mpf([-1e-13, 1e-13])

    return _or_everything(interval)


INTERVAL: Table = _table(
    iv,
    _or_everything,
    constant=_interval_constant,
    mul=lambda a, b: a**2 if a is b else a * b,  # a square is never negative
    **{name: _monotone(getattr(mpmath, name)) for name in ("acos", "atan", "erf")},
    hinge=lambda x: iv.mpf([max(x.a, iv.mpf(0).a), max(x.b, iv.mpf(0).b)]),
    step=lambda x: iv.mpf([1 if x.a > 0 else 0, 0 if x.b < 0 else 1]),
    sigmoid=_or_everything(lambda x: iv.mpf([(1 / (1 + iv.exp(-x.a))).a, (1 / (1 + iv.exp(-x.b))).b])),
    softplus=_or_everything(lambda x: iv.log(1 + iv.exp(x))),
    logsumexp=_or_everything(lambda *xs: iv.log(sum(map(iv.exp, xs)))),
)
"""Intervals that hold every value of their operands' intervals, for proofs about whole boxes."""
