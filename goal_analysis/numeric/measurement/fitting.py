"""Hyperparameters that bring a loss's weights nearest to given ones, up to a common factor.

The search runs in coordinates without bounds. From several starts a coordinate search finds the
neighbourhood, which also works where weights are steps and have no slope; Levenberg's and Marquardt's method
then adds the digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from goal_analysis.symbolic.language.hyperparameter import Hyperparameter

Weights = Callable[[Sequence[float]], np.ndarray]
"""From the hyperparameters' values to w⁺ and w⁻ at the points."""

STARTS = (1.0, 0.2, 5.0)
"""What the defaults are multiplied by, all together and one at a time, to start from."""

FIRST_STEP, LAST_STEP, SWEEPS = 0.8, 0.005, 60
"""Of the coordinate search: the steps it begins and ends with, and how often it goes through the
coordinates."""

EXACT = 1e-13
"""A distance that is rounding alone; the search ends there."""

FARTHEST = 700.0
"""Coordinates stay within ±this, so that their exponential is a number."""


@dataclass(frozen=True)
class Coordinate:
    """A hyperparameter as a function of a number without bounds."""

    to_value: Callable[[float], float]
    of_value: Callable[[float], float]


def coordinate(h: Hyperparameter) -> Coordinate:
    """Logarithm above an open end, reflection at a closed one, logit between two ends, identity without any.

    >>> from goal_analysis.symbolic.language.hyperparameter import positive
    >>> scale = coordinate(Hyperparameter("scale", 10, positive))
    >>> round(scale.to_value(scale.of_value(10.0)), 9), scale.to_value(-3.0) > 0
    (10.0, True)
    """
    low, high = float(h.domain.start), float(h.domain.end)
    if np.isfinite(low) and np.isfinite(high):
        width, tiny = high - low, 1e-12
        return Coordinate(
            lambda u: low + width / (1 + np.exp(-u)),
            lambda x: float(np.log((x - low + tiny) / (high - x + tiny))),
        )
    if np.isfinite(low):
        if h.domain.left_open:
            return Coordinate(lambda u: low + float(np.exp(u)), lambda x: float(np.log(x - low)))
        return Coordinate(lambda u: low + abs(u), lambda x: x - low)
    if np.isfinite(high):
        return Coordinate(lambda u: high - abs(u), lambda x: high - x)
    return Coordinate(lambda u: u, lambda x: x)


def best_factor(fitted: np.ndarray, target: np.ndarray) -> float:
    """The positive k that brings k·fitted nearest to the target; 0 where only a negative one would.

    >>> best_factor(np.array([1.0, 2.0]), np.array([3.0, 6.0]))
    3.0
    """
    size = float((fitted**2).sum())
    return max(0.0, float((fitted * target).sum()) / size) if np.isfinite(size) and size > 0 else 0.0


def distance(fitted: np.ndarray, target: np.ndarray) -> float:
    """min_k ‖target − k·fitted‖/‖target‖, 0 to 1; 1 where the weights are not finite.

    >>> distance(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    0.7071
    """
    factor = best_factor(fitted, target)
    if factor == 0:
        return 1.0
    return float(np.linalg.norm(target - factor * fitted) / np.linalg.norm(target))


