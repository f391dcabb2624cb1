"""Miners and directions as text: a name, and numbers after a colon, such as ``softmax:6,12``."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

from goal_analysis.declarations import number_of, number_text
from goal_analysis.numeric.mining import MINERS, Miner, Softmax, miner
from goal_analysis.numeric.similarity import Direction, direction, direction_regularized


def mining_of(text: str) -> Miner:
    """The miner of a text.

    Args:
        text: a miner's name, and after a colon its numbers in the order of its class, as many as are not to be at their
            defaults: ``hardest``, ``top_k:5``, ``semi_hard:0.2``, ``softmax:6,12`` for β⁺ and β⁻. One number of
            ``softmax`` is both.

    Raises:
        ValueError: an unknown name, more numbers than the miner has, or a number that it does not accept.

    >>> mining_of("softmax:12")
    Softmax(positive_scale=12.0, negative_scale=12.0)
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    known = miner(name)
    accepted = _numbers(known)
    texts = rest.split(",") if colon else []
    if len(texts) > len(accepted):
        expected = f"up to {len(accepted)}: {', '.join(accepted)}" if accepted else "none"
        raise ValueError(f"miner {name}: got {len(texts)} numbers in {text!r} but expected {expected}")
    try:
        numbers = [number_of(text) for text in texts]
    except ValueError as problem:
        raise ValueError(f"miner {name}: {problem}") from None
    if isinstance(known, Softmax) and len(numbers) == 1:
        numbers *= 2
    given = dict(zip(accepted, numbers, strict=False))
    for field, value in given.items():
        if isinstance(accepted[field], int):
            if value != int(value):
                raise ValueError(f"miner {name}: {field}: got {number_text(value)} but expected a whole number")
            given[field] = int(value)
    return type(known)(**given)  # pyright: ignore[reportCallIssue]


def mining_text(mining: Miner) -> str:
    """The text that `mining_of` reads as this miner; a source of randomness is not written.

    Raises:
        ValueError: a miner that is not one of `goal_analysis.numeric.mining.MINERS`.
    """
    if type(mining) not in map(type, MINERS):
        known = ", ".join(m.name for m in MINERS)
        raise ValueError(f"mining: got {mining!r} but expected one of {known}: others have no text")
    numbers = list(_numbers(mining).values())
    if isinstance(mining, Softmax) and mining.positive_scale == mining.negative_scale:
        numbers = numbers[:1]
    return ":".join([mining.name, *([",".join(map(number_text, numbers))] if numbers else [])])


def direction_of(text: str) -> Direction:
    """The direction of a text: its name, and after a colon the strength of the regularised one.

    Raises:
        ValueError: an unknown name, or a number that is not accepted.

    >>> direction_of("direction_regularized:0.5").name
    'direction_regularized'
    """
    name, colon, strength = (part.strip() for part in text.partition(":"))
    found = direction(name)
    if not colon:
        return found
    if not isinstance(found.gradients, partial):
        raise ValueError(f"direction {name}: got the number {strength!r} but expected none")
    return direction_regularized(number_of(strength))


def direction_text(direction: Direction) -> str:
    """The text that `direction_of` reads as this direction.

    Raises:
        ValueError: a direction that is not one of `goal_analysis.numeric.similarity.DIRECTIONS`.
    """
    strength = direction.gradients.args if isinstance(direction.gradients, partial) else ()
    text = ":".join([direction.name, *map(number_text, strength)])
    if direction_of(text).formula != direction.formula:
        raise ValueError(f"direction: got {direction.name!r} but expected one of `DIRECTIONS`: others have no text")
    return text


def _numbers(mining: Miner) -> dict[str, Any]:
    """What a miner is constructed from, its source of randomness left out."""
    names = [f.name for f in fields(mining)]  # pyright: ignore[reportArgumentType]
    return {name: getattr(mining, name) for name in names if name != "generator"}
