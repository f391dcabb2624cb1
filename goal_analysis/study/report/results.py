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
    """A row of the table."""

    label: str
    seeds: int  # runs with a result
    means: dict[str, float]  # by measure, over them, at each one's best epoch
    deviation: float | None  # of RSUM between seeds, a sample's
    difference: float | None  # the mean of RSUM's differences to the baseline over common seeds
    interval: tuple[float, float] | None  # of the difference, a 95 % bootstrap's


@dataclass(frozen=True)
class Results:
    """The table of runs on the same data, the best mean first, with a sentence on every row but the baseline's."""

    rows: tuple[Result, ...]
    baseline: str
    statements: tuple[str, ...]


def results(groups: Sequence[Group], baseline: str | None = None) -> Results | None:
    """The results of groups on the same data; None where no run has one.

    The baseline is by default the first; on data where it has no result, the first that has one stands in.
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
