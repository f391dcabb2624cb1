"""What came of the runs: the table of a data set, with intervals of differences, and what is within noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goal_analysis.study.comparison import compare
from goal_analysis.study.report.runs import MEASURES, Group


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Args:
        label: the group's.
        seeds: runs with a result.
        means: by measure, over them, at each one's best epoch.
        deviation: of RSUM between seeds, a sample's; None for fewer than two.
        difference: the mean of RSUM's differences to the baseline over the seeds that both have; None in the
            baseline's own row, or without a common seed.
        interval: of the difference, a 95 % bootstrap's; None for fewer than two common seeds.
    """

    label: str
    seeds: int
    means: dict[str, float]
    deviation: float | None
    difference: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Results:
    """The table of runs on the same data.

    Args:
        rows: the best mean first.
        baseline: the label that differences are to.
        statements: a sentence on every other row.
    """

    rows: tuple[Result, ...]
    baseline: str
    statements: tuple[str, ...]


def results(groups: Sequence[Group], baseline: str | None = None) -> Results | None:
    """The results of groups on the same data; None where no run has one.

    Args:
        groups: in which order the first is the baseline, where it is not said.
        baseline: the label of a group; on data where it has no result, the first that has one stands in.
    """
    finished = {group.label: group.finished for group in groups if group.finished}
    if not finished:
        return None
    first = baseline if baseline in finished else next(iter(finished))
    rsum = {
        label: {run.experiment.seed: run.best["rsum"] for run in runs if run.best} for label, runs in finished.items()
    }
    comparison = compare(rsum, first)
    columns = ["objective", "seeds", "deviation", "difference", "low", "high"]
    rows = [
        Result(
            label=label,
            seeds=seeds,
            means={m: float(np.mean([run.best[m] for run in finished[label] if run.best])) for m in MEASURES},
            deviation=_known(deviation),
            difference=_known(difference),
            interval=None if math.isnan(low) else (low, high),
        )
        for label, seeds, deviation, difference, low, high in comparison.table[columns].itertuples(
            index=False, name=None
        )
    ]
    return Results(tuple(rows), first, tuple(comparison.statements()))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
