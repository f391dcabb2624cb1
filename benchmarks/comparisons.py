"""How often comparisons call a difference that is not there, in simulated studies.

    python benchmarks/comparisons.py -o benchmarks/results/comparisons.md

A study has a baseline and 1 or 20 rows over so many seeds. A run's number is what its seed gives all rows, and noise of
its own. The rows are called by `compare`'s own functions, and as a control by the percentile bootstrap of the paired
differences, row by row. It takes about twenty seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np

from goal_analysis.numeric.student import FEWEST, adjusted_for, bounds, score

STUDIES = 2000
SEEDS = (3, 4, 5, 10)
ROWS = (1, 20)
RESAMPLES = 1000
SHIFT = 4.0
"""Of the rows that do differ, in standard deviations of a run's noise."""

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

NOISES: dict[str, Noise] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed: exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "heavy-tailed: Student's of 2 degrees": lambda rng, shape: rng.standard_t(2, size=shape),
}


def studies(rng: np.random.Generator, noise: Noise, rows: int, seeds: int) -> np.ndarray:
    """Paired differences of equal objectives, of shape ``(studies, rows, seeds)``."""
    runs = rng.normal(size=(STUDIES, 1, seeds)) + noise(rng, (STUDIES, rows + 1, seeds))
    return runs[:, 1:] - runs[:, :1]


def called(differences: np.ndarray) -> np.ndarray:
    """Which rows are called better or worse, of shape ``(studies, rows)``."""
    seeds = differences.shape[-1]
    scores = score(differences)
    if seeds < FEWEST:
        return np.zeros(scores.shape, dtype=bool)
    return np.abs(scores) > bounds(adjusted_for(scores, seeds - 1), seeds - 1)


def called_alone(differences: np.ndarray) -> np.ndarray:
    """Which rows Student's 95 % interval calls where every row is looked at as if it were the only one."""
    return np.abs(score(differences)) > bounds(np.ones(1), differences.shape[-1] - 1)


def called_by_bootstrap(differences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which rows the 95 % percentile bootstrap of the mean calls."""
    seeds = differences.shape[-1]
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    found = []
    for some in np.array_split(differences, max(1, differences.shape[0] * differences.shape[1] // 4000)):
        low, high = np.quantile(some @ drawn.T, [0.025, 0.975], axis=-1)
        found.append((low > 0) | (high < 0))
    return np.concatenate(found)


def table(rng: np.random.Generator) -> Iterator[str]:
    """The shares of studies in which a row at least is called, all objectives being equal, in percent."""
    yield "| noise | seeds | rows | bootstrap, each row alone | Student's, each row alone | `compare` |"
    yield "|---|---|---|---|---|---|"
    for name, seeds, rows in product(NOISES, SEEDS, ROWS):
        differences = studies(rng, NOISES[name], rows, seeds)
        ways = (called_by_bootstrap(differences, rng), called_alone(differences), called(differences))
        shares = " | ".join(f"{100 * one.any(1).mean():.1f}" for one in ways)
        yield f"| {name} | {seeds} | {rows} | {shares} |"


def partial(rng: np.random.Generator) -> Iterator[str]:
    """Tables of 20 rows, ten of which do differ: which are found, and how often one of the others is called."""
    yield "| noise | seeds | found of those that differ | tables that call one that does not |"
    yield "|---|---|---|---|"
    for name, seeds in product(NOISES, SEEDS[1:]):
        differences = studies(rng, NOISES[name], 20, seeds)
        differences[:, :10] += SHIFT
        found = called(differences)
        yield f"| {name} | {seeds} | {100 * found[:, :10].mean():.1f} | {100 * found[:, 10:].any(1).mean():.1f} |"


def unlike(rng: np.random.Generator) -> Iterator[str]:
    """Equal means, but exponential noise of the rows and normal noise of the baseline."""
    yield "| seeds | rows | bootstrap, each row alone | `compare` |"
    yield "|---|---|---|---|"
    for seeds, rows in product(SEEDS[1:], ROWS):
        differences = NOISES["skewed: exponential"](rng, (STUDIES, rows, seeds)) - rng.normal(size=(STUDIES, 1, seeds))
        ways = (called_by_bootstrap(differences, rng), called(differences))
        yield f"| {seeds} | {rows} | {' | '.join(f'{100 * one.any(1).mean():.1f}' for one in ways)} |"


def text(seed: int) -> str:
    """The tables with what they are."""
    rng = np.random.default_rng(seed)
    return "\n".join(
        [
            "# How often a comparison calls a difference that is not there",
            "",
            f"`python benchmarks/comparisons.py`, {STUDIES:,} simulated studies a line. All objectives are equal; the "
            "numbers are the percentage of studies in which one row at least is called better or worse. At most 5 are "
            "promised; of 2,000 studies, 5 comes out as 4 to 6. The bootstrap is the percentile bootstrap of the "
            "paired differences. `compare` gives Student's intervals by Holm's method, and nothing for three seeds.",
            "",
            *table(rng),
            "",
            f"## Where ten of twenty rows do differ, by {SHIFT:g} standard deviations of a run's noise",
            "",
            "In percent. Heavy-tailed noise has no standard deviation; there the rows differ by four units.",
            "",
            *partial(rng),
            "",
            "## Equal means of unlike noise",
            "",
            "The rows have exponential noise and the baseline normal noise, so that the differences are skewed. In "
            "percent.",
            "",
            *unlike(rng),
            "",
        ]
    )


def main() -> None:
    """Print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = text(given.seed)
    print(found)
    if given.output is not None:
        given.output.write_text(found, "utf-8")


if __name__ == "__main__":
    main()
