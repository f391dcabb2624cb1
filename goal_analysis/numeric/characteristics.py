"""What the weights of a triplet do over the range of the similarity: signs, limits, growth with hardness, bounds.

A pair is harder the lower s_p, or the higher s_n; a triplet is harder where both hold. What attracts and what repels is
said of w⁺ and w⁻ over the whole plane of s_p and s_n, never of a factor. A statement is proved, or it says that it was
searched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import pairwise

import mpmath
import numpy as np
import sympy as sp

from goal_analysis.numeric.extremes import (
    Bounds,
    Monotony,
    Search,
    Signs,
    bounds,
    monotony,
    poles_of,
    signs,
)
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, Program, evaluate, program
from goal_analysis.symbolic.typesetting import plain
from goal_analysis.symbolic.typesetting.pages import Page, Row
from goal_analysis.symbolic.weight import WeightField

FLAT = 0.01  # a weight has saturated where it differs from its limit by at most this share of its scale
LONG = 0.05  # ... over at least this share of the range: a straight line would leave the limit sooner
HARDER = {s_p: -1, s_n: 1}  # which way along a similarity is harder
MANY = 4  # sign changes that are named, and stretches below zero
LONGEST = 60  # letters of a formula that says where a weight is below zero


class Growth(Enum):
    """How a weight answers to hardness."""

    GROWS = "grows with hardness"
    FALLS = "falls with hardness"
    CONSTANT = "constant"
    MIXED = "grows and falls with hardness"


@dataclass(frozen=True)
class Answer:
    """How a weight answers to hardness, whether that is proved, and a point at which it falls where it does both."""

    growth: Growth
    proved: bool
    falls_at: tuple[float, ...] | None = None


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
        at_opposite: the limit for opposite vectors, possibly infinite.
        at_identical: the limit for identical vectors, possibly infinite.
        answer: how it answers to hardness.
        bounds: its extremes and poles.
        sign_changes: where it changes sign.
        plateaus: the ends of the range at which it has saturated, of a bounded weight.
    """

    at_opposite: float
    at_identical: float
    answer: Answer
    bounds: Bounds
    sign_changes: tuple[float, ...]
    plateaus: tuple[Plateau, ...]


@dataclass(frozen=True)
class Surface:
    """The characteristics of a weight of both similarities.

    ``easiest`` is its limit for an identical positive and an opposite negative, ``hardest`` that for the reverse; the
    rest is as of a `Curve`.
    """

    easiest: float
    hardest: float
    answer: Answer
    bounds: Bounds


class Effect(Enum):
    """What w⁺ does to a positive, or w⁻ to a negative, over the plane of s_p and s_n."""

    RIGHT = "right"
    REVERSED = "reversed"
    MIXED = "mixed"
    NONE = "none"


@dataclass(frozen=True)
class Action:
    """The effect of w⁺ or w⁻ over the plane.

    Args:
        effect: attracting positives and repelling negatives is right.
        proved: whether it is proved that there is no other sign.
        where: of a mixed effect, where the weight is below zero, in words.
        below_at: a point (s_p, s_n) at which the weight certainly is below zero, where there is one.
    """

    effect: Effect
    proved: bool
    where: str = ""
    below_at: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Characteristics:
    """Those of T, P⁺ and P⁻, or of w⁺ and w⁻ as surfaces, with no ``triplet``, where the weights do not separate.

    ``pull`` is what w⁺ does to the positive, ``push`` what w⁻ does to the negative. ``alone`` says that the weights
    read other pairs, and that a triplet without others around it is described.
    """

    triplet: Surface | None
    positive: Curve | Surface
    negative: Curve | Surface
    pull: Action
    push: Action
    similarity: Similarity
    alone: bool = False


