"""What a weight does over the range of its similarity: signs, limits, growth with hardness, saturation, scale.

A pair is harder the lower s_p, or the higher s_n; a triplet is harder where both hold. Everything here is read off a
grid of values at given hyperparameters; limits at the ends and the places of sign changes are refined from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import mpmath
import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.proof.arithmetic import FLOAT, MULTIPRECISION
from goal_analysis.symbolic.proof.evaluation import program
from goal_analysis.symbolic.typesetting.pages import Page, Row
from goal_analysis.symbolic.weight import WeightField

CURVE_POINTS = 801
SURFACE_POINTS = 33
"""Grid points along each similarity."""

FLAT = 0.01
"""A weight has saturated where it stays within this share of its scale from its limit ..."""

LONG = 0.05
"""... over at least this share of the range: a straight line would leave the limit sooner."""


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
        sign_changes: where the weight changes sign; a negative P⁻ attracts its negative, a negative P⁺ repels its
            positive.
        at_opposite: the limit at the similarity of opposite vectors, possibly infinite.
        at_identical: the limit at the similarity of identical vectors, possibly infinite.
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

    Args:
        easiest: its limit for an identical positive and an opposite negative.
        hardest: its limit for an opposite positive and an identical negative.
        growth: how it answers to the hardness of either pair.
        scale: the largest finite magnitude.
        negative_somewhere: whether it is below zero anywhere.
    """

    easiest: float
    hardest: float
    growth: Growth
    scale: float
    negative_somewhere: bool


@dataclass(frozen=True)
class Characteristics:
    """Those of T, P⁺ and P⁻ where the weights separate; otherwise ``triplet`` is None and the others are surfaces
    of w⁺ and w⁻.
    """

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
    low, high = float(field.similarity.opposite), float(field.similarity.identical)
    if field.factors is None:
        surfaces = (_surface(weight.subs(values), low, high) for weight in (field.positive, field.negative))
        return Characteristics(None, *surfaces)
    return Characteristics(
        _surface(field.factors.triplet.subs(values), low, high),
        _curve(field.factors.positive.subs(values), s_p, low, high),
        _curve(field.factors.negative.subs(values), s_n, low, high),
    )


def _curve(weight: sp.Expr, similarity: sp.Symbol, low: float, high: float) -> Curve:
    compiled = program([weight], [similarity])

    def value(s: float) -> float:
        return compiled.run(FLOAT, s)[0]

    grid = [low + (high - low) * i / (CURVE_POINTS - 1) for i in range(CURVE_POINTS)]
    inside = [(s, value(s)) for s in grid[1:-1]]
    ends = (
        _limit(weight, {similarity: low}, {similarity: 1}),
        _limit(weight, {similarity: high}, {similarity: -1}),
    )
    finite = [v for v in (*(v for _, v in inside), *ends) if math.isfinite(v)]
    scale = max(map(abs, finite), default=0.0)
    harder = -1 if similarity == s_p else 1
    return Curve(
        tuple(_sign_changes(value, inside)),
        *ends,
        _growth([[v for _, v in inside]], harder, scale),
        tuple(_plateaus(grid, inside, ends, scale)),
        scale,
        min(finite, default=0.0) < -1e-12 * scale,
    )


def _surface(weight: sp.Expr, low: float, high: float) -> Surface:
    compiled = program([weight], [s_p, s_n])
    grid = [low + (high - low) * (i + 0.5) / SURFACE_POINTS for i in range(SURFACE_POINTS)]
    rows = [[compiled.run(FLOAT, p, n)[0] for n in grid] for p in grid]
    easiest = _limit(weight, {s_p: high, s_n: low}, {s_p: -1, s_n: 1})
    hardest = _limit(weight, {s_p: low, s_n: high}, {s_p: 1, s_n: -1})
    finite = [v for v in (*(v for row in rows for v in row), easiest, hardest) if math.isfinite(v)]
    scale = max(map(abs, finite), default=0.0)
    over_negatives = _growth(rows, 1, scale)
    over_positives = _growth(list(map(list, zip(*rows, strict=True))), -1, scale)
    moves = {over_negatives, over_positives} - {Growth.CONSTANT}
    growth = Growth.CONSTANT if not moves else moves.pop() if len(moves) == 1 else Growth.MIXED
    return Surface(easiest, hardest, growth, scale, min(finite, default=0.0) < -1e-12 * scale)


def _limit(weight: sp.Expr, end: Mapping[sp.Symbol, float], inward: Mapping[sp.Symbol, int]) -> float:
    """The limit at ``end``, from points ever closer to it; infinite where the values keep growing."""
    compiled = program([weight], tuple(end))
    values = []
    with mpmath.workdps(60):
        for digits in (8, 16, 24):
            away = mpmath.mpf(10) ** -digits
            point = (s + inward[symbol] * away for symbol, s in end.items())
            values.append(compiled.run(MULTIPRECISION, *point)[0])
    first, _, last = values
    if not mpmath.isfinite(last):
        return float(last)
    grows = abs(last) > 1e3 * abs(first) and abs(last) > 1e3
    exact = compiled.run(FLOAT, *end.values())[0]
    if grows:
        return math.copysign(math.inf, last)
    agrees = math.isfinite(exact) and abs(exact - float(last)) < 1e-7 * (1 + abs(exact))
    return (exact if agrees else float(last)) + 0.0


def _sign_changes(value: Callable[[float], float], inside: Sequence[tuple[float, float]]) -> Iterable[float]:
    """Where the weight goes from one sign to the other; of a stretch of zeros in between, both ends."""
    signed = [(i, s, v < 0) for i, (s, v) in enumerate(inside) if v != 0 and math.isfinite(v)]
    for (i, left, was_negative), (j, right, is_negative) in pairwise(signed):
        if was_negative != is_negative:
            yield _edge(left, right, lambda s, sign=was_negative: value(s) != 0 and (value(s) < 0) == sign)
            if j > i + 2:
                yield _edge(left, right, lambda s, sign=is_negative: value(s) == 0 or (value(s) < 0) != sign)


def _edge(left: float, right: float, holds: Callable[[float], bool]) -> float:
    """Where a condition that holds on the left ceases to hold."""
    for _ in range(60):
        middle = (left + right) / 2
        left, right = (middle, right) if holds(middle) else (left, middle)
    return round((left + right) / 2, 12) + 0.0


def _growth(rows: Sequence[Sequence[float]], harder: int, scale: float) -> Growth:
    steps = [harder * (b - a) for row in rows for a, b in pairwise(row) if math.isfinite(a) and math.isfinite(b)]
    rises, falls = (any(sign * step > 1e-9 * scale for step in steps) for sign in (1, -1))
    return {
        (True, False): Growth.GROWS,
        (False, True): Growth.FALLS,
        (True, True): Growth.MIXED,
        (False, False): Growth.CONSTANT,
    }[rises, falls]


def _plateaus(grid, inside, ends, scale) -> Iterable[Plateau]:
    """The flat stretch at either end, if it is long and less than everything."""
    for end, limit, points in ((grid[0], ends[0], inside), (grid[-1], ends[1], inside[::-1])):
        reached = None
        for s, v in points:
            if not abs(v - limit) <= FLAT * scale:
                break
            reached = s
        if reached is not None and reached != points[-1][0] and abs(reached - end) >= LONG * (grid[-1] - grid[0]):
            yield Plateau(min(end, reached), max(end, reached), limit)


def characteristics_page(found: Characteristics) -> Page:
    """Signs, limits, growth, saturation and scale, a row for every weight."""
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
    """Four significant digits."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.4g}" if math.isfinite(value) else str(value)
