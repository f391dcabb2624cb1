"""The driver of a study: one process a folder, which makes runs by an engine, reads results and says how far it is."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from goal_analysis.declarations import check_counts, read_value
from goal_analysis.files import folder_names, json_text, try_lock, write_json, write_whole
from goal_analysis.study.engine import Engine, Job, LocalProcesses
from goal_analysis.vse.folder.run_folder import RESULT, RUN, RunError, check_same, read_record, read_run
from goal_analysis.vse.loop.experiment import Experiment

LOCK, PROGRESS = "driver.lock", "progress.json"

POLL = 0.1  # seconds between two looks at what is running


@dataclass(frozen=True)
class Failure:
    """A job that ended without a result."""

    job: Job  # which
    how: str  # the job ended
    why: str = ""  # the driver ended it; empty where it ended by itself

    def __str__(self) -> str:
        if self.why:
            return f"{self.job.name}: {self.why}"
        try:
            last = self.job.log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        except OSError:
            last = []
        return f"{self.job.name}: {self.how}: {' '.join(last) or 'without a word'}; see {self.job.log}"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is, as ``progress.json`` has it."""

    driver: str  # the process that drives the study, or drove it
    command: tuple[str, ...] = ()  # what the user typed, if it was typed
    baseline: str = ""  # the folder of the runs that others are compared with, where that was said
    runs: int = 0  # of the whole study
    done: int = 0  # of them, without those that failed
    failed: int = 0  # of them, in this call
    running: tuple[str, ...] = ()  # the names of those that an engine has
    best: str = ""  # the name of the best run
    rsum: float = 0.0  # its dev RSUM
    minutes: float | None = None  # that the rest will take, at the pace of this call; None before a run has ended

    @property
    def waiting(self) -> int:
        """How many runs have not begun."""
        return max(0, self.runs - self.done - self.failed - len(self.running))

    def __str__(self) -> str:
        failed = f"{self.failed} failed, " if self.failed else ""
        said = f"{self.done} of {self.runs} runs done, {failed}{len(self.running)} running, {self.waiting} waiting"
        best = f"; best so far {self.rsum:.1f}, {self.best}" if self.best else ""
        if self.minutes is None or self.done == self.runs:
            return said + best
        rest = f"{self.minutes:.0f} min" if self.minutes < 120 else f"{self.minutes / 60:.1f} h"
        return f"{said}{best}; {f'about {rest}' if self.minutes >= 1 else 'less than a minute'} left"


def read_progress(folder: Path) -> tuple[Progress, bool]:
    """How far the study in a folder is, and whether its driver is at work; a RunError where none has begun there."""
    found, lock = _progress(folder), try_lock(folder / LOCK)
    if lock is not None:
        lock.release()
    return found, lock is None


def study_of(run: Path) -> Progress:
    """The study whose comparison a run in a folder is part of; an empty one where no intact one is found."""
    for folder in run.resolve().parents[1:4]:  # compare's own, or those of one that a study confirms by
        with suppress(RunError):
            return _progress(folder)
    return Progress(driver="")


def _progress(folder: Path) -> Progress:
    return read_record(folder / PROGRESS, "what a study writes", lambda record: read_value(Progress, record, PROGRESS))


def best_rsum(folder: Path) -> float:
    """The best dev RSUM of a run that is done; a RunError where its result is not what a run writes."""
    expected = "the result that a run writes"
    return read_record(folder / RESULT, expected, lambda result: float(result["best"]["rsum"]))


