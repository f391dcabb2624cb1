"""Numbers from text: decimals and fractions, never evaluated and never huge."""

from __future__ import annotations

import math
import re

_DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_NUMBER = re.compile(rf"\s*({_DECIMAL})\s*(?:/\s*({_DECIMAL})\s*)?")

MAX_CHARACTERS = 60
"""Characters of a number."""


def number_of(text: str) -> float:
    """The finite number that a text says.

    Args:
        text: a decimal such as ``-0.2`` or ``1e-3``, or a quotient of two such as ``1/3``.

    Raises:
        ValueError: the text is no such number.

    >>> number_of("1/8"), number_of("12")
    (0.125, 12.0)
    """
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    over, under = (float(match[1]), float(match[2] or 1)) if match else (math.nan, 1.0)
    if under == 0 or not math.isfinite(over / under):
        raise ValueError(f"got {text[:MAX_CHARACTERS]!r} but expected a finite number such as 12, 0.2 or 1/3")
    return over / under


def number_text(value: float) -> str:
    """The shortest text that `number_of` reads as this number.

    >>> number_text(12.0), number_text(1 / 3)
    ('12', '0.3333333333333333')
    """
    return repr(float(value)).removesuffix(".0")
