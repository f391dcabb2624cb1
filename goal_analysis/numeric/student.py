"""Student's t: intervals of means over a few seeds, and Holm's method for tables of such means.

"The Probable Error of a Mean", Student, Biometrika 1908, https://www.jstor.org/stable/2331554.
"""

from collections.abc import Iterable
from functools import cache
from math import sqrt

import mpmath
import numpy as np

LEVEL = 0.95

FEWEST = 4
"""Seeds with an interval: of three, Student's is wider than their whole range, and whoever reads it reads chance."""


@cache
def quantile(tail: float, freedom: int) -> float:
    """The magnitude that t of ν ≥ 1 degrees of ``freedom`` exceeds with this probability, both ways together.

    It solves I_x(ν/2, 1/2) = tail, the regularised incomplete beta function, for x = ν / (ν + t²), by the logarithms of
    both sides over u = log(t²/ν), where the left one is nearly two straight lines.
    """

    def beyond(u: mpmath.mpf) -> mpmath.mpf:
        x = 1 / (1 + mpmath.exp(u))
        return mpmath.log(mpmath.betainc(freedom / 2, 0.5, 0, x, regularized=True) / tail)

    u = mpmath.findroot(beyond, (-60, 60), solver="illinois", tol=1e-20, maxsteps=100)
    return sqrt(freedom * mpmath.exp(u))


def mean_interval(values: Iterable[float], level: float = LEVEL) -> tuple[float, float]:
    """Student's interval of the mean of values of shape ``(n,)``; NaN for fewer than `FEWEST`."""
    values = np.fromiter(values, float)
    if len(values) < FEWEST:
        return float("nan"), float("nan")
    half = quantile(1 - level, len(values) - 1) * values.std(ddof=1) / sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def score(differences: np.ndarray) -> np.ndarray:
    """Student's t of paired differences of shape ``(..., seeds)``; 0 of zeros, infinite of another constant."""
    means, errors = differences.mean(-1), differences.std(-1, ddof=1) / np.sqrt(differences.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(means == 0, 0.0, means / errors)


def adjusted_for(scores: np.ndarray, freedom: np.ndarray | int) -> np.ndarray:
    """For how many rows of its table, shape ``(..., rows)``, a row's test is adjusted, by Holm's method.

    All rows are tested at 5 % divided by their number. Those that pass count no more, and the rest are tested again, at
    5 % divided by how many are left, until none passes. In at most 5 % of tables, a row passes that has no difference
    ("A Simple Sequentially Rejective Multiple Test Procedure", Holm, Scandinavian Journal of Statistics 1979,
    https://www.jstor.org/stable/4615733).

    >>> adjusted_for(np.array([9.0, 2.7, 1.0]), 9), adjusted_for(np.array([9.0, 2.6, 1.0]), 9)
    (array([3, 2, 1]), array([3, 2, 2]))
    """
    counts = np.zeros(scores.shape, dtype=int)
    left = np.ones(scores.shape, dtype=bool)
    while True:
        here = np.broadcast_to(left.sum(-1, keepdims=True), scores.shape)
        counts[left] = here[left]
        passed = left & (np.abs(scores) > bounds(np.maximum(here, 1), freedom))
        if not passed.any():
            return counts
        left &= ~passed


def bounds(counts: np.ndarray, freedom: np.ndarray | int) -> np.ndarray:
    """The magnitude of Student's t beyond which a row is called, by the number of rows that it is adjusted for."""
    return np.vectorize(quantile, otypes=[float])((1 - LEVEL) / counts, freedom)
