"""Which known losses have the weights that were measured, with which hyperparameters?

The distance of a loss is that of its weights ŵ from the measured ones, up to one factor k that is the best possible:

    min_k ‖w − k·ŵ‖/‖w‖        (0: the same up to scale; 1: nothing in common)

It is taken twice: of (w⁺, w⁻) over the plane, which is of one triplet, and of the gradients by all pairs on random
batches, whose anchors have several positives or negatives. What one triplet cannot tell apart, hardest and every
negative, a mean of logarithms and a logarithm of a mean, the batches do. A negative k is a loss that is reversed.

Losses are fitted one by one, in coordinates without bounds. On the plane a coordinate search from several starts finds
the neighbourhood, which also works where weights are steps and have no slope: the points that close in on a jump lead
it there. Levenberg's and Marquardt's method then adds the digits. The nearest on the plane are fitted on the batches,
with every choice of anchors; and so are they with every negative, or the hardest, in the place of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import sympy as sp
import torch

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.numeric.measurement.arrangement import Anchors, on_plane
from goal_analysis.numeric.measurement.inputs import Inputs
from goal_analysis.numeric.measurement.measurement import Batches, Measurement
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, MAX, MIN, SOFTMIN, Aggregator
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Objective

TIE = 1e-6  # losses whose fitted weights are closer than this to each other are ties
CLOSEST = 6  # so many of the plane's nearest are fitted on batches, and those that tie with them
VARIED = 2  # of so many the mining is exchanged
EXTREME = 1e4  # a hyperparameter so many times its usual size, or the inverse, is a degenerate fit

OF_COSINE = {
    COSINE: lambda s: s,
    DOT: lambda s: s,
    NEGATIVE_SQUARED_EUCLIDEAN: lambda s: 2 * s - 2,
    NEGATIVE_EUCLIDEAN: lambda s: -sp.sqrt(2 - 2 * s),
}

MININGS: dict[str, tuple[Aggregator | None, Aggregator]] = {
    "of_every_pair": (None, EACH),
    "on_hardest_negatives": (None, MAX),
    "on_hardest_of_both": (MIN, MAX),
    "on_softly_hardest_of_both": (SOFTMIN, LOGSUMEXP),
}
"""What the aggregators of a loss are exchanged for: those of the positives, unless None, and of the negatives."""

Weights = Callable[[Sequence[float]], np.ndarray]

STARTS = (1.0, 0.2, 5.0)  # what the defaults are multiplied by, all together and one at a time

FIRST_STEP, LAST_STEP, SWEEPS, FEW = 0.8, 0.005, 60, 8
"""The first and the last step of the coordinate search, the most rounds of it and of the polishing, and a few."""

ROUGHLY, ROUGH_STEP = 120, 0.1  # so many points of the plane, and the last step, tell which losses come near
FINEST = 1e-9  # the last step where weights jump
TINY = 1e-9  # a hyperparameter below is said to be 0
ROUNDED = 1e-6  # a distance below is said to be 0
EXACT = 1e-13  # a distance that is rounding alone; the search ends there
FARTHEST = 700.0  # of a coordinate, so that its exponential is a number


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A loss fitted to a measurement.

    Args:
        loss: which; its name says where its mining was exchanged.
        settings: the fitted hyperparameters; those that change nothing stay near their defaults.
        factor: k, what its weights are multiplied by; negative for a loss that is reversed.
        exchanged: whether it is reversed by taking positives for negatives and negatives for positives.
        distance: of its weights from the measured ones on one triplet, 0 to 1.
        on_batches: the same on batches; NaN for losses that are not among the plane's nearest.
        anchors: which vectors of a batch are its anchors.
        ties: the names of the other losses that came to the same weights.
        weights: its weights, on batches or else on the plane, times ``factor``.
        problem: why it could not be fitted; everything else is empty then.
    """

    loss: Objective
    settings: dict[str, float] = field(default_factory=dict)
    factor: float = float("nan")
    exchanged: bool = False
    distance: float = float("nan")
    on_batches: float = float("nan")
    anchors: str = ""
    ties: tuple[str, ...] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    problem: str = ""

    @property
    def best(self) -> float:
        """The distance on batches, on the plane where there is none."""
        return self.distance if np.isnan(self.on_batches) else self.on_batches

    @property
    def degenerate(self) -> bool:
        """Whether a hyperparameter or the factor ran away, or nothing was met."""
        usual = {h.name: abs(float(h.default)) or 1.0 for h in self.loss.hyperparameters}
        ran = [value / usual[name] for name, value in self.settings.items() if value]
        inner = [
            1 / r
            for r, h in zip(ran, self.loss.hyperparameters, strict=False)
            if h.domain.start == 0 and h.domain.left_open
        ]
        sizes = [*map(abs, ran), *inner, abs(self.factor) / EXTREME, 1 / (EXTREME * abs(self.factor) + 1e-300)]
        return not all(np.isfinite(sizes)) or max(sizes) > EXTREME or self.best > 1 - TIE

    def record(self) -> dict[str, object]:
        """The row of a table."""
        return {
            "loss": self.loss.name,
            "distance": None if np.isnan(self.on_batches) else self.on_batches,
            "on_triplet": None if np.isnan(self.distance) else self.distance,
            "factor": self.factor,
            "settings": ", ".join(f"{name}={value:.5g}" for name, value in self.settings.items()),
            "anchors": self.anchors,
            "exchanged": self.exchanged,
            "ties": ", ".join(self.ties),
            "problem": self.problem,
        }

    def __repr__(self) -> str:
        if self.problem:
            return f"Neighbour({self.loss.name}, not fitted: {self.problem})"
        return f"Neighbour({self.in_words})"

    @property
    def in_words(self) -> str:
        """The loss with its settings, the factor, the distances and the ties."""
        fitted = ", ".join(f"{name}={value if abs(value) > TINY else 0:.4g}" for name, value in self.settings.items())
        roles = " with positives and negatives exchanged" if self.exchanged else ""
        also = f", the same as {', '.join(self.ties)}" if self.ties else ""
        on = "" if np.isnan(self.on_batches) else f" on batches, {self.anchors}; {_said(self.distance)} on a triplet"
        return f"{self.factor:.4g} × {self.loss.name}({fitted}){roles}, distance {_said(self.best)}{on}{also}"


