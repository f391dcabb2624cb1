"""Similarities of unit vectors and the cosine of the angle between them, the one common measure of them all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from goal_analysis.symbolic.language.similarity import (
    COSINE,
    DOT,
    NEGATIVE_EUCLIDEAN,
    NEGATIVE_SQUARED_EUCLIDEAN,
    Similarity,
)


def cosine_of(s: ArrayLike, similarity: Similarity) -> Float64[np.ndarray, "*shape"]:
    """cos of the angle between unit vectors whose similarity is s.

    Raises:
        ValueError: a similarity that does not tell it.

    >>> cosine_of([-4.0, -2.0, 0.0], NEGATIVE_SQUARED_EUCLIDEAN).tolist()
    [-1.0, 0.0, 1.0]
    """
    s = np.asarray(s, dtype=float)
    _check(similarity)
    if similarity in (COSINE, DOT):
        return s
    return 1 + s / 2 if similarity == NEGATIVE_SQUARED_EUCLIDEAN else 1 - s**2 / 2


def similarity_of(u: ArrayLike, similarity: Similarity) -> Float64[np.ndarray, "*shape"]:
    """The similarity of unit vectors with the cosine u.

    Raises:
        ValueError: a similarity that is no function of it.

    >>> similarity_of([-1.0, 0.5, 1.0], NEGATIVE_EUCLIDEAN).tolist()
    [-2.0, -1.0, -0.0]
    """
    u = np.asarray(u, dtype=float)
    _check(similarity)
    if similarity in (COSINE, DOT):
        return u
    squared = np.maximum(2 - 2 * u, 0)
    return -squared if similarity == NEGATIVE_SQUARED_EUCLIDEAN else -np.sqrt(squared)


def slope(u: ArrayLike, similarity: Similarity) -> Float64[np.ndarray, "*shape"]:
    """The derivative of the similarity by the cosine u; a weight times it is the weight by the cosine.

    Raises:
        ValueError: a similarity that is no function of the cosine.

    >>> slope([0.5, 1.0], NEGATIVE_EUCLIDEAN).tolist()
    [1.0, inf]
    """
    u = np.asarray(u, dtype=float)
    _check(similarity)
    if similarity in (COSINE, DOT):
        return np.ones_like(u)
    if similarity == NEGATIVE_SQUARED_EUCLIDEAN:
        return np.full_like(u, 2.0)
    with np.errstate(divide="ignore"):
        return 1 / np.sqrt(np.maximum(2 - 2 * u, 0))


def _check(similarity: Similarity) -> None:
    known = (COSINE, DOT, NEGATIVE_SQUARED_EUCLIDEAN, NEGATIVE_EUCLIDEAN)
    if similarity not in known:
        names = ", ".join(s.name for s in known)
        raise ValueError(f"similarity: got {similarity.name!r} but expected a function of the cosine: {names}")