def characteristics(
    objective: Decomposition | WeightField, settings: Mapping[str, float] | None = None
) -> Characteristics:
    """What the weights of an objective do.

    Args:
        objective: the decomposition of a loss, or a field of weights.
        settings: hyperparameters other than their defaults.

    Raises:
        ValueError: an unknown hyperparameter or a value outside its domain.

    >>> linear = WeightField(name="linear", positive=1 - s_p, negative=s_n)
    >>> characteristics(linear).push.where
    's_n < 0'
    """
    field = objective.field if isinstance(objective, Decomposition) else objective
    values = field.values(settings) | {r.symbol: sp.S.Zero for r in field.relative}
    of = field.similarity
    positive, negative = (weight.subs(values) for weight in (field.positive, field.negative))
    alone = bool(field.relative)
    if field.factors is None:
        surfaces = _surface(positive, of), _surface(negative, of)
        return Characteristics(None, *surfaces, _action(positive, of), _action(negative, of), of, alone)
    t, p, n = (e.subs(values) for e in (field.factors.triplet, field.factors.positive, field.factors.negative))
    shapes = _surface(t, of), _curve(p, s_p, of), _curve(n, s_n, of)
    return Characteristics(*shapes, _action(t * p, of), _action(t * n, of), of, alone)


@lru_cache(maxsize=1024)
def _curve(weight: sp.Expr, s: sp.Symbol, of: Similarity) -> Curve:
    symbols, spans = (s,), ((of.opposite, of.identical),)
    compiled = program([weight], symbols)
    limits = _limit(compiled, ((of.opposite, 1),)), _limit(compiled, ((of.identical, -1),))
    moves = {s: monotony(weight, s, symbols, spans)}
    of_weight = _bounds(weight, symbols, spans, moves, limits)
    search = Search.of(weight, symbols, spans)
    grid, inside = search.axes[0][1:-1], search.on_grid[1:-1]

    def at(x: float) -> float:
        return compiled.run(FLOAT, x)[0]

    changes = tuple(_sign_changes(at, grid, inside)) if signs(weight, symbols, spans).below else ()
    plateaus = tuple(_plateaus(at, grid, inside, limits, of, of_weight.scale)) if math.isfinite(of_weight.scale) else ()
    return Curve(*limits, _answer(moves), of_weight, changes, plateaus)


@lru_cache(maxsize=1024)
def _surface(weight: sp.Expr, of: Similarity) -> Surface:
    symbols, spans = (s_p, s_n), ((of.opposite, of.identical),) * 2
    compiled = program([weight], symbols)
    opposite, identical = (of.opposite, 1), (of.identical, -1)
    corners = {(p, n): _limit(compiled, (p, n)) for p in (opposite, identical) for n in (opposite, identical)}
    moves = {s: monotony(weight, s, symbols, spans) for s in symbols}
    of_weight = _bounds(weight, symbols, spans, moves, tuple(corners.values()))
    return Surface(corners[identical, opposite], corners[opposite, identical], _answer(moves), of_weight)


def _answer(moves: Mapping[sp.Symbol, Monotony]) -> Answer:
    harder = [(m.rises_at, m.falls_at)[:: HARDER[s]] for s, m in moves.items()]
    grows = any(up is not None for up, _ in harder)
    falls = next((down for _, down in harder if down is not None), None)
    growth = {
        (True, False): Growth.GROWS,
        (False, True): Growth.FALLS,
        (True, True): Growth.MIXED,
        (False, False): Growth.CONSTANT,
    }[grows, falls is not None]
    if growth is Growth.MIXED:
        return Answer(growth, True, falls)
    return Answer(growth, all(move.proved for move in moves.values()))


def _bounds(weight: sp.Expr, symbols, spans, moves: Mapping[sp.Symbol, Monotony], limits: Sequence[float]) -> Bounds:
    """A weight that is proved to be monotone along every similarity has its extremes in the corners."""
    monotone = all(m.proved and (m.rises_at is None or m.falls_at is None) for m in moves.values())
    if monotone and not poles_of(weight, symbols, spans) and not any(map(math.isnan, limits)):
        return Bounds(min(limits), max(limits), True)
    return bounds(weight, symbols, spans)


@lru_cache(maxsize=1024)
def _action(weight: sp.Expr, of: Similarity) -> Action:
    symbols, spans = (s_p, s_n), ((of.opposite, of.identical),) * 2
    found = signs(weight, symbols, spans)
    if not found.below:
        return Action(Effect.RIGHT if found.above else Effect.NONE, found.proved)
    if not found.above:
        return Action(Effect.REVERSED, found.proved, below_at=found.below_at)
    return Action(Effect.MIXED, True, _where(weight, found, symbols, spans), found.below_at)


