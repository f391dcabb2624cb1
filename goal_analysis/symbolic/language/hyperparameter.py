"""Hyperparameters: named numbers with a domain, a default and a meaning."""

from __future__ import annotations

import keyword
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import sympy as sp

from goal_analysis.declarations import expect_kind
from goal_analysis.symbolic.language.primitives import PRIMITIVES, count_n, count_p, s_n, s_p, x_n, x_p, y_n, y_p

positive = sp.Interval.open(0, sp.oo)
nonnegative = sp.Interval(0, sp.oo)
real = sp.Interval(-sp.oo, sp.oo)
unit = sp.Interval(0, 1)

RESERVED = frozenset(
    [symbol.name for symbol in (s_p, s_n, x_p, x_n, y_p, y_n, count_p, count_n)]
    + [primitive.__name__ for primitive in PRIMITIVES]
    + ["gap", "total", "exp", "log", "sqrt", "sin", "cos", "max", "min", "abs", "pi"]
)


@dataclass(frozen=True)
class Hyperparameter:
    """A named number of a loss or of a weight.

    Args:
        name: an identifier, such as ``"margin"``; it is how the number is set from outside.
        default: the value of the paper, inside the domain.
        domain: the interval of values that make sense.
        meaning: a few words for tables.

    Raises:
        ValueError: the name is taken, or is no identifier; or the default lies outside the domain.

    >>> margin = Hyperparameter("margin", 0.2, nonnegative, "how much farther the negative has to be")
    >>> margin.default, margin.symbol
    (0.2, margin)
    """

    name: str
    default: float
    domain: sp.Interval = real
    meaning: str = ""

    def __post_init__(self) -> None:
        expect_kind("hyperparameter: name", self.name, str, "text")
        expect_kind(f"hyperparameter {self.name!r}: domain", self.domain, sp.Interval, "a SymPy Interval")
        if not self.name.isidentifier() or keyword.iskeyword(self.name) or self.name in RESERVED:
            raise ValueError(
                f"hyperparameter: got the name {self.name!r} but expected an identifier other than "
                f"{', '.join(sorted(RESERVED))} and Python's own words"
            )
        self.check(self.default, f"hyperparameter {self.name!r}: default")

    def check(self, value: float, what: str) -> float:
        """Return ``value`` if it is a finite number inside the domain; otherwise say what was expected."""
        is_number = isinstance(value, (numbers.Real, sp.Number)) and not isinstance(value, bool)
        # NaN is between no two numbers, and SymPy reads neither it nor infinity from text.
        is_finite = is_number and (isinstance(value, sp.Number) or -math.inf < value < math.inf)
        if not is_finite or not exact(value).is_finite or exact(value) not in self.domain:
            raise ValueError(f"{what}: got {value!r} but expected a number in {interval_text(self.domain)}")
        return value

    def around(self, times: int) -> tuple[sp.Expr, sp.Expr]:
        """The interval from default/times to default·times, or from −1 to 1 for a default of 0, within the domain."""
        default = exact(self.default)
        low, high = sorted((default / times, times * default)) if default else (sp.Integer(-1), sp.Integer(1))
        return sp.Max(low, self.domain.start), sp.Min(high, self.domain.end)

    @cached_property
    def symbol(self) -> sp.Symbol:
        """The symbol that stands for it in formulas, with the sign that the domain grants."""
        if self.domain.start >= 0:
            never_zero = self.domain.start > 0 or self.domain.left_open
            return sp.Symbol(self.name, positive=True) if never_zero else sp.Symbol(self.name, nonnegative=True)
        return sp.Symbol(self.name, real=True)


def exact(value: float) -> sp.Expr:
    """The decimal number that was written, as a rational: 0.2 is 1/5."""
    return sp.Rational(str(value)) if isinstance(value, numbers.Real) else sp.sympify(value)


def interval_text(domain: sp.Interval) -> str:
    """An interval in the usual notation, such as ``(0, inf)``."""
    opening = "(" if domain.left_open else "["
    closing = ")" if domain.right_open else "]"
    ends = (str(end).replace("oo", "inf") for end in (domain.start, domain.end))
    return f"{opening}{', '.join(ends)}{closing}"


def resolve(
    hyperparameters: Iterable[Hyperparameter], settings: Mapping[str, float], owner: str
) -> dict[sp.Symbol, sp.Expr]:
    """The value of every symbol, from ``settings`` or by default; a ValueError begins with the ``owner``."""
    known = {h.name: h for h in hyperparameters}
    expect_kind(owner, settings, Mapping, "hyperparameters by name, such as {'tau': 12}")
    for name, value in settings.items():
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none: it has no hyperparameters"
            raise ValueError(f"{owner}: got a value for {name!r} but expected {expected}")
        known[name].check(value, f"{owner}: {name}")
    return {h.symbol: exact(settings.get(name, h.default)) for name, h in known.items()}
