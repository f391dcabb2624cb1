"""Which known losses have the weights that were measured, with which hyperparameters?

The distance of a loss is that of its weights (w⁺, w⁻) from the measured ones over the plane, up to one positive factor
k that is common to both and is the best possible:

    min_k ‖w − k·ŵ‖/‖w‖        (0: the same up to scale; 1: nothing in common)

Losses are fitted one by one, in coordinates without bounds. From several starts a coordinate search finds the
neighbourhood, which also works where weights are steps and have no slope. Levenberg's and Marquardt's method then adds
the digits. Several losses that come to the same weights on a triplet, and differ only on larger batches, are ties: one
triplet cannot tell them apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import sympy as sp
import torch

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.numeric.measurement.measuring import Measurement
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.evaluation import UnsupportedFunction
from goal_analysis.symbolic.proof.identity import Undecided

TIE = 1e-6  # losses whose fitted weights are closer than this to each other are ties

OF_COSINE = {
    COSINE: lambda s: s,
    DOT: lambda s: s,
    NEGATIVE_SQUARED_EUCLIDEAN: lambda s: 2 * s - 2,
    NEGATIVE_EUCLIDEAN: lambda s: -sp.sqrt(2 - 2 * s),
}

Weights = Callable[[Sequence[float]], np.ndarray]

STARTS = (1.0, 0.2, 5.0)  # what the defaults are multiplied by, all together and one at a time

FIRST_STEP, LAST_STEP, SWEEPS = 0.8, 0.005, 60
"""The first and the last step of the coordinate search, and the most rounds of it and of the polishing."""

EXACT = 1e-13  # a distance that is rounding alone; the search ends there
FARTHEST = 700.0  # of a coordinate, so that its exponential is a number


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A loss fitted to a measurement.

    Args:
        loss: which.
        settings: the fitted hyperparameters; those that change nothing on a triplet stay near their defaults.
        factor: k, what its weights are multiplied by.
        distance: of its weights from the measured ones, 0 to 1.
        ties: the names of the other losses that came to the same weights.
        weights: its w⁺ and w⁻ at the points of the measurement, times ``factor``.
    """

    loss: Objective
    settings: dict[str, float]
    factor: float
    distance: float
    ties: tuple[str, ...]
    weights: np.ndarray

    def __repr__(self) -> str:
        fitted = ", ".join(f"{name}={value:.6g}" for name, value in self.settings.items())
        also = f", the same as {', '.join(self.ties)}" if self.ties else ""
        return f"Neighbour({self.factor:.4g} × {self.loss.name}({fitted}), distance {self.distance:.2g}{also})"


def nearest(measurement: Measurement, losses: Sequence[Objective]) -> tuple[Neighbour, ...]:
    """The losses by their distance from a measurement; of ties, first that with the fewest knobs.

    Args:
        measurement: the weights.
        losses: what to try; one whose weights cannot be derived or computed is left out.

    Raises:
        ValueError: no weights were measured, or no losses were given.

    >>> from goal_analysis.numeric.measurement import measure
    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
    >>> from goal_analysis.symbolic.objective import Term
    >>> from goal_analysis.symbolic.language.primitives import gap, softplus
    >>> scale = Hyperparameter("scale", 1, positive)
    >>> term = Term(outer=softplus(gap), positives=EACH(scale.symbol * s_p), negatives=EACH(scale.symbol * s_n))
    >>> ours = Objective(name="soft_margin", title="Softmax margin", terms=(term,), hyperparameters=(scale,))
    >>> def theirs(scores):
    ...     return torch.nn.functional.cross_entropy(7 * scores, torch.arange(len(scores)), reduction="sum")
    >>> nearest(measure(theirs, points=5), [ours])
    (Neighbour(2 × soft_margin(scale=7), distance ...),)
    """
    if not losses:
        raise ValueError("nearest: got no losses but expected at least one to compare with")
    reached = measurement.reached
    target = np.stack([w[reached].numpy() for w in (measurement.w_p, measurement.w_n)])
    if not target.any():
        raise ValueError(f"nearest: got {measurement.name}, whose weights vanish everywhere, but expected some weight")
    at = [s[reached].numpy() for s in torch.meshgrid(measurement.s_p, measurement.s_n, indexing="ij")]
    found = [neighbour for loss in losses if (neighbour := _fitted(loss, at, target)) is not None]
    tied = [replace(one, ties=tuple(o.loss.name for o in found if o is not one and _tie(one, o))) for one in found]
    # Distances that only rounding tells apart are one, so that fewer knobs come first.
    return tuple(sorted(tied, key=lambda n: (round(n.distance / TIE), len(n.settings), n.loss.name)))


def _tie(one: Neighbour, other: Neighbour) -> bool:
    size = np.linalg.norm(one.weights)
    return bool(size > 0 and np.linalg.norm(one.weights - other.weights) <= TIE * size)


def _fitted(loss: Objective, at: Sequence[np.ndarray], target: np.ndarray) -> Neighbour | None:
    symbols = [h.symbol for h in loss.hyperparameters]
    try:
        weights = compiled(_over_cosines(loss), [s_p, s_n, *symbols], NUMPY)
    except (Undecided, UnsupportedFunction):
        return None

    def with_settings(values: Sequence[float]) -> np.ndarray:
        return np.stack(weights(*at, *map(np.float64, values)))

    values, distance = fit(with_settings, loss.hyperparameters, target)
    fitted = with_settings(values)
    factor = best_factor(fitted, target)
    settings = {h.name: float(value) for h, value in zip(loss.hyperparameters, values, strict=True)}
    return Neighbour(loss, settings, factor, distance, (), factor * fitted)