def _where(weight: sp.Expr, found: Signs, symbols, spans) -> str:
    """Where the sign-giving factors are below zero: stretches of one similarity, or a condition, or a point."""
    deciding, point = found.undecided, dict(zip(symbols, found.below_at or (), strict=True))
    own = tuple(s for s in symbols if deciding.has(s))
    if len(own) == 1:
        (s,) = own
        # All that reads this similarity alone: a step may cut off a part of the stretch.
        factors = [f for f in sp.Mul.make_args(sp.factor_terms(weight)) if f.free_symbols == {s}]
        alone = sp.Mul(*factors)
        sign = -1 if evaluate(alone, {s: point[s]}) > 0 else 1
        stretches = _stretches_below(sign * alone, s, spans[symbols.index(s)])
        if 0 < len(stretches) <= MANY:
            return " or ".join(stretches)
    condition = f"{plain(deciding)} < 0"
    return condition if len(condition) <= LONGEST else f"for example {_place(found.below_at or ())}"


def _stretches_below(deciding: sp.Expr, s: sp.Symbol, span) -> list[str]:
    search = Search.of(deciding, (s,), (span,))
    grid, values = search.axes[0], search.on_grid
    compiled = program([deciding], (s,))
    edges = list(_sign_changes(lambda x: compiled.run(FLOAT, x)[0], grid, values))
    ends = [-math.inf, *edges, math.inf]
    said = []
    for low, high in pairwise(ends):
        inside = values[(grid > low) & (grid < high)]
        if (inside < 0).any():
            left = "" if math.isinf(low) else f"{number(low)} < "
            right = "" if math.isinf(high) else f" < {number(high)}"
            said.append(f"{s} > {number(low)}" if left and not right else f"{left}{s}{right}")
    return said


def _place(point: Sequence[float], symbols: Sequence[sp.Symbol] = (s_p, s_n)) -> str:
    return "at " + ", ".join(f"{s} = {x:.6g}" for s, x in zip(symbols, point, strict=True))


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
    first, middle, last = values
    if not mpmath.isfinite(last):
        return float(last)
    sizes = [abs(value) for value in values]
    if abs(last) > 1e3 * max(abs(first), 1) or _keeps_growing(*sizes):
        return math.copysign(math.inf, last)
    if any(s.is_infinite for s, _ in ends) and abs(last - middle) > 1e-6 * (1 + abs(last)):
        return math.nan
    exact = compiled.run(FLOAT, *(float(s) for s, _ in ends))[0]
    agrees = math.isfinite(exact) and abs(exact - float(last)) < 1e-7 * (1 + abs(exact))
    return (exact if agrees else float(last)) + 0.0


def _keeps_growing(first, middle, last) -> bool:
    """As the logarithm does, by the same amount every time."""
    return last - first > 1 and last - middle > 0.9 * (middle - first) > 0


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


def _plateaus(
    value: Callable[[float], float],
    grid: np.ndarray,
    inside: np.ndarray,
    limits: Sequence[float],
    of: Similarity,
    scale: float,
) -> Iterable[Plateau]:
    """The flat stretch at either end, if it is long and not the whole range."""
    low, high = map(float, of.window)
    for end, limit, s, values in (
        (of.opposite, limits[0], grid, inside),
        (of.identical, limits[1], grid[::-1], inside[::-1]),
    ):

        def near(x, limit=limit):
            return np.abs(x - limit) <= FLAT * scale * (1 + 1e-9)

        with np.errstate(invalid="ignore"):
            leaves = np.flatnonzero(~near(values))
        if not len(leaves) or not leaves[0]:
            continue
        edge = _edge(float(s[leaves[0] - 1]), float(s[leaves[0]]), lambda x, near=near: bool(near(value(x))))
        if abs(edge - (low if s is grid else high)) >= LONG * (high - low):
            yield Plateau(min(float(end), edge), max(float(end), edge), limit)


# --- sentences ------------------------------------------------------------------------------------

SEARCHED = " (searched, not proved)"
WORDS = {"positive": ("attracts", "repels"), "negative": ("repels", "attracts")}


