"""The extremes, poles, signs and monotony of a formula of s_p and s_n over the range of a similarity.

Intervals prove; the rest is searched on a grid, refined to the digits of a float. A sign that is found is certified in
many digits; one that is not found is not said to be absent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from mpmath import iv
from numpy.typing import ArrayLike

from goal_analysis.numeric.lowering import NUMPY, function, lowered
from goal_analysis.symbolic.language.primitives import s_n, s_p, step
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.proof.evaluation import INTERVAL, MULTIPRECISION, program
from goal_analysis.symbolic.proof.identity import certain_value

Point = tuple[float, ...]

EVEN = {1: 4096, 2: 160}  # cells along the window of every similarity, for formulas of one and of two
OFF = (0.137, 0.291)  # by which shares of a cell these are moved, so that none lies on s_p = s_n
FAR = 1e12  # how far a search goes where the range has no end
BLOCKS = {1: 64, 2: 10}  # into how many blocks along a side the grid is cut; the best point of each is a candidate
CANDIDATES = 16  # how many of these are refined
ROUNDS, SHRINK = 28, 0.42  # of the refinement, and by how much it narrows every time
LEAST = sp.Rational(1, 10**12)  # how far inside of its range a similarity is
DEPTH, BOXES = 9, 300  # how often a side of a box is halved in a proof, and how many boxes there are at most


@dataclass(frozen=True)
class Pole:
    """Where a formula grows without bound: in words, and whether it does upwards and downwards."""

    where: str
    upwards: bool
    downwards: bool


@dataclass(frozen=True)
class Bounds:
    """The least and the largest value of a formula over the range, infinite where there is none."""

    least: float
    most: float
    proved: bool  # by intervals or monotony; else both are refined by a search
    poles: tuple[Pole, ...] = ()
    undefined: Point | None = None  # a point inside of the range without a real value

    @property
    def scale(self) -> float:
        """The largest magnitude."""
        return max(abs(self.least), abs(self.most))


def read_by(*formulas: sp.Expr) -> tuple[sp.Symbol, ...]:
    """The similarities that formulas read."""
    return tuple(s for s in (s_p, s_n) if any(formula.has(s) for formula in formulas))


def _in_the_plane(point: Iterable[float], own: Iterable[sp.Symbol], of: Similarity) -> Point:
    """The point (s_p, s_n), with the middle of the range for a similarity that is not among its own."""
    middle = float(sum(of.window)) / 2
    return tuple(({s_p: middle, s_n: middle} | dict(zip(own, point, strict=True))).values())


# --- the grid and its refinement ------------------------------------------------------------------


def points_along(of: Similarity, count: int, off: float) -> np.ndarray:
    """Points of a range: even ones, moved off round numbers, ever closer ones at a finite end, ever farther ones."""
    low, high = map(float, of.window)
    even = low + (high - low) * np.clip((np.arange(count + 2) - off) / count, 0, 1)
    near = (high - low) * 10.0 ** -np.arange(2.0, 12.0)
    far = np.geomspace(1.0, FAR, 48)
    below = low + near if of.opposite.is_finite else low - far
    above = high - near if of.identical.is_finite else high + far
    return np.unique(np.concatenate([even, below, above]))


@dataclass(frozen=True)
class Search:
    """The values of a formula on a grid of the similarities that it reads, and the search for its largest values."""

    values: Callable[..., np.ndarray]
    axes: tuple[np.ndarray, ...]
    on_grid: np.ndarray

    @classmethod
    @lru_cache(maxsize=64)
    def over(cls, expression: sp.Expr, of: Similarity) -> Search:
        """The search over the range of a similarity."""
        own = read_by(expression)
        axes = tuple(points_along(of, EVEN[len(own)], off) for off in OFF[: len(own)])
        run = function(lowered(program([expression], own)), NUMPY)

        def values(*at: np.ndarray) -> np.ndarray:
            return np.broadcast_to(run(*at)[0], np.shape(at[0]))

        return cls(values, axes, values(*np.meshgrid(*axes, indexing="ij")))

    def peaks(self, of: Callable[[np.ndarray], np.ndarray], rounds: int = ROUNDS) -> tuple[np.ndarray, np.ndarray]:
        """Where ``of`` the values is large, shape ``(points, similarities)``, and its values, the largest first."""
        found = np.fmax(of(self.on_grid), -np.inf)
        best = []
        for block in product(*(np.array_split(np.arange(len(axis)), BLOCKS[found.ndim]) for axis in self.axes)):
            inside = found[np.ix_(*block)]
            at = np.unravel_index(int(np.argmax(inside)), inside.shape)
            best.append(tuple(rows[i] for rows, i in zip(block, at, strict=True)))
        chosen = np.array(sorted(best, key=lambda at: -found[at])[:CANDIDATES])
        apart = [np.maximum(np.diff(axis, prepend=axis[0]), np.diff(axis, append=axis[-1])) for axis in self.axes]
        centres, half = (np.stack([a[i] for a, i in zip(of_axes, chosen.T, strict=True)], axis=1)
                         for of_axes in (self.axes, apart))  # fmt: skip
        top, rows = found[tuple(chosen.T)], np.arange(len(chosen))
        low, high = (np.array([axis[end] for axis in self.axes]) for end in (0, -1))
        around = np.array(list(product(np.linspace(-1, 1, 7), repeat=found.ndim)))
        for narrowed in SHRINK ** np.arange(rounds):
            tried = np.clip(centres[:, None] + narrowed * half[:, None] * around, low, high)
            values = np.fmax(of(self.values(*np.moveaxis(tried, -1, 0))), -np.inf)
            best = values.argmax(1)
            centres, top = tried[rows, best], values[rows, best]
        order = np.argsort(-top, kind="stable")
        return centres[order], top[order]


def last_where(holds: Callable[[np.ndarray], np.ndarray], left: ArrayLike, right: ArrayLike) -> np.ndarray:
    """How far what holds at the left ends of intervals goes on holding, by bisection."""
    left, right = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
    for _ in range(60):
        middle = (left + right) / 2
        there = holds(middle)
        left, right = np.where(there, middle, left), np.where(there, right, middle)
    return (left + right) / 2


# --- extremes and poles ---------------------------------------------------------------------------


@lru_cache(maxsize=2048)
def bounds(expression: sp.Expr, of: Similarity) -> Bounds:
    """The extremes and poles of a formula of s_p and s_n over the range of a similarity."""
    if not read_by(expression):
        value = float(expression)
        return Bounds(value, value, True)
    search, poles = Search.over(expression, of), poles_of(expression, of)
    most = _largest(search, 1, any(pole.upwards for pole in poles))
    least = _largest(search, -1, any(pole.downwards for pole in poles))
    found = Bounds(0.0 - least, most + 0.0, False, poles, _undefined(search))
    if poles or found.undefined is not None or not math.isfinite(found.scale):
        return found
    low, high = (sp.Rational(end + sign * 1e-9 * found.scale) for end, sign in ((found.least, -1), (found.most, 1)))
    return replace(found, proved=all(is_never_negative(e, of) for e in (high - expression, expression - low)))


def _largest(search: Search, sign: int, has_pole: bool) -> float:
    """The largest value times the sign; infinite where it keeps growing as an infinite range is gone along."""
    top = float(search.peaks(lambda values: sign * values)[1][0])
    if has_pole:
        return math.inf
    sizes = np.maximum.reduce(np.meshgrid(*map(np.abs, search.axes), indexing="ij"))
    if sizes.max() < FAR:
        return top
    found = np.fmax(sign * search.on_grid, -np.inf)
    first, second, third = (float(found[sizes <= reach].max()) for reach in (1e4, 1e8, 2 * FAR))
    return math.inf if top > 1e6 * (1 + abs(first)) or diverges(first, second, third) else top


def diverges(first: Any, second: Any, third: Any) -> bool:
    """Whether values at distances such as 10⁻⁴, 10⁻⁸ and 10⁻¹² grow at least like the logarithm."""
    return second > first and third - second >= 0.5 * (second - first) and third - first > 1e-6 * (1 + abs(first))


def _undefined(search: Search) -> Point | None:
    """A point between two others without a real value, away from the ends."""
    inside = tuple(slice(16, -16) for _ in search.axes)
    bad = ~np.isfinite(search.on_grid[inside])
    at = np.argwhere(bad & np.roll(bad, 1, 0) & np.roll(bad, -1, 0))
    if not len(at):
        return None
    return tuple(float(axis[16 + i]) for axis, i in zip(search.axes, at[len(at) // 2], strict=True))


@lru_cache(maxsize=4096)
def poles_of(expression: sp.Expr, of: Similarity) -> tuple[Pole, ...]:
    """Where a divisor or the argument of a logarithm vanishes and the formula diverges."""
    found: dict[str, tuple[Point, set[int]]] = {}
    for zero in sorted(_singular(expression), key=sp.default_sort_key):
        own = read_by(zero)
        roots = [dict(zip(own, root, strict=True)) for root in _roots(zero, of)]
        diverging = [(root, signs) for root in roots if (signs := _signs_at(root, expression, of))]
        on_a_line = len(diverging) > (2 if len(own) > 1 else 6)
        for root, signs in diverging:
            place = ", ".join(f"{s} = {round(value, 9) + 0.0:.6g}" for s, value in root.items())
            at = tuple(root.values())
            found.setdefault(f"{zero} = 0" if on_a_line else place, (at, set()))[1].update(signs)
    in_order = sorted(found.items(), key=lambda item: item[1][0])
    return tuple(Pole(where, 1 in signs, -1 in signs) for where, (_, signs) in in_order)


def _singular(expression: sp.Expr) -> set[sp.Expr]:
    """The factors of what stands below a fraction bar or in a logarithm."""
    below = {p.base for p in expression.atoms(sp.Pow) if p.exp.could_extract_minus_sign() or not p.exp.is_number}
    below |= {e.args[0] for e in expression.atoms(sp.log)}
    factors = {f.as_base_exp()[0] for e in below for f in sp.Mul.make_args(sp.factor_terms(e))}
    return {factor for factor in factors if read_by(factor)}


def _roots(zero: sp.Expr, of: Similarity) -> list[Point]:
    search = Search.over(zero, of)
    points, top = search.peaks(lambda values: -np.abs(values))
    finite = np.abs(search.on_grid[np.isfinite(search.on_grid)])
    near = 1e-10 * min(float(np.median(finite)) if finite.size else 1.0, 1.0)
    roots: dict[Point, Point] = {}
    for point, value in zip(points.tolist(), top, strict=True):
        if -value <= near and max(map(abs, point)) < FAR:
            roots.setdefault(tuple(round(x, 8) + 0.0 for x in point), tuple(point))
    return sorted(roots.values())


def _signs_at(root: dict[sp.Symbol, float], expression: sp.Expr, of: Similarity) -> set[int]:
    """With which signs the formula diverges at a root of a divisor, from any side within the range."""
    symbols, (low, high) = read_by(expression), map(float, of.window)
    run = program([expression], symbols).run
    others = [s for s in symbols if s not in root]
    shares = [low + share * (high - low) for share in (0.013, 0.31, 0.52, 0.77, 0.98)]
    found = set()
    with mpmath.workdps(40):
        for held, s, side in product(product(shares, repeat=len(others)), root, (-1, 1)):
            if not of.opposite < root[s] + side * 1e-4 < of.identical:
                continue
            values = []
            for distance in ("1e-4", "1e-8", "1e-12"):
                at = {t: mpmath.mpf(x) for t, x in (root | dict(zip(others, held, strict=True))).items()}
                at[s] += side * mpmath.mpf(distance)
                values.append(run(MULTIPRECISION, *(at[t] for t in symbols))[0])
            if all(map(mpmath.isfinite, values)) and diverges(*map(abs, values)):
                found.add(1 if values[-1] > 0 else -1)
    return found


# --- proofs ---------------------------------------------------------------------------------------


def is_never_negative(expression: sp.Expr, of: Similarity, on: sp.Expr | None = None) -> bool:
    """Whether intervals prove a formula nowhere below zero in the range, or where ``on`` is zero; no is no proof."""
    held_at, inset = (sp.S.Zero, 0) if on is None else (on, LEAST)
    own = read_by(expression, held_at)
    run = function(program([expression, held_at], own), INTERVAL)
    boxes = [([(float(of.opposite + inset), float(of.identical - inset)) for _ in own], 0)]
    for _ in range(BOXES):
        if not boxes:
            return True
        box, depth = boxes.pop()
        value, held = run(*(iv.mpf(list(side)) for side in box))
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
    if math.isinf(low):
        return 0.0 if math.isinf(high) else min(2 * high, high - 4.0)
    return max(2 * low, low + 4.0) if math.isinf(high) else (low + high) / 2


@dataclass(frozen=True)
class Signs:
    """Points (s_p, s_n) at which a formula is above and below zero, None where nowhere, and whether that is proved."""

    above_at: Point | None
    below_at: Point | None
    proved: bool
    undecided: sp.Expr = sp.S.One  # the factors of unproved sign, with the sign of the others: alone below zero


@lru_cache(maxsize=4096)
def signs(expression: sp.Expr, of: Similarity) -> Signs:
    """The signs of a formula of s_p and s_n over the range of a similarity."""
    overall, rest = 1, []
    for factor in sp.Mul.make_args(sp.factor_terms(expression)):
        sign = next((sign for sign in (1, -1) if factor != 0 and is_never_negative(sign * factor, of)), 0)
        overall *= sign or 1
        rest += [] if sign else [factor]
    undecided = overall * sp.Mul(*rest)
    sought = (expression, undecided) if rest else (expression,)

    def point(sign: int, refined: bool) -> Point | None:
        return _certain_point(expression, sought, sign, of, refined)

    def is_excluded(sign: int) -> bool:
        return is_never_negative(-sign * expression, of)

    return Signs(*_decided(point, is_excluded, (1, -1) if rest else (overall,)), undecided)


def _decided(
    point: Callable[[int, bool], Point | None], is_excluded: Callable[[int], bool], possible: Iterable[int] = (1, -1)
) -> tuple[Point | None, Point | None, bool]:
    """A point of each possible sign, refined unless a proof excludes it, and whether each is found or excluded."""
    at, proved = {sign: point(sign, False) for sign in possible}, True
    for sign in at:
        if at[sign] is None and not is_excluded(sign):
            at[sign] = point(sign, True)
            proved = proved and at[sign] is not None
    return at.get(1), at.get(-1), proved


def _certain_point(
    expression: sp.Expr, sought: Iterable[sp.Expr], sign: int, of: Similarity, refined: bool
) -> Point | None:
    """A point at which the formula certainly has the sign, where one of ``sought`` has it most."""
    if not read_by(expression):
        return _in_the_plane((), (), of) if sp.sign(expression) == sign else None
    whole = program([expression], (s_p, s_n))
    for one in dict.fromkeys(sought):
        search = Search.over(one, of)
        points, top = search.peaks(lambda v: np.where(np.isfinite(v), sign * v, -np.inf), ROUNDS if refined else 0)
        if not refined:  # a point well inside tells a reader more
            low, high = map(float, of.window)
            near_end = (np.abs((points - low) / (high - low) - 0.5) > 0.49).any(1)
            order = np.argsort(near_end | (top <= 0), kind="stable")
            points, top = points[order], top[order]
        for point in points[top > 0].tolist():
            point = _in_the_plane(point, read_by(one), of)
            certain = certain_value(whole, tuple(map(sp.Rational, point)))
            if certain and certain * sign > 0:
                return point
    return None


@lru_cache(maxsize=4096)
def monotony(expression: sp.Expr, along: sp.Symbol, of: Similarity) -> Signs:
    """How a formula moves with one similarity as the other is held: the signs of its slope and of its jumps."""
    if along not in read_by(expression):
        return Signs(None, None, True)
    slope = sp.diff(expression, along)

    def point(sign: int, refined: bool) -> Point | None:
        at = _certain_point(slope, (slope,), sign, of, refined)
        return at if at is not None or refined else _certain_jump(expression, along, sign, of)

    return Signs(*_decided(point, lambda sign: _is_monotone(expression, slope, -sign, along, of)))


def _certain_jump(expression: sp.Expr, along: sp.Symbol, sign: int, of: Similarity) -> Point | None:
    """A point of the grid past which the value certainly moves this way."""
    search, own = Search.over(expression, of), read_by(expression)
    place = own.index(along)
    with np.errstate(invalid="ignore"):
        moved = sign * np.diff(search.on_grid, axis=place)
    moved = np.where(np.isfinite(moved), moved, -np.inf)
    for end in (0, -1):  # on a kink at the very end a step counts as ½
        moved[(slice(None),) * place + (end,)] = -np.inf
    at = np.unravel_index(int(np.argmax(moved)), moved.shape)
    if not moved[at] > 0:
        return None
    left = [sp.Rational(float(axis[i])) for axis, i in zip(search.axes, at, strict=True)]
    right = sp.Rational(float(search.axes[place][at[place] + 1]))
    beside = sp.Dummy(real=True)
    certain = certain_value(
        program([expression.xreplace({along: beside}) - expression], (*own, beside)), (*left, right)
    )
    return _in_the_plane(map(float, left), own, of) if certain and certain * sign > 0 else None


def _is_monotone(expression: sp.Expr, slope: sp.Expr, sign: int, along: sp.Symbol, of: Similarity) -> bool:
    """Whether the slope never has the other sign, nor any jump; one at the very end of a range is none."""
    if not is_never_negative(sign * slope, of):
        return False
    one_sided = expression.replace(step, lambda x: 1 - step(-x) if x.could_extract_minus_sign() else step(x))
    for jump in one_sided.atoms(step):
        kink = jump.args[0]
        if kink.has(step):
            return False
        gained = one_sided.xreplace({jump: sp.S.One}) - one_sided.xreplace({jump: sp.S.Zero})
        if not is_never_negative(sign * gained * sp.diff(kink, along), of, on=kink):
            return False
    return True
