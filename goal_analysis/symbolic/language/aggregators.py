"""Aggregators: how an anchor turns its positives, or its negatives, into one quantity.

The *mining weight* is its gradient: one-hot for the hardest, softmax for logsumexp, derived from `combine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial, reduce
from math import isfinite
from numbers import Real
from typing import Any

import sympy as sp

from goal_analysis.declarations import Choice, expect_kind
from goal_analysis.symbolic.language.primitives import detach, hinge, logsumexp, maximum, minimum, step


class Pool(Choice):
    """Which pairs of an anchor a side gathers."""

    OWN = "own"
    """The positives on the side of the positives, the negatives on the side of the negatives."""
    ALL = "all"
    """Positives and negatives alike: a denominator that holds the positives too."""
    BOTH_ENDS = "both ends"
    """The negatives of the anchor and, for each positive, the negatives of that positive."""
    POSITIVES = "positives"
    """The positives, on the side of the negatives: for an inner function that compares them with the term's own."""


@dataclass(frozen=True)
class Side:
    """One side of a term: ``aggregator`` over ``inner`` of every pair in ``pool`` that the selection keeps.

    Args:
        aggregator: A.
        inner: k or h, an expression of the pair's similarity and of what the pair carries, ``y_p`` or ``y_n``; h may
            also read ``s_p`` and ``y_p``, of the positive that the negatives are compared with.
        pool: which pairs are gathered.
        weight: the pair weight where it is prescribed; by default it is the derivative of the inner function.
        selection: keeps some of the pairs, called on tensors; see `goal_analysis.numeric.engine.selections`. Its
            ``depends`` ("not", "order", "threshold", "random") says how it depends on the scores, for the verdict.
    """

    aggregator: Aggregator
    inner: sp.Expr
    pool: Pool = Pool.OWN
    weight: sp.Expr | None = None
    selection: Any = None

    def slope(self, variable: sp.Symbol) -> sp.Expr:
        """The pair weight: what is prescribed, or the derivative of the inner function."""
        return sp.diff(self.inner, variable) if self.weight is None else self.weight


@dataclass(frozen=True)
class Aggregator:
    """A function from the values of several pairs to one value.

    Args:
        name: its name in TOML files.
        combine: the aggregate as an expression of the values.
        mining: the mining weight in words, for tables.
        enumerates: whether every pair gets a term of its own, so that the aggregation happens outside of φ.
        parameters: expressions that the aggregate reads besides the values, such as a temperature.
        tensors: the same on tensors, a `goal_analysis.numeric.engine.aggregators.Aggregator`, for an aggregator that is
            not one of this file's.
    """

    name: str
    combine: Callable[[Sequence[sp.Expr]], sp.Expr]
    mining: str
    enumerates: bool = False
    parameters: tuple[sp.Expr, ...] = ()
    tensors: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for given in self.parameters:
            if not isinstance(given, sp.Basic) and not (isinstance(given, Real) and isfinite(given)):
                raise ValueError(f"{self.name}: got {given!r} but expected a finite number, or an expression")

    def __call__(self, inner: sp.Expr, pool: Pool = Pool.OWN) -> Side:
        """The side of a term that aggregates ``inner`` this way."""
        expect_kind(f"{self.name}: inner", inner, sp.Basic | Real, "an expression such as s_n, or a number")
        return Side(self, sp.sympify(inner), pool)

    def __reduce__(self) -> str | tuple:
        """One of this file's is pickled, and copied, by its name and parameters."""
        if self in AGGREGATORS or (self.name in SCALED and SCALED[self.name](*self.parameters) == self):
            return _named, (self.name, *self.parameters)
        return Aggregator, tuple(getattr(self, f.name) for f in fields(self))

    def weights(self, values: Sequence[sp.Symbol]) -> tuple[sp.Expr, ...]:
        """The mining weights ∂A/∂xᵢ, derived."""
        aggregate = self.combine(values)
        return tuple(sp.diff(aggregate, value) for value in values)


def _min(values: Sequence[sp.Expr]) -> sp.Expr:
    # From the right, because `minimum` writes its first argument out twice.
    return reduce(lambda least, value: minimum(value, least), reversed(values))


