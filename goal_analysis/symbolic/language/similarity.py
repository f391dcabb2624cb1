"""What s measures on unit vectors; its gradient is the direction that a weight multiplies."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class Similarity:
    """A similarity of two unit vectors: larger is more alike.

    Args:
        name: an identifier.
        formula: the similarity in words of the embeddings.
        opposite: its value for opposite unit vectors, the lower end of its range.
        identical: its value for identical unit vectors, the upper end of its range.
    """

    name: str
    formula: str
    opposite: sp.Integer
    identical: sp.Integer

    @property
    def range(self) -> sp.Interval:
        """Its values on unit vectors."""
        return sp.Interval(self.opposite, self.identical)


COSINE = Similarity("cosine", "cos(a, b)", sp.Integer(-1), sp.Integer(1))
DOT = Similarity("dot", "a·b", sp.Integer(-1), sp.Integer(1))
NEGATIVE_SQUARED_EUCLIDEAN = Similarity("negative_squared_euclidean", "−‖a − b‖²", sp.Integer(-4), sp.Integer(0))
NEGATIVE_EUCLIDEAN = Similarity("negative_euclidean", "−‖a − b‖", sp.Integer(-2), sp.Integer(0))

SIMILARITIES = (COSINE, DOT, NEGATIVE_SQUARED_EUCLIDEAN, NEGATIVE_EUCLIDEAN)
