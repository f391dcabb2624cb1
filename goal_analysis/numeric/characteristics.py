"""What a weight does over the range of its similarity: signs, limits, growth with hardness, saturation, scale.

A pair is harder the lower s_p, or the higher s_n; a triplet is harder where both hold. Growth, saturation and scale
are read off a grid of values at given hyperparameters. The grid spans `Similarity.window`. The limits at the ends of
the range are taken in many digits, and sign changes are found by bisection between points of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import mpmath
import numpy as np
import sympy as sp

from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, Program, program
from goal_analysis.symbolic.typesetting.pages import Page, Row
from goal_analysis.symbolic.weight import WeightField

CURVE_POINTS = 801
SURFACE_POINTS = 33
FLAT = 0.01  # a weight has saturated where it differs from its limit by at most this share of its scale
LONG = 0.05  # ... over at least this share of the range: a straight line would leave the limit sooner


class Growth(Enum):
    """How a weight answers to hardness."""

    GROWS = "grows with hardness"
    FALLS = "falls with hardness"
    CONSTANT = "constant"
    MIXED = "grows and falls with hardness"


@dataclass(frozen=True)
class Plateau:
    """An end of the range where the weight has saturated: from ``low`` to ``high`` it is near ``value``."""

    low: float
    high: float
    value: float


@dataclass(frozen=True)
class Curve:
    """The characteristics of a weight of one similarity.

    Args:
        sign_changes: where it changes sign; a negative P⁻ attracts its negative, a negative P⁺ repels its positive.
        at_opposite: the limit for opposite vectors, possibly infinite.
        at_identical: the limit for identical vectors, possibly infinite.
        growth: how it answers to hardness.
        plateaus: the ends of the range at which it has saturated.
        scale: the largest finite magnitude on a grid over the range.
        negative_somewhere: whether it is below zero anywhere.
    """

    sign_changes: tuple[float, ...]
    at_opposite: float
    at_identical: float
    growth: Growth
    plateaus: tuple[Plateau, ...]
    scale: float
    negative_somewhere: bool


@dataclass(frozen=True)
class Surface:
    """The characteristics of a weight of both similarities.

    ``easiest`` is its limit for an identical positive and an opposite negative, ``hardest`` that for the reverse; the
    rest is as of a `Curve`.
    """

    easiest: float
    hardest: float
    growth: Growth
    scale: float
    negative_somewhere: bool


@dataclass(frozen=True)
class Characteristics:
    """Those of T, P⁺ and P⁻, or of w⁺ and w⁻ as surfaces, with no ``triplet``, where the weights do not separate."""

    triplet: Surface | None
    positive: Curve | Surface
    negative: Curve | Surface


def characteristics(
    objective: Decomposition | WeightField, settings: Mapping[str, float] | None = None
) -> Characteristics:
    """What the weights of an objective do.

    Args:
        objective: the decomposition of a loss, or a field of weights that reads its own triplet alone.
        settings: hyperparameters other than their defaults.

    Raises:
        ValueError: an unknown hyperparameter or a value outside its domain.

    >>> linear = WeightField(name="linear", positive=1 - s_p, negative=s_n)
    >>> characteristics(linear).negative.negative_somewhere
    True
    """
    field = objective.field if isinstance(objective, Decomposition) else objective
    values = field.values(settings) | {r.symbol: sp.S.Zero for r in field.relative}
    of = field.similarity
    if field.factors is None:
        surfaces = (_surface(weight.subs(values), of) for weight in (field.positive, field.negative))
        return Characteristics(None, *surfaces)
    return Characteristics(
        _surface(field.factors.triplet.subs(values), of),
        _curve(field.factors.positive.subs(values), s_p, of),
        _curve(field.factors.negative.subs(values), s_n, of),
    )


def _curve(weight: sp.Expr, similarity: sp.Symbol, of: Similarity) -> Curve:
    compiled = program([weight], [similarity])
    low, high = map(float, of.window)
    grid = np.linspace(low, high, CURVE_POINTS)
    inside = _values(compiled, grid[1:-1])
    at_opposite, at_identical = (_limit(compiled, (end,)) for end in ((of.opposite, 1), (of.identical, -1)))
    finite, scale = _finite(inside, at_opposite, at_identical)
    return Curve(
        tuple(_sign_changes(lambda s: compiled.run(FLOAT, s)[0], grid[1:-1], inside)),
        at_opposite,
        at_identical,
        _growth(inside, 0, -1 if similarity == s_p else 1, scale),
        tuple(_plateaus(grid, inside, (at_opposite, at_identical), of, scale)),
        scale,
        bool(finite.min(initial=0.0) < -1e-12 * scale),
    )


def _surface(weight: sp.Expr, of: Similarity) -> Surface:
    compiled = program([weight], [s_p, s_n])
    low, high = map(float, of.window)
    grid = low + (high - low) * (np.arange(SURFACE_POINTS) + 0.5) / SURFACE_POINTS
    values = _values(compiled, grid[:, None], grid[None, :])
    at_opposite, at_identical = (of.opposite, 1), (of.identical, -1)
    easiest = _limit(compiled, (at_identical, at_opposite))
    hardest = _limit(compiled, (at_opposite, at_identical))
    finite, scale = _finite(values, easiest, hardest)
    moves = {_growth(values, 0, -1, scale), _growth(values, 1, 1, scale)} - {Growth.CONSTANT}
    growth = Growth.CONSTANT if not moves else moves.pop() if len(moves) == 1 else Growth.MIXED
    return Surface(easiest, hardest, growth, scale, bool(finite.min(initial=0.0) < -1e-12 * scale))


def _values(compiled: Program, *grids: np.ndarray) -> np.ndarray:
    (found,) = compiled.run({**NUMPY, "constant": FLOAT["constant"]}, *grids)
    return np.broadcast_to(found, np.broadcast_shapes(*(grid.shape for grid in grids)))


def _finite(values: np.ndarray, *limits: float) -> tuple[np.ndarray, float]:
    known = np.append(values, limits)
    finite = known[np.isfinite(known)]
    return finite, float(np.abs(finite).max(initial=0.0))


def _limit(compiled: Program, ends: Sequence[tuple[sp.Expr, int]]) -> float:
    """The limit at the ends, each with the direction to the inside of the range; infinite where the values keep
    growing.
    """
    values = []
    with mpmath.workdps(60):
        for digits in (8, 16, 24):
            close = mpmath.mpf(10) ** -digits
            point = (float(s) + inward * close if s.is_finite else -inward / close for s, inward in ends)
            values.append(compiled.run(MULTIPRECISION, *point)[0])
    first, _, last = values
    if not mpmath.isfinite(last):
        return float(last)
    if abs(last) > 1e3 * abs(first) and abs(last) > 1e3:
        return math.copysign(math.inf, last)
    exact = compiled.run(FLOAT, *(float(s) for s, _ in ends))[0]
    agrees = math.isfinite(exact) and abs(exact - float(last)) < 1e-7 * (1 + abs(exact))
    return (exact if agrees else float(last)) + 0.0


def _sign_changes(value: Callable[[float], float], grid: np.ndarray, values: np.ndarray) -> Iterable[float]:
    """Where the weight changes sign. A stretch of zeros between two signs gives both of its ends."""
    signed = np.flatnonzero((values != 0) & np.isfinite(values))
    for k in np.flatnonzero(np.diff(values[signed] < 0)):
        i, j = signed[k], signed[k + 1]
        left, right = float(grid[i]), float(grid[j])
        before, after = bool(values[i] < 0), bool(values[j] < 0)
        yield _edge(left, right, lambda s, sign=before: value(s) != 0 and (value(s) < 0) == sign)
        if j > i + 2:
            yield _edge(left, right, lambda s, sign=after: value(s) == 0 or (value(s) < 0) != sign)


def _edge(left: float, right: float, holds: Callable[[float], bool]) -> float:
    for _ in range(60):
        middle = (left + right) / 2
        left, right = (middle, right) if holds(middle) else (left, middle)
    return round((left + right) / 2, 12) + 0.0


def _growth(values: np.ndarray, axis: int, harder: int, scale: float) -> Growth:
    with np.errstate(invalid="ignore"):
        steps = harder * np.diff(values, axis=axis)
    steps = steps[np.isfinite(steps)]
    rises, falls = (bool((sign * steps > 1e-9 * scale).any()) for sign in (1, -1))
    return {
        (True, False): Growth.GROWS,
        (False, True): Growth.FALLS,
        (True, True): Growth.MIXED,
        (False, False): Growth.CONSTANT,
    }[rises, falls]


def _plateaus(
    grid: np.ndarray, inside: np.ndarray, limits: Sequence[float], of: Similarity, scale: float
) -> Iterable[Plateau]:
    """The flat stretch at either end, if it is long and not the whole range."""
    shortest = LONG * (grid[-1] - grid[0])
    for end, limit, s, values in (
        (of.opposite, limits[0], grid[:-1], inside),
        (of.identical, limits[1], grid[:0:-1], inside[::-1]),
    ):
        with np.errstate(invalid="ignore"):
            leaves = np.flatnonzero(~(np.abs(values - limit) <= FLAT * scale * (1 + 1e-9)))
        if len(leaves) and leaves[0] > 0 and abs(s[leaves[0]] - s[0]) >= shortest:
            low, high = sorted((float(end), float(s[leaves[0]])))
            yield Plateau(low, high, limit)


def characteristics_page(found: Characteristics) -> Page:
    """A row for every weight."""
    positive, negative = ("P⁺", "P⁻") if found.triplet else ("w⁺", "w⁻")
    rows = [] if found.triplet is None else [Row("triplet", "T", _surface_text(found.triplet))]
    for key, label, weight in (
        ("positive", positive, found.positive),
        ("negative", negative, found.negative),
    ):
        text = _curve_text(weight, key) if isinstance(weight, Curve) else _surface_text(weight)
        rows.append(Row(key, label, text))
    return Page("Characteristics", tuple(rows))


def _surface_text(surface: Surface) -> str:
    text = f"{surface.growth.value}; {number(surface.easiest)} easiest, {number(surface.hardest)} hardest"
    bound = _bound(surface.scale, surface.easiest, surface.hardest)
    return f"{text}; {bound}" + ("; negative somewhere" if surface.negative_somewhere else "")


def _curve_text(curve: Curve, key: str) -> str:
    ends = f"{number(curve.at_opposite)} for opposite, {number(curve.at_identical)} for identical vectors"
    parts = [curve.growth.value, ends, _bound(curve.scale, curve.at_opposite, curve.at_identical)]
    effect = "a negative attracts" if key == "negative" else "a positive repels"
    if curve.negative_somewhere:
        places = " and ".join(f"s = {number(s)}" for s in curve.sign_changes)
        parts.append(f"{effect} where the weight is below zero" + (f": it changes sign at {places}" if places else ""))
    if math.isfinite(curve.at_opposite) and math.isfinite(curve.at_identical):
        parts += [f"flat from {number(p.low)} to {number(p.high)}" for p in curve.plateaus]
    return "; ".join(parts)


def _bound(scale: float, *limits: float) -> str:
    return "unbounded" if any(map(math.isinf, limits)) else f"at most {number(scale)}"


def number(value: float) -> str:
    """A number of four significant digits as text."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.4g}" if math.isfinite(value) else str(value)
