"""Scenes made by the program: small pictures of coloured shapes, with five captions each that tell a part of it.

Many images share most of what a caption says, so near misses abound, and a caption often fits more than one image. How
far one can get is known: `oracle_scores` ranks by the scenes themselves.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from goal_analysis.vse.data.images import Rows
from goal_analysis.vse.data.scenes.wording import RELATIONS, Said, describe
from goal_analysis.vse.data.scenes.world import ABSENT, ATTRIBUTES, SHAPE, make_scenes, render
from goal_analysis.vse.data.split import ArrayImages, ChosenImages, DataError, Images, RetrievalData, Split

__all__ = ["SceneImages", "load_scenes", "oracle_scores"]

CAPTIONS = 5
ATTEMPTS = 20


@dataclass(frozen=True, eq=False)
class SceneImages:
    """Pictures of scenes, with what is in them and what their captions claim; ``noise`` of the claims is false."""

    pictures: ArrayImages
    scenes: Int64[np.ndarray, "images things attributes"]
    said: tuple[tuple[Said, ...], ...]
    noise: float | int

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, 3, 64, 64)``."""
        return self.pictures.shape

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, rows: Rows) -> Float32[Tensor, "batch 3 64 64"]:
        """These pictures, from 0 to 1; see `Images`."""
        return self.pictures.batch(rows)

    def fingerprint(self) -> str:
        """A hash of the pictures."""
        return self.pictures.fingerprint()


def load_scenes(
    source: str | Path = "scenes",
    *,
    skip_bad: bool = False,
    train: int = 3000,
    dev: int = 500,
    test: int = 500,
    objects: int = 4,
    completeness: float | int = 0.6,
    noise: float | int = 0.02,
    seed: int = 0,
) -> RetrievalData:
    """Make scenes, their pictures and five captions of each; the same at every call.

    A scene has one to ``objects`` things, 1 to 6; the more, the more a caption leaves out. ``completeness`` in (0, 1]
    is the share of things and attributes that a caption tells, ``noise`` in [0, 1) which share of it is false. The
    images of a split do not depend on the number in another. No row is bad, so ``skip_bad`` has no effect.
    """
    for name, value, low, high in (
        ("train", train, 1, 10**6),
        ("dev", dev, 1, 10**6),
        ("test", test, 1, 10**6),
        ("objects", objects, 1, 6),
        ("seed", seed, 0, 2**63),
    ):
        if not low <= value <= high:
            raise DataError(f"scenes: {name}: got {value} but expected a whole number from {low} to {high}")
    if not 0 < completeness <= 1:
        raise DataError(f"scenes: completeness: got {completeness} but expected a number in (0, 1]")
    if not 0 <= noise < 1:
        raise DataError(f"scenes: noise: got {noise} but expected a number in [0, 1)")
    splits = (
        _split(name, count, objects, completeness, noise, np.random.default_rng([seed, number]))
        for number, (name, count) in enumerate((("train", train), ("dev", dev), ("test", test)))
    )
    return RetrievalData(str(source), *splits)


def _split(
    name: str, count: int, objects: int, completeness: float | int, noise: float | int, rng: np.random.Generator
) -> Split:
    # Three streams, so that a picture does not depend on how its scene is described.
    worlds, shades, words = rng.spawn(3)
    scenes = make_scenes(count, objects, worlds)
    pictures = ArrayImages(render(scenes, shades), f"scenes {name}")
    captions, said = [], []
    for scene in scenes:
        told: dict[str, Said] = {}
        for attempt in range(ATTEMPTS * CAPTIONS):
            text, claims = describe(scene, completeness, noise, words)
            # The same words again only where a scene does not give five different captions.
            if text not in told or attempt >= ATTEMPTS * CAPTIONS - CAPTIONS:
                told[text] = claims
            if len(told) == CAPTIONS:
                break
        texts = [*told][:CAPTIONS] + [next(iter(told))] * (CAPTIONS - len(told))
        captions += texts
        said.append(tuple(told[text] for text in texts))
    image_of = np.arange(count * CAPTIONS) // CAPTIONS
    return Split(name, SceneImages(pictures, scenes, tuple(said), noise), tuple(captions), image_of)


def oracle_scores(split: Split) -> Float64[np.ndarray, "images captions"]:
    """How well each caption fits the truth of each image of scenes: the most that retrieval can know.

    As captions tell only a part, and some of it false, even these scores do not rank every pair first.
    """
    images, rows = _scenes_of(split.images, np.arange(len(split.images)))
    said = [claims for row in rows.tolist() for claims in images.said[row]]
    scenes = images.scenes[rows]
    return np.stack([fit(scenes, claims, images.noise) for claims in said], 1)


def _scenes_of(images: Images, rows: Int64[np.ndarray, " rows"]) -> tuple[SceneImages, Int64[np.ndarray, " rows"]]:
    while isinstance(images, ChosenImages):
        images, rows = images.images, images.rows[rows]
    if not isinstance(images, SceneImages):
        raise DataError(f"oracle_scores: got {type(images).__name__} but expected the images of scenes")
    return images, rows


GAINS = np.log([len(values) for values in ATTRIBUTES.values()])  # what a claim that holds says, by attribute
DOUBT = 0.001  # the least probability of a false claim that is reckoned with


def fit(
    scenes: Int64[np.ndarray, "scenes things attributes"], said: Said, noise: float | int
) -> Float64[np.ndarray, " scenes"]:
    """How well a caption fits each scene: Σ gain over claims that hold + Σ log(noise) over those that do not.

    Of all ways to say which thing is meant by which mention the best counts. Of captions that are true of a scene, the
    one that says more fits better.
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
