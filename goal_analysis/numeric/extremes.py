"""The extremes, poles, signs and monotony of a formula over the range of its similarities.

Intervals prove: a formula that is nowhere below zero in any of finitely many boxes is nowhere below zero. What they do
not prove is searched: from the best points of a grid, which is finer near the ends of the range, every candidate is
refined to the digits of a float. A sign that a search finds is certified in many digits; a sign that it does not find
is not said to be absent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from mpmath import iv

from goal_analysis.numeric.lowering import NUMPY, function, lowered
from goal_analysis.symbolic.language.primitives import step
from goal_analysis.symbolic.proof.evaluation import INTERVAL, MULTIPRECISION, Program, program
from goal_analysis.symbolic.proof.identity import certain_value

Span = tuple[sp.Expr, sp.Expr]  # the ends of a range, possibly infinite
Point = tuple[float, ...]

EVEN = {1: 4096, 2: 160}  # cells along the window of every similarity, for formulas of one and of two
OFF = (0.137, 0.291)  # by which shares of a cell these are moved, so that none lies on s_p = s_n
FAR = 1e12  # how far a search goes where the range has no end
BLOCKS = {1: 64, 2: 10}  # into how many blocks along a side the grid is cut; the best point of each is a candidate
CANDIDATES = 16  # how many of these are refined
ROUNDS, SHRINK = 28, 0.42  # of the refinement, and by how much it narrows every time
LEAST = sp.Rational(1, 10**12)  # how far inside of its range a similarity is
DEPTH, BOXES = 9, 300  # how often a side of a box is halved in a proof, and how many boxes there are at most
NEGLIGIBLE = 1e-12  # a value this far below zero, as a share of the largest, is rounding


@dataclass(frozen=True)
class Pole:
    """Where a formula grows without bound: in words, and whether it does upwards and downwards."""

    where: str
    upwards: bool
    downwards: bool


@dataclass(frozen=True)
class Bounds:
    """The least and the largest value of a formula over the range, infinite where there is none.

    Args:
        least: the greatest lower bound.
        most: the least upper bound.
        proved: whether intervals or monotony prove both; else they are refined by a search.
        poles: where the formula grows without bound within the range.
        undefined: a point inside of the range, in the coordinates that the formula reads, without a real value.
    """

    least: float
    most: float
    proved: bool
    poles: tuple[Pole, ...] = ()
    undefined: Point | None = None

    @property
    def scale(self) -> float:
        """The largest magnitude."""
        return max(abs(self.least), abs(self.most))


def _read(
    expression: sp.Expr, symbols: Sequence[sp.Symbol], spans: Sequence[Span]
) -> tuple[tuple[sp.Symbol, ...], tuple[Span, ...]]:
    """The symbols that occur in a formula, and their ranges."""
    own = tuple((s, span) for s, span in zip(symbols, spans, strict=True) if expression.has(s))
    return tuple(s for s, _ in own), tuple(span for _, span in own)


# --- the grid and its refinement ------------------------------------------------------------------


def points_along(span: Span, count: int, off: float) -> np.ndarray:
    """Points of a range: even ones over its window, ever closer ones towards a finite end, ever farther ones beyond.

    The even ones are moved by a share of their distance: people put kinks at round numbers.
    """
    low, high = (float(end) for end in span)
    window_low, window_high = window(span)
    even = window_low + (window_high - window_low) * np.clip((np.arange(count + 2) - off) / count, 0, 1)
    near = (window_high - window_low) * 10.0 ** -np.arange(2.0, 12.0)
    far = np.geomspace(1.0, FAR, 48)
    below = window_low - far if math.isinf(low) else low + near
    above = window_high + far if math.isinf(high) else high - near
    return np.unique(np.concatenate([even, below, above]))


def window(span: Span) -> tuple[float, float]:
    """The range, or a stretch of 8 of a range without an end, as of `Similarity.window`."""
    low, high = (float(end) for end in span)
    if math.isinf(low) and math.isinf(high):
        return -4.0, 4.0
    return (high - 8.0 if math.isinf(low) else low), (low + 8.0 if math.isinf(high) else high)


@dataclass(frozen=True)
class Search:
    """The values of a formula on a grid, and the search for its largest values."""

    values: Callable[..., np.ndarray]
    axes: tuple[np.ndarray, ...]
    on_grid: np.ndarray

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, expression: sp.Expr, symbols: tuple[sp.Symbol, ...], spans: tuple[Span, ...]) -> Search:
        """The search over the ranges of the symbols."""
        axes = tuple(points_along(span, EVEN[len(symbols)], off) for span, off in zip(spans, OFF, strict=False))
        run = function(lowered(program([expression], symbols)), NUMPY)

        def values(*grids: np.ndarray) -> np.ndarray:
            return np.broadcast_to(run(*grids)[0], np.broadcast_shapes(*(grid.shape for grid in grids)))

        return cls(values, axes, values(*np.meshgrid(*axes, indexing="ij")))

    def peaks(self, of: Callable[[np.ndarray], np.ndarray], rounds: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The points at which ``of`` the values is large, refined in so many rounds, shape ``(points, similarities)``,
        and what it is there, the largest first; what is not a number counts as −∞.
        """
        with np.errstate(invalid="ignore"):
            found = _ordered(of(self.on_grid))
        dims = len(self.axes)
        parts = [np.array_split(np.arange(len(axis)), BLOCKS[dims]) for axis in self.axes]
        best = []
        for block in product(*parts):
            inside = found[np.ix_(*block)]
            at = np.unravel_index(int(np.argmax(inside)), inside.shape)
            best.append(tuple(rows[i] for rows, i in zip(block, at, strict=True)))
        best.sort(key=lambda at: -found[at])
        chosen = np.array(best[:CANDIDATES])
        centres = np.stack([axis[chosen[:, i]] for i, axis in enumerate(self.axes)], axis=1)
        beside = [np.maximum(np.diff(a, prepend=a[0])[i], np.diff(a, append=a[-1])[i])
                  for a, i in zip(self.axes, chosen.T, strict=True)]  # fmt: skip
        top = found[tuple(chosen.T)]
        return self._refined(of, centres, top, np.stack(beside, axis=1), ROUNDS if rounds is None else rounds)

    def _refined(self, of, centres: np.ndarray, top: np.ndarray, half: np.ndarray, rounds: int):
        low, high = (np.array([axis[end] for axis in self.axes]) for end in (0, -1))
        around = np.array(list(product(np.linspace(-1, 1, 7), repeat=len(self.axes))))
        rows = np.arange(len(centres))
        for _ in range(rounds):
            tried = np.clip(centres[:, None] + half[:, None] * around, low, high)
            with np.errstate(invalid="ignore"):
                found = _ordered(of(self.values(*np.moveaxis(tried, -1, 0))))
            best = found.argmax(1)
            centres, top = tried[rows, best], found[rows, best]
            half = half * SHRINK
        order = np.argsort(-top, kind="stable")
        return centres[order], top[order]