def _over_cosines(loss: Objective) -> list[sp.Expr]:
    """w⁺ and w⁻ by the cosine: the chain rule for a loss of another similarity."""
    field, of_cosine = decompose(loss).field, OF_COSINE[loss.similarity]
    at = {s: of_cosine(s) for s in (s_p, s_n)}
    weights = ((field.positive, s_p), (field.negative, s_n))
    return [weight.subs(at, simultaneous=True) * sp.diff(at[s], s) for weight, s in weights]


def frame(neighbours: Sequence[Neighbour]) -> pd.DataFrame:
    """One row a loss: loss, distance, factor, settings, ties."""
    columns = ["loss", "distance", "factor", "settings", "ties"]
    rows = [(n.loss.name, n.distance, n.factor, n.settings, ", ".join(n.ties)) for n in neighbours]
    return pd.DataFrame(rows, columns=columns)


Coordinate = tuple[Callable[[float], float], Callable[[float], float]]
"""A hyperparameter as a function of a number without bounds, and that number as a function of the hyperparameter."""


def coordinate(h: Hyperparameter) -> Coordinate:
    """Logarithm above an open end, reflection at a closed one, logit between two ends, identity without any."""
    low, high, tiny = float(h.domain.start), float(h.domain.end), 1e-12
    match bool(np.isfinite(low)), bool(np.isfinite(high)):
        case True, True:
            return (
                lambda u: low + (high - low) / (1 + np.exp(-u)),
                lambda x: float(np.log((x - low + tiny) / (high - x + tiny))),
            )
        case True, False if h.domain.left_open:
            return lambda u: low + float(np.exp(u)), lambda x: float(np.log(x - low))
        case True, False:
            return lambda u: low + abs(u), lambda x: x - low
        case False, True:
            return lambda u: high - abs(u), lambda x: high - x
    return lambda u: u, lambda x: x


def best_factor(fitted: np.ndarray, target: np.ndarray) -> float:
    """The positive k that brings k·fitted nearest to the target; 0 where only a negative one would."""
    size = float((fitted**2).sum())
    return max(0.0, float((fitted * target).sum()) / size) if np.isfinite(size) and size > 0 else 0.0


def distance(fitted: np.ndarray, target: np.ndarray) -> float:
    """min_k ‖target − k·fitted‖/‖target‖, 0 to 1; 1 where the weights are not finite."""
    factor = best_factor(fitted, target)
    return float(np.linalg.norm(target - factor * fitted) / np.linalg.norm(target)) if factor else 1.0


def fit(weights: Weights, knobs: Sequence[Hyperparameter], target: np.ndarray) -> tuple[tuple[float, ...], float]:
    """The values of the hyperparameters with the smallest distance found, within their domains, and that distance.

    ``weights`` maps values, in the order of ``knobs``, to weights of the shape of ``target``.
    """
    coordinates = [coordinate(h) for h in knobs]

    def values(place: np.ndarray) -> tuple[float, ...]:
        return tuple(float(to_value(u)) for (to_value, _), u in zip(coordinates, place, strict=True))

    def at(place: np.ndarray) -> np.ndarray:
        return weights(values(place))

    def cost(place: np.ndarray) -> float:
        return distance(at(place), target)

    with np.errstate(all="ignore"):
        found: list[np.ndarray] = []
        for start in _starts(knobs, coordinates):
            found.append(_search(cost, start))
            if cost(found[-1]) < EXACT:
                break
        best = min((_polish(at, cost, place, target) for place in sorted(found, key=cost)[:2]), key=cost)
        return values(best), cost(best)


def _starts(knobs: Sequence[Hyperparameter], coordinates: Sequence[Coordinate]) -> list[np.ndarray]:
    """The defaults, and what the factors of `STARTS` make of them where the domains allow."""
    count, starts = len(knobs), []
    combinations = list(itertools.product(STARTS, repeat=count))
    if count > 2:
        combinations = [(factor,) * count for factor in STARTS]
        combinations += [tuple(f if i == k else 1.0 for i in range(count)) for k in range(count) for f in STARTS[1:]]
    for factors in combinations:
        tried = [factor * float(h.default) for factor, h in zip(factors, knobs, strict=True)]
        if all(value in h.domain for value, h in zip(tried, knobs, strict=True)):
            starts.append(np.array([of_value(value) for (_, of_value), value in zip(coordinates, tried, strict=True)]))
    return starts


def _search(cost: Callable[[np.ndarray], float], start: np.ndarray) -> np.ndarray:
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
    return place


def _polish(
    at: Callable[[np.ndarray], np.ndarray], cost: Callable[[np.ndarray], float], start: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Levenberg–Marquardt on what the best multiple of the weights leaves of the target."""

    def rest(place: np.ndarray) -> np.ndarray:
        fitted = at(place)
        return (target - best_factor(fitted, target) * fitted).ravel()

    place, best, damping = start, cost(start), 1e-3
    for _ in range(SWEEPS if len(start) else 0):
        steps = np.diag(1e-6 * np.maximum(1.0, np.abs(place)))
        slopes = np.stack([(rest(place + h) - rest(place - h)) / (2 * h.sum()) for h in steps], axis=1)
        if not np.isfinite(slopes).all() or not slopes.any():
            break
        normal = slopes.T @ slopes
        scale = np.diag(np.maximum(np.diag(normal), 1e-12 * np.trace(normal)))
        step = np.linalg.solve(normal + damping * scale, slopes.T @ rest(place))
        tried = np.clip(place - step, -FARTHEST, FARTHEST)
        value = cost(tried)
        place, best, damping = (tried, value, damping / 5) if value < best else (place, best, damping * 5)
        if damping > 1e8 or best < EXACT:
            break
    return place
