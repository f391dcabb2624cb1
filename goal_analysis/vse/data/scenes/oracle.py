"""How far a model that knew the scenes themselves could get: the ceiling of retrieval on scenes."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float64, Int64

from goal_analysis.vse.data.scenes.wording import RELATIONS, Said
from goal_analysis.vse.data.scenes.world import ABSENT, ATTRIBUTES, SHAPE

GAINS = np.log([len(values) for values in ATTRIBUTES.values()])
"""What a claim that holds says for an image: the logarithm of the number of values, by attribute."""
DOUBT = 0.001
"""The least probability of a false claim that is reckoned with."""


def fit(
    scenes: Int64[np.ndarray, "scenes things attributes"], said: Said, noise: float | int
) -> Float64[np.ndarray, " scenes"]:
    """How well a caption fits each scene: Σ gain over claims that hold + Σ log(noise) over those that do not.

    Of all ways to say which thing is meant by which mention the best counts. Of captions that are true of a scene, the
    one that says more fits better.

    Args:
        scenes: shape ``(scenes, things, 6)``.
        said: what the caption claims.
        noise: the probability of a false claim.
    """
    loss = float(np.log(max(float(noise), DOUBT)))
    claimed = said.mentions != ABSENT
    holds = said.mentions[None, :, None] == scenes[:, None]  # (scenes, mentions, things, attributes)
    fits = np.where(claimed[None, :, None], np.where(holds, GAINS, loss), 0.0).sum(-1)
    # A mention without a thing: every claim is false, and so is that there is something.
    nothing = loss * (claimed.sum(1) + 1)
    there = scenes[:, :, SHAPE] != ABSENT
    fits = np.where(there[:, None], fits, nothing[None, :, None])
    mentions, things = len(said.mentions), scenes.shape[1]
    best = np.full(len(scenes), -np.inf)
    if mentions > things:
        fits = np.concatenate([fits, np.broadcast_to(nothing[None, :, None], (len(scenes), mentions, mentions))], 2)
    for meant in itertools.permutations(range(fits.shape[2]), mentions):
        total = fits[:, range(mentions), meant].sum(1)
        if said.relation is not None:
            total = total + _related(scenes, meant, said.relation, there, loss)
        best = np.maximum(best, total)
    if said.things is not None:
        best += np.where(there.sum(1) == said.things, np.log(max(things, 2)), loss)
    return best


def _related(
    scenes: Int64[np.ndarray, "scenes things attributes"],
    meant: tuple[int, ...],
    relation: int,
    there: np.ndarray,
    loss: float,
) -> Float64[np.ndarray, " scenes"]:
    axis, sign, _ = RELATIONS[relation]
    first, second = meant[:2]
    if max(first, second) >= scenes.shape[1]:
        return np.full(len(scenes), loss)
    holds = np.sign(scenes[:, first, axis] - scenes[:, second, axis]) == sign
    return np.where(holds & there[:, first] & there[:, second], np.log(2), loss)
