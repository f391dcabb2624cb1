"""The hyperparameters with which weights ŵ come nearest to measured ones w, up to one factor: min_k ‖w − k·ŵ‖/‖w‖.

Steps along one coordinate from many places find the neighbourhood, also where weights have no slope; Levenberg's and
Marquardt's method adds the digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from goal_analysis.symbolic.language.hyperparameter import Hyperparameter

Weights = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Weights of shape ``(settings, ...)`` by an array of every hyperparameter, of shape ``(settings, 1, ...)``."""

Coordinate = tuple[Callable[[np.ndarray], np.ndarray], Callable[[float], float]]
"""A hyperparameter as a function of a number without bounds, and that number as a function of the hyperparameter."""

STARTS = (1.0, 0.2, 5.0, 0.04, 25.0)
"""What the defaults are multiplied by: by the first three in all combinations of two knobs, else one at a time."""

FIRST_STEP, LAST_STEP, SWEEPS, POLISHED = 0.8, 0.005, 80, 40
"""The first and the last step of the coordinate search, the most rounds, and the most steps that add digits."""

DAMPED = (0.2, 1, 25, 625)  # what the damping is multiplied by
KEPT = 6  # so many of the starts are searched from
EXACT, MET = 1e-13, 1e-10  # a distance that is rounding alone, where the search ends, and one that needs none
MISSED = 0.6  # of a distance beyond, no digit of a threshold is searched
FARTHEST = 700.0  # of a coordinate, so that its exponential is a number


def coordinate(h: Hyperparameter) -> Coordinate:
    """Logarithm above an open end, reflection at a closed one, logit between two ends, identity without any."""
    low, high, tiny = float(h.domain.start), float(h.domain.end), 1e-12
    match bool(np.isfinite(low)), bool(np.isfinite(high)):
        case True, True:
            width = high - low
            return (lambda u: low + width / (1 + np.exp(-u))), (lambda x: np.log((x - low + tiny) / (high - x + tiny)))
        case True, False if h.domain.left_open:
            return (lambda u: low + np.exp(u)), (lambda x: np.log(x - low))
        case True, False:
            return (lambda u: low + abs(u)), (lambda x: x - low)
        case False, True:
            return (lambda u: high - abs(u)), (lambda x: high - x)
    return (lambda u: u), (lambda x: x)