def _said(distance: float) -> str:
    return f"{distance:.2g}" if distance > ROUNDED else "0"


def nearest(measurement: Measurement, losses: Sequence[Objective]) -> tuple[Neighbour, ...]:
    """The losses by their distance from a measurement; of ties, first that with the fewest knobs.

    Degenerate fits are left out. Those that failed come last, with their problem.

    Args:
        measurement: the weights.
        losses: what to try.

    Raises:
        ValueError: no weights were measured, or no losses were given.

    >>> from goal_analysis.numeric.measurement import measure
    >>> from goal_analysis.symbolic.language.hyperparameter import positive
    >>> from goal_analysis.symbolic.objective import Term
    >>> from goal_analysis.symbolic.language.aggregators import LOGSUMEXP
    >>> from goal_analysis.symbolic.language.primitives import gap, softplus
    >>> scale = Hyperparameter("scale", 1, positive)
    >>> of_p, of_n = scale.symbol * s_p, scale.symbol * s_n
    >>> term = Term(outer=softplus(gap), positives=EACH(of_p), negatives=LOGSUMEXP(of_n))
    >>> ours = Objective(name="softmax", title="Softmax", terms=(term,), hyperparameters=(scale,))
    >>> def theirs(scores):
    ...     return torch.nn.functional.cross_entropy(7 * scores, torch.arange(len(scores)), reduction="sum")
    >>> nearest(measure(theirs, points=5), [ours])[0]
    Neighbour(1 × softmax(scale=7), distance 0 on batches, rows as anchors; 0 on a triplet)
    """
    if not losses:
        raise ValueError("nearest: got no losses but expected at least one to compare with")
    if not any(w.nan_to_num().any() for w in (measurement.w_p, measurement.w_n)):
        raise ValueError(f"nearest: got {measurement.name}, whose weights vanish everywhere, but expected some weight")
    roles = (False, True) if measurement.is_reversed else (False,)
    tries = [Neighbour(loss, exchanged=exchanged) for exchanged in roles for loss in losses]
    roughly = sorted((_tried(_on_plane, n, measurement) for n in tries), key=_rank)
    fitted = [n for n in roughly if not n.problem][: 2 * CLOSEST]
    close = sorted((_tried(_on_plane, n, measurement) for n in fitted), key=_rank)
    close = [n for i, n in enumerate(close) if i < CLOSEST or n.distance < close[CLOSEST - 1].distance + TIE]
    variants = [v for near in close[:VARIED] for v in _variants(near)]
    exact = [_tried(_on_batches, near, measurement) for near in (*close, *variants)]
    seen = {(n.loss.name, n.exchanged) for n in close}
    far = [n for n in roughly if (n.loss.name, n.exchanged) not in seen]
    known = [n for n in (*exact[: len(close)], *far) if n.problem or not n.degenerate]
    others = [n for n in exact[len(close) :] if not (n.problem or n.degenerate or any(_tie(n, o) for o in known))]
    shown, of_proxies = [*known, *others], measurement.inputs is Inputs.PROXIES
    tied = [replace(n, ties=tuple(o.loss.name for o in shown if o is not n and _tie(n, o))) for n in shown]
    return tuple(sorted(tied, key=lambda n: _rank(n, of_proxies)))


