"""Scenes made by the program: small pictures of coloured shapes; a caption tells a part, and may fit several images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Bool, Float64, Int64, UInt8

from goal_analysis.declarations import Words
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split

CAPTIONS = 5
Count = Annotated[int, Ge(1), Le(10**6)]  # of the images of a split
ATTEMPTS = 20

SIDE = 64
SAMPLES = 2  # points a pixel, in each direction

Plane = Float64[np.ndarray, "height width"]
Inside = Bool[np.ndarray, "height width"]


def _star(x: Plane, y: Plane) -> Inside:
    angle = np.arctan2(x, -y) % (2 * np.pi / 5)
    # The edge from a tip at radius 1 to the notch at radius 0.42, a tenth of a turn further.
    off = np.minimum(angle, 2 * np.pi / 5 - angle)
    tenth, notch = np.pi / 5, 0.42
    edge = notch * np.sin(tenth) / (np.sin(off) * (1 - notch * np.cos(tenth)) + notch * np.sin(tenth) * np.cos(off))
    return np.hypot(x, y) <= edge


def _cross(x: Plane, y: Plane) -> Inside:
    return (np.minimum(np.abs(x), np.abs(y)) <= 0.28) & (np.maximum(np.abs(x), np.abs(y)) <= 0.92)


# How every value is drawn, and what it is called besides.
SHAPES: dict[str, tuple[Callable[[Plane, Plane], Inside], tuple[str, ...]]] = {
    "circle": (lambda x, y: np.hypot(x, y) <= 0.92, ("disc", "round shape")),
    "square": (lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.80, ("box", "block")),
    "triangle": (lambda x, y: (y <= 0.75) & (np.abs(x) <= 0.56 * (y + 0.95)), ("wedge", "three-sided shape")),
    "diamond": (lambda x, y: np.abs(x) * 1.35 + np.abs(y) <= 1, ("rhombus", "lozenge")),
    "star": (_star, ("starlet", "five-pointed shape")),
    "cross": (_cross, ("plus", "plus sign")),
    "ring": (lambda x, y: (np.hypot(x, y) <= 0.95) & (np.hypot(x, y) >= 0.55), ("hoop", "loop")),
    "crescent": (lambda x, y: (np.hypot(x, y) <= 0.95) & (np.hypot(x - 0.45, y) >= 0.78), ("moon", "sickle")),
}
COLOURS = {
    "red": ((0.85, 0.10, 0.10), ("crimson", "scarlet")),
    "orange": ((1.00, 0.52, 0.05), ("tangerine", "amber")),
    "yellow": ((0.98, 0.90, 0.15), ("golden", "lemon")),
    "green": ((0.10, 0.60, 0.15), ("emerald", "grassy")),
    "cyan": ((0.20, 0.85, 0.90), ("turquoise", "aqua")),
    "blue": ((0.12, 0.20, 0.80), ("navy", "cobalt")),
    "purple": ((0.48, 0.12, 0.62), ("violet", "plum")),
    "pink": ((0.98, 0.55, 0.75), ("rosy", "salmon")),
    "white": ((0.97, 0.97, 0.97), ("snowy", "ivory")),
    "black": ((0.06, 0.06, 0.06), ("jet", "ebony")),
}
RADII = {"small": ((5.2, 6.2), ("little", "tiny")), "large": ((9.2, 10.5), ("big", "huge"))}
TEXTURES: dict[str, tuple[Callable[[Plane, Plane], Inside], tuple[str, ...]]] = {
    "plain": (lambda x, y: np.zeros_like(x, dtype=bool), ("solid",)),
    "striped": (lambda x, y: (x + y) % 5 < 2.2, ("stripy", "lined")),
    "dotted": (lambda x, y: np.hypot(x % 4 - 2, y % 4 - 2) <= 1.25, ("spotted", "speckled")),
    "checkered": (lambda x, y: (x // 3 + y // 3) % 2 < 1, ("chequered", "checked")),
}

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    name: {value: (value, *others) for value, (_, others) in table.items()}
    for name, table in (("shape", SHAPES), ("colour", COLOURS), ("size", RADII), ("texture", TEXTURES))
}
ATTRIBUTES = {name: tuple(values) for name, values in WORDS.items()} | {
    "row": ("top", "middle", "bottom"),
    "column": ("left", "middle", "right"),
}
"""What a thing has, with the values there are. A thing is written as their numbers, in this order."""

ABSENT = -1  # stands for a thing that is not there, and for an attribute of which nothing is said

SHAPE, COLOUR, SIZE, TEXTURE, ROW, COLUMN = range(len(ATTRIBUTES))


def make_scenes(count: int, most: int, rng: np.random.Generator) -> Int64[np.ndarray, "scenes things attributes"]:
    """Scenes of one to ``most`` things in different places, all numbers equally likely; further rows are `ABSENT`."""
    found = np.full((count, most, len(ATTRIBUTES)), ABSENT, dtype=np.int64)
    choices = [len(values) for values in ATTRIBUTES.values()][:ROW]
    for scene in found:
        things = int(rng.integers(1, most + 1))
        scene[:things, :ROW] = rng.integers(0, choices, (things, ROW))
        scene[:things, ROW], scene[:things, COLUMN] = np.divmod(rng.permutation(9)[:things], 3)
    return found


def render(
    scenes: Int64[np.ndarray, "scenes things attributes"], rng: np.random.Generator
) -> UInt8[np.ndarray, "scenes 3 64 64"]:
    """A picture of each scene; what a scene leaves open (shade, exact place, tilt) is drawn at random."""
    found = np.empty((len(scenes), 3, SIDE, SIDE), dtype=np.uint8)
    for picture, scene in zip(found, scenes, strict=True):
        across, slope = np.linspace(-1, 1, SIDE), rng.uniform(-0.08, 0.08, (3, 2, 1, 1))
        tint = rng.uniform(0.38, 0.68) + rng.uniform(-0.03, 0.03, (3, 1, 1))
        canvas = tint + slope[:, 0] * across + slope[:, 1] * across[:, None]
        for thing in scene:
            if thing[SHAPE] != ABSENT:
                _draw(canvas, thing, rng)
        canvas += rng.normal(0, 0.02, canvas.shape)
        picture[:] = np.rint(canvas.clip(0, 1) * 255)
    return found


def _draw(
    canvas: Float64[np.ndarray, "3 64 64"], thing: Int64[np.ndarray, " attributes"], rng: np.random.Generator
) -> None:
    shape, colour, size, texture = (ATTRIBUTES[name][thing[number]] for number, name in enumerate(WORDS))
    middle_x, middle_y = (12 + 20 * thing[axis] + rng.uniform(-2, 2) for axis in (COLUMN, ROW))
    radius = rng.uniform(*RADII[size][0])
    left, right = np.clip((middle_x - radius - 1, middle_x + radius + 2), 0, SIDE).astype(int)
    top, bottom = np.clip((middle_y - radius - 1, middle_y + radius + 2), 0, SIDE).astype(int)
    x = left + (np.arange((right - left) * SAMPLES) + 0.5) / SAMPLES - middle_x
    y = top + (np.arange((bottom - top) * SAMPLES) + 0.5) / SAMPLES - middle_y
    x, y = np.meshgrid(x, y)
    tilt = rng.uniform(-0.15, 0.15)
    x, y = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    inside = SHAPES[shape][0](x / radius, y / radius)
    marked = TEXTURES[texture][0](x + 40, y + 40)
    plain = np.clip(np.array(COLOURS[colour][0]) + rng.uniform(-0.05, 0.05, 3), 0, 1)
    # Marks are darker, and lighter on what is dark already.
    mark = 0.45 * plain if plain.mean() > 0.3 else 0.45 * plain + 0.55
    paint = np.where(marked, mark[:, None, None], plain[:, None, None]) * inside
    blocks = (3, bottom - top, SAMPLES, right - left, SAMPLES)
    share = inside.reshape(blocks[1:]).mean((1, 3))
    area = canvas[:, top:bottom, left:right]
    area *= 1 - share
    area += paint.reshape(blocks).mean((2, 4))


ANYTHING = ("thing", "object", "figure")
ACROSS = {0: ("on the left", "at the left side"), 2: ("on the right", "at the right side")}
DOWN = {0: ("at the top", "in the upper part"), 2: ("at the bottom", "in the lower part")}
CENTRE = ("in the middle", "in the centre")
CORNER = ("in the {} {} corner", "at the {} {}")
OPENINGS = ("", "", "", "there is ", "a picture of ", "one sees ")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (COLUMN, -1, ("to the left of", "left of")),
    (COLUMN, 1, ("to the right of", "right of")),
    (ROW, -1, ("above", "over")),
    (ROW, 1, ("below", "under")),
)
"""An attribute, the sign of its difference, and how it is said of the first thing and the second."""


@dataclass(frozen=True, eq=False)
class Said:
    """What a caption claims."""

    mentions: Int64[np.ndarray, "mentions attributes"]
    relation: int | None
    things: int | None


def describe(
    scene: Int64[np.ndarray, "things attributes"],
    completeness: float | int,
    noise: float | int,
    rng: np.random.Generator,
) -> tuple[str, Said]:
    """A caption, with what it claims. ``completeness`` is the probability that a thing is spoken of, that an attribute
    is given, and half that of a count or a relation; ``noise`` that something given is false.
    """
    there = scene[scene[:, SHAPE] != ABSENT]
    chosen = rng.permutation(len(there))[: 1 + rng.binomial(len(there) - 1, completeness)]
    mentions = np.where(rng.random((len(chosen), len(ATTRIBUTES))) < completeness, there[chosen], ABSENT)
    for mention, thing in zip(mentions, there[chosen], strict=True):
        if mention[SHAPE] == ABSENT and rng.random() < completeness:
            mention[SHAPE] = thing[SHAPE]
        if (mention[:ROW] == ABSENT).all():
            mention[rng.integers(SIZE)] = ABSENT
            first = int(rng.integers(SIZE))
            mention[first] = thing[first]
        # Being in the middle is said of both directions or of none.
        if (mention[ROW:] == 1).any():
            mention[ROW:] = 1 if (thing[ROW:] == 1).all() else np.where(mention[ROW:] == 1, ABSENT, mention[ROW:])
    relation, things = None, None
    if len(chosen) > 1 and rng.random() < completeness / 2:
        axis_signs = [(axis, np.sign(there[chosen[0], axis] - there[chosen[1], axis])) for axis in (ROW, COLUMN)]
        true = [k for k, (axis, sign, _) in enumerate(RELATIONS) if (axis, sign) in axis_signs]
        relation = int(rng.choice(true))
    elif rng.random() < completeness / 2:
        things = len(there)
    for mention in mentions:
        for attribute, values in enumerate(list(ATTRIBUTES.values())[:ROW]):
            if mention[attribute] != ABSENT and rng.random() < noise:
                mention[attribute] = (mention[attribute] + rng.integers(1, len(values))) % len(values)
    said = Said(mentions, relation, things)
    return _sentence(said, rng), said


def _sentence(said: Said, rng: np.random.Generator) -> str:
    text, *others = [_phrase(mention, rng) for mention in said.mentions]
    for k, phrase in enumerate(others):
        links = RELATIONS[said.relation][2] if said.relation is not None and k == 0 else ("and", "with", "next to")
        text += f" {_pick(links, rng)} {phrase}"
    if said.things is None:
        return _pick(OPENINGS, rng) + text
    noun = _pick(ANYTHING, rng) + ("s" if said.things > 1 else "")
    link = _pick(("with", "among them"), rng) if said.things > 1 else "namely"
    return f"{NUMBERS[said.things - 1]} {noun}, {link} {text}"


def _phrase(mention: Int64[np.ndarray, " attributes"], rng: np.random.Generator) -> str:
    said = dict(zip(ATTRIBUTES, mention.tolist(), strict=True))
    words = [
        _pick(WORDS[name][ATTRIBUTES[name][said[name]]], rng)
        for name in ("size", "texture", "colour")
        if said[name] != ABSENT
    ]
    noun = ANYTHING if said["shape"] == ABSENT else WORDS["shape"][ATTRIBUTES["shape"][said["shape"]]]
    words.append(_pick(noun, rng))
    article = "an" if words[0][0] in "aeiou" else "a"
    place = _place(said["row"], said["column"], rng)
    return " ".join([article, *words, *([place] if place else [])])


def _place(row: int, column: int, rng: np.random.Generator) -> str:
    if row == column == 1:
        return _pick(CENTRE, rng)
    if row != ABSENT and column != ABSENT:
        return _pick(CORNER, rng).format(ATTRIBUTES["row"][row], ATTRIBUTES["column"][column])
    if row != ABSENT:
        return _pick(DOWN[row], rng)
    return "" if column == ABSENT else _pick(ACROSS[column], rng)


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def tell(
    scene: Int64[np.ndarray, "things attributes"],
    completeness: float | int,
    noise: float | int,
    rng: np.random.Generator,
) -> list[tuple[str, Said]]:
    """The captions of a scene, each as `describe` gives it; five different ones where the scene gives so many."""
    told: dict[str, Said] = {}
    for attempt in range(ATTEMPTS * CAPTIONS):
        text, said = describe(scene, completeness, noise, rng)
        if text not in told or attempt >= ATTEMPTS * CAPTIONS - CAPTIONS:
            told[text] = said
        if len(told) == CAPTIONS:
            break
    found = [*told.items()][:CAPTIONS]
    return found + found[:1] * (CAPTIONS - len(found))


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
    """Make scenes of one to ``objects`` things, their pictures and five captions of each; the same at every call.

    ``completeness`` is the share of things and attributes that a caption tells, ``noise`` which share of it is false.
    The images of a split do not depend on the number in another. No row is bad, so ``skip_bad`` has no effect.
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
    images = ArrayImages(render(scenes, shades), f"scenes {name}")
    captions = tuple(text for scene in scenes for text, _ in tell(scene, completeness, noise, words))
    return Split(name, images, captions, np.arange(len(captions)) // CAPTIONS)