def _ordered(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -np.inf, values)


# --- extremes and poles ---------------------------------------------------------------------------


@lru_cache(maxsize=2048)
def bounds(expression: sp.Expr, symbols: tuple[sp.Symbol, ...], spans: tuple[Span, ...]) -> Bounds:
    """The extremes and poles of a formula in numbers and these symbols over their ranges."""
    if not expression.has(*symbols):
        value = float(expression)
        return Bounds(value, value, True)
    symbols, spans = _read(expression, symbols, spans)
    search = Search.of(expression, symbols, spans)
    poles = poles_of(expression, symbols, spans)
    most, least = (
        _largest(search, sign, any(pole.upwards if sign > 0 else pole.downwards for pole in poles)) for sign in (1, -1)
    )
    found = Bounds(0.0 - least, most + 0.0, False, poles, _undefined(search))
    if poles or found.undefined is not None or not math.isfinite(found.scale):
        return found
    low, high = (sp.Rational(end + sign * 1e-9 * found.scale) for end, sign in ((found.least, -1), (found.most, 1)))
    proved = all(is_never_negative(e, symbols, spans) for e in (high - expression, expression - low))
    return replace(found, proved=proved)


def _largest(search: Search, sign: int, has_pole: bool) -> float:
    _, top = search.peaks(lambda values: sign * values)
    return math.inf if has_pole or _grows_outwards(search, sign, float(top[0])) else float(top[0])


def _grows_outwards(search: Search, sign: int, top: float) -> bool:
    """Whether the largest value keeps growing as an infinite range is gone along."""
    if max(abs(float(axis[end])) for axis in search.axes for end in (0, -1)) < FAR:
        return False
    sizes = np.maximum.reduce(np.meshgrid(*map(np.abs, search.axes), indexing="ij"))
    found = _ordered(sign * search.on_grid)
    first, second, third = (float(found[sizes <= reach].max()) for reach in (1e4, 1e8, 2 * FAR))
    return top > 1e6 * (1 + abs(first)) or _diverges(first, second, third)


