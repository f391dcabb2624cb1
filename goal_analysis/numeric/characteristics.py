"""What the weights of a triplet do over the range of the similarity: signs, limits, growth with hardness, bounds.

A pair is harder the lower s_p, or the higher s_n. What attracts and repels is said of w⁺ and w⁻ over the plane, never
of a factor. A statement is proved, or it says that it was searched.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product

import mpmath
import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from goal_analysis.declarations import Choice
from goal_analysis.numeric import extremes
from goal_analysis.numeric.extremes import Bounds, Point, Search, Signs
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


class Growth(Choice):
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
    falls_at: Point | None = None


@dataclass(frozen=True)
class Plateau:
    """An end of the range where the weight has saturated: from ``low`` to ``high`` it is near ``value``."""

    low: float
    high: float
    value: float


@dataclass(frozen=True)
class Shape:
    """The characteristics of a weight: of a curve over one similarity, or of a surface over both."""

    easiest: float  # its limit, possibly infinite, for an identical positive and an opposite negative
    hardest: float  # that for the reverse
    answer: Answer
    bounds: Bounds
    along: sp.Symbol | None = None  # what a curve is over; None of a surface
    sign_changes: tuple[float, ...] = ()  # of a curve
    plateaus: tuple[Plateau, ...] = ()

    @property
    def at_opposite(self) -> float:
        """The limit of a curve for opposite vectors."""
        return self.hardest if self.along == s_p else self.easiest

    @property
    def at_identical(self) -> float:
        """The limit of a curve for identical vectors."""
        return self.easiest if self.along == s_p else self.hardest


class Effect(Choice):
    """What w⁺ does to a positive, or w⁻ to a negative, over the plane of s_p and s_n."""

    RIGHT = "right"
    REVERSED = "reversed"
    MIXED = "mixed"
    NONE = "none"


@dataclass(frozen=True)
class Action:
    """The effect of w⁺ or w⁻ over the plane: attracting positives and repelling negatives is right."""

    effect: Effect
    proved: bool  # that there is no other sign
    where: str = ""  # of a mixed effect, where the weight is below zero, in words
    below_at: Point | None = None  # (s_p, s_n) where the weight certainly is below zero


@dataclass(frozen=True)
class Characteristics:
    """Those of T, P⁺ and P⁻, or of w⁺ and w⁻ as surfaces, with no ``triplet``, where the weights do not separate."""

    triplet: Shape | None
    positive: Shape
    negative: Shape
    pull: Action  # what w⁺ does to the positive
    push: Action  # what w⁻ does to the negative
    similarity: Similarity
    alone: bool = False  # the weights read other pairs, and a triplet without others around it is described

    def __repr__(self) -> str:
        acts = ((name, act) for name, act in (("pull", self.pull), ("push", self.push)))
        said = ", ".join(f"{name} {act.effect.value}{f' where {act.where}' if act.where else ''}" for name, act in acts)
        return f"Characteristics({said})"


def characteristics(
    objective: Decomposition | WeightField, settings: Mapping[str, float] | None = None
) -> Characteristics:
    """What the weights of an objective do; a setting that is unknown or outside of its domain is a ValueError.

    >>> linear = WeightField(name="linear", positive=1 - s_p, negative=s_n)
    >>> characteristics(linear).push.where
    's_n < 0'
    """
    field = objective.field if isinstance(objective, Decomposition) else objective
    values, of = field.values(settings) | {r.symbol: sp.S.Zero for r in field.relative}, field.similarity
    parts = field.factors or field
    pair = [part.subs(values) for part in (parts.positive, parts.negative)]
    triplet = None if field.factors is None else field.factors.triplet.subs(values)
    along = (None, None) if triplet is None else (s_p, s_n)
    positive, negative = (_shape(part, of, s) for part, s in zip(pair, along, strict=True))
    pull, push = (_action(part if triplet is None else triplet * part, of) for part in pair)
    alone = bool(field.relative)
    return Characteristics(None if triplet is None else _shape(triplet, of), positive, negative, pull, push, of, alone)


@lru_cache(maxsize=1024)
def _shape(weight: sp.Expr, of: Similarity, along: sp.Symbol | None = None) -> Shape:
    own = extremes.read_by(weight)
    compiled, hardest = program([weight], own), tuple(HARDER[s] for s in own)
    limits: dict[tuple[int, ...], float] = {
        ends: _limit(compiled, ends, of) for ends in product((-1, 1), repeat=len(own))
    }
    moves = {s: extremes.monotony(weight, s, of) for s in own}
    monotone = all(move.proved and None in (move.above_at, move.below_at) for move in moves.values())
    if monotone and not extremes.poles_of(weight, of) and not any(map(math.isnan, limits.values())):
        found = Bounds(min(limits.values()), max(limits.values()), True)  # its extremes are in the corners
    else:
        found = extremes.bounds(weight, of)
    shape = Shape(limits[tuple(-end for end in hardest)], limits[hardest], _answer(moves), found, along)
    if along not in own:
        return shape
    search, ends = Search.over(weight, of), (shape.at_opposite, shape.at_identical)
    changes = _sign_changes(search) if extremes.signs(weight, of).below_at else ()
    plateaus = _plateaus(search, ends, of, found.scale) if math.isfinite(found.scale) else ()
    return replace(shape, sign_changes=tuple(changes), plateaus=tuple(plateaus))


def _answer(moves: Mapping[sp.Symbol, Signs]) -> Answer:
    harder = [(move.above_at, move.below_at)[:: HARDER[s]] for s, move in moves.items()]
    grows = any(up is not None for up, _ in harder)
    falls = next((down for _, down in harder if down is not None), None)
    if grows and falls is not None:
        return Answer(Growth.MIXED, True, falls)
    growth = Growth.GROWS if grows else Growth.CONSTANT if falls is None else Growth.FALLS
    return Answer(growth, all(move.proved for move in moves.values()))


@lru_cache(maxsize=1024)
def _action(weight: sp.Expr, of: Similarity) -> Action:
    found = extremes.signs(weight, of)
    if found.below_at is None:
        return Action(Effect.NONE if found.above_at is None else Effect.RIGHT, found.proved)
    if found.above_at is None:
        return Action(Effect.REVERSED, found.proved, below_at=found.below_at)
    return Action(Effect.MIXED, True, _where(weight, found.undecided, found.below_at, of), found.below_at)


def _where(weight: sp.Expr, deciding: sp.Expr, below_at: Point, of: Similarity) -> str:
    """Where the sign-giving factors are below zero: stretches of one similarity, or a condition, or a point."""
    own = extremes.read_by(deciding)
    if len(own) == 1:
        # All that reads this similarity alone: a step may cut off a part of the stretch.
        alone = sp.Mul(*(f for f in sp.Mul.make_args(sp.factor_terms(weight)) if f.free_symbols == set(own)))
        sign = -1 if evaluate(alone, dict(zip((s_p, s_n), below_at, strict=True))) > 0 else 1
        stretches = _stretches_below(sign * alone, own[0], of)
        if 0 < len(stretches) <= MANY:
            return " or ".join(stretches)
    condition = f"{plain(deciding)} < 0"
    return condition if len(condition) <= LONGEST else f"for example {_place(below_at)}"


def _stretches_below(deciding: sp.Expr, s: sp.Symbol, of: Similarity) -> list[str]:
    search = Search.over(deciding, of)
    grid, values, edges = search.axes[0], search.on_grid, _sign_changes(search)
    said = []
    for low, high in pairwise([-math.inf, *edges, math.inf]):
        if (values[(grid > low) & (grid < high)] < 0).any():
            left = "" if math.isinf(low) else f"{number(low)} < "
            right = "" if math.isinf(high) else f" < {number(high)}"
            said.append(f"{s} > {number(low)}" if left and not right else f"{left}{s}{right}")
    return said


def _place(point: Point) -> str:
    return "at " + ", ".join(f"{s} = {x:.6g}" for s, x in zip((s_p, s_n), point, strict=True))


def _limit(compiled: Program, ends: Sequence[int], of: Similarity) -> float:
    """The limit at the ends, −1 for opposite and 1 for identical; infinite where the values keep growing."""
    exact = [of.opposite if end < 0 else of.identical for end in ends]
    values = []
    with mpmath.workdps(60):
        for digits in (8, 16, 24):
            close = mpmath.mpf(10) ** -digits
            point = (float(s) - end * close if s.is_finite else end / close for s, end in zip(exact, ends, strict=True))
            values.append(compiled.run(MULTIPRECISION, *point)[0])
    first, middle, last = values
    if not mpmath.isfinite(last):
        return float(last)
    if abs(last) > 1e3 * max(abs(first), 1) or extremes.diverges(*map(abs, values)):
        return math.copysign(math.inf, last)
    if not all(s.is_finite for s in exact) and abs(last - middle) > 1e-6 * (1 + abs(last)):
        return math.nan
    there = compiled.run(FLOAT, *map(float, exact))[0]
    agrees = math.isfinite(there) and abs(there - float(last)) < 1e-7 * (1 + abs(there))
    return (there if agrees else float(last)) + 0.0


def _sign_changes(search: Search) -> Iterable[float]:
    """Where the weight changes sign. A stretch of zeros between two signs gives both of its ends."""
    grid, values = search.axes[0][1:-1], search.on_grid[1:-1]
    signed = np.flatnonzero((values != 0) & np.isfinite(values))
    for k in np.flatnonzero(np.diff(values[signed] < 0)):
        i, j = signed[k : k + 2]
        before, after = np.sign(values[i]), np.sign(values[j])
        yield _edge(search, grid[i], grid[j], lambda value, before=before: np.sign(value) == before)
        if j > i + 2:
            yield _edge(search, grid[i], grid[j], lambda value, after=after: np.sign(value) != after)


def _edge(search: Search, left: ArrayLike, right: ArrayLike, holds: Callable[[np.ndarray], np.ndarray]) -> float:
    return round(float(extremes.last_where(lambda x: holds(search.values(x)), left, right)), 12) + 0.0


def _plateaus(search: Search, limits: Sequence[float], of: Similarity, scale: float) -> Iterable[Plateau]:
    """The flat stretch at either end, if it is long and not the whole range."""
    low, high = map(float, of.window)
    for end, start, limit, way in ((of.opposite, low, limits[0], 1), (of.identical, high, limits[1], -1)):

        def is_near(value, limit=limit):
            return np.abs(value - limit) <= FLAT * scale * (1 + 1e-9)

        s, near = search.axes[0][1:-1][::way], is_near(search.on_grid[1:-1][::way])
        leaves = int(np.argmin(near))
        if leaves and not near[leaves]:
            edge = _edge(search, s[leaves - 1], s[leaves], is_near)
            if abs(edge - start) >= LONG * (high - low):
                yield Plateau(min(float(end), edge), max(float(end), edge), limit)


# --- sentences ------------------------------------------------------------------------------------

SEARCHED = " (searched, not proved)"
WORDS = {"positive": ("attracts", "repels"), "negative": ("repels", "attracts")}


def characteristics_page(found: Characteristics) -> Page:
    """A row for every weight, and one each for the effects of w⁺ and w⁻."""
    labels = {"triplet": "T", "positive": "P⁺" if found.triplet else "w⁺", "negative": "P⁻" if found.triplet else "w⁻"}
    shapes = {key: getattr(found, key) for key in labels}
    rows = [Row(key, labels[key], _shape_text(shape, found.similarity)) for key, shape in shapes.items() if shape]
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


def _shape_text(shape: Shape, of: Similarity) -> str:
    if shape.answer.growth is Growth.CONSTANT and shape.bounds.proved:
        return f"constant, {number(shape.bounds.most)} everywhere"
    if shape.along is None:
        ends = f"{number(shape.easiest)} for the easiest triplet, {number(shape.hardest)} for the hardest"
    else:
        low = "for opposite" if of.opposite.is_finite else "towards -inf"
        high = "for identical vectors" if of.identical.is_finite else "towards inf"
        ends = f"{number(shape.at_opposite)} {low}, {number(shape.at_identical)} {high}"
    falls = shape.answer.falls_at if shape.along is None else None
    growth = shape.answer.growth.value + ("" if falls is None else f" (falls {_place(falls)})")
    parts = [growth + ("" if shape.answer.proved else SEARCHED), ends, *_bounds_text(shape.bounds)]
    if shape.sign_changes:
        said = [f"s = {number(s)}" for s in shape.sign_changes[:MANY]]
        more = len(shape.sign_changes) - MANY
        parts.append("changes sign at " + " and ".join(said) + (f" and {more} others" if more > 0 else ""))
    flat = ((number(x) for x in (plateau.value, plateau.low, plateau.high)) for plateau in shape.plateaus)
    parts += [f"within {FLAT:.0%} of {value} from {low} to {high}" for value, low, high in flat]
    return "; ".join(parts)


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
