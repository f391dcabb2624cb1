"""Tuning: the scales of every objective get the same number of trials.

The first trial of an objective has its own values. The others fill its ranges evenly (Sobol's sequence, scrambled), so
no trial waits for another, and the same study has the same trials when it begins again. A trial is a training run in a
folder of its own, and the folder is all that is kept of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from goal_analysis.files import folder_name
from goal_analysis.study.driver import best_rsum
from goal_analysis.study.engine import Job
from goal_analysis.study.runs import run_job
from goal_analysis.study.scales import LEARNING_RATE, Scale, points, scaled, scales_of
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run import RESULT
from goal_analysis.vse.loop.experiment import Experiment

TUNING_SEED = 1000
"""Of the trials' runs; the comparison's seeds count from 0."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An objective that is tuned.

    Args:
        name: how tables call it.
        objective: with its own values.
        scales: what of it is tuned.
        write: the text that an experiment names an objective by.
    """

    name: str
    objective: Objective
    scales: tuple[Scale, ...]
    write: Callable[[Objective], str]

    def experiment(self, base: Experiment, values: Mapping[str, float], seed: int) -> Experiment:
        """The experiment of a run with these values of the scales."""
        training = base.training
        if LEARNING_RATE in values:
            training = replace(training, learning_rate=values[LEARNING_RATE])
        text = self.write(scaled(self.objective, values))
        return replace(base, name=self.name, objective=text, training=training, seed=seed)


def candidate(
    name: str,
    objective: Objective,
    write: Callable[[Objective], str],
    base: Experiment,
    tune_rate: bool = False,
) -> Candidate:
    """A candidate with the scales that `scales_of` finds; its own learning rate is that of the base."""
    return Candidate(name, objective, scales_of(objective, float(base.training.learning_rate), tune_rate), write)


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate with values of its scales, and the folder of the run that tries them."""

    candidate: Candidate
    number: int
    values: dict[str, float]
    folder: Path

    def job(self, base: Experiment) -> Job:
        """The job that trains it."""
        experiment = self.candidate.experiment(base, self.values, TUNING_SEED)
        return run_job(f"{self.candidate.name}, trial {self.number}", experiment, self.folder)

    @property
    def rsum(self) -> float | None:
        """The best dev RSUM; None where the run did not come to its end."""
        return best_rsum(self.folder) if (self.folder / RESULT).exists() else None

    @property
    def record(self) -> dict[str, float | str | None]:
        """Objective, scales, state and dev RSUM."""
        state = "fail" if self.rsum is None else "complete"
        return {"objective": self.candidate.name, **self.values, "state": state, "rsum": self.rsum}


def trials_of(folder: Path, candidate: Candidate, budget: int) -> list[Trial]:
    """The trials of a candidate, with folders in that of the study."""
    found = points(candidate.scales, budget, zlib.crc32(candidate.name.encode()))
    where = folder / "tuning" / folder_name(candidate.name)
    return [Trial(candidate, number, values, where / f"trial-{number}") for number, values in enumerate(found)]


def best_values(trials: Sequence[Trial]) -> dict[str, float]:
    """The values of the trial with the best dev RSUM; those of the first, the candidate's own, where none has any."""
    return max(trials, key=lambda trial: trial.rsum or 0.0).values