def fit(weights: Weights, knobs: Sequence[Hyperparameter], target: np.ndarray) -> tuple[tuple[float, ...], float]:
    """The values of the hyperparameters with the smallest distance found, and that distance.

    Args:
        weights: from values, in the order of ``knobs``, to weights of the shape of ``target``.
        knobs: the hyperparameters; values stay within their domains.
        target: the weights to come near to, not all zero.

    >>> from goal_analysis.symbolic.language.hyperparameter import positive
    >>> x = np.linspace(-1, 1, 9)
    >>> values, left = fit(lambda v: np.exp(v[0] * x), [Hyperparameter("scale", 1, positive)], 5 * np.exp(3 * x))
    >>> round(values[0], 6), left < 1e-9
    (3.0, True)
    """
    coordinates = [coordinate(h) for h in knobs]

    def values(place: np.ndarray) -> tuple[float, ...]:
        return tuple(float(c.to_value(u)) for c, u in zip(coordinates, place, strict=True))

    def cost(place: np.ndarray) -> float:
        return distance(weights(values(place)), target)

    with np.errstate(all="ignore"):
        found: list[tuple[float, np.ndarray]] = []
        for start in _starts(knobs, coordinates):
            found.append(_coordinate_search(cost, start))
            if found[-1][0] < EXACT:
                break
        places = [place for _, place in sorted(found, key=lambda search: search[0])[:2]]
        polished = [_polish(lambda place: weights(values(place)), cost, place, target) for place in places]
        best = min(polished, key=cost)
        return values(best), cost(best)


def _starts(knobs: Sequence[Hyperparameter], coordinates: Sequence[Coordinate]) -> list[np.ndarray]:
    """The defaults, and what the factors of `STARTS` make of them where the domains allow."""
    combinations = itertools.product(STARTS, repeat=len(knobs)) if len(knobs) <= 2 else _one_at_a_time(len(knobs))
    starts = []
    for factors in combinations:
        tried = [factor * float(h.default) for factor, h in zip(factors, knobs, strict=True)]
        if all(value in h.domain for value, h in zip(tried, knobs, strict=True)):
            starts.append(np.array([c.of_value(value) for c, value in zip(coordinates, tried, strict=True)]))
    return starts


def _one_at_a_time(count: int) -> list[tuple[float, ...]]:
    together = [(factor,) * count for factor in STARTS]
    alone = [tuple(f if i == k else 1.0 for i in range(count)) for k in range(count) for f in STARTS[1:]]
    return together + alone


def _coordinate_search(cost: Callable[[np.ndarray], float], start: np.ndarray) -> tuple[float, np.ndarray]:
    """The best place found by steps along one coordinate at a time, which shrink when none helps."""
    place, best, step = start.copy(), cost(start), FIRST_STEP
    for _ in range(SWEEPS if len(place) else 0):
        moved = False
        for k, sign in itertools.product(range(len(place)), (1, -1)):
            tried = place.copy()
            tried[k] = np.clip(tried[k] + sign * step, -FARTHEST, FARTHEST)
            if (value := cost(tried)) < best - 1e-12:
                place, best, moved = tried, value, True
        step = step if moved else step / 2
        if step < LAST_STEP or best < EXACT:
            break
    return best, place


def _polish(
    weights: Callable[[np.ndarray], np.ndarray],
    cost: Callable[[np.ndarray], float],
    start: np.ndarray,
    target: np.ndarray,
) -> np.ndarray:
    """Levenberg–Marquardt on what the best multiple of the weights leaves of the target."""

    def left(place: np.ndarray) -> np.ndarray:
        fitted = weights(place)
        return (target - best_factor(fitted, target) * fitted).ravel()

    place, best, damping = start, cost(start), 1e-3
    for _ in range(60 if len(start) else 0):
        rest, steps = left(place), 1e-6 * np.maximum(1.0, np.abs(place))
        slopes = np.stack([(left(p) - left(m)) / (2 * h) for p, m, h in _shifted(place, steps)], axis=1)
        if not np.isfinite(slopes).all() or not slopes.any():
            break
        normal = slopes.T @ slopes
        scale = np.diag(np.maximum(np.diag(normal), 1e-12 * np.trace(normal)))
        tried = np.clip(place - np.linalg.solve(normal + damping * scale, slopes.T @ rest), -FARTHEST, FARTHEST)
        value = cost(tried)
        place, best, damping = (tried, value, damping / 5) if value < best else (place, best, damping * 5)
        if damping > 1e8 or best < EXACT:
            break
    return place


def _shifted(place: np.ndarray, steps: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    unit = np.eye(len(place))
    return [(place + h * e, place - h * e, float(h)) for h, e in zip(steps, unit, strict=True)]
