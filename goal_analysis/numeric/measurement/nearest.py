"""Which known losses have the weights that were measured, with which hyperparameters?

The distance, see `fitting`, is taken of (w⁺, w⁻) over the plane, which is of one triplet, and of the gradients by all
pairs on random batches, which tell apart what one triplet cannot. A negative factor is a loss that is reversed.
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
from goal_analysis.numeric.measurement.arrangement import on_plane, plane_similarities
from goal_analysis.numeric.measurement.calling import Inputs
from goal_analysis.numeric.measurement.fitting import LAST_STEP, Weights, best_factors, distances, fit
from goal_analysis.numeric.measurement.measurement import NEAR, Measurement
from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, MAX, MIN, SOFTMIN, Aggregator
from goal_analysis.symbolic.language.primitives import CARRIED, carried_by, s_n, s_p, slope
from goal_analysis.symbolic.language.similarity import OF_COSINE
from goal_analysis.symbolic.objective import Objective

TIE = 1e-6  # losses whose fitted weights are closer than this to each other are ties
AS_NEAR = 0.02  # of near losses whose distances differ by a smaller share, the one with the fewest knobs comes first
CLOSEST = 6  # so many of the plane's nearest are fitted on batches, and those that tie with them
VARIED = 3  # of so many the mining is exchanged
EXTREME = 1e4  # a hyperparameter or a factor of so many times its usual size, or the inverse, is a degenerate fit
RAN_AWAY = 500  # so is a hyperparameter of so many times its default

MININGS: dict[str, tuple[Aggregator | None, Aggregator]] = {
    "of_every_pair": (None, EACH),
    "on_hardest_negatives": (None, MAX),
    "on_hardest_of_both": (MIN, MAX),
    "on_softly_hardest_of_both": (SOFTMIN, LOGSUMEXP),
}
"""What the aggregators of a loss are exchanged for: those of the positives, unless None, and of the negatives."""

ROUGH_TIE = 0.03  # so far may a loss be by its rough fit that the fit then brings to nothing
ROUGHLY, ROUGH_STEP = 120, 0.1  # so many points of the plane, and the last step, tell which losses come near
FINEST = 1e-9  # the last step where weights jump
TINY = 1e-8  # a hyperparameter below is said to be 0
ROUNDED = 1e-6  # a distance below is said to be 0


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A loss fitted to a measurement."""

    loss: Objective  # its name says where its mining was exchanged
    settings: dict[str, float] = field(default_factory=dict)  # those that change nothing stay near their defaults
    factor: float = float("nan")  # k, what its weights are multiplied by; negative if reversed
    exchanged: bool = False  # reversed by taking positives for negatives
    distance: float = float("nan")  # on one triplet, 0 to 1
    on_batches: float = float("nan")  # NaN for those that are not the plane's nearest
    anchors: str = ""  # which vectors of a batch are its anchors
    ties: tuple[str, ...] = ()  # other losses with the same weights, by name
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))  # on batches or else the plane, times k
    problem: str = ""  # why it could not be fitted; all else is empty then

    @property
    def best(self) -> float:
        """The distance on batches, on the plane where there is none."""
        return self.distance if np.isnan(self.on_batches) else self.on_batches

    @property
    def degenerate(self) -> bool:
        """Whether a hyperparameter or the factor ran away, or nothing was met."""
        for h in self.loss.hyperparameters:
            size = self.settings[h.name] / (abs(float(h.default)) or 1.0)
            vanishes = h.domain.start == 0 and h.domain.left_open and size < 1 / EXTREME
            if vanishes or not abs(size) <= RAN_AWAY:
                return True
        return not EXTREME**-2 <= abs(self.factor) <= EXTREME**2 or not self.best <= 1 - TIE

    def record(self) -> dict[str, object]:
        """The row of a table."""
        return {
            "loss": self.loss.name,
            "distance": None if np.isnan(self.on_batches) else self.on_batches,
            "on_triplet": None if np.isnan(self.distance) else self.distance,
            "factor": self.factor,
            "settings": self._fitted(5),
            "anchors": self.anchors,
            "exchanged": self.exchanged,
            "ties": ", ".join(self.ties),
            "problem": self.problem,
        }

    def __repr__(self) -> str:
        return f"Neighbour({f'{self.loss.name}, not fitted: {self.problem}' if self.problem else self.in_words})"

    @property
    def in_words(self) -> str:
        """The loss with its settings, the factor, the distances and the ties."""
        roles = " with positives and negatives exchanged" if self.exchanged else ""
        also = f", the same as {', '.join(self.ties)}" if self.ties else ""
        on = "" if np.isnan(self.on_batches) else f" on batches, {self.anchors}; {_said(self.distance)} on a triplet"
        loss = f"{self.factor:.4g} × {self.loss.name}({self._fitted(4)}){roles}"
        return f"{loss}, distance {_said(self.best)}{on}{also}"

    def _fitted(self, digits: int) -> str:
        return ", ".join(f"{n}={v if abs(v) > TINY else 0:.{digits}g}" for n, v in self.settings.items())