def _rank(n: Neighbour, of_proxies: bool = False) -> tuple:
    """Distances that only rounding tells apart are one, so that fewer knobs come first."""
    unmeasured = np.isnan(n.on_batches) and not np.isnan(n.distance)
    place = round(n.best / TIE) if np.isfinite(n.best) else 0
    return bool(n.problem), unmeasured, place, len(n.settings), n.loss.proxies != of_proxies, n.loss.name


def _tie(one: Neighbour, other: Neighbour) -> bool:
    size = np.linalg.norm(one.weights)
    return bool(
        one.weights.shape == other.weights.shape
        and size > 0
        and np.linalg.norm(one.weights - other.weights) <= TIE * size
    )


def _tried(fitting: Callable[..., Neighbour], near: Neighbour, measurement: Measurement) -> Neighbour:
    """A fit; one that fails costs its own line alone."""
    try:
        with np.errstate(all="ignore"):
            return fitting(near, measurement)
    except Exception as error:
        return Neighbour(near.loss, problem=f"{type(error).__name__}: {error}".splitlines()[0][:200])


def _variants(near: Neighbour) -> list[Neighbour]:
    """The loss with other minings, where they are others."""
    found = []
    for words, (positives, negatives) in MININGS.items():
        terms = tuple(
            replace(
                term,
                positives=term.positives and replace(term.positives, aggregator=positives or term.positives.aggregator),
                negatives=term.negatives and replace(term.negatives, aggregator=negatives),
            )
            for term in near.loss.terms
        )
        if terms != near.loss.terms:
            found.append(replace(near, loss=replace(near.loss, name=f"{near.loss.name}_{words}", terms=terms)))
    return found


