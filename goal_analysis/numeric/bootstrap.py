"""Intervals of means over a few seeds."""

from __future__ import annotations

import numpy as np


def mean_interval(values: np.ndarray, resamples: int, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap's interval of the mean of values of shape ``(n,)``; NaN for fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
