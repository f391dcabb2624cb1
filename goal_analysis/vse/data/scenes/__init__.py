"""Scenes made by the program: small pictures of coloured shapes, with five captions each that tell a part.

Many images share most of what a caption says, so near misses abound, and a caption often fits more than one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Int64

from goal_analysis.declarations import Words
from goal_analysis.vse.data.scenes.wording import Said, describe
from goal_analysis.vse.data.scenes.world import make_scenes, render
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split

CAPTIONS = 5
Count = Annotated[int, Ge(1), Le(10**6)]  # of the images of a split
ATTEMPTS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneImages(ArrayImages):
    """Pictures of scenes, with what is in them and what their captions claim; ``noise`` of the claims is false."""

    scenes: Int64[np.ndarray, "images things attributes"]
    said: tuple[tuple[Said, ...], ...]
    noise: float | int


def load_scenes(
    source: str | Path = "scenes",
    *,
    skip_bad: bool = False,
    train: Count = 3000,
    dev: Count = 500,
    test: Count = 500,
    objects: Annotated[int, Ge(1), Le(6)] = 4,
    completeness: Annotated[float | int, Gt(0), Le(1), Words("a number in (0, 1]")] = 0.6,
    noise: Annotated[float | int, Ge(0), Lt(1), Words("a number in [0, 1)")] = 0.02,
    seed: Annotated[int, Ge(0), Le(2**63)] = 0,
) -> RetrievalData:
    """Make scenes, their pictures and five captions of each; the same at every call.

    A scene has one to ``objects`` things, 1 to 6; the more, the more a caption leaves out. ``completeness`` in (0, 1]
    is the share of things and attributes that a caption tells, ``noise`` in [0, 1) which share of it is false. The
    images of a split do not depend on the number in another. No row is bad, so ``skip_bad`` has no effect.
    """
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
    pictures = render(scenes, shades)
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
    images = SceneImages(pictures, f"scenes {name}", scenes=scenes, said=tuple(said), noise=noise)
    return Split(name, images, tuple(captions), image_of)