def characteristics_page(found: Characteristics) -> Page:
    """A row for every weight, and one each for what w⁺ and w⁻ do."""
    positive, negative = ("P⁺", "P⁻") if found.triplet else ("w⁺", "w⁻")
    rows = [] if found.triplet is None else [Row("triplet", "T", _surface_text(found.triplet))]
    for key, label, weight in (
        ("positive", positive, found.positive),
        ("negative", negative, found.negative),
    ):
        text = _curve_text(weight, found.similarity) if isinstance(weight, Curve) else _surface_text(weight)
        rows.append(Row(key, label, text))
    rows.append(Row("pull", "effect of w⁺", action_text(found.pull, "positive")))
    rows.append(Row("push", "effect of w⁻", action_text(found.push, "negative")))
    if found.alone:
        rows.append(Row("others", "other pairs", "none: what is relative to other pairs of the batch is 0"))
    return Page("Characteristics", tuple(rows))


def action_text(action: Action, what: str) -> str:
    """What w⁺ does to a ``positive``, or w⁻ to a ``negative``, in one sentence."""
    right, wrong = WORDS[what]
    text = {
        Effect.RIGHT: f"{right} the {what} and nowhere {wrong} it",
        Effect.REVERSED: f"reversed: {wrong} the {what} and nowhere {right} it",
        Effect.MIXED: f"{wrong} the {what} where {action.where}",
        Effect.NONE: "is zero everywhere",
    }[action.effect].replace("where for example", "in places, for example")
    return text + ("" if action.proved else SEARCHED)


def _surface_text(surface: Surface) -> str:
    if surface.answer.growth is Growth.CONSTANT and surface.bounds.proved:
        return f"constant, {number(surface.bounds.most)} everywhere"
    ends = f"{number(surface.easiest)} easiest, {number(surface.hardest)} hardest"
    return "; ".join([_growth_text(surface.answer), ends, *_bounds_text(surface.bounds)])


def _curve_text(curve: Curve, of: Similarity) -> str:
    if curve.answer.growth is Growth.CONSTANT and curve.bounds.proved:
        return f"constant, {number(curve.bounds.most)} everywhere"
    low = "for opposite" if of.opposite.is_finite else "towards -inf"
    high = "for identical" if of.identical.is_finite else "towards inf"
    ends = f"{number(curve.at_opposite)} {low}, {number(curve.at_identical)} {high}"
    parts = [
        _growth_text(curve.answer),
        ends + (" vectors" if of.identical.is_finite else ""),
        *_bounds_text(curve.bounds),
    ]
    if curve.sign_changes:
        said = [f"s = {number(s)}" for s in curve.sign_changes[:MANY]]
        more = len(curve.sign_changes) - MANY
        parts.append("changes sign at " + " and ".join(said) + (f" and {more} others" if more > 0 else ""))
    parts += [
        f"within {FLAT:.0%} of {number(p.value)} from {number(p.low)} to {number(p.high)}" for p in curve.plateaus
    ]
    return "; ".join(parts)


def _growth_text(answer: Answer) -> str:
    if answer.growth is Growth.MIXED and len(answer.falls_at or ()) == 2:
        return f"{answer.growth.value} (falls {_place(answer.falls_at or ())})"
    return answer.growth.value + ("" if answer.proved else SEARCHED)


def _bounds_text(bounds: Bounds) -> list[str]:
    if math.isinf(bounds.scale):
        parts = ["unbounded"]
    else:
        below = bounds.least < -1e-12 * bounds.scale
        said = f"from {number(bounds.least)} to {number(bounds.most)}" if below else f"at most {number(bounds.most)}"
        parts = [said + ("" if bounds.proved else SEARCHED)]
    if bounds.poles:
        parts.append(f"pole{'s' * (len(bounds.poles) > 1)} at " + " and ".join(pole.where for pole in bounds.poles))
    if bounds.undefined is not None:
        parts.append("no real value at " + ", ".join(map(number, bounds.undefined)) + ", for one")
    return parts


def number(value: float) -> str:
    """A number of four significant digits as text."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.4g}" if math.isfinite(value) else str(value)