def best_factors(fitted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The k of every setting that brings k·fitted nearest to the target: negative if reversed, 0 where none does."""
    rows = fitted.reshape(len(fitted), -1)
    with np.errstate(all="ignore"):
        found = rows @ target.ravel() / np.einsum("ij,ij->i", rows, rows)
    return np.where(np.isfinite(found), found, 0.0)


def rests(fitted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What the best multiples of the weights leave of the target, shape ``(settings, numbers)``."""
    factors = best_factors(fitted, target).reshape(-1, *(1,) * target.ndim)
    with np.errstate(all="ignore"):
        return (target - np.where(factors == 0, 0.0, factors * fitted)).reshape(len(fitted), -1)


def distances(fitted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """min_k ‖target − k·fitted‖/‖target‖ of every setting, 0 to 1; 1 where the weights are not finite."""
    return np.linalg.norm(rests(fitted, target), axis=1) / np.linalg.norm(target)


def fit(
    weights: Weights,
    knobs: Sequence[Hyperparameter],
    target: np.ndarray,
    last: float = LAST_STEP,
    start: Sequence[float] | None = None,
    polished: bool = True,
) -> tuple[float, ...]:
    """The values with the smallest distance found, from ``start`` and the defaults, or from many places around these.

    The search ends with steps of ``last``, and with all digits where it is ``polished``.
    """
    coordinates = [coordinate(h) for h in knobs]

    def left(places: np.ndarray) -> np.ndarray:
        shape = -1, *(1,) * target.ndim
        values = [to_value(u).reshape(shape) for (to_value, _), u in zip(coordinates, places.T, strict=True)]
        return rests(np.broadcast_to(weights(values), (len(places), *target.shape)), target)

    def cost(places: np.ndarray) -> np.ndarray:
        return np.linalg.norm(left(places), axis=1) / np.linalg.norm(target)

    tried = _around([float(h.default) for h in knobs])
    tried = tried if start is None else [start, tried[0]]
    with np.errstate(all="ignore"):
        starts = np.array([[of_value(v) for (_, of_value), v in zip(coordinates, t, strict=True)] for t in tried])
        usual = starts[0]
        starts = starts[np.isfinite(starts).all(1)]  # others are outside of the domains
        best, enough = starts[0], EXACT * float(np.linalg.norm(target))
        if start is not None:
            best = _polish(left, best, enough)
        if start is None or not cost(best[None])[0] < MET:
            best = _search(cost, starts[np.argsort(cost(starts), kind="stable")[:KEPT]], max(last, LAST_STEP))
            best = _polish(left, best, enough) if polished else best
        if last < LAST_STEP and cost(best[None])[0] < MISSED:
            best = _search(cost, best[None], last, LAST_STEP)
        for k in range(len(best)) if start is None else ():  # a knob that changes nothing stays as it usually is
            moved = np.where(np.arange(len(best)) == k, usual, best)
            best = moved if np.subtract(*cost(np.stack([moved, best]))) < EXACT else best
        return tuple(float(to_value(u)) for (to_value, _), u in zip(coordinates, best, strict=True))


def _around(defaults: Sequence[float]) -> list[tuple[float, ...]]:
    count = len(defaults)
    combinations = itertools.product(STARTS, repeat=count)
    if count > 2:
        alone = [tuple(f if i == k else 1.0 for i in range(count)) for k in range(count) for f in STARTS[1:]]
        combinations = [*([f] * count for f in STARTS), *alone]
    return [tuple(f * x for f, x in zip(factors, defaults, strict=True)) for factors in combinations]


def _search(
    cost: Callable[[np.ndarray], np.ndarray], starts: np.ndarray, last: float, first: float = FIRST_STEP
) -> np.ndarray:
    """The best place found, from each of the starts, by steps along one coordinate, halved when none helps."""
    places, best, steps = starts.copy(), cost(starts), np.full(len(starts), first)
    count = places.shape[1]
    directions = np.concatenate([np.eye(count), -np.eye(count)])
    for _ in range(SWEEPS if count else 0):
        going = np.flatnonzero(steps >= last)
        if not len(going) or best.min() < EXACT:
            break
        tried = np.clip(places[going, None] + steps[going, None, None] * directions, -FARTHEST, FARTHEST)
        found = cost(tried.reshape(-1, count)).reshape(len(going), -1)
        which = found.argmin(1)
        value = found[np.arange(len(going)), which]
        better = value < best[going] - 1e-12
        places[going[better]] = tried[better, which[better]]
        best[going[better]] = value[better]
        steps[going[~better]] /= 2
    return places[best.argmin()]


def _polish(left: Callable[[np.ndarray], np.ndarray], place: np.ndarray, enough: float) -> np.ndarray:
    """Levenberg–Marquardt on what the best multiple of the weights leaves of the target."""
    best, damping = np.linalg.norm(left(place[None])), 1e-3
    for _ in range(POLISHED if len(place) else 0):
        steps = np.diag(1e-6 * np.maximum(1.0, np.abs(place)))
        here, *around = left(np.concatenate([place[None], place + steps, place - steps]))
        slopes = (np.subtract(*np.split(np.array(around), 2)) / (2 * steps.sum(1))[:, None]).T
        if not np.isfinite(slopes).all() or not slopes.any():
            break
        normal, gradient = slopes.T @ slopes, slopes.T @ here
        scale = np.diag(np.maximum(np.diag(normal), 1e-12 * np.trace(normal)))
        # A knob that changes nothing has no slope; what is singular is then solved by the least step.
        damped = normal + damping * np.reshape(DAMPED, (-1, 1, 1)) * scale
        tries = np.clip(place - np.linalg.pinv(damped, hermitian=True) @ gradient, -FARTHEST, FARTHEST)
        values = np.linalg.norm(left(tries), axis=1)
        k = int(values.argmin())
        gained = best - values[k]
        if not gained > 0:
            break
        place, best, damping = tries[k], values[k], damping * DAMPED[k]
        if gained < 1e-6 * best or best < enough:
            break
    return place
