"""Relative similarities: what a weight reads from other pairs of the batch besides its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import sympy as sp

other_positive = sp.Symbol("o_p", real=True)
"""The similarity of another anchor of the batch and its positive."""

other_negative = sp.Symbol("o_n", real=True)
"""The similarity of the anchor and another of its negatives."""

least_positive = sp.Symbol("l_p", real=True)
"""The smallest similarity of an anchor of the batch and its positive."""


class Counting(Enum):
    """Which members a mean divides by."""

    ALL = "all members"
    NONZERO = "members with a contribution other than zero"
    POSITIVE = "members with a contribution above zero"


@dataclass(frozen=True, kw_only=True)
class RelativeSimilarity:
    """A mean over other pairs of the batch, which a weight reads besides its own pair; zero over no members.

    Args:
        symbol: how the weight's formula calls it.
        contribution: what one other pair adds, an expression of the own similarity and of ``other``.
        other: `other_positive` or `other_negative`.
        member: the other pair belongs to the mean where this is at least zero.
        counting: what the mean divides by; what is not counted is not summed.
    """

    symbol: sp.Symbol
    contribution: sp.Expr
    other: sp.Symbol
    member: sp.Expr
    counting: Counting = Counting.ALL
