"""A search: a sampler draws trials from a grammar; all train a few epochs, and the promising ones all epochs.

Optuna's tree-structured Parzen estimator draws ("Algorithms for Hyper-Parameter Optimization", Bergstra et al., NeurIPS
2011; Akiba et al., KDD 2019, https://arxiv.org/abs/1907.10902). Successive halving ends trials (Li et al., MLSys 2020,
https://arxiv.org/abs/1810.05934) at the rungs that predict the end, as the first trials say, which are not ended.
"""

import json
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, FrozenTrial, Trial, TrialState

from goal_analysis.files import folder_name, folder_names, whole_lines
from goal_analysis.study import TUNED
from goal_analysis.study.copies import Signature
from goal_analysis.study.driver import TRIAL_FOLD, TRIAL_SEED, Data, Driver, Failure, best_rsum, run_job
from goal_analysis.study.engine import Job
from goal_analysis.study.scales import scaled, scales_of, trained_with
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.folder.run_folder import LOG, RunError, read_log
from goal_analysis.vse.loop.experiment import Experiment, TrainingOptions, experiment_from_mapping

JOURNAL = "trials.journal"

FIRST_RUNG, REDUCTION = 1, 3
"""After so many epochs, and after so many times as many again and again, the best one in so many goes on."""

PREDICTS = 0.7  # the rank correlation with the end from which on a rung is used

RANDOM_SHARE = 8
"""One trial in so many, and ten at least, is drawn at random before the sampler learns, and measures the rungs."""

MOST_REJECTED = 500  # draws in a row of which none is run, after which a search ends

optuna.logging.set_verbosity(optuna.logging.WARNING)

EXPERIMENT, REJECTED, COPY_OF, TROUBLE, VARIANT = "experiment", "rejected", "copy of", "trouble", "variant"

Grammar = Callable[[BaseTrial, TrainingOptions], tuple[Objective, TrainingOptions]]
"""Draws by a trial what trains, and how, around the options of the experiment."""


def scaled_objective(objective: Objective, tuned: Collection[str] = TUNED) -> Grammar:
    """The space of one objective: its scales, and those of the training that are the same for all."""

    def grammar(trial: BaseTrial, training: TrainingOptions) -> tuple[Objective, TrainingOptions]:
        values = {s.name: s.suggest(trial) for s in scales_of(objective, training, tuned)}
        return scaled(objective, values), trained_with(training, values)

    return grammar


@dataclass(frozen=True)
class Rung:
    """What an epoch says of the end."""

    epoch: int  # on the first data set
    correlation: float  # Spearman's, of the RSUM there with the mean of the best RSUM on all data; NaN of under three
    trials: int  # that it was measured by, none of which was ended before its time

    @property
    def is_used(self) -> bool:
        """Whether trials end there."""
        return self.correlation >= PREDICTS


@dataclass(frozen=True, eq=False)
class Setting:
    """What all searches of a study have in common."""

    folder: Path  # of the study; the runs of the trials are there
    store: JournalStorage  # see `storage`
    base: Experiment  # model and training
    data: Data  # that are searched on
    write: Callable[[Objective], str]  # the text that an experiment names an objective by
    read: Callable[[str], Objective]  # the objective of that text


