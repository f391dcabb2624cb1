"""A search: a sampler draws trials from a grammar; all train a few epochs, and the promising ones all epochs.

Trials are drawn by the tree-structured Parzen estimator ("Algorithms for Hyper-Parameter Optimization", Bergstra et
al., NeurIPS 2011) from what the earlier ones reached, and ended by successive halving ("A System for Massively Parallel
Hyperparameter Tuning", Li et al., MLSys 2020, https://arxiv.org/abs/1810.05934), both of Optuna. An objective that
is a copy of an earlier one up to a factor, that no grammar can make or that was not asked for is not run, and does not
count.

Trials are kept in Optuna's journal, which is the driver's own ("Optuna: A Next-generation Hyperparameter Optimization
Framework", Akiba et al., KDD 2019, https://arxiv.org/abs/1907.10902).
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from goal_analysis.files import folder_name
from goal_analysis.study.discovery.copies import Signature
from goal_analysis.study.discovery.grammar import Grammar, Proposal
from goal_analysis.study.driver import Driver, Failure, best_rsum
from goal_analysis.study.engine import Job
from goal_analysis.study.runs import run_job
from goal_analysis.study.tuning import TUNING_SEED
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import LOG, RunError, read_log
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping

JOURNAL = "trials.journal"

FIRST_RUNG, REDUCTION = 1, 3
"""After so many epochs, and after so many times as many again and again, the best one in so many goes on."""

RANDOM_SHARE = 8
"""One trial in so many, and ten at least, is drawn at random before the sampler learns."""

MOST_REJECTED = 500
"""Draws in a row of which none is run, after which a search ends."""

optuna.logging.set_verbosity(optuna.logging.WARNING)

EXPERIMENT, REJECTED, COPY_OF, TROUBLE = "experiment", "rejected", "copy of", "trouble"


@dataclass(eq=False)
class Search:
    """The trials of one grammar.

    Args:
        name: of the search.
        grammar: draws the trials.
        folder: of the discovery; the runs of the trials are there.
        store: the journal of the trials.
        base: data, model and training.
        budget: trials that are run.
        write: the text that an experiment names an objective by.
        read: the objective of that text.
        accepts: why an objective was not asked for; empty where it may run.
        first: the parameters of trials that are run before any that is drawn.
    """

    name: str
    grammar: Grammar
    folder: Path
    store: JournalStorage
    base: Experiment
    budget: int
    write: Callable[[Objective], str]
    read: Callable[[str], Objective]
    accepts: Callable[[Objective], str] = lambda objective: ""
    first: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        self.study = optuna.create_study(
            storage=self.store,
            study_name=self.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.SuccessiveHalvingPruner(FIRST_RUNG, REDUCTION),
        )
        self._jobs: dict[Job, Trial] = {}
        self._sizes: dict[Job, int] = {}
        self._signatures: dict[int, Signature] = {}

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that were run or are running, without those that were rejected."""
        return [t for t in self.study.get_trials(deepcopy=False) if EXPERIMENT in t.user_attrs]

    @property
    def pruned(self) -> int:
        """How many trials have been ended before their time."""
        return sum(t.state is TrialState.PRUNED for t in self.trials)

    def jobs(self) -> Iterator[Job]:
        """Every trial that was not pruned, as a job: first those that have begun, then new ones that are drawn.

        Each has a sampler of its own, so that a search that goes on draws as if it had not been interrupted.
        """
        for parameters in self.first:
            self.study.enqueue_trial(parameters, skip_if_exists=True)
        for begun in self.study.get_trials(states=(TrialState.RUNNING, TrialState.COMPLETE)):
            if EXPERIMENT in begun.user_attrs:
                yield self._job(Trial(self.study, begun._trial_id), self._experiment_of(begun))
            elif not begun.state.is_finished():
                yield from self._drawn(begun.number, begun._trial_id)
        rejected = 0
        while len(self.trials) < self.budget and rejected < MOST_REJECTED:
            number = sum(t.state is not TrialState.WAITING for t in self.study.get_trials(deepcopy=False))
            jobs = list(self._drawn(number))
            rejected = 0 if jobs else rejected + 1
            yield from jobs

    def watch(self, job: Job) -> str:
        """Hand the dev RSUM of the epochs that have ended to the pruner; give its reason to end the job, or nothing."""
        epoch, rsum = self._report_epochs(job)
        if 0 < epoch < self.base.training.epochs and self._jobs[job].should_prune():
            return f"ended after epoch {epoch} with a dev RSUM of {rsum:.1f}: others promise more"
        return ""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Put the result of a trial's job into the storage; a trial that failed is begun again by the next call."""
        trial = self._jobs[job]
        if self.study.trials[trial.number].state.is_finished():
            return
        if failure is None:
            self._report_epochs(job)  # of the last epochs, which may have ended since somebody looked
            self.study.tell(trial, best_rsum(job.folder))
        elif failure.why:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(TROUBLE, str(failure))

    def best(self, count: int) -> list[tuple[Experiment, float]]:
        """The experiments of the best trials that came to an end, named after them, and their dev RSUM; best first."""
        done = [t for t in self.trials if t.state is TrialState.COMPLETE and COPY_OF not in t.user_attrs]
        done = sorted(done, key=lambda t: -(t.value or 0.0))[:count]
        return [
            (replace(self._experiment_of(t), name=f"{self.name} trial {t.number}"), float(t.value or 0)) for t in done
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row a trial: what was drawn, and its result."""
        found = []
        for t in self.study.trials:
            known, reached = t.user_attrs, t.value
            reached = max(t.intermediate_values.values(), default=None) if reached is None else reached
            reasons = (REJECTED, COPY_OF) if t.state.is_finished() else (TROUBLE,)
            why = next((f"{key} {known[key]}" for key in reasons if key in known), "")
            state = "fail" if why.startswith(TROUBLE) else t.state.name.lower()
            record = {"search": self.name, "trial": t.number, "state": state if EXPERIMENT in known else "not run"}
            record |= {"rsum": reached, "epochs": len(t.intermediate_values), "why": why}
            objective = json.loads(known[EXPERIMENT])["objective"] if EXPERIMENT in known else ""
            found.append(record | {"objective": objective} | t.params)
        return found

    def _experiment_of(self, trial: FrozenTrial) -> Experiment:
        """The experiment of a trial, with as many workers as this call has, whoever drew it."""
        declared = experiment_from_mapping(json.loads(trial.user_attrs[EXPERIMENT]))
        workers = self.base.training.workers
        return replace(declared, training=replace(declared.training, workers=workers))

    def _report_epochs(self, job: Job) -> tuple[int, float]:
        """Report the epochs that have ended since the last look; give the last one and its dev RSUM, or zeros."""
        trial, log = self._jobs[job], job.folder / LOG
        size = log.stat().st_size if log.exists() else 0
        if size == self._sizes.get(job, 0):
            return 0, 0.0
        self._sizes[job] = size
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values  # by whoever ran it, too
        fresh = [r for r in read_log(job.folder) if r["kind"] == "epoch" and r["epoch"] > max(reported, default=0)]
        for record in fresh:
            trial.report(record["rsum"], record["epoch"])
        return (fresh[-1]["epoch"], fresh[-1]["rsum"]) if fresh else (0, 0.0)

    def _drawn(self, number: int, begun: int | None = None) -> Iterator[Job]:
        """The job of the trial with this number, which is drawn now, if it is to run; one that was begun has an id."""
        seed = zlib.crc32(f"{self.name} {number}".encode())
        self.study.sampler = _sampler(seed, max(10, self.budget // RANDOM_SHARE))
        trial = self.study.ask() if begun is None else Trial(self.study, begun)
        if (experiment := self._draw(trial)) is not None:
            yield self._job(trial, experiment)

    def _draw(self, trial: Trial) -> Experiment | None:
        try:
            proposal = self.grammar(trial, float(self.base.training.learning_rate))
        except (NoTwin, ValueError) as problem:
            return self._reject(trial, str(problem))
        if refused := self.accepts(proposal.objective):
            return self._reject(trial, refused)
        if (copied := self._earlier_copy(proposal)) is not None:
            trial.set_user_attr(COPY_OF, copied.number)
            is_known = copied.state is TrialState.COMPLETE  # then the sampler learns that it leads nowhere new
            self.study.tell(trial, copied.value if is_known else None, None if is_known else TrialState.FAIL)
            return None
        experiment = replace(
            self.base,
            name=f"{self.name} {trial.number}",
            objective=self.write(proposal.objective),
            training=replace(self.base.training, **proposal.training),
            seed=TUNING_SEED,
        )
        trial.set_user_attr(EXPERIMENT, json.dumps(experiment.mapping()))
        return experiment

    def _reject(self, trial: Trial, why: str) -> None:
        trial.set_user_attr(REJECTED, why)
        self.study.tell(trial, state=TrialState.FAIL)

    def _earlier_copy(self, proposal: Proposal) -> FrozenTrial | None:
        new = Signature.of(proposal.objective)
        for trial in self.trials:
            declared = json.loads(trial.user_attrs[EXPERIMENT])
            if any(declared["training"][name] != value for name, value in proposal.training.items()):
                continue
            if trial.number not in self._signatures:
                self._signatures[trial.number] = Signature.of(self.read(declared["objective"]))
            if new.same_as(self._signatures[trial.number]):
                return trial
        return None

    def _job(self, trial: Trial, experiment: Experiment) -> Job:
        folder = self.folder / "trials" / folder_name(self.name) / str(trial.number)
        job = run_job(f"{self.name}, trial {trial.number}", experiment, folder)
        self._jobs[job] = trial
        return job


def storage(driver: Driver) -> JournalStorage:
    """Open the journal in a driver's folder, and cut off a last line that a killed process did not finish.

    Raises:
        RunError: the journal is not what was written.
        OSError: the folder cannot be written.
    """
    path = driver.folder / JOURNAL
    with suppress(FileNotFoundError), path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
    try:
        return JournalStorage(JournalFileBackend(str(path), cast(Any, driver.lock)))  # which is held, and counts
    except (ValueError, LookupError, TypeError) as problem:
        raise RunError(f"{path}: got {problem!r} but expected the trials that a study writes") from problem


def _sampler(seed: int, at_random: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # that is said of ``group``
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, seed=seed, n_startup_trials=at_random
        )