def _on_plane(near: Neighbour, measurement: Measurement) -> Neighbour:
    """The fit on the plane: roughly for a loss without settings, else from there on."""
    reached, trail = measurement.reached, measurement.trail.numpy()
    grid = [s[reached].numpy() for s in torch.meshgrid(measurement.s_p, measurement.s_n, indexing="ij")]
    target = np.stack([w[reached].numpy() for w in (measurement.w_p, measurement.w_n)])
    (positives, negatives), *_ = next(iter(on_plane(measurement.shape).readings.values()))
    counts = max(len(positives), 1), max(len(negatives), 1)
    counts = counts[::-1] if near.exchanged else counts
    formula = anchor_weights(near.loss, *counts)

    def at(values: Sequence[float], p: np.ndarray, n: np.ndarray) -> np.ndarray:
        p, n = (n, p) if near.exchanged else (p, n)
        found = formula(*[p] * counts[0], *[n] * counts[1], *map(np.float64, values))
        sides = found[: counts[0]], found[counts[0] :]
        weights = [sum(np.broadcast_to(w, p.shape) for w in side) for side in sides]
        return -np.stack(weights[::-1]) if near.exchanged else np.stack(weights)

    knobs, settings = near.loss.hyperparameters, tuple(near.settings.values())
    leading = trail[:, np.isfinite(trail).all(0)]
    if near.weights.size:
        both = [np.concatenate([g, t]) for g, t in zip(grid, leading[:2], strict=True)]
        wanted, last = np.concatenate([target, leading[2:]], 1), FINEST if leading.size else LAST_STEP
        values, _ = fit(lambda v: at(v, *both), knobs, wanted, last, settings)
    else:
        some = slice(None, None, max(1, target.shape[1] // ROUGHLY))
        few = [g[some] for g in grid]
        values, _ = fit(lambda v: at(v, *few), knobs, target[:, some], ROUGH_STEP)
    weights = at(values, *grid)
    factor = best_factor(weights, target)
    found = {h.name: float(value) for h, value in zip(knobs, values, strict=True)}
    return replace(near, settings=found, factor=factor, distance=distance(weights, target), weights=factor * weights)


def _on_batches(near: Neighbour, measurement: Measurement) -> Neighbour:
    """The fit on batches, from where that on the plane ended, with the anchors that suit best."""
    batches = measurement.batches
    upper = np.triu_indices(len(batches.arrangement.labels), 1)
    target = batches.gradients.numpy()[:, *upper]
    start = tuple(near.settings.values())
    found = []
    for anchors, reading in batches.arrangement.readings.items():
        reading = tuple((n, p) for p, n in reading) if near.exchanged else reading
        formula = _predicting(near.loss, batches, reading, upper)
        found.append((distance(formula(start), target), anchors, formula))
    _, anchors, formula = min(found, key=lambda f: f[0])
    values, left = fit(formula, near.loss.hyperparameters, target, LAST_STEP, start)
    weights = formula(values)
    factor = best_factor(weights, target)
    settings = dict(zip(near.settings, map(float, values), strict=True))
    return replace(near, settings=settings, factor=factor, on_batches=left, anchors=anchors, weights=factor * weights)


def _predicting(loss: Objective, batches: Batches, reading: Anchors, upper: tuple) -> Weights:
    """The gradient by every pair of the batches, as a function of the hyperparameters."""
    similarities = batches.similarities.numpy()
    place = {pair: k for k, pair in enumerate(zip(*map(np.ndarray.tolist, upper), strict=True))}
    groups: dict[tuple[int, int], list[list[int]]] = {}
    for positives, negatives in reading:
        groups.setdefault((len(positives), len(negatives)), []).append([place[p] for p in (*positives, *negatives)])

    def predicted(values: Sequence[float]) -> np.ndarray:
        found = np.zeros((len(similarities), len(place)))
        for counts, rows in groups.items():
            pairs = np.array(rows)
            seen = similarities[:, upper[0][pairs], upper[1][pairs]]  # (batches, anchors, pairs)
            weights = anchor_weights(loss, *counts)(*np.moveaxis(seen, 2, 0), *map(np.float64, values))
            for k, w in enumerate(weights):
                sign = -1 if k < counts[0] else 1
                for anchor, pair in enumerate(pairs[:, k]):
                    found[:, pair] += sign * np.broadcast_to(w, seen.shape[:2])[:, anchor]
        return found

    return predicted


@lru_cache(maxsize=1024)
def anchor_weights(loss: Objective, positives: int, negatives: int) -> Callable[..., Sequence[np.ndarray]]:
    """w⁺ of every positive and w⁻ of every negative of one anchor, by the cosine: a function of the cosines of the
    positives, of the negatives, and of the hyperparameters.
    """
    decomposition, of_cosine = decompose(loss), OF_COSINE[loss.similarity]
    sides = [sp.symbols(f"{s}1:{count + 1}", real=True) for s, count in ((s_p, positives), (s_n, negatives))]
    symbols = [*sides[0], *sides[1]]
    if positives == negatives == 1:
        at = {s_p: symbols[0], s_n: symbols[1]}
        weights = [w.subs(at, simultaneous=True) for w in (decomposition.field.positive, decomposition.field.negative)]
    else:
        weights = [w for side in decomposition.weights(*sides) for w in side]
    cosines = {s: of_cosine(s) for s in symbols}
    by_cosine = [
        weight.subs(cosines, simultaneous=True) * sp.diff(cosines[s], s)
        for weight, s in zip(weights, symbols, strict=True)
    ]
    formula: Any = compiled(by_cosine, [*symbols, *(h.symbol for h in loss.hyperparameters)], NUMPY)
    return formula


def frame(neighbours: Sequence[Neighbour]) -> pd.DataFrame:
    """One row a loss: loss, distance, on_triplet, factor, settings, anchors, ties, problem."""
    columns = ["loss", "distance", "on_triplet", "factor", "settings", "anchors", "ties", "problem"]
    return pd.DataFrame([n.record() for n in neighbours], columns=columns)


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
    """The k that brings k·fitted nearest to the target, negative where a reversed loss does; 0 where none does."""
    size = float((fitted**2).sum())
    return float((fitted * target).sum()) / size if np.isfinite(size) and size > 0 else 0.0


def distance(fitted: np.ndarray, target: np.ndarray) -> float:
    """min_k ‖target − k·fitted‖/‖target‖, 0 to 1; 1 where the weights are not finite."""
    factor = best_factor(fitted, target)
    found = float(np.linalg.norm(target - factor * fitted) / np.linalg.norm(target)) if factor else 1.0
    return found if np.isfinite(found) else 1.0


def fit(
    weights: Weights,
    knobs: Sequence[Hyperparameter],
    target: np.ndarray,
    last: float = LAST_STEP,
    start: Sequence[float] | None = None,
) -> tuple[tuple[float, ...], float]:
    """The values of the hyperparameters with the smallest distance found, within their domains, and that distance.

    ``weights`` maps values, in the order of ``knobs``, to weights of the shape of ``target``. The search begins at
    ``start`` and the defaults, or without one at the defaults and around them, and ends with steps of ``last``.
    """
    coordinates = [coordinate(h) for h in knobs]

    def values(place: np.ndarray) -> tuple[float, ...]:
        return tuple(float(to_value(u)) for (to_value, _), u in zip(coordinates, place, strict=True))

    def at(place: np.ndarray) -> np.ndarray:
        return weights(values(place))

    def cost(place: np.ndarray) -> float:
        return distance(at(place), target)

    with np.errstate(all="ignore"):
        starts = _starts(knobs, coordinates)
        if start is not None:
            own = np.array([of_value(v) for (_, of_value), v in zip(coordinates, start, strict=True)])
            starts = [own, starts[0]]
        found: list[np.ndarray] = []
        for place in starts:
            found.append(_search(cost, place, max(last, LAST_STEP)))
            if cost(found[-1]) < EXACT:
                break
        rounds, kept = (SWEEPS, 2) if last < ROUGH_STEP else (FEW, 1)
        best = min((_polish(at, cost, place, target, rounds) for place in sorted(found, key=cost)[:kept]), key=cost)
        if last < LAST_STEP:
            best = _search(cost, best, last, LAST_STEP)
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


def _search(
    cost: Callable[[np.ndarray], float], start: np.ndarray, last: float, step: float = FIRST_STEP
) -> np.ndarray:
    """The best place found by steps along one coordinate at a time, which shrink when none helps."""
    place, best = start.copy(), cost(start)
    for _ in range(SWEEPS if len(place) else 0):
        moved = False
        for k, sign in itertools.product(range(len(place)), (1, -1)):
            tried = place.copy()
            tried[k] = np.clip(tried[k] + sign * step, -FARTHEST, FARTHEST)
            if (value := cost(tried)) < best - 1e-12:
                place, best, moved = tried, value, True
        step = step if moved else step / 2
        if step < last or best < EXACT:
            break
    return place


def _polish(
    at: Callable[[np.ndarray], np.ndarray],
    cost: Callable[[np.ndarray], float],
    start: np.ndarray,
    target: np.ndarray,
    rounds: int,
) -> np.ndarray:
    """Levenberg–Marquardt on what the best multiple of the weights leaves of the target."""

    def rest(place: np.ndarray) -> np.ndarray:
        fitted = at(place)
        return (target - best_factor(fitted, target) * fitted).ravel()

    place, best, damping = start, cost(start), 1e-3
    for _ in range(rounds if len(start) else 0):
        steps = np.diag(1e-6 * np.maximum(1.0, np.abs(place)))
        slopes = np.stack([(rest(place + h) - rest(place - h)) / (2 * h.sum()) for h in steps], axis=1)
        if not np.isfinite(slopes).all() or not slopes.any():
            break
        normal = slopes.T @ slopes
        scale = np.diag(np.maximum(np.diag(normal), 1e-12 * np.trace(normal)))
        # A knob that changes nothing has no slope; what is singular is then solved by the least step.
        step = np.linalg.lstsq(normal + damping * scale, slopes.T @ rest(place), rcond=None)[0]
        tried = np.clip(place - step, -FARTHEST, FARTHEST)
        value = cost(tried)
        place, best, damping = (tried, value, damping / 5) if value < best else (place, best, damping * 5)
        if damping > 1e8 or best < EXACT:
            break
    return place
