"""Scenes and their pictures: what there is in a scene, and 64 × 64 pixels on which it is drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "crescent"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black"),
    "size": ("small", "large"),
    "texture": ("plain", "striped", "dotted", "checkered"),
    "row": ("top", "middle", "bottom"),
    "column": ("left", "middle", "right"),
}
"""What a thing has, with the values there are. A thing is written as their numbers, in this order."""

ABSENT = -1  # stands for a thing that is not there, and for an attribute of which nothing is said

SHAPE, COLOUR, SIZE, TEXTURE, ROW, COLUMN = range(len(ATTRIBUTES))


def make_scenes(count: int, most: int, rng: np.random.Generator) -> Int64[np.ndarray, "scenes things attributes"]:
    """Scenes of one to ``most`` things in different places, all numbers equally likely; rows behind a scene's last
    thing are `ABSENT`.

    >>> make_scenes(1, 2, np.random.default_rng(1))[0].tolist()
    [[4, 7, 1, 0, 2, 1], [-1, -1, -1, -1, -1, -1]]
    """
    found = np.full((count, most, len(ATTRIBUTES)), ABSENT, dtype=np.int64)
    choices = [len(values) for values in ATTRIBUTES.values()][:ROW]
    for scene in found:
        things = int(rng.integers(1, most + 1))
        scene[:things, :ROW] = rng.integers(0, choices, (things, ROW))
        scene[:things, ROW], scene[:things, COLUMN] = np.divmod(rng.permutation(9)[:things], 3)
    return found


SIDE = 64
SAMPLES = 2  # points a pixel, in each direction

Plane = Float64[np.ndarray, "height width"]
Inside = Bool[np.ndarray, "height width"]

COLOURS = {
    "red": (0.85, 0.10, 0.10),
    "orange": (1.00, 0.52, 0.05),
    "yellow": (0.98, 0.90, 0.15),
    "green": (0.10, 0.60, 0.15),
    "cyan": (0.20, 0.85, 0.90),
    "blue": (0.12, 0.20, 0.80),
    "purple": (0.48, 0.12, 0.62),
    "pink": (0.98, 0.55, 0.75),
    "white": (0.97, 0.97, 0.97),
    "black": (0.06, 0.06, 0.06),
}


def _star(x: Plane, y: Plane) -> Inside:
    angle = np.arctan2(x, -y) % (2 * np.pi / 5)
    # The edge from a tip at radius 1 to the notch at radius 0.42, a tenth of a turn further.
    off = np.minimum(angle, 2 * np.pi / 5 - angle)
    tenth, notch = np.pi / 5, 0.42
    edge = notch * np.sin(tenth) / (np.sin(off) * (1 - notch * np.cos(tenth)) + notch * np.sin(tenth) * np.cos(off))
    return np.hypot(x, y) <= edge


SHAPES: dict[str, Callable[[Plane, Plane], Inside]] = {
    "circle": lambda x, y: np.hypot(x, y) <= 0.92,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.80,
    "triangle": lambda x, y: (y <= 0.75) & (np.abs(x) <= 0.56 * (y + 0.95)),
    "diamond": lambda x, y: np.abs(x) * 1.35 + np.abs(y) <= 1,
    "star": _star,
    "cross": lambda x, y: (np.minimum(np.abs(x), np.abs(y)) <= 0.28) & (np.maximum(np.abs(x), np.abs(y)) <= 0.92),
    "ring": lambda x, y: (np.hypot(x, y) <= 0.95) & (np.hypot(x, y) >= 0.55),
    "crescent": lambda x, y: (np.hypot(x, y) <= 0.95) & (np.hypot(x - 0.45, y) >= 0.78),
}

TEXTURES: dict[str, Callable[[Plane, Plane], Inside]] = {
    "plain": lambda x, y: np.zeros_like(x, dtype=bool),
    "striped": lambda x, y: (x + y) % 5 < 2.2,
    "dotted": lambda x, y: np.hypot(x % 4 - 2, y % 4 - 2) <= 1.25,
    "checkered": lambda x, y: (x // 3 + y // 3) % 2 < 1,
}


def render(
    scenes: Int64[np.ndarray, "scenes things attributes"], rng: np.random.Generator
) -> UInt8[np.ndarray, "scenes 3 64 64"]:
    """A picture of each scene; what a scene leaves open (shade, exact place, tilt) is drawn at random."""
    found = np.empty((len(scenes), 3, SIDE, SIDE), dtype=np.uint8)
    for picture, scene in zip(found, scenes, strict=True):
        canvas = _ground(rng)
        for thing in scene:
            if thing[SHAPE] != ABSENT:
                _draw(canvas, thing, rng)
        canvas += rng.normal(0, 0.02, canvas.shape)
        picture[:] = np.rint(canvas.clip(0, 1) * 255)
    return found


def _ground(rng: np.random.Generator) -> Float64[np.ndarray, "3 64 64"]:
    across = np.linspace(-1, 1, SIDE)
    slope = rng.uniform(-0.08, 0.08, (3, 2, 1, 1))
    tint = rng.uniform(0.38, 0.68) + rng.uniform(-0.03, 0.03, (3, 1, 1))
    return tint + slope[:, 0] * across + slope[:, 1] * across[:, None]


def _draw(
    canvas: Float64[np.ndarray, "3 64 64"], thing: Int64[np.ndarray, " attributes"], rng: np.random.Generator
) -> None:
    shape, colour, texture = (
        tuple(ATTRIBUTES[name])[thing[number]]
        for name, number in (("shape", SHAPE), ("colour", COLOUR), ("texture", TEXTURE))
    )
    middle_x, middle_y = (12 + 20 * thing[axis] + rng.uniform(-2, 2) for axis in (COLUMN, ROW))
    radius = rng.uniform(5.2, 6.2) if thing[SIZE] == 0 else rng.uniform(9.2, 10.5)
    left, right, top, bottom = (
        int(np.clip(edge, 0, SIDE))
        for edge in (middle_x - radius - 1, middle_x + radius + 2, middle_y - radius - 1, middle_y + radius + 2)
    )
    x = left + (np.arange((right - left) * SAMPLES) + 0.5) / SAMPLES - middle_x
    y = top + (np.arange((bottom - top) * SAMPLES) + 0.5) / SAMPLES - middle_y
    x, y = np.meshgrid(x, y)
    tilt = rng.uniform(-0.15, 0.15)
    x, y = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    inside = SHAPES[shape](x / radius, y / radius)
    marked = TEXTURES[texture](x + 40, y + 40)
    plain = np.clip(np.array(COLOURS[colour]) + rng.uniform(-0.05, 0.05, 3), 0, 1)
    # Marks are darker, and lighter on what is dark already.
    mark = 0.45 * plain if plain.mean() > 0.3 else 0.45 * plain + 0.55
    paint = np.where(marked, mark[:, None, None], plain[:, None, None]) * inside
    blocks = (3, bottom - top, SAMPLES, right - left, SAMPLES)
    share = inside.reshape(blocks[1:]).mean((1, 3))
    area = canvas[:, top:bottom, left:right]
    area *= 1 - share
    area += paint.reshape(blocks).mean((2, 4))
