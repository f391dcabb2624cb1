"""Which known losses have the weights that were measured, with which hyperparameters?

The distance of a loss, see `fitting`, is taken twice: of (w⁺, w⁻) over the plane, which is of one triplet, and of the
gradients by all pairs on random batches, whose anchors have several positives or negatives. What one triplet cannot
tell apart, hardest and every negative, a mean of logarithms and a logarithm of a mean, the batches do. A negative
factor is a loss that is reversed.

Few points of the plane tell which losses come near, and those are fitted on all of it: where weights jump, the points
that close in on the jump lead there. The nearest are fitted on the batches, with every choice of anchors. Where none of
them is the same, they are also fitted with every negative, or the hardest, in the place of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
import torch

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.numeric.measurement.arrangement import Anchors, on_plane
from goal_analysis.numeric.measurement.fitting import LAST_STEP, Weights, best_factors, distances, fit
from goal_analysis.numeric.measurement.inputs import Inputs
from goal_analysis.numeric.measurement.measurement import Batches, Measurement
from goal_analysis.symbolic.analysis.decomposition import anchor_weights
from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, MAX, MIN, SOFTMIN, Aggregator
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Objective

TIE = 1e-6  # losses whose fitted weights are closer than this to each other are ties
CLOSEST = 6  # so many of the plane's nearest are fitted on batches, and those that tie with them
VARIED = 3  # of so many the mining is exchanged
EXTREME = 1e4  # a hyperparameter or a factor of so many times its usual size, or the inverse, is a degenerate fit
RAN_AWAY = 500  # so is a hyperparameter of so many times its default

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

ROUGHLY, ROUGH_STEP = 120, 0.1  # so many points of the plane, and the last step, tell which losses come near
FINEST = 1e-9  # the last step where weights jump
TINY = 1e-8  # a hyperparameter below is said to be 0
ROUNDED = 1e-6  # a distance below is said to be 0


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
        sizes = [
            *(abs(r) * EXTREME / RAN_AWAY for r in ran),
            *inner,
            abs(self.factor) / EXTREME,
            1 / (EXTREME * abs(self.factor) + 1e-300),
        ]
        return not all(np.isfinite(sizes)) or max(sizes) > EXTREME or self.best > 1 - TIE

    def record(self) -> dict[str, object]:
        """The row of a table."""
        return {
            "loss": self.loss.name,
            "distance": None if np.isnan(self.on_batches) else self.on_batches,
            "on_triplet": None if np.isnan(self.distance) else self.distance,
            "factor": self.factor,
            "settings": ", ".join(f"{n}={v if abs(v) > TINY else 0:.5g}" for n, v in self.settings.items()),
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
    >>> from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
    >>> from goal_analysis.symbolic.objective import Objective, Term
    >>> from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
    >>> from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
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
    exact = [_tried(_on_batches, near, measurement) for near in close]
    if not any(n.best < ROUNDED for n in exact):
        best = sorted((n for n in exact if not n.problem), key=_rank)[:VARIED]
        varied = {n.loss.name: n for n in ([n for n in close if not n.degenerate][:VARIED] + best)}
        exact += [_tried(_on_batches, v, measurement) for near in varied.values() for v in _variants(near)]
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
            loss = near.loss.of_terms(terms, name=f"{near.loss.name}_{words}")
            settings = {h.name: near.settings[h.name] for h in loss.hyperparameters}
            found.append(replace(near, loss=loss, settings=settings))
    return found


def _on_plane(near: Neighbour, measurement: Measurement) -> Neighbour:
    """The fit on the plane: roughly for a loss without settings, else from there on."""
    reached, trail = measurement.reached, measurement.trail.numpy()
    grid = np.stack([s[reached].numpy() for s in torch.meshgrid(measurement.s_p, measurement.s_n, indexing="ij")])
    target = np.stack([w[reached].numpy() for w in (measurement.w_p, measurement.w_n)])
    (positives, negatives), *_ = next(iter(on_plane(measurement.shape).readings.values()))
    counts = max(len(positives), 1), max(len(negatives), 1)
    counts = counts[::-1] if near.exchanged else counts
    formula = weights_by_cosine(near.loss, *counts)

    def at(points: np.ndarray) -> Weights:
        p, n = points[::-1] if near.exchanged else points

        def weights(values: Sequence[np.ndarray]) -> np.ndarray:
            found = formula(*[p] * counts[0], *[n] * counts[1], *(v[..., 0] for v in values))
            sides = [sum(side) for side in (found[: counts[0]], found[counts[0] :])]
            return -np.stack(sides[::-1], -2) if near.exchanged else np.stack(sides, -2)

        return weights

    leading = trail[:, np.isfinite(trail).all(0)]
    points, wanted = np.concatenate([grid, leading[:2]], 1), np.concatenate([target, leading[2:]], 1)
    if near.settings or near.weights.size:
        last = FINEST if leading.size else LAST_STEP
        values, _ = fit(at(points), near.loss.hyperparameters, wanted, last, tuple(near.settings.values()))
    else:
        some = slice(None, None, max(1, points.shape[1] // ROUGHLY))
        values, _ = fit(
            at(points[:, some]), near.loss.hyperparameters, wanted[:, some], last=ROUGH_STEP, polished=False
        )
    return _fitted(near, at(grid), values, target, "distance")


def _on_batches(near: Neighbour, measurement: Measurement) -> Neighbour:
    """The fit on batches, from where that on the plane ended, with the anchors that suit best."""
    batches = measurement.batches
    upper = np.triu_indices(len(batches.arrangement.labels), 1)
    target = batches.gradients.numpy()[:, *upper]
    start = tuple(near.settings.values())
    found = []
    for anchors, reading in batches.arrangement.readings.items():
        reading = tuple((n, p) for p, n in reading) if near.exchanged else reading
        weights = _predicting(near.loss, batches, reading, upper)
        found.append((_fitted(near, weights, start, target, "on_batches"), anchors, weights))
    _, anchors, weights = min(found, key=lambda f: f[0].on_batches)
    values, _ = fit(weights, near.loss.hyperparameters, target, start=start)
    return replace(_fitted(near, weights, values, target, "on_batches"), anchors=anchors)


def _fitted(near: Neighbour, weights: Weights, values: Sequence[float], target: np.ndarray, what: str) -> Neighbour:
    """The neighbour with these values, the factor, and the distance by the name ``what``."""
    found = weights([np.full((1,) * (1 + target.ndim), v) for v in values])
    found = np.broadcast_to(found, (1, *target.shape))
    (factor,), (far,) = best_factors(found, target), distances(found, target)
    settings = {h.name: float(v) for h, v in zip(near.loss.hyperparameters, values, strict=True)}
    fields: dict[str, Any] = {what: float(far)}
    return replace(near, settings=settings, factor=float(factor), weights=factor * found[0], **fields)


def _predicting(loss: Objective, batches: Batches, reading: Anchors, upper: tuple) -> Weights:
    """The gradient by every pair of the batches, as a function of the hyperparameters."""
    similarities = batches.similarities.numpy()
    place = {pair: k for k, pair in enumerate(zip(*map(np.ndarray.tolist, upper), strict=True))}
    groups: dict[tuple[int, int], list[list[int]]] = {}
    for positives, negatives in reading:
        groups.setdefault((len(positives), len(negatives)), []).append([place[p] for p in (*positives, *negatives)])
    every = np.eye(len(place))

    def predicted(values: Sequence[np.ndarray]) -> np.ndarray:
        found = np.zeros(1)
        for counts, rows in groups.items():
            pairs = np.array(rows)
            seen = similarities[:, upper[0][pairs], upper[1][pairs]]  # (batches, anchors, pairs)
            for k, w in enumerate(weights_by_cosine(loss, *counts)(*np.moveaxis(seen, 2, 0), *values)):
                found = found + (-w if k < counts[0] else w) @ every[pairs[:, k]]
        return found

    return predicted


@lru_cache(maxsize=1024)
def weights_by_cosine(loss: Objective, positives: int, negatives: int) -> Callable[..., Sequence[np.ndarray]]:
    """w⁺ of every positive and w⁻ of every negative of one anchor, by the cosine: a function of the cosines of the
    positives, of the negatives, and of the hyperparameters.
    """
    of_cosine = OF_COSINE[loss.similarity]
    sides = [sp.symbols(f"{s}1:{count + 1}", real=True) for s, count in ((s_p, positives), (s_n, negatives))]
    cosines = {s: of_cosine(s) for side in sides for s in side}
    by_cosine = [
        weight.xreplace(cosines) * sp.diff(cosines[s], s)
        for side, weights in zip(sides, anchor_weights(loss, *sides), strict=True)
        for s, weight in zip(side, weights, strict=True)
    ]
    formula: Any = compiled(by_cosine, [*cosines, *(h.symbol for h in loss.hyperparameters)], NUMPY)
    return formula
