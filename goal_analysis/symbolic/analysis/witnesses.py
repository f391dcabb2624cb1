"""Points that show that weights are no gradient, computed in so many digits that no rounding explains them.

Between the kinks the curl is worked out at random points; a kink is met by walks along lines until its sign changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from typing import Any, NamedTuple

import mpmath
import sympy as sp

from goal_analysis.symbolic.analysis.kinks import kinks_of, poles, step_of_factors
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, step
from goal_analysis.symbolic.proof.enclosures import Region
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, program
from goal_analysis.symbolic.proof.identity import POINTS, Ranges, Witness, find_witness, random_points

LINES = 14  # along how many lines in every direction kinks are searched at first
CELLS = 48  # into how many cells a line is cut
FURTHER = 16  # cells beyond the range of a line that has no end, each wider than the one before
ROOTS = 10  # of one kink that are looked at
ROOT, MOST_STEPS = mpmath.mpf(10) ** -30, 100  # how exactly a root is found, and in how many steps
DIGITS = 60
DESCENTS, STEPS, ASIDE = 4, 60, 1e-4  # down whose slope kinks are sought, in how many steps, and how far beside them
RADIUS, NODES = mpmath.mpf("1e-3"), (48, 96)  # of the circles around poles
APART = (mpmath.mpf(10) ** -12, mpmath.mpf(10) ** -18)  # how far from a kink its two sides are compared
NEGLIGIBLE = 1e-9  # an asymmetry below this share of the jump is none


class Search(NamedTuple):
    """What a search for an asymmetry has found: a witness, or None; what it is against; what was tried, in words."""

    witness: Witness | None
    what: str
    tried: str


def curl_in_words(pair: tuple[sp.Symbol, ...]) -> str:
    """What is zero between the kinks where two weights are of one gradient."""
    a, b = pair
    return "the curl ∂w⁺/∂s_n + ∂w⁻/∂s_p" if pair == (s_p, s_n) else f"the difference of ∂²/∂{a}∂{b} and ∂²/∂{b}∂{a}"


def search(gradient: Mapping[sp.Symbol, sp.Expr], ranges: Ranges, region: Region) -> Search:
    """Look for a point at which the weights {s: ∂L/∂s} are not the gradient of any L.

    A symbol with equal ends keeps that value; where a region has no end, kinks are sought far out too.
    """
    symbols = tuple(sorted(set(gradient).union(*(weight.free_symbols for weight in gradient.values())), key=str))
    for a, b in combinations(gradient, 2):
        witness = find_witness(sp.diff(gradient[b], a) - sp.diff(gradient[a], b), ranges, symbols=symbols)
        if witness:
            return Search(witness, curl_in_words((a, b)), "")
    kinks, largest = _Kinks(gradient, ranges, region, symbols), 0.0
    with mpmath.workdps(DIGITS):
        for point, kink, asymmetry, share in kinks.asymmetries():
            largest = max(largest, share)
            if share > NEGLIGIBLE:
                what = f"the weights jump across {kink} = 0, and the curl there"
                return Search(kinks.witness(point, asymmetry), what, "")
        for point, pole, done in kinks.circulations():
            what = f"the work of the weights along a circle of radius {float(RADIUS):g} around a zero of {pole}"
            return Search(kinks.witness(point, done), what, "")
    at_kinks = f"the largest asymmetry at {kinks.reached} points of kinks is {largest:.2g}"
    return Search(None, "", f"none of {POINTS} points shows an asymmetry, and {at_kinks}")


class _Kinks:
    def __init__(self, gradient: Mapping[sp.Symbol, sp.Expr], ranges: Ranges, region: Region, symbols: tuple) -> None:
        weights = tuple(weight.replace(step, _plain_step) for weight in gradient.values())
        self.variables = tuple(gradient)
        self.symbols, self.ranges, self.region = symbols, {s: ranges[s] for s in symbols}, region
        self.places = [self.symbols.index(s) for s in self.variables]
        self.poles = {e for weight in gradient.values() for e in poles(weight, region)}
        self.kinks = list(dict.fromkeys((*kinks_of(weights, self.variables), *sorted(self.poles, key=str))))
        self.weights = program(weights, self.symbols)
        self.arguments = program(self.kinks, self.symbols)
        self.each_kink = [program([kink], self.symbols) for kink in self.kinks]
        self.normals = [program([sp.diff(kink, s) for s in self.variables], self.symbols) for kink in self.kinks]
        self.reached = 0

    def asymmetries(self) -> Iterator[tuple[list[Any], sp.Expr, Any, float]]:
        """Points of kinks, the kink, the asymmetry of the jump of two weights there, and its share of the jump."""
        left = self.left = dict.fromkeys(range(len(self.kinks)), ROOTS)
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
            for a, b in combinations(range(len(self.variables)), 2):
                asymmetry = jump[b] * normal[a] - jump[a] * normal[b]
                yield here, self.kinks[which], asymmetry, float(abs(asymmetry) / size)

    def _crossings(self) -> Iterator[tuple[int, int, list[Any], tuple[float, float]]]:
        if not self.kinks:
            return
        points = random_points(self.symbols, self.ranges, LINES)
        drawn = ([mpmath.mpf(x.p) / x.q for x in point.values()] for point in points)
        unmet = (which for which, left in self.left.items() if left == ROOTS)
        for exact in chain(drawn, (zero for which in unmet for zero in self._zeros(which))):
            here = list(map(float, exact))
            for variable, place in zip(self.variables, self.places, strict=True):
                first, *edges, last = self._edges(variable)
                beside = (x for x in (here[place] - ASIDE, here[place] + ASIDE) if first < x < last)
                edges = [first, *sorted((*edges, *beside)), last]
                signs = [[x > 0 for x in self.arguments.run(FLOAT, *_at(here, place, x))] for x in edges]
                for (first, last), (before, after) in zip(pairwise(edges), pairwise(signs), strict=True):
                    for which in range(len(self.kinks)):
                        if before[which] != after[which]:
                            yield which, place, exact, (first, last)

    def _zeros(self, which: int) -> Iterator[list[Any]]:
        """Where a kink vanishes, down its slope (Newton's steps)."""
        for point in random_points(self.symbols, self.ranges, DESCENTS):
            here, value = list(map(float, point.values())), math.inf
            for _ in range(STEPS):
                value, normal = self.kink(which, FLOAT, here), self.normals[which].run(FLOAT, *here)
                if not value or not 0 < (square := sum(x * x for x in normal)) < math.inf:
                    break
                for place, x in zip(self.places, normal, strict=True):
                    low, high = map(float, self.ranges[self.symbols[place]])
                    here[place] = min(max(here[place] - value * x / square, low), high)
            if abs(value) < NEGLIGIBLE:
                yield [mpmath.mpf(round(x, 15) + 0.0) for x in here]

    def circulations(self) -> Iterator[tuple[list[Any], sp.Expr, Any]]:
        """Zeros of poles, and the work of two weights along circles around them, where more nodes add no digits."""

        def work(centre: list[Any], nodes: int) -> Any:
            done, (i, j) = mpmath.mpf(0), self.places
            for angle in (2 * mpmath.pi * k / nodes for k in range(nodes)):
                x, y = RADIUS * mpmath.cos(angle), RADIUS * mpmath.sin(angle)
                a, b = self.weights.run(MULTIPRECISION, *_at(_at(centre, i, centre[i] + x), j, centre[j] + y))
                done += (b * x - a * y) * 2 * mpmath.pi / nodes
            return done

        for which, pole in enumerate(self.kinks):
            for zero in self._zeros(which) if pole in self.poles and len(self.places) == 2 else ():
                few, many = (work(zero, nodes) for nodes in NODES)
                if mpmath.isfinite(many) and abs(many) > 1e-6 > abs(few / many - 1):
                    yield zero, pole, many

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
        low, high = map(mpmath.mpf, ends)

        def kink(x: Any) -> Any:
            return self.kink(which, MULTIPRECISION, _at(point, place, x))

        if (kink(low) > 0) == (kink(high) > 0):
            return None
        x = mpmath.findroot(kink, (low, high), solver="anderson", tol=ROOT, maxsteps=MOST_STEPS, verify=False)
        return _at(point, place, x) if abs(kink(x)) < 1e-15 else None

    def _jump(self, which: int, place: int, here: list[Any]) -> tuple[Sequence[Any], list[Any], Any] | None:
        """The normal of the kink, the jump of the weights to where its argument is positive, and the size of both."""
        jumps = []
        for distance in APART:
            sides = [
                self.weights.run(MULTIPRECISION, *_at(here, place, here[place] + d)) for d in (distance, -distance)
            ]
            jumps.append([up - down for up, down in zip(*sides, strict=True)])
            if not all(mpmath.isfinite(x) for x in jumps[-1]):
                return None
        far, near = jumps
        size = max(map(abs, near))
        if size < 1e-10 or max(abs(f - n) for f, n in zip(far, near, strict=True)) > 1e-4 * size:
            return None
        normal = self.normals[which].run(MULTIPRECISION, *here)
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


def _at(point: Sequence[Any], place: int, x: Any) -> list[Any]:
    return [*point[:place], x, *point[place + 1 :]]
