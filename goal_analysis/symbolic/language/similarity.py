"""What s measures on unit vectors, and the similarities of other pairs of the batch that a weight may read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from goal_analysis.declarations import Choice
from goal_analysis.symbolic.language.primitives import s_n, s_p


@dataclass(frozen=True)
class Similarity:
    """A similarity of two unit vectors: larger is more alike.

    Args:
        name: an identifier.
        formula: the similarity in words of the embeddings.
        opposite: the lower end of its range, its value for opposite unit vectors; −oo where it has no lower end.
        identical: the upper end of its range, its value for identical unit vectors; oo where it has no upper end.
        tensors: for a similarity that is not one of this file's, a function of X and Y that returns their scores, shape
            ``(rows, columns)``, differentiable.
    """

    name: str
    formula: str
    opposite: sp.Expr
    identical: sp.Expr
    tensors: Any = field(default=None, compare=False)

    @property
    def region(self) -> dict[sp.Symbol, tuple[sp.Expr, sp.Expr]]:
        """Between which numbers, which may be infinite, the similarities lie: those of a triplet and of other pairs."""
        return dict.fromkeys(READ, (self.opposite, self.identical))

    @property
    def window(self) -> tuple[sp.Expr, sp.Expr]:
        """Where weights are tried and drawn: the whole range, or a stretch of 8 of a range without an end."""
        low, high = self.opposite, self.identical
        if not low.is_finite and not high.is_finite:
            return sp.Integer(-4), sp.Integer(4)
        return (low if low.is_finite else high - 8), (high if high.is_finite else low + 8)


COSINE = Similarity("cosine", "cos(a, b)", sp.Integer(-1), sp.Integer(1))
DOT = Similarity("dot", "a·b", -sp.oo, sp.oo)
NEGATIVE_SQUARED_EUCLIDEAN = Similarity("negative_squared_euclidean", "−‖a − b‖²", sp.Integer(-4), sp.Integer(0))
NEGATIVE_EUCLIDEAN = Similarity("negative_euclidean", "−‖a − b‖", sp.Integer(-2), sp.Integer(0))
OF_COSINE = {
    COSINE: (s_p, s_p),
    DOT: (s_p, s_p),
    NEGATIVE_SQUARED_EUCLIDEAN: (2 * s_p - 2, 1 + s_p / 2),
    NEGATIVE_EUCLIDEAN: (-sp.sqrt(2 - 2 * s_p), 1 - s_p**2 / 2),
}
"""Of unit vectors, every similarity by their cosine, and the cosine by it; what either is a function of is s_p."""
SIMILARITIES = tuple(OF_COSINE)


other_positive = sp.Symbol("o_p", real=True)
"""The similarity of another anchor of the batch and its positive."""

other_negative = sp.Symbol("o_n", real=True)
"""The similarity of the anchor and another of its negatives."""

least_positive = sp.Symbol("l_p", real=True)
"""The smallest similarity of an anchor of the batch and its positive."""

READ = (s_p, s_n, other_positive, other_negative, least_positive)
"""What contributions and memberships of relative similarities read, in this order."""


class Counting(Choice):
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

    def map(self, change: Callable[[sp.Expr], sp.Expr]) -> RelativeSimilarity:
        """The same with its formulas changed."""
        return replace(self, contribution=change(self.contribution), member=change(self.member))