@dataclass(eq=False)
class Search:
    """The trials of one grammar."""

    name: str
    grammar: Grammar
    setting: Setting
    budget: int  # trials that are run
    first: Sequence[Mapping[str, Any]] = ()  # the parameters of trials that are run before any that is drawn
    samples: bool = True  # whether more than the first are drawn, and some of them ended early
    accepts: Callable[[Objective], str] = lambda objective: ""  # why one was not asked for; empty where it may run
    space: str = ""  # what the grammar draws from, as a study declares it
    _trials: dict[Job, tuple[Trial, tuple[Job, ...]]] = field(default_factory=dict, init=False)
    _sizes: dict[Job, int] = field(default_factory=dict, init=False)
    _signatures: dict[int, Signature] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.base, store = self.setting.base, self.setting.store
        self.study = optuna.create_study(storage=store, study_name=self.name, direction="maximize", load_if_exists=True)
        self.at_random = max(10, self.budget // RANDOM_SHARE)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that were run or are running, without variants and those that were rejected."""
        every = self.study.get_trials(deepcopy=False)
        return [t for t in every if EXPERIMENT in t.user_attrs and VARIANT not in t.user_attrs]

    @property
    def pruned(self) -> int:
        """How many trials have been ended before their time."""
        return sum(t.state is TrialState.PRUNED for t in self.trials)

    def jobs(self) -> Iterator[Job]:
        """Every trial that was not pruned: those that have begun, then new ones, each with a sampler of its own."""
        for parameters in self.first:
            self.study.enqueue_trial(dict(parameters), skip_if_exists=True)
        for begun in self.study.get_trials(states=(TrialState.RUNNING, TrialState.COMPLETE)):
            if VARIANT not in begun.user_attrs:
                yield from self._goes_on(begun)
        rejected = 0
        while (ran := len(self.trials)) < self.budget and rejected < MOST_REJECTED:
            every = self.study.get_trials(deepcopy=False)
            waiting = sum(t.state is TrialState.WAITING for t in every)
            if not (waiting or self.samples):
                return
            yield from self._drawn(len(every) - waiting)
            rejected = 0 if len(self.trials) > ran else rejected + 1

    def variant(self, what: str, parameters: Mapping[str, Any]) -> Iterator[Job]:
        """The jobs of one more trial, with these parameters, which counts neither as drawn nor among the best."""
        if self.variant_of(what) is None:
            self.study.enqueue_trial(dict(parameters), user_attrs={VARIANT: what})
        yield from self._goes_on(cast(FrozenTrial, self.variant_of(what)))

    def variant_of(self, what: str) -> FrozenTrial | None:
        """The trial of a `variant`."""
        return next((t for t in self.study.get_trials() if t.user_attrs.get(VARIANT) == what), None)

    @property
    def rungs(self) -> list[Rung]:
        """Every rung, by the first trials, which none has ended."""
        whole = [t for t in self.trials[: self.at_random] if t.state is TrialState.COMPLETE]
        found, epoch = [], FIRST_RUNG
        while self.samples and epoch < self.base.training.epochs:
            pairs = [(t.intermediate_values[epoch], t.value) for t in whole if epoch in t.intermediate_values]
            correlations = pd.DataFrame(pairs, columns=["rung", "end"]).corr("spearman", min_periods=3)
            found.append(Rung(epoch, float(correlations.to_numpy()[0, 1]), len(pairs)))
            epoch *= REDUCTION
        return found

    def watch(self, job: Job) -> str:
        """Look at the epochs that have ended; give the reason to end the job, or nothing."""
        seen = self._report_epochs(job)
        if seen and self._trials[job][0].number not in [t.number for t in self.trials[: self.at_random]]:
            for rung in self.rungs:
                if rung.is_used and rung.epoch in seen and self._falls_behind(rung.epoch, seen[rung.epoch]):
                    return f"ended after epoch {max(seen)} with an RSUM of {seen[max(seen)]:.1f}: others promise more"
        return ""

    def _falls_behind(self, epoch: int, rsum: float) -> bool:
        reached = sorted(t.intermediate_values[epoch] for t in self.trials if epoch in t.intermediate_values)
        return rsum < reached[-max(1, len(reached) // REDUCTION)]

    def ended(self, job: Job, failure: Failure | None) -> None:
        """Put the result of a trial's job into the storage; a trial that failed is begun again by the next call."""
        trial, jobs = self._trials[job]
        if self.study.trials[trial.number].state.is_finished():
            return
        if failure is None:
            self._report_epochs(job)  # of the last epochs, which may have ended since somebody looked
            if all(one.done for one in jobs):
                self.study.tell(trial, fmean(best_rsum(one.folder) for one in jobs))
        elif failure.why:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(TROUBLE, str(failure))

    def best(self, count: int) -> list[FrozenTrial]:
        """The best trials that came to an end; best first."""
        done = [t for t in self.trials if t.state is TrialState.COMPLETE]
        return sorted(done, key=lambda t: -(t.value or 0.0))[:count]

    def records(self) -> list[dict[str, Any]]:
        """A row a trial: what was drawn, and its result."""
        found = []
        for t in self.study.trials:
            known, reached = t.user_attrs, t.value
            reasons = (REJECTED, COPY_OF) if t.state.is_finished() else (TROUBLE,)
            why = next((f"{key} {known[key]}" for key in (*reasons, VARIANT) if key in known), "")
            state = "fail" if why.startswith(TROUBLE) else t.state.name.lower()
            record = {"search": self.name, "trial": t.number, "state": state if EXPERIMENT in known else "not run"}
            record["rsum"] = max(t.intermediate_values.values(), default=None) if reached is None else reached
            record |= {"epochs": len(t.intermediate_values), "why": why}
            objective = json.loads(known[EXPERIMENT])["objective"] if EXPERIMENT in known else ""
            found.append(record | {"objective": objective} | t.params)
        return found

    def experiment_of(self, trial: FrozenTrial) -> Experiment:
        """The experiment of a trial, with as many workers as this call has, whoever drew it."""
        declared = experiment_from_mapping(json.loads(trial.user_attrs[EXPERIMENT]))
        return replace(declared, training=replace(declared.training, workers=self.base.training.workers))

    def _report_epochs(self, job: Job) -> dict[int, float]:
        """Report the epochs on the first data set that have ended since the last look; give their RSUM."""
        (trial, jobs), log = self._trials[job], job.folder / LOG
        size = log.stat().st_size if log.exists() else 0
        if job != jobs[0] or size == self._sizes.get(job, 0):
            return {}
        self._sizes[job] = size
        reported = self.study.get_trials(deepcopy=False)[trial.number].intermediate_values  # by whoever ran it, too
        ended = {r["epoch"]: r["rsum"] for r in read_log(job.folder) if r["kind"] == "epoch"}
        fresh = {epoch: rsum for epoch, rsum in ended.items() if epoch > max(reported, default=0)}
        for epoch, rsum in fresh.items():
            trial.report(rsum, epoch)
        return fresh

    def _goes_on(self, known: FrozenTrial) -> Iterator[Job]:
        if EXPERIMENT in known.user_attrs:
            yield from self._run(Trial(self.study, known._trial_id), self.experiment_of(known))
        elif not known.state.is_finished():
            yield from self._drawn(known.number, None if known.state is TrialState.WAITING else known._trial_id)

    def _drawn(self, number: int, begun: int | None = None) -> Iterator[Job]:
        """The jobs of the trial with this number, which is drawn now, if it is to run; one that was begun has an id."""
        self.study.sampler = _sampler(zlib.crc32(f"{self.name} {number}".encode()), self.at_random)
        trial = self.study.ask() if begun is None else Trial(self.study, begun)
        drawn, refused = None, ""
        try:
            drawn = self.grammar(trial, self.base.training)
            refused = self.accepts(drawn[0])
        except (NoTwin, ValueError) as problem:
            drawn, refused = None, str(problem)
        if drawn is None or refused:
            trial.set_user_attr(REJECTED, refused)
            self.study.tell(trial, state=TrialState.FAIL)
        elif (copied := self._earlier_copy(*drawn)) is not None:
            trial.set_user_attr(COPY_OF, copied.number)
            is_known = copied.state is TrialState.COMPLETE  # then the sampler learns that it leads nowhere new
            self.study.tell(trial, copied.value if is_known else None, None if is_known else TrialState.FAIL)
        else:
            text = self.setting.write(drawn[0])
            experiment = replace(self.base, name=self.name, objective=text, training=drawn[1])
            trial.set_user_attr(EXPERIMENT, json.dumps(experiment.mapping()))
            yield from self._run(trial, experiment)

    def _earlier_copy(self, objective: Objective, training: TrainingOptions) -> FrozenTrial | None:
        new = Signature.of(objective)
        for trial in self.trials:
            made = self.experiment_of(trial)
            if made.training == training:
                if trial.number not in self._signatures:
                    self._signatures[trial.number] = Signature.of(self.setting.read(made.objective))
                if new.same_as(self._signatures[trial.number]):
                    return trial
        return None

    def _run(self, trial: Trial, experiment: Experiment) -> Iterator[Job]:
        """The jobs of a trial, one a data set and one after the other, while it has not been ended."""
        folder = self.setting.folder / "tuning" / folder_name(self.name) / str(trial.number)
        name, data = f"{self.name}, trial {trial.number}", self.setting.data
        jobs = tuple(
            run_job(
                name if len(data) == 1 else f"{name} on {one}",
                replace(experiment, seed=TRIAL_SEED, data={**data[one], "fold": TRIAL_FOLD}),
                folder if len(data) == 1 else folder / inner,
            )
            for one, inner in folder_names(data).items()
        )
        self._trials |= dict.fromkeys(jobs, (trial, jobs))
        for job in jobs:
            if self.study.get_trials(deepcopy=False)[trial.number].state is not TrialState.PRUNED:
                yield job


def storage(driver: Driver) -> JournalStorage:
    """The journal in a driver's folder, without a last line that was not written whole; of a damaged one a RunError."""
    path = driver.folder / JOURNAL
    with suppress(FileNotFoundError), path.open("rb+") as file:
        file.truncate(len(whole_lines(file.read())))
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
