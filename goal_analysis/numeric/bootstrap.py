"""Intervals of means over a few seeds."""

from __future__ import annotations

import numpy as np


def mean_interval(values: np.ndarray, resamples: int, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap's interval of the mean; NaN for fewer than two values.

    A resample draws n of n values with replacement. The interval holds the middle of the resamples' means.

    Args:
        values: shape ``(n,)``.
        resamples: how many.
        level: the share of the means in the interval, from 0 to 1.
        seed: of the resamples.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
