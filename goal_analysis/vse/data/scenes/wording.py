"""Captions of scenes: they name some things, and some attributes of each, in varying words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from goal_analysis.vse.data.scenes.world import ABSENT, ATTRIBUTES, COLUMN, ROW, SHAPE, SIZE

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "circle": ("circle", "disc", "round shape"),
        "square": ("square", "box", "block"),
        "triangle": ("triangle", "wedge", "three-sided shape"),
        "diamond": ("diamond", "rhombus", "lozenge"),
        "star": ("star", "starlet", "five-pointed shape"),
        "cross": ("cross", "plus", "plus sign"),
        "ring": ("ring", "hoop", "loop"),
        "crescent": ("crescent", "moon", "sickle"),
    },
    "colour": {
        "red": ("red", "crimson", "scarlet"),
        "orange": ("orange", "tangerine", "amber"),
        "yellow": ("yellow", "golden", "lemon"),
        "green": ("green", "emerald", "grassy"),
        "cyan": ("cyan", "turquoise", "aqua"),
        "blue": ("blue", "navy", "cobalt"),
        "purple": ("purple", "violet", "plum"),
        "pink": ("pink", "rosy", "salmon"),
        "white": ("white", "snowy", "ivory"),
        "black": ("black", "jet", "ebony"),
    },
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")},
    "texture": {
        "plain": ("plain", "solid"),
        "striped": ("striped", "stripy", "lined"),
        "dotted": ("dotted", "spotted", "speckled"),
        "checkered": ("checkered", "chequered", "checked"),
    },
}
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
    """A caption of a scene, with what it claims.

    ``completeness`` is the probability that a thing is spoken of, that an attribute is given, and half that the things
    are counted or related; a caption always says something. ``noise`` is the probability that something given is false.
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
    return _sentence(mentions, relation, things, rng), Said(mentions, relation, things)


def _sentence(
    mentions: Int64[np.ndarray, "mentions attributes"],
    relation: int | None,
    things: int | None,
    rng: np.random.Generator,
) -> str:
    phrases = [_phrase(mention, rng) for mention in mentions]
    text = phrases[0]
    for k, phrase in enumerate(phrases[1:]):
        if relation is not None and k == 0:
            text += f" {_pick(RELATIONS[relation][2], rng)} {phrase}"
        else:
            text += _pick((" and ", " with ", " next to "), rng) + phrase
    if things is None:
        return _pick(OPENINGS, rng) + text
    noun = _pick(ANYTHING, rng) + ("s" if things > 1 else "")
    link = _pick(("with", "among them"), rng) if things > 1 else "namely"
    return f"{NUMBERS[things - 1]} {noun}, {link} {text}"


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
