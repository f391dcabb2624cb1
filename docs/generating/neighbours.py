"""Which losses of the catalog come nearest to each other, with which hyperparameters.

The weights of one anchor with two positives and three negatives are compared at random cosines, as
`goal_analysis.numeric.measurement.nearest` compares those of batches: the distance leaves out the best factor,

    min_k ‖w − k·ŵ‖/‖w‖        (0: the same up to a factor; 1: nothing in common)

and the hyperparameters of the other loss are fitted. Those of the loss itself stay at their defaults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from goal_analysis.cli.kept import kept
from goal_analysis.numeric.measurement.nearest import ROUGH_STEP, ROUNDED, Neighbour, Target, weights_by_cosine
from goal_analysis.symbolic.objective import Objective

POSITIVES, NEGATIVES = 2, 3
POINTS, ROUGHLY = 240, 40  # random points that losses are fitted at, and to find out which ones come near
REACH = 0.95  # cosines are between −0.95 and 0.95: some weights have poles at the ends
CLOSEST, NAMED = 5, 3  # so many losses are fitted well, and named


@lru_cache(maxsize=1)
def cosines() -> np.ndarray:
    """Random cosines of an anchor with its positives and its negatives, shape ``(points, pairs)``."""
    return np.random.default_rng(0).uniform(-REACH, REACH, (POINTS, POSITIVES + NEGATIVES))


def weights_at(loss: Objective, settings: Sequence[float], at: np.ndarray) -> np.ndarray:
    """−w⁺ of every positive and w⁻ of every negative, shape ``(points, pairs)``.

    Args:
        loss: whose.
        settings: its hyperparameters, in order.
        at: the cosines, shape ``(points, pairs)``.
    """
    found = weights_by_cosine(loss, POSITIVES, NEGATIVES)(*at.T, *settings)
    signed = [np.broadcast_to(-w if k < POSITIVES else w, len(at)) for k, w in enumerate(found)]
    return np.stack(signed, 1)


def nearest_in(loss: Objective, losses: Sequence[Objective]) -> list[Neighbour]:
    """The other losses that come nearest, the nearest first.

    Args:
        loss: which.
        losses: what to compare with; of losses that are alike those with fewer hyperparameters come first.
    """
    at, pairs = cosines(), POSITIVES + NEGATIVES
    wanted = weights_at(loss, [float(h.default) for h in loss.hyperparameters], at)
    usable = np.isfinite(wanted).all(1)
    # One anchor, vector 0, whose pairs are the vectors after it; every pair is a sum by itself.
    similarities = np.zeros((int(usable.sum()), pairs + 1, pairs + 1))
    similarities[:, 0, 1:] = at[usable]
    sums = np.zeros((pairs + 1, pairs + 1, pairs))
    sums[0, 1:] = np.eye(pairs)
    sides = np.zeros((1, 2, pairs + 1, pairs + 1), bool)
    sides[0, 0, 0, 1 : POSITIVES + 1] = sides[0, 1, 0, POSITIVES + 1 :] = True
    target = Target("distance", similarities, wanted[usable], sums, {"": sides}, len(similarities))
    tried = [Neighbour(other) for other in losses if other.name != loss.name]
    roughly = [target.fitted(n, POINTS // ROUGHLY, last=ROUGH_STEP, polished=False) for n in tried]
    close = sorted((n for n in roughly if not n.problem), key=_rank)[:CLOSEST]
    return sorted((n for n in map(target.fitted, close) if not n.problem and not n.degenerate), key=_rank)


def neighbours(loss: Objective, losses: Sequence[Objective]) -> list[dict[str, Any]]:
    """The nearest losses as records, kept on disk for as long as the sources are the same.

    The keys are ``name``, ``text`` (the loss with its hyperparameters, and the factor), ``settings`` and ``distance``.
    """

    def found() -> list[dict[str, Any]]:
        return [
            {
                "name": near.loss.name,
                "text": near.in_words.partition(", distance")[0],
                "settings": near.settings,
                "distance": near.distance if near.distance > ROUNDED else 0.0,
            }
            for near in nearest_in(loss, losses)[:NAMED]
        ]

    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return kept(found, "neighbours", own, loss.name, [other.name for other in losses])


def _rank(near: Neighbour) -> tuple[float, int]:
    return round(near.distance / ROUNDED), len(near.settings)