def _diverges(first: Any, second: Any, third: Any) -> bool:
    """Whether values at distances of 10⁻⁴, 10⁻⁸ and 10⁻¹² grow at least like the logarithm."""
    return second > first and third - second >= 0.5 * (second - first) and third - first > 1e-6 * (1 + abs(first))


def _undefined(search: Search) -> Point | None:
    """A point between two others without a real value, away from the ends."""
    inside = tuple(slice(16, -16) for _ in search.axes)
    bad = ~np.isfinite(search.on_grid[inside])
    together = bad & np.roll(bad, 1, 0) & np.roll(bad, -1, 0)
    if not together.any():
        return None
    at = np.argwhere(together)
    middle = at[len(at) // 2]
    return tuple(float(axis[16 + i]) for axis, i in zip(search.axes, middle, strict=True))


@lru_cache(maxsize=4096)
def poles_of(expression: sp.Expr, symbols: tuple[sp.Symbol, ...], spans: tuple[Span, ...]) -> tuple[Pole, ...]:
    """Where a divisor or the argument of a logarithm vanishes and the formula diverges."""
    compiled = program([expression], symbols)
    found: dict[str, tuple[Point, set[int]]] = {}
    for zero in sorted(_singular(expression, symbols), key=sp.default_sort_key):
        own, of_own = _read(zero, symbols, spans)
        roots = _roots(zero, own, of_own)
        diverging = [(root, signs) for root in roots if (signs := _signs_at(compiled, symbols, spans, own, root))]
        on_a_line = len(diverging) > (2 if len(own) > 1 else 6)
        for root, signs in diverging:
            place = ", ".join(f"{s} = {round(value, 9) + 0.0:.6g}" for s, value in zip(own, root, strict=True))
            found.setdefault(f"{zero} = 0" if on_a_line else place, (root, set()))[1].update(signs)
    in_order = sorted(found.items(), key=lambda item: item[1][0])
    return tuple(Pole(where, 1 in signs, -1 in signs) for where, (_, signs) in in_order)


def _singular(expression: sp.Expr, symbols: Sequence[sp.Symbol]) -> set[sp.Expr]:
    divisors = {p.base for p in expression.atoms(sp.Pow) if p.exp.could_extract_minus_sign() or not p.exp.is_number}
    factors = {
        f
        for e in divisors | {e.args[0] for e in expression.atoms(sp.log)}
        for f in sp.Mul.make_args(sp.factor_terms(e))
    }
    return {base for f in factors if (base := f.as_base_exp()[0]).has(*symbols)}


def _roots(zero: sp.Expr, symbols: tuple[sp.Symbol, ...], spans: tuple[Span, ...]) -> list[Point]:
    search = Search.of(zero, symbols, spans)
    points, top = search.peaks(lambda values: -np.abs(values))
    finite = np.abs(search.on_grid[np.isfinite(search.on_grid)])
    near = 1e-10 * min(float(np.median(finite)) if finite.size else 1.0, 1.0)
    roots: dict[Point, Point] = {}
    for point, value in zip(points.tolist(), top, strict=True):
        if -value <= near and max(map(abs, point)) < FAR:
            roots.setdefault(tuple(round(x, 8) + 0.0 for x in point), tuple(point))
    return sorted(roots.values())


def _signs_at(compiled: Program, symbols, spans, own: Sequence[sp.Symbol], root: Point) -> set[int]:
    """With which signs the formula diverges at a root of a divisor, from any side within the range."""
    others = [window(span) for s, span in zip(symbols, spans, strict=True) if s not in own]
    shares = [[low + share * (high - low) for share in (0.013, 0.31, 0.52, 0.77, 0.98)] for low, high in others]
    found = set()
    with mpmath.workdps(40):
        for held, s, side in product(product(*shares), own, (-1, 1)):
            known = dict(zip((*own, *(s for s in symbols if s not in own)), (*root, *held), strict=True))
            low, high = spans[symbols.index(s)]
            if not low < known[s] + side * 1e-4 < high:
                continue
            values = []
            for distance in ("1e-4", "1e-8", "1e-12"):
                at = {**known, s: mpmath.mpf(known[s]) + side * mpmath.mpf(distance)}
                values.append(compiled.run(MULTIPRECISION, *(mpmath.mpf(at[s]) for s in symbols))[0])
            if all(map(mpmath.isfinite, values)) and _diverges(*map(abs, values)):
                found.add(1 if values[-1] > 0 else -1)
    return found


# --- proofs ---------------------------------------------------------------------------------------


def is_never_negative(
    expression: sp.Expr, symbols: Sequence[sp.Symbol], spans: Sequence[Span], on: sp.Expr | None = None
) -> bool:
    """Whether intervals prove that a formula is nowhere below zero, or nowhere where ``on`` is zero; False proves
    nothing.

    >>> from goal_analysis.symbolic.language.primitives import s_p
    >>> is_never_negative(1 - s_p, [s_p], [(sp.S(-1), sp.S(1))]), is_never_negative(s_p, [s_p], [(sp.S(-1), sp.S(1))])
    (True, False)
    """
    compiled = program([expression, sp.S.Zero if on is None else on], symbols)
    boxes = [([(float(low), float(high)) for low, high in spans], 0)]
    for _ in range(BOXES):
        if not boxes:
            return True
        box, depth = boxes.pop()
        value, held = compiled.run(INTERVAL, *(iv.mpf(list(side)) for side in box))
        if value.a >= 0 or held.a > 0 or held.b < 0:
            continue
        if depth >= DEPTH * len(box) or (value.b < 0 and on is None):
            return False
        side = depth % len(box)
        low, high = box[side]
        middle = _middle(low, high)
        boxes += [([*box[:side], half, *box[side + 1 :]], depth + 1) for half in ((low, middle), (middle, high))]
    return False


def _middle(low: float, high: float) -> float:
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(high):
        return max(2 * low, low + 4.0)
    return min(2 * high, high - 4.0) if math.isinf(low) else (low + high) / 2


@dataclass(frozen=True)
class Signs:
    """Whether a formula is above and below zero anywhere, and whether it is proved that there is no other sign.

    ``undecided`` is the product of the factors whose sign was not proved, with the sign of the others: the formula is
    below zero nowhere but where it is.
    """

    above: bool
    below: bool
    proved: bool
    undecided: sp.Expr
    below_at: Point | None = None


@lru_cache(maxsize=4096)
def signs(expression: sp.Expr, symbols: tuple[sp.Symbol, ...], spans: tuple[Span, ...]) -> Signs:
    """The signs of a formula in numbers and these symbols over their ranges."""
    own, of_own = _read(expression, symbols, spans)
    if own != symbols and own:
        found = signs(expression, own, of_own)
        return replace(found, below_at=_with_middles(found.below_at, own, symbols, spans))
    if not own:
        sign = int(sp.sign(expression))
        middle = _with_middles((), (), symbols, spans) if sign < 0 else None
        return Signs(sign > 0, sign < 0, True, expression, middle)
    overall, rest = 1, []
    for factor in sp.Mul.make_args(sp.factor_terms(expression)):
        sign = _proved_sign(factor, symbols, spans)
        overall *= sign or 1
        rest += [] if sign else [factor]
    undecided = overall * sp.Mul(*rest)
    sought = (expression, undecided) if rest else (expression,)
    possible = (1, -1) if rest else (overall,)
    at = {sign: _certain_point(expression, sought, sign, symbols, spans) for sign in possible}
    for sign in possible:
        if at[sign] is None and not is_never_negative(-sign * expression, symbols, spans):
            at[sign] = _certain_point(expression, sought, sign, symbols, spans, refined=True)
            possible = (*possible, None) if at[sign] is None else possible
    above, below = at.get(1), at.get(-1)
    return Signs(above is not None, below is not None, None not in possible, undecided, below)


def _with_middles(point: Point | None, own, symbols, spans) -> Point | None:
    """The point with the middle of the range for the similarities that it does not have."""
    if point is None:
        return None
    known = dict(zip(own, point, strict=True))
    middles = {s: sum(window(span)) / 2 for s, span in zip(symbols, spans, strict=True)}
    return tuple((middles | known).values())


def _proved_sign(factor: sp.Expr, symbols: Sequence[sp.Symbol], spans: Sequence[Span]) -> int:
    own, of_own = _read(factor, symbols, spans)
    if not own:
        return int(sp.sign(factor)) if factor.is_extended_real and factor != 0 else 0
    return next((sign for sign in (1, -1) if is_never_negative(sign * factor, own, of_own)), 0)


def _certain_point(
    expression: sp.Expr,
    sought: Iterable[sp.Expr],
    sign: int,
    symbols: tuple[sp.Symbol, ...],
    spans: tuple[Span, ...],
    refined: bool = False,
) -> Point | None:
    """A point at which the formula certainly has the sign, where one of ``sought`` has it most on the grid, or after
    refinement.
    """
    compiled = program([expression], symbols)
    for one in dict.fromkeys(sought):
        own, of_own = _read(one, symbols, spans)
        search = Search.of(one, own, of_own)
        points, top = search.peaks(lambda v: np.where(np.isfinite(v), sign * v, -np.inf), ROUNDS if refined else 0)
        if not refined:  # a point well inside tells a reader more
            low, high = np.array(list(map(window, of_own))).T
            near_end = (np.abs((points - low) / (high - low) - 0.5) > 0.49).any(1)
            order = np.argsort(near_end | (top <= 0), kind="stable")
            points, top = points[order], top[order]
        for point, value in zip(points.tolist(), top, strict=True):
            if not value > 0:
                continue
            point = _with_middles(tuple(point), own, symbols, spans) or ()
            certain = certain_value(compiled, tuple(map(sp.Rational, point)))
            if certain and certain * sign > 0:
                return point
    return None


# --- monotony -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Monotony:
    """Points (s_p, s_n) at which a formula rises and falls along one similarity, None where it does so nowhere, and
    whether that is proved.
    """

    rises_at: Point | None = None
    falls_at: Point | None = None
    proved: bool = True


@lru_cache(maxsize=4096)
def monotony(
    expression: sp.Expr, along: sp.Symbol, symbols: tuple[sp.Symbol, ...], spans: tuple[Span, ...]
) -> Monotony:
    """How a formula moves with one of its symbols, others held."""
    own, of_own = _read(expression, symbols, spans)
    if along not in own:
        return Monotony()
    if own != symbols:
        found = monotony(expression, along, own, of_own)
        rises, falls = (_with_middles(point, own, symbols, spans) for point in (found.rises_at, found.falls_at))
        return Monotony(rises, falls, found.proved)
    slope = sp.diff(expression, along)
    moves = {sign: _moves(expression, slope, along, sign, symbols, spans) for sign in (1, -1)}
    proved = True
    for sign in (1, -1):
        if moves[sign] is None and not _is_monotone(expression, slope, -sign, along, symbols, spans):
            moves[sign] = _moves(expression, slope, along, sign, symbols, spans, refined=True)
            proved = proved and moves[sign] is not None
    return Monotony(moves[1], moves[-1], proved)


def _moves(expression, slope, along, sign: int, symbols, spans, refined: bool = False) -> Point | None:
    """A point at which the formula certainly moves this way."""
    if slope.is_number:
        at = _with_middles((), (), symbols, spans) if sp.sign(slope) == sign else None
    else:
        at = _certain_point(slope, (slope,), sign, symbols, spans, refined)
    return at if at is not None or refined else _certain_jump(expression, symbols.index(along), sign, symbols, spans)


def _certain_jump(expression: sp.Expr, place: int, sign: int, symbols, spans) -> Point | None:
    """A point of the grid past which the value certainly moves this way."""
    search = Search.of(expression, symbols, spans)
    with np.errstate(invalid="ignore"):
        moved = _ordered(sign * np.diff(search.on_grid, axis=place))
    moved = np.where(np.isfinite(moved), moved, -np.inf)
    for end in (0, -1):  # on a kink at the very end a step counts as ½
        moved[(slice(None),) * place + (end,)] = -np.inf
    at = np.unravel_index(int(np.argmax(moved)), moved.shape)
    if not moved[at] > 0:
        return None
    left = [sp.Rational(float(axis[i])) for axis, i in zip(search.axes, at, strict=True)]
    right = [*left]
    right[place] = sp.Rational(float(search.axes[place][at[place] + 1]))
    beside = [sp.Dummy(real=True) for _ in symbols]
    difference = program(
        [expression.xreplace(dict(zip(symbols, beside, strict=True))) - expression], (*symbols, *beside)
    )
    certain = certain_value(difference, (*left, *right))
    return tuple(map(float, left)) if certain and certain * sign > 0 else None


def _is_monotone(expression, slope, sign: int, along: sp.Symbol, symbols, spans) -> bool:
    """Whether the slope never has the other sign, nor any jump; one at the very end of a range is none."""
    if not is_never_negative(sign * slope, symbols, spans):
        return False
    inside = [(low + LEAST, high - LEAST) for low, high in spans]
    one_sided = expression.replace(step, lambda x: 1 - step(-x) if x.could_extract_minus_sign() else step(x))
    for jump in one_sided.atoms(step):
        kink = jump.args[0]
        if kink.has(step):
            return False
        gained = one_sided.xreplace({jump: sp.S.One}) - one_sided.xreplace({jump: sp.S.Zero})
        if not is_never_negative(sign * gained * sp.diff(kink, along), symbols, inside, on=kink):
            return False
    return True
