"""A search: a sampler draws trials from a grammar; all train a few epochs, and the promising ones all epochs.

Trials are drawn by the tree-structured Parzen estimator ("Algorithms for Hyper-Parameter Optimization", Bergstra et
al., NeurIPS 2011) from what the earlier ones reached, and ended by successive halving ("A System for Massively Parallel
Hyperparameter Tuning", Li et al., MLSys 2020, https://arxiv.org/abs/1810.05934), both of Optuna. An objective that
is a copy of an earlier one up to a factor, that no grammar can make or that was not asked for is not run, and does not
count.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from goal_analysis.files import folder_name
from goal_analysis.study.discovery.copies import Signature
from goal_analysis.study.discovery.grammar import Grammar, Proposal
from goal_analysis.study.jobs import Failure, Job
from goal_analysis.study.runs import best_rsum, run_job
from goal_analysis.study.tuning import TUNING_SEED
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import LOG, read_log
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping

FIRST_RUNG, REDUCTION = 1, 3
"""After so many epochs, and after so many times as many again and again, the best one in so many goes on."""

RANDOM_SHARE = 8
"""One trial in so many, and ten at least, is drawn at random before the sampler learns."""

MOST_REJECTED = 500  # draws in a row of which none is run, after which a search ends
EXPERIMENT, REJECTED, COPY_OF, TROUBLE = "experiment", "rejected", "copy of", "trouble"


@dataclass(frozen=True, eq=False)
class Rules:
    """What all searches of a discovery have in common.

    Args:
        folder: of the discovery; the runs of the trials are there.
        store: the journal of the trials.
        base: data, model and training.
        budget: trials that are run.
        write: the text that an experiment names an objective by.
        read: the objective of that text.
        accepts: why an objective was not asked for; empty where it may run.
    """

    folder: Path
    store: JournalStorage
    base: Experiment
    budget: int
    write: Callable[[Objective], str]
    read: Callable[[str], Objective]
    accepts: Callable[[Objective], str] = lambda objective: ""


class Search:
    """The trials of one grammar in a folder that processes can share.

    Args:
        name: of the search.
        grammar: draws the trials.
        rules: for all searches.
        first: the parameters of trials that are run before any that is drawn.
    """

    def __init__(self, name: str, grammar: Grammar, rules: Rules, first: tuple[dict[str, Any], ...] = ()) -> None:
        self.name, self.grammar, self.rules, self.first = name, grammar, rules, first
        self.study = optuna.create_study(
            storage=rules.store,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.SuccessiveHalvingPruner(FIRST_RUNG, REDUCTION),
        )
        known = len(self.study.trials)  # so another process, and a search that goes on, draw something else
        seed = zlib.crc32(f"{name} {known}".encode())
        self.study.sampler = _sampler(seed, max(10, rules.budget // RANDOM_SHARE))
        self._jobs: dict[Job, Trial] = {}
        self._seen: dict[Job, tuple[int, int]] = {}
        self._signatures: dict[int, tuple[Signature, dict[str, Any]]] = {}

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that were run or are running, without those that were rejected."""
        return [t for t in self.study.get_trials(deepcopy=False) if EXPERIMENT in t.user_attrs]

    @property
    def left(self) -> int:
        """How many trials have not ended or not begun."""
        return self.rules.budget - sum(t.state.is_finished() for t in self.trials)

    def jobs(self) -> Iterator[Job]:
        """Every trial that has not ended, as a job: first the trials that have begun, then new ones that are drawn."""
        for parameters in self.first:
            self.study.enqueue_trial(parameters, skip_if_exists=True)
        for frozen in self.study.get_trials(states=(TrialState.RUNNING,)):
            trial = Trial(self.study, frozen._trial_id)
            if EXPERIMENT in frozen.user_attrs:
                yield self._job(trial, self._experiment_of(frozen))
            else:
                self.study.tell(trial, state=TrialState.FAIL)  # whoever drew it ended before it could run
        rejected = 0
        while len(self.trials) < self.rules.budget and rejected < MOST_REJECTED:
            trial = self.study.ask()
            experiment = self._draw(trial)
            rejected = 0 if experiment else rejected + 1
            if experiment is not None:
                yield self._job(trial, experiment)

    def watch(self, job: Job) -> str:
        """Hand the dev RSUM of the epochs that have ended to the pruner; give its reason to end the job, or nothing."""
        epoch, rsum = self._report_epochs(job)
        if 0 < epoch < self.rules.base.training.epochs and self._jobs[job].should_prune():
            return f"ended after epoch {epoch} with a dev RSUM of {rsum:.1f}: others promise more"
        return ""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Put the result of a trial's job into the storage, whoever ran it."""
        trial = self._jobs[job]
        if self.study.trials[trial.number].state.is_finished():
            return
        if failure is None:
            self._report_epochs(job)  # of the last epochs, which may have ended since somebody looked
            self.study.tell(trial, best_rsum(job.output.parent))
        elif failure.why:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(TROUBLE, str(failure))
            self.study.tell(trial, state=TrialState.FAIL)

    def best(self, count: int) -> list[tuple[Experiment, float]]:
        """The experiments of the best trials that came to an end, named after them, and their dev RSUM; best first."""
        done = [t for t in self.trials if t.state is TrialState.COMPLETE and COPY_OF not in t.user_attrs]
        done.sort(key=lambda t: -(t.value or 0.0))
        named = ((replace(self._experiment_of(t), name=f"{self.name} trial {t.number}"), t) for t in done[:count])
        return [(experiment, float(t.value or 0.0)) for experiment, t in named]

    def records(self) -> list[dict[str, Any]]:
        """A row a trial: what was drawn, and its result."""
        found = []
        for t in self.study.trials:
            objective = json.loads(t.user_attrs[EXPERIMENT])["objective"] if EXPERIMENT in t.user_attrs else ""
            why = next(
                (f"{key} {t.user_attrs[key]}" for key in (REJECTED, COPY_OF, TROUBLE) if key in t.user_attrs), ""
            )
            state = t.state.name.lower() if EXPERIMENT in t.user_attrs else "not run"
            reached = t.value if t.value is not None else max(t.intermediate_values.values(), default=None)
            record = {"search": self.name, "trial": t.number, "state": state, "rsum": reached}
            found.append(record | {"epochs": len(t.intermediate_values), "why": why, "objective": objective} | t.params)
        return found

    def _experiment_of(self, trial: FrozenTrial) -> Experiment:
        """The experiment of a trial, with as many workers as this call has, whoever drew it."""
        declared = experiment_from_mapping(json.loads(trial.user_attrs[EXPERIMENT]))
        workers = self.rules.base.training.workers
        return replace(declared, training=replace(declared.training, workers=workers))

    def _report_epochs(self, job: Job) -> tuple[int, float]:
        """Report the epochs that have ended since the last look; give the last one and its dev RSUM, or zeros."""
        trial, folder = self._jobs[job], job.output.parent
        log = folder / LOG
        size = log.stat().st_size if log.exists() else 0
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values  # by whoever ran it before
        before, epoch = self._seen.get(job, (0, max(reported, default=0)))
        if size == before:
            return 0, 0.0
        fresh = [r for r in read_log(folder) if r["kind"] == "epoch" and r["epoch"] > epoch]
        for record in fresh:
            trial.report(record["rsum"], record["epoch"])
        last = (fresh[-1]["epoch"], fresh[-1]["rsum"]) if fresh else (0, 0.0)
        self._seen[job] = size, max(epoch, last[0])
        return last

    def _draw(self, trial: Trial) -> Experiment | None:
        """The experiment of a fresh trial; None where it is not to run."""
        base = self.rules.base
        try:
            proposal = self.grammar(trial, float(base.training.learning_rate))
        except (NoTwin, ValueError) as problem:
            return self._reject(trial, str(problem))
        if refused := self.rules.accepts(proposal.objective):
            return self._reject(trial, refused)
        copied = self._earlier_copy(proposal)
        if copied is not None:
            trial.set_user_attr(COPY_OF, copied.number)
            if copied.state is TrialState.COMPLETE:
                self.study.tell(trial, copied.value)  # the sampler learns that it leads nowhere new
            else:
                self.study.tell(trial, state=TrialState.FAIL)
            return None
        experiment = replace(
            base,
            name=f"{self.name} {trial.number}",
            objective=self.rules.write(proposal.objective),
            training=replace(base.training, **proposal.training),
            seed=TUNING_SEED,
        )
        trial.set_user_attr(EXPERIMENT, json.dumps(experiment.mapping()))
        return experiment

    def _reject(self, trial: Trial, why: str) -> None:
        trial.set_user_attr(REJECTED, why)
        self.study.tell(trial, state=TrialState.FAIL)

    def _earlier_copy(self, proposal: Proposal) -> FrozenTrial | None:
        """The earlier trial whose objective is the same up to a factor."""
        new = Signature.of(proposal.objective)
        for trial in self.trials:
            if trial.number not in self._signatures:
                mapping = json.loads(trial.user_attrs[EXPERIMENT])
                signature = Signature.of(self.rules.read(mapping["objective"]))
                self._signatures[trial.number] = signature, mapping["training"]
            signature, training = self._signatures[trial.number]
            if all(training[name] == value for name, value in proposal.training.items()) and new.same_as(signature):
                return trial
        return None

    def _job(self, trial: Trial, experiment: Experiment) -> Job:
        folder = self.rules.folder / "trials" / folder_name(self.name) / str(trial.number)
        job = run_job(f"{self.name}, trial {trial.number}", experiment, folder)
        self._jobs[job] = trial
        return job


def _sampler(seed: int, at_random: int) -> optuna.samplers.TPESampler:
    """A sampler that learns which numbers go together, for every branch of a grammar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # that is said of ``group``
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, seed=seed, n_startup_trials=at_random
        )
