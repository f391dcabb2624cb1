"""Which known losses have the weights that were measured, with which hyperparameters?

The distance of a loss is that of its weights (w⁺, w⁻) from the measured ones over the plane, up to one
positive factor k that is common to both and is the best possible:

    min_k ‖w − k·ŵ‖/‖w‖        (0: the same up to scale; 1: nothing in common)

Losses are fitted one by one (`fitting`). Several that come to the same weights on a triplet, and differ only
on whole batches, are ties: one triplet cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import sympy as sp
import torch

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.numeric.measurement.fitting import best_factor, fit
from goal_analysis.numeric.measurement.measured_weights import Measurement
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import SymbolicLoss
from goal_analysis.symbolic.proof.evaluation import UnsupportedFunction
from goal_analysis.symbolic.proof.identity import Undecided

TIE = 1e-6
"""Losses whose fitted weights are closer than this to each other are ties."""

OF_COSINE = {
    COSINE: lambda s: s,
    DOT: lambda s: s,
    NEGATIVE_SQUARED_EUCLIDEAN: lambda s: 2 * s - 2,
    NEGATIVE_EUCLIDEAN: lambda s: -sp.sqrt(2 - 2 * s),
}
"""Every similarity of unit vectors as a function of their cosine, which is what measurements are made
over."""


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

    loss: SymbolicLoss
    settings: dict[str, float]
    factor: float
    distance: float
    ties: tuple[str, ...]
    weights: np.ndarray

    def __repr__(self) -> str:
        fitted = ", ".join(f"{name}={value:.6g}" for name, value in self.settings.items())
        also = f", the same as {', '.join(self.ties)}" if self.ties else ""
        return f"Neighbour({self.factor:.4g} × {self.loss.name}({fitted}), distance {self.distance:.2g}{also})"


def nearest(measurement: Measurement, losses: Sequence[SymbolicLoss]) -> tuple[Neighbour, ...]:
    """The losses by their distance from a measurement; of ties, first that with the fewest knobs.

    Args:
        measurement: the weights.
        losses: what to try; one whose weights cannot be derived or computed is left out.

    Raises:
        ValueError: no weights were measured, or no losses were given.

    >>> import torch
    >>> from goal_analysis.numeric.measurement.measuring import measure
    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
    >>> from goal_analysis.symbolic.objective import Term
    >>> from goal_analysis.symbolic.language.primitives import gap, softplus
    >>> scale = Hyperparameter("scale", 1, positive)
    >>> term = Term(outer=softplus(gap), positives=EACH(scale.symbol * s_p), negatives=EACH(scale.symbol * s_n))
    >>> ours = SymbolicLoss(name="soft_margin", title="Softmax margin", terms=(term,), hyperparameters=(scale,))
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
    return tuple(sorted(tied, key=lambda n: (_rounded(n.distance), len(n.settings), n.loss.name)))


def _rounded(distance: float) -> float:
    """Distances that only rounding tells apart are one, so that fewer knobs come first."""
    return round(distance / TIE) * TIE


def _tie(one: Neighbour, other: Neighbour) -> bool:
    size = np.linalg.norm(one.weights)
    return bool(size > 0 and np.linalg.norm(one.weights - other.weights) <= TIE * size)


def _fitted(loss: SymbolicLoss, at: Sequence[np.ndarray], target: np.ndarray) -> Neighbour | None:
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


def _over_cosines(loss: SymbolicLoss) -> list[sp.Expr]:
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