def _said(distance: float) -> str:
    return f"{distance:.2g}" if distance > ROUNDED else "0"


@dataclass(frozen=True, eq=False)
class Target:
    """What a loss is fitted to: ``wanted`` sums of its gradients by pairs at some similarities."""

    what: str  # what the distance is called
    similarities: np.ndarray
    wanted: np.ndarray
    sums: np.ndarray
    readings: dict[str, np.ndarray]
    counted: int  # the distance is that of so many points

    @classmethod
    def on_plane(cls, measurement: Measurement) -> Target:
        """The weights of the first anchor, on the grid and where points close in on jumps."""
        plane, reached, trail = on_plane(measurement.shape), measurement.reached, measurement.trail
        axes = torch.meshgrid(measurement.s_p, measurement.s_n, indexing="ij")
        grid = torch.stack([x[reached] for x in (*axes, measurement.w_p, measurement.w_n)])
        known = torch.cat([grid, trail[:, trail.isfinite().all(0)]], 1)
        sums = torch.stack([-plane.positives.double(), plane.negatives.double()], -1)
        similarities = plane_similarities(plane, known[0], known[1])
        first = {"": next(iter(plane.readings.values()))[:1].numpy()}
        return cls("distance", similarities.numpy(), known[2:].T.numpy(), sums.numpy(), first, grid.shape[1])

    @classmethod
    def on_batches(cls, measurement: Measurement) -> Target:
        """The gradient by every pair of random batches."""
        batches = measurement.batches
        count = len(batches.arrangement.labels)
        upper = np.triu_indices(count, 1)
        sums = np.zeros((count, count, len(upper[0])))
        sums[(*upper, np.arange(len(upper[0])))] = 1
        wanted = batches.gradients.numpy()[:, *upper]
        readings = {name: anchors.numpy() for name, anchors in batches.arrangement.readings.items()}
        return cls("on_batches", batches.similarities.numpy(), wanted, sums, readings, len(wanted))

    def predicted(self, near: Neighbour, anchors: str) -> Weights:
        """The sums of a loss as a function of its hyperparameters."""
        groups: dict[tuple[int, int], list[np.ndarray]] = {}
        for sides in self.readings[anchors]:
            positives, negatives = (np.argwhere(side) for side in (sides[::-1] if near.exchanged else sides))
            groups.setdefault((len(positives), len(negatives)), []).append(np.concatenate([positives, negatives]))
        summed = []
        for counts, rows in groups.items():
            places = np.stack(rows, -1)  # (pairs, 2, anchors)
            signed = [-self.sums[*at] if k < counts[0] else self.sums[*at] for k, at in enumerate(places)]
            summed.append(
                (weights_by_cosine(near.loss, *counts), [self.similarities[:, i, j] for i, j in places], signed)
            )

        def weights(values: Sequence[np.ndarray]) -> np.ndarray:
            found = np.zeros(1)
            for formula, seen, signed in summed:
                for w, sums in zip(formula(*seen, *values), signed, strict=True):
                    found = found + w @ sums
            return found

        return weights

    def fitted(self, near: Neighbour, step: int = 1, **how: Any) -> Neighbour:
        """The loss with the hyperparameters, the factor and the anchors that suit best; a failed fit has a problem."""
        start = tuple(near.settings.values())
        some = replace(self, similarities=self.similarities[::step], wanted=self.wanted[::step])
        try:
            with np.errstate(all="ignore"):
                anchors, *others = self.readings
                if others:
                    anchors = min(self.readings, key=lambda anchors: self._at(near, start, anchors).best)
                weights = some.predicted(near, anchors)
                values = fit(weights, near.loss.hyperparameters, some.wanted, start=start or None, **how)
                return self._at(near, values, anchors)
        except Exception as error:
            return Neighbour(near.loss, problem=f"{type(error).__name__}: {error}".splitlines()[0][:200])

    def _at(self, near: Neighbour, values: Sequence[float], anchors: str) -> Neighbour:
        found = self.predicted(near, anchors)([np.full((1, 1, 1), v) for v in values])
        found, wanted = np.broadcast_to(found, (1, *self.wanted.shape))[:, : self.counted], self.wanted[: self.counted]
        (factor,), (far,) = best_factors(found, wanted), distances(found, wanted)
        settings = {h.name: float(v) for h, v in zip(near.loss.hyperparameters, values, strict=True)}
        fields: dict[str, Any] = {self.what: float(far), "weights": factor * found[0]}
        return replace(near, settings=settings, factor=float(factor), anchors=anchors, **fields)