class Driver:
    """The one process that drives a study; in its context it has the folder for itself, or a RunError says who has.

    It makes ``at_once`` runs at once, by default as many as the engine has places, and says a line for each that ended.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine | None = None,
        at_once: int | None = None,
        say: Callable[[str], None] = lambda line: None,
        command: Sequence[str] = (),
    ) -> None:
        self.folder, self.engine, self.say = folder, engine or LocalProcesses(), say
        self.at_once = self.engine.places if at_once is None else at_once
        check_counts(jobs=self.at_once)
        self.progress = Progress(driver=f"process {os.getpid()} on {socket.gethostname()}", command=tuple(command))
        self._began, self._ended, self._written = time.monotonic(), 0, None

    def __enter__(self) -> Driver:
        lock = try_lock(self.folder / LOCK)
        if lock is None:
            other = read_progress(self.folder)[0].driver if (self.folder / PROGRESS).exists() else "another process"
            raise RunError(
                f"{self.folder}: got a study that {other} drives but expected one driver a folder; "
                f"goal-analyze status {self.folder} says how far it is"
            )
        self.lock = lock
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.engine.close()
            self._write(())
        finally:
            self.lock.release()

    def expect(self, runs: int, done: int = 0, baseline: str = "") -> None:
        """Say how many runs the study has, how many were done before and are no jobs, and where the baseline's are."""
        self.progress = replace(self.progress, runs=runs, done=done, baseline=baseline)

    def run(
        self,
        jobs: Iterable[Job],
        ended: Callable[[Job, Failure | None], None] = lambda job, failure: None,
        watch: Callable[[Job], str] = lambda job: "",
    ) -> list[Failure]:
        """Run the jobs that are not done, asking for the next when there is room; one that fails stops no other.

        ``ended`` is handed every job with its failure, also those done before; a text of ``watch`` ends a running job.
        """
        coming, running = iter(jobs), list[Job]()
        reasons: dict[Job, str] = {}
        failures: list[Failure] = []
        while True:
            while len(running) < self.at_once and (job := next(coming, None)) is not None:
                if job.done:
                    self._count(job, None)
                    ended(job, None)
                else:
                    self.engine.submit(job)
                    running.append(job)
            if not running:
                return failures
            self._write(running)
            for job, how in self.engine.wait(POLL).items():
                running.remove(job)
                failure = None if job.done else Failure(job, how, reasons.pop(job, ""))
                failures.extend([failure] if failure else [])
                self._ended += 1
                self._count(job, failure)
                self._write(running)
                said = failure or f"{job.name}: dev RSUM {best_rsum(job.folder):.1f}"
                self.say(f"{said} ({self.progress})")
                ended(job, failure)
            for job in running:
                if job not in reasons and (why := watch(job)):
                    reasons[job] = why
                    self.engine.cancel(job)

    def _count(self, job: Job, failure: Failure | None) -> None:
        now = self.progress
        if failure is not None and not failure.why:
            now = replace(now, failed=now.failed + 1)
        else:
            now = replace(now, done=now.done + 1)
        if failure is None and (rsum := best_rsum(job.folder)) > now.rsum:
            now = replace(now, best=job.name, rsum=rsum)
        if self._ended:
            pace = (time.monotonic() - self._began) / 60 / self._ended
            now = replace(now, minutes=pace * (now.runs - now.done - now.failed))
        self.progress = now

    def _write(self, running: Iterable[Job]) -> None:
        self.progress = replace(self.progress, running=tuple(job.name for job in running))
        if self.progress != self._written:
            write_json(self.folder / PROGRESS, asdict(self.progress))
            self._written = self.progress


DECLARED = "experiment.json"

COMPARISON = "comparison"

TRIAL_SEED, TRIAL_FOLD = 1000, 0
"""Of the trials' runs: the comparison's seeds count from 0, and the fold leaves dev for it."""

Data = Mapping[str, Mapping[str, Any]]  # tables ``[data]`` of experiments, by the name that tables have of them


def run_job(name: str, experiment: Experiment, folder: Path) -> Job:
    """The job that trains an experiment in a folder, or goes on; a RunError where another or a damaged run is there."""
    if (folder / RUN).exists():
        check_same(folder, experiment)
    declared = folder / DECLARED
    text = json_text(experiment.mapping())
    if not declared.exists() or declared.read_text("utf-8") != text:
        write_whole(declared, text)
    return Job(name, folder, ("train", str(declared), "-o", str(folder)))


def seed_jobs(folder: Path, experiments: Mapping[str, Experiment], seeds: int) -> dict[tuple[str, int], Job]:
    """The jobs by name and seed, 0 to ``seeds`` − 1; a ValueError where two share a folder, or another run has it."""
    where = {name: folder / inner for name, inner in folder_names(experiments).items()}
    return {
        (name, seed): run_job(f"{name}, seed {seed}", replace(experiment, seed=seed), where[name] / f"seed-{seed}")
        for seed in range(seeds)
        for name, experiment in experiments.items()
    }


def by_seed(
    jobs: Mapping[tuple[str, int], Job], measured: Callable[[Path], float] = best_rsum
) -> dict[str, dict[int, float]]:
    """What was measured of the jobs that are done; a RunError where data have changed between, or one is damaged."""
    done = {run: job.folder for run, job in jobs.items() if job.done}
    first: dict[str, tuple[Path, str]] = {}
    for folder in done.values():
        record = read_run(folder)
        before, expected = first.setdefault(json_text(record.experiment.data), (folder, record.data.fingerprint))
        if record.data.fingerprint != expected:
            raise RunError(
                f"{folder}: got data with the fingerprint {record.data.fingerprint} but expected {expected}, "
                f"as in {before}: they have changed in between, and such runs are not compared"
            )
    found: dict[str, dict[int, float]] = {}
    for (name, seed), folder in done.items():
        found.setdefault(name, {})[seed] = measured(folder)
    return found
