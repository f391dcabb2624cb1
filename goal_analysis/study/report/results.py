"""What came of the runs: the table of a data set, with differences to the baseline, and what is within noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goal_analysis.study.comparison import Comparison, compare
from goal_analysis.study.report.runs import MEASURES, Group


@dataclass(frozen=True)
class Results:
    """The table of runs that are compared, and the means of all measures by label, at each run's best epoch."""

    comparison: Comparison
    means: dict[str, dict[str, float]]


def results(groups: Sequence[Group], baseline: str | None = None) -> Results | None:
    """The results of groups that are compared; None where no run has one.

    The baseline is by default the first; where it has no result, the first that has one stands in.
    """
    best = {g.label: {run.experiment.seed: run.best for run in g.finished if run.best} for g in groups if g.finished}
    if not best:
        return None
    first = baseline if baseline in best else next(iter(best))
    rsum = {label: {seed: measures["rsum"] for seed, measures in runs.items()} for label, runs in best.items()}
    means = {
        label: {m: float(np.mean([one[m] for one in runs.values()])) for m in MEASURES} for label, runs in best.items()
    }
    return Results(compare(rsum, first), means)
