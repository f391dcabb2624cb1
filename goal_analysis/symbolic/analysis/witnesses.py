"""Points that show that weights are no gradient, computed in so many digits that no rounding explains them.

One search differentiates the weights at random points. The other walks along lines until the sign of a kink changes,
and compares the weights on both sides: it needs no formula of the kink. What neither finds is not proved by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from types import MappingProxyType
from typing import Any

import mpmath
import sympy as sp

from goal_analysis.symbolic.analysis.kinks import kinks_of, step_of_factors
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, step
from goal_analysis.symbolic.proof.enclosures import Region
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, program
from goal_analysis.symbolic.proof.identity import Ranges, Witness, random_points

POINTS = 160  # at which W is differentiated in floats
CONFIRMED = 4  # how many of them, and how many others, are then looked at in many digits
LINES = 14  # along how many lines in every direction kinks are searched, besides those along the range's edges
EDGE = sp.Rational(1, 10**6)  # how far from an edge, as a share of the range
CELLS = 48  # into how many cells a line is cut
FURTHER = 16  # cells beyond the range of a line that has no end, each wider than the one before
ROOTS = 10  # of one kink that are looked at
SECANTS, BISECTIONS = 20, 100  # of the interval in which a root lies; a flat one takes the latter
ROOT = mpmath.mpf(10) ** -30  # how exactly a root is found
DIGITS = 60
NEARBY = mpmath.mpf(10) ** -20  # the step of a derivative in many digits
APART = (mpmath.mpf(10) ** -12, mpmath.mpf(10) ** -18)  # how far from a kink its two sides are compared
FAINT = mpmath.mpf(10) ** -30  # what rounding and the step leave of a derivative that is zero is smaller
NEGLIGIBLE = 1e-9  # an asymmetry below this share of the derivatives, or of the jump, is none


@dataclass(frozen=True)
class Search:
    """What a search for an asymmetry has found.

    Args:
        witness: the point and the asymmetry there, or None.
        pair: the two similarities whose weights are not symmetric.
        kink: the kink across which they jump; None for an asymmetry between the kinks.
        largest: the largest asymmetry that was found, as a share of the derivatives or of the jump.
        reached: how many points of kinks were looked at.
    """

    witness: Witness | None
    pair: tuple[sp.Symbol, ...] = ()
    kink: sp.Expr | None = None
    largest: float = 0.0
    reached: int = 0

    @property
    def what(self) -> str:
        """What a witness is against."""
        if self.kink is not None:
            return f"the weights jump across {self.kink} = 0, and the curl there"
        return curl_in_words(self.pair)

    @property
    def tried(self) -> str:
        """What was tried, in words."""
        return f"the largest asymmetry at {POINTS} points and {self.reached} points of kinks is {self.largest:.2g}"


def curl_in_words(pair: tuple[sp.Symbol, ...]) -> str:
    """What is zero between the kinks where two weights are of one gradient."""
    a, b = pair
    return "the curl ∂w⁺/∂s_n + ∂w⁻/∂s_p" if pair == (s_p, s_n) else f"the difference of ∂²/∂{a}∂{b} and ∂²/∂{b}∂{a}"


def search(
    gradient: Mapping[sp.Symbol, sp.Expr],
    ranges: Ranges,
    region: Region = MappingProxyType({}),
    more_kinks: Sequence[sp.Expr] = (),
) -> Search:
    """Look for a point at which the weights {s: ∂L/∂s} are not the gradient of any L.

    Args:
        gradient: what is to be a gradient, by its variables.
        ranges: where every symbol is tried; a symbol with equal ends keeps that value.
        region: which variables have no end; kinks of theirs are sought far out too.
        more_kinks: expressions at whose zeros the weights may jump, besides those of their steps.
    """
    field, largest = _Field(gradient, ranges, region, more_kinks), 0.0
    with mpmath.workdps(DIGITS):
        for point, pair, kink, asymmetry, share in chain(field.between_kinks(), field.across_kinks()):
            largest = max(largest, share)
            if share > NEGLIGIBLE:
                return Search(field.witness(point, asymmetry), pair, kink, share, field.reached)
    return Search(None, largest=largest, reached=field.reached)


_Found = tuple[list[Any], tuple[sp.Symbol, sp.Symbol], sp.Expr | None, Any, float]
"""A point, two similarities, the kink or None, the asymmetry of their weights there, and its share of their size."""


class _Field:
    def __init__(
        self,
        gradient: Mapping[sp.Symbol, sp.Expr],
        ranges: Ranges,
        region: Region,
        more_kinks: Sequence[sp.Expr],
    ) -> None:
        weights = tuple(weight.replace(step, _plain_step) for weight in gradient.values())
        self.variables = tuple(gradient)
        free = set(gradient).union(*(w.free_symbols for w in weights), *(k.free_symbols for k in more_kinks))
        self.symbols = tuple(sorted(free, key=str))
        self.ranges, self.region = {s: ranges[s] for s in self.symbols}, region
        self.places = [self.symbols.index(s) for s in self.variables]
        self.kinks = list(dict.fromkeys((*kinks_of(weights, self.variables), *more_kinks)))
        self.weights = program(weights, self.symbols)
        self.arguments = program(self.kinks, self.symbols)
        self.each_kink = [program([kink], self.symbols) for kink in self.kinks]
        self.reached = 0

    # --- between the kinks ---

    def between_kinks(self) -> Iterator[_Found]:
        points = [list(map(_number, p.values())) for p in random_points(self.symbols, self.ranges, POINTS)]
        sized = sorted(((self._size(p), i) for i, p in enumerate(points)), reverse=True)
        for i in dict.fromkeys([*(i for _, i in sized[:CONFIRMED]), *range(CONFIRMED)]):
            jacobian = self._jacobian(points[i], NEARBY, MULTIPRECISION)
            if jacobian is None:
                continue
            for (a, s_a), (b, s_b) in combinations(enumerate(self.variables), 2):
                asymmetry = jacobian[a][b] - jacobian[b][a]
                scale = abs(jacobian[a][b]) + abs(jacobian[b][a])
                share = float(abs(asymmetry) / scale) if scale > FAINT else 0.0
                if share <= NEGLIGIBLE or self._is_smooth_at(points[i], a, b, asymmetry):
                    yield points[i], (s_a, s_b), None, asymmetry, share

    def _size(self, point: list[Any]) -> float:
        jacobian = self._jacobian(list(map(float, point)), 1e-5, FLOAT)
        if jacobian is None:
            return 0.0
        pairs = combinations(range(len(self.variables)), 2)
        return max((abs(jacobian[a][b] - jacobian[b][a]) for a, b in pairs), default=0.0)

    def _jacobian(self, point: list[Any], h: Any, table: Any) -> list[list[Any]] | None:
        """∂W_b/∂a in row a, column b; None where a weight is not finite."""
        rows = []
        for place in self.places:
            up, down = (self.weights.run(table, *_moved(point, place, d)) for d in (h, -h))
            row = [(u - d) / (2 * h) for u, d in zip(up, down, strict=True)]
            if not all(mpmath.isfinite(x) for x in row):
                return None
            rows.append(row)
        return rows

    def _is_smooth_at(self, point: list[Any], a: int, b: int, asymmetry: Any) -> bool:
        """Whether a smaller step gives the same, so that no kink lies between."""
        again = self._jacobian(point, NEARBY / 7, MULTIPRECISION)
        return again is not None and abs(again[a][b] - again[b][a] - asymmetry) < abs(asymmetry) * 1e-6

    # --- across the kinks ---

    def across_kinks(self) -> Iterator[_Found]:
        left = dict.fromkeys(range(len(self.kinks)), ROOTS)
        for which, place, point, ends in self._crossings():
            here = self._root(which, place, point, ends) if left[which] else None
            if here is None:
                continue
            left[which] -= 1
            self.reached += 1
            found = self._jump(which, place, here)
            if found is None:
                continue
            normal, jump, size = found
            for (a, s_a), (b, s_b) in combinations(enumerate(self.variables), 2):
                asymmetry = jump[b] * normal[a] - jump[a] * normal[b]
                yield here, (s_a, s_b), self.kinks[which], asymmetry, float(abs(asymmetry) / size)

    def _crossings(self) -> Iterator[tuple[int, int, list[Any], tuple[float, float]]]:
        """Kinks whose sign changes along a line, with the variable, the line and the two ends of the change."""
        if not self.kinks:
            return
        for point in (*random_points(self.symbols, self.ranges, LINES), *self._corners()):
            exact = list(map(_number, point.values()))
            here = list(map(float, exact))
            for variable, place in zip(self.variables, self.places, strict=True):
                edges = self._edges(variable)
                signs = [[x > 0 for x in self.arguments.run(FLOAT, *_at(here, place, x))] for x in edges]
                for (first, last), (before, after) in zip(pairwise(edges), pairwise(signs), strict=True):
                    for which in range(len(self.kinks)):
                        if before[which] != after[which]:
                            yield which, place, exact, (first, last)

    def _corners(self) -> Iterator[dict[sp.Symbol, sp.Expr]]:
        """Points near corners of the range, where all are low or high, in turn, or half of them; no two lie as near."""
        count = len(self.variables)
        for first in (0, 1):
            for of_place in (lambda i: 0, lambda i: i % 2, lambda i: int(2 * i < count)):
                at = {}
                for i, s in enumerate(self.variables):
                    near = EDGE * (i + 1)
                    at[s] = near if (of_place(i) + first) % 2 else 1 - near
                yield {s: low + (high - low) * at.get(s, sp.S.Half) for s, (low, high) in self.ranges.items()}

    def _edges(self, variable: sp.Symbol) -> list[float]:
        """The ends of a line's cells, uneven: people put kinks at round numbers, where a kink would change no sign."""
        low, high = map(float, self.ranges[variable])
        edges = [low + (high - low) * (i / CELLS) ** 1.0137 for i in range(CELLS + 1)]
        below, above = (end.is_infinite for end in self.region.get(variable, self.ranges[variable]))
        further = [3.0**i for i in range(1, FURTHER)]
        before = [low - (high - low) * x for x in reversed(further)] if below else []
        return before + edges + ([high + (high - low) * x for x in further] if above else [])

    def kink(self, which: int, table: Any, at: Sequence[Any]) -> Any:
        return self.each_kink[which].run(table, *at)[0]

    def _root(self, which: int, place: int, point: list[Any], ends: tuple[float, float]) -> list[Any] | None:
        """The point of the kink between the ends, or None where its argument jumps over zero."""
        here = list(map(float, point))
        low, high = ends
        begins = self.kink(which, FLOAT, _at(here, place, low)) > 0
        for _ in range(40):
            middle = (low + high) / 2
            same = (self.kink(which, FLOAT, _at(here, place, middle)) > 0) == begins
            low, high = (middle, high) if same else (low, middle)
        width = max(high - low, 1e-12)
        a, b = mpmath.mpf(low) - width, mpmath.mpf(high) + width
        of_a, of_b = (self.kink(which, MULTIPRECISION, _at(point, place, x)) for x in (a, b))
        if (of_a > 0) == (of_b > 0) or not abs(of_a - of_b) < 1e-3:
            return None
        x = of_x = b
        for i in range(SECANTS + BISECTIONS):  # secants, of which the end that stays counts half (Illinois)
            flat = i >= SECANTS or of_a == 0 or of_b == 0
            before, x = x, (a + b) / 2 if flat else (a * of_b - b * of_a) / (of_b - of_a)
            of_x = self.kink(which, MULTIPRECISION, _at(point, place, x))
            a, of_a = (b, of_b) if (of_x > 0) != (of_b > 0) else (a, of_a / 2)
            b, of_b = x, of_x
            if abs(x - before) < ROOT:
                break
        return _at(point, place, x) if abs(of_x) < 1e-15 else None

    def _jump(self, which: int, place: int, here: list[Any]) -> tuple[list[Any], list[Any], Any] | None:
        """The normal of the kink, the jump of the weights to where its argument is positive, and the size of both; None
        where nothing jumps or the two sides have no limits.
        """
        jumps = []
        for distance in APART:
            sides = [self.weights.run(MULTIPRECISION, *_moved(here, place, d)) for d in (distance, -distance)]
            jumps.append([up - down for up, down in zip(*sides, strict=True)])
            if not all(mpmath.isfinite(x) for x in jumps[-1]):
                return None
        far, near = jumps
        size = max(map(abs, near))
        if size < 1e-10 or max(abs(f - n) for f, n in zip(far, near, strict=True)) > 1e-4 * size:
            return None
        h = APART[0]
        normal = []
        for other in self.places:
            up, down = (self.kink(which, MULTIPRECISION, _moved(here, other, d)) for d in (h, -h))
            normal.append((up - down) / (2 * h))
        length = max(map(abs, normal))
        if not mpmath.isfinite(length) or length < 1e-12:
            return None
        rises = normal[self.places.index(place)] > 0
        return normal, near if rises else [-x for x in near], size * length

    def witness(self, point: list[Any], value: Any) -> Witness:
        places = (float(x) if abs(x) > mpmath.mpf(10) ** (-DIGITS // 2) else 0.0 for x in point)
        return Witness(tuple((s.name, x) for s, x in zip(self.symbols, places, strict=True)), float(value))


def _plain_step(x: sp.Expr) -> sp.Expr:
    """A step whose argument meets zero with a slope; kinks inside of kinks stay as they are, which is quicker."""
    return step(x) if x.has(step, hinge) else step_of_factors(x)


def _number(x: sp.Expr) -> Any:
    with mpmath.workdps(DIGITS):
        return mpmath.mpf(x.p) / x.q if x.is_Rational else x.evalf(DIGITS)._to_mpmath(mpmath.mp.prec)


def _at(point: Sequence[Any], place: int, x: Any) -> list[Any]:
    return [*point[:place], x, *point[place + 1 :]]


def _moved(point: Sequence[Any], place: int, by: Any) -> list[Any]:
    return _at(point, place, point[place] + by)
