"""Mining by its definition: the triplets (positive, negative, weight) of one anchor, in Python's floats."""

import math

from goal_analysis.recombination.export.fragments.settled import CUTOFF, DIM, EPSILON, MARGIN, REACH, K


def defined_hardest(row: list[float], positives: list[int], negatives: list[int]) -> list[tuple[int, int, float]]:
    """The triplets (positive, negative, weight) of one anchor: the least similar with the most similar."""
    if not positives or not negatives:
        return []
    return [(min(positives, key=row.__getitem__), max(negatives, key=row.__getitem__), 1.0)]


def defined_all(row: list[float], positives: list[int], negatives: list[int]) -> list[tuple[int, int, float]]:
    """The triplets (positive, negative, weight) of one anchor: all there are."""
    return [(p, n, 1.0) for p in positives for n in negatives]


def defined_semi_hard(row: list[float], positives: list[int], negatives: list[int]) -> list[tuple[int, int, float]]:
    """The triplets (positive, negative, weight) of one anchor: those in the right order, but too close."""
    return [(p, n, 1.0) for p in positives for n in negatives if 0 < row[p] - row[n] <= MARGIN]


def defined_top_k(row: list[float], positives: list[int], negatives: list[int]) -> list[tuple[int, int, float]]:
    """The triplets (positive, negative, weight) of one anchor: the least similar with each of the K most similar."""
    if not positives:
        return []
    positive = min(positives, key=row.__getitem__)
    chosen = sorted(negatives, key=row.__getitem__, reverse=True)[:K]
    return [(positive, n, 1 / len(chosen)) for n in chosen]


def defined_selectively_hard(
    row: list[float], positives: list[int], negatives: list[int]
) -> list[tuple[int, int, float]]:
    """The triplets (positive, negative, weight) of one anchor: the hardest, or its mean where that is a near tie."""
    if not positives or not negatives:
        return []
    positive, negative = min(positives, key=row.__getitem__), max(negatives, key=row.__getitem__)
    chosen = negatives if abs(row[positive] - row[negative]) < EPSILON else [negative]
    return [(positive, n, 1 / len(chosen)) for n in chosen]


def defined_chances(row: list[float], negatives: list[int]) -> list[float]:
    """P(n | a) of every candidate of one anchor."""
    densities = {}  # their logarithms
    for n in negatives:
        distance = math.sqrt(max(2 - 2 * row[n], 0))
        if distance < REACH:
            d = max(distance, CUTOFF)
            densities[n] = (DIM - 2) * math.log(d) + (DIM - 3) / 2 * math.log1p(-d * d / 4)
    least = min(densities.values(), default=0.0)
    total = math.fsum(math.exp(least - q) for q in densities.values())
    return [math.exp(least - densities[n]) / total if n in densities else 0.0 for n in range(len(row))]
