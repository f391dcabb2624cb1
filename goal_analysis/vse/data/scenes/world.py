"""What there is in a scene: one to four things, each with a shape, a colour, a size, a texture and a place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "crescent"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black"),
    "size": ("small", "large"),
    "texture": ("plain", "striped", "dotted", "checkered"),
    "row": ("top", "middle", "bottom"),
    "column": ("left", "middle", "right"),
}
"""What a thing has, with the values there are. A thing is written as their numbers, in this order."""

ABSENT = -1
"""Stands for a thing that is not there, and for an attribute of which nothing is said."""

SHAPE, COLOUR, SIZE, TEXTURE, ROW, COLUMN = range(len(ATTRIBUTES))


def make_scenes(count: int, most: int, rng: np.random.Generator) -> Int64[np.ndarray, "scenes things attributes"]:
    """Scenes of one to so many things in different places, all numbers equally likely.

    >>> make_scenes(1, 2, np.random.default_rng(1))[0].tolist()
    [[4, 7, 1, 0, 2, 1], [-1, -1, -1, -1, -1, -1]]

    Args:
        count: how many scenes.
        most: the most things in one, 1 to 9.
        rng: the source of randomness.

    Returns:
        shape ``(scenes, most, 6)``; the rows after a scene's last thing are `ABSENT`.
    """
    found = np.full((count, most, len(ATTRIBUTES)), ABSENT, dtype=np.int64)
    choices = [len(values) for values in ATTRIBUTES.values()][:ROW]
    for scene in found:
        things = int(rng.integers(1, most + 1))
        scene[:things, :ROW] = rng.integers(0, choices, (things, ROW))
        scene[:things, ROW], scene[:things, COLUMN] = np.divmod(rng.permutation(9)[:things], 3)
    return found
