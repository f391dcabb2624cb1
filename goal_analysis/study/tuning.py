"""Tuning: the scales of every objective get the same number of trials, in a storage that processes can share.

The first trial of an objective has its own values. The others fill its ranges evenly (Sobol's sequence, scrambled), so
no trial waits for another, and the same study has the same trials when it begins again. A trial is a training run in a
folder of its own, so a trial whose process was killed goes on where it was.

The storage is Optuna's journal, one file to which all processes append, on one machine or on several that share the
folder ("Optuna: A Next-generation Hyperparameter Optimization Framework", Akiba et al., KDD 2019,
https://arxiv.org/abs/1907.10902).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from goal_analysis.files import folder_name
from goal_analysis.study.jobs import Failure, Job
from goal_analysis.study.runs import best_rsum, run_job
from goal_analysis.study.scales import LEARNING_RATE, Scale, points, scaled, scales_of
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import RunError
from goal_analysis.vse.loop.experiment import Experiment

JOURNAL, LOCK = "trials.journal", "trials.lock"
TUNING_SEED = 1000  # of the trials' runs; the comparison's seeds count from 0
optuna.logging.set_verbosity(optuna.logging.WARNING)


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


class Tuning:
    """The trials of several candidates, ``budget`` of each, with their journal and their runs in one folder."""

    def __init__(self, folder: Path, base: Experiment, candidates: Sequence[Candidate], budget: int) -> None:
        self.folder, self.base, self.budget = folder, base, budget
        self.candidates = {c.name: c for c in candidates}
        store, self._lock = storage(folder), _study_lock(folder)
        with self._lock:  # two processes that begin at once would enqueue everything twice
            self._studies = {name: _study(store, c, budget) for name, c in self.candidates.items()}
        self._trials: dict[Job, tuple[str, int]] = {}

    @property
    def finished(self) -> int:
        """How many trials have ended."""
        return sum(trial.state.is_finished() for study in self._studies.values() for trial in study.trials)

    def jobs(self) -> Iterator[Job]:
        """Every trial that has not ended, as a job.

        First come the trials that began before, then rounds over all candidates. At last come the trials that other
        processes have begun meanwhile and that still run: without them each process would choose another best trial.
        """
        yield from self._running()
        for _ in range(self.budget):
            for name in self._studies:
                if (job := self._next(name, TrialState.WAITING)) is not None:
                    yield job
        yield from self._running()

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Put the result of a trial's job into the storage, whoever ran it."""
        name, number = self._trials[job]
        study = self._studies[name]
        with self._lock:  # others that waited for it tell of it too
            if study.trials[number].state.is_finished():
                return
            if failure is None:
                study.tell(number, best_rsum(job.output.parent))
            else:
                study.tell(number, state=TrialState.FAIL)

    def best(self, name: str) -> dict[str, float] | None:
        """The scales of the best trial; None where none came to an end."""
        done = [t for t in self._studies[name].trials if t.state is TrialState.COMPLETE]
        return max(done, key=lambda t: t.value or 0.0).params if done else None

    def records(self, name: str) -> list[dict[str, float | str | None]]:
        """Scales, state and dev RSUM of every trial."""
        trials = self._studies[name].trials
        return [{**t.params, "state": t.state.name.lower(), "rsum": t.value} for t in trials]

    def _running(self) -> Iterator[Job]:
        """The trials that have begun, have not ended, and are no job of this process yet."""
        for name in self._studies:
            while (job := self._next(name, TrialState.RUNNING)) is not None:
                yield job

    def _next(self, name: str, state: TrialState) -> Job | None:
        """A candidate's next trial in this state that is no job of this process yet; None where there is no more."""
        study, candidate = self._studies[name], self.candidates[name]
        with self._lock:  # where another takes the last one in between, Optuna makes one beyond the budget
            found = study.get_trials(deepcopy=False, states=(state,))
            found = [trial for trial in found if (name, trial.number) not in self._trials.values()]
            if not found:
                return None
            trial = study.ask() if state is TrialState.WAITING else Trial(study, found[0]._trial_id)
            # A trial that has its values keeps them; one whose process was killed before that gets them now.
            values = {
                s.name: trial.suggest_float(s.name, min(s.low, s.own), max(s.high, s.own), log=s.logarithmic)
                for s in candidate.scales
            }
        experiment = candidate.experiment(self.base, values, TUNING_SEED)
        folder = self.folder / "tuning" / folder_name(name) / f"trial-{trial.number}"
        job = run_job(f"{name}, trial {trial.number}", experiment, folder)
        self._trials[job] = (name, trial.number)
        return job


def storage(folder: Path) -> JournalStorage:
    """Open the journal of a study's folder, and cut off a last line that a killed process did not finish.

    Raises:
        RunError: the journal is not what was written.
        OSError: the folder cannot be written.
    """
    path, lock = folder / JOURNAL, _study_lock(folder)
    with lock, suppress(FileNotFoundError), path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
    try:
        return JournalStorage(JournalFileBackend(str(path), cast(Any, lock)))  # which calls acquire() and release()
    except (ValueError, LookupError, TypeError) as problem:
        raise RunError(f"{path}: got {problem!r} but expected the trials that a study writes") from problem


def _study_lock(folder: Path) -> FileLock:
    """The lock of a study's folder: one process holds it, and the others that share the folder wait."""
    return FileLock(folder / LOCK, is_singleton=True)


def _study(store: JournalStorage, candidate: Candidate, budget: int) -> optuna.Study:
    study = optuna.create_study(storage=store, study_name=candidate.name, direction="maximize", load_if_exists=True)
    wanted = points(candidate.scales, budget, zlib.crc32(candidate.name.encode()))
    for values in wanted[len(study.trials) :]:
        study.enqueue_trial(values, skip_if_exists=True)
    return study