def nearest(measurement: Measurement, losses: Sequence[Objective]) -> tuple[Neighbour, ...]:
    """The losses by their distance from a measurement; of ties, first those with the fewest knobs, as they were given.

    Degenerate fits are left out; failed ones come last. Without weights, or without losses, it is a ValueError.
    """
    if not losses:
        raise ValueError("nearest: got no losses but expected at least one to compare with")
    if not any(w.nan_to_num().any() for w in (measurement.w_p, measurement.w_n)):
        raise ValueError(f"nearest: got {measurement.name}, whose weights vanish everywhere, but expected some weight")
    plane, batches = Target.on_plane(measurement), Target.on_batches(measurement)
    step, last = max(1, len(plane.wanted) // ROUGHLY), FINEST if len(plane.wanted) > plane.counted else LAST_STEP
    roles = (False, True) if measurement.is_reversed else (False,)
    tries = [Neighbour(loss, exchanged=exchanged) for exchanged in roles for loss in losses]
    roughly = sorted((plane.fitted(n, step, last=ROUGH_STEP, polished=False) for n in tries), key=_rank)
    hopeful = [n for n in roughly if not n.problem]
    fitted = [n for i, n in enumerate(hopeful) if i < 2 * CLOSEST or n.distance < ROUGH_TIE]
    close = sorted((plane.fitted(n, last=last) for n in fitted), key=_rank)
    close = [n for i, n in enumerate(close) if i < CLOSEST or n.distance < close[CLOSEST - 1].distance + TIE]
    exact = [batches.fitted(n) for n in close]
    if not any(n.best < ROUNDED for n in exact):
        best = sorted((n for n in exact if not n.problem), key=_rank)[:VARIED]
        varied = {n.loss.name: n for n in ([n for n in close if not n.degenerate][:VARIED] + best)}
        exact += [batches.fitted(v) for near in varied.values() for v in _variants(near)]
    seen = {(n.loss.name, n.exchanged) for n in close}
    known = [*exact[: len(close)], *(n for n in roughly if (n.loss.name, n.exchanged) not in seen)]
    known = [n for n in known if n.problem or not n.degenerate]
    others = [n for n in exact[len(close) :] if not (n.problem or n.degenerate or any(_tie(n, o) for o in known))]
    shown, of_proxies = [*known, *others], measurement.inputs is Inputs.PROXIES
    given = {loss.name: place for place, loss in enumerate(losses)}
    groups: list[list[Neighbour]] = []
    for n in sorted(shown, key=_rank):
        first = groups[-1][0] if groups else n
        as_near = _rank(n)[:2] == _rank(first)[:2] and n.best <= (1 + AS_NEAR * (n.best < NEAR)) * first.best + TIE
        groups[-1:] = [*groups[-1:], [n]] if not groups or not as_near else [[*groups[-1], n]]

    def fewest_knobs(n: Neighbour) -> tuple:
        return len(n.settings), n.loss.proxies != of_proxies, given.get(n.loss.name, len(given))

    ordered = [n for group in groups for n in sorted(group, key=fewest_knobs)]
    return tuple(replace(n, ties=tuple(o.loss.name for o in ordered if o is not n and _tie(n, o))) for n in ordered)


def _rank(n: Neighbour) -> tuple:
    return bool(n.problem), bool(np.isnan(n.on_batches) and not np.isnan(n.distance)), np.nan_to_num(n.best)


def _tie(one: Neighbour, other: Neighbour) -> bool:
    alike = one.weights.shape == other.weights.shape and one.weights.any()
    return bool(alike and np.linalg.norm(one.weights - other.weights) <= TIE * np.linalg.norm(one.weights))


def _variants(near: Neighbour) -> list[Neighbour]:
    found = []
    for words, aggregators in MININGS.items() if near.loss.plain else ():
        terms = []
        for term in near.loss.terms:
            sides = zip(("positives", "negatives"), (term.positives, term.negatives), aggregators, strict=True)
            changed = {name: replace(side, aggregator=new) for name, side, new in sides if side and new}
            terms.append(replace(term, **changed))
        if tuple(terms) != near.loss.terms:
            loss = near.loss.of_terms(tuple(terms), name=f"{near.loss.name}_{words}")
            found.append(
                replace(near, loss=loss, settings={h.name: near.settings[h.name] for h in loss.hyperparameters})
            )
    return found


@lru_cache(maxsize=1024)
def weights_by_cosine(loss: Objective, positives: int, negatives: int) -> Callable[..., Sequence[np.ndarray]]:
    """w⁺ of all positives and w⁻ of all negatives of one anchor, by their cosines and the hyperparameters.

    A positive carries 1 and a negative 0, where the loss reads that.
    """
    of_cosine, _ = OF_COSINE[loss.similarity]
    sides = [sp.symbols(f"{s}1:{count + 1}", real=True) for s, count in ((s_p, positives), (s_n, negatives))]
    cosines = {s: of_cosine.subs(s_p, s) for side in sides for s in side}
    changed = {s: cosine for s, cosine in cosines.items() if s != cosine}
    if loss.reads_carried:
        changed |= {carried_by(s): number for side, number in zip(sides, CARRIED.values(), strict=True) for s in side}
    by_cosine = [
        weight.xreplace(changed) * slope(cosines[s], s)
        for side, weights in zip(sides, loss.weights(*sides), strict=True)
        for s, weight in zip(side, weights, strict=True)
    ]
    formula: Any = compiled(by_cosine, [*cosines, *(h.symbol for h in loss.hyperparameters)], NUMPY)
    return formula