def _mean(values: Sequence[sp.Expr]) -> sp.Expr:
    return sp.Add(*values) / len(values)


def _mean_active(values: Sequence[sp.Expr]) -> sp.Expr:
    if len(values) == 1:
        return hinge(values[0])
    count = sp.Add(*(step(value) for value in values))
    return sp.Add(*(hinge(value) for value in values)) / detach(maximum(count, sp.S.One))


MAX = Aggregator("max", lambda values: reduce(maximum, values), "one-hot at the largest")
MIN = Aggregator("min", _min, "one-hot at the smallest")
LOGSUMEXP = Aggregator("logsumexp", lambda values: logsumexp(*values), "softmax")
SOFTMIN = Aggregator("softmin", lambda values: -logsumexp(*(-x for x in values)), "softmax of the negated values")
MEAN = Aggregator("mean", _mean, "uniform, 1/count")
SUM = Aggregator("sum", lambda values: sp.Add(*values), "1 for every pair")
MEAN_ACTIVE = Aggregator("mean_active", _mean_active, "uniform over the values above zero")
EACH = Aggregator("each", lambda values: sp.Add(*values), "1 for every pair, outside of φ", enumerates=True)
EACH_MEAN = Aggregator("each_mean", _mean, "1/count for every pair, outside of φ", enumerates=True)


@cache
def softmax_active(temperature: sp.Expr) -> Aggregator:
    """Σ wᵢ·[xᵢ]₊ with w the softmax of ``temperature``·x over the values above zero, its gradient stopped."""

    def combine(values: Sequence[sp.Expr]) -> sp.Expr:
        if len(values) == 1:
            return hinge(values[0])
        total = logsumexp(*(temperature * x for x in values))
        shares = [step(x) * sp.exp(temperature * x - total) for x in values]
        # The largest has 1/count of the softmax at least, so half of that is reached where any value is active.
        active = maximum(sp.Add(*shares), sp.Rational(1, 2 * len(values)))
        return sp.Add(*(detach(share / active) * hinge(x) for share, x in zip(shares, values, strict=True)))

    return Aggregator("softmax_active", combine, "softmax over the values above zero", parameters=(temperature,))


def _soft(scale: sp.Expr, values: Sequence[sp.Expr]) -> sp.Expr:
    return logsumexp(*(scale * x for x in values)) / scale


@cache
def soft_max(scale: sp.Expr) -> Aggregator:
    """log Σ exp(scale·x)/scale: between the mean, as the scale goes to 0, and the maximum."""
    return Aggregator("soft_max", partial(_soft, scale), "softmax", parameters=(scale,))


@cache
def soft_min(scale: sp.Expr) -> Aggregator:
    """−log Σ exp(−scale·x)/scale."""
    return Aggregator(
        "soft_min", lambda values: _soft(-scale, values), "softmax of the negated values", parameters=(scale,)
    )


@cache
def softmax_mean(scale: sp.Expr) -> Aggregator:
    """Σ wᵢ·xᵢ with w the softmax of scale·x: between the mean, as the scale goes to 0, and the maximum."""

    def combine(values: Sequence[sp.Expr]) -> sp.Expr:
        total = logsumexp(*(scale * x for x in values))
        return sp.Add(*(sp.exp(scale * x - total) * x for x in values))

    return Aggregator("softmax_mean", combine, "softmax, and how it moves", parameters=(scale,))


SCALED: dict[str, Callable[[sp.Expr], Aggregator]] = {
    made.__name__: made for made in (softmax_active, soft_max, soft_min, softmax_mean)
}
"""The aggregators that take a temperature, or a scale."""

AGGREGATORS = (MAX, MIN, LOGSUMEXP, SOFTMIN, MEAN, SUM, MEAN_ACTIVE, EACH, EACH_MEAN)
"""The aggregators that formulas from outside can name; those of `SCALED` take a number besides."""


def _named(name: str, *parameters: sp.Expr) -> Aggregator:
    return SCALED[name](*parameters) if parameters else next(a for a in AGGREGATORS if a.name == name)
