"""Jobs in parallel processes: each is a call of ``goal-analyze`` with a folder of its own, and is run once.

Several callers may have the same jobs at the same time, on one machine or on several that share the folders: whoever
locks a job's claim runs it, and the others wait for its end. The lock is the running process's own, so it outlives a
caller that was killed for as long as the process does.

Jobs are forked from a server that has everything imported, for what a short run does takes no longer than importing.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from filelock import FileLock

from goal_analysis.files import try_lock
from goal_analysis.study.interrupts import held_back, interrupted_by_sigterm

BEGINNINGS = 3
"""How often a job is begun whose process is killed, as the system does where memory is short; a run goes on."""

POLL = 0.1
"""Seconds between two looks at what is running."""

LOOK_ELSEWHERE = 2.0
"""Seconds between two looks at what others are running."""

TAKEN = 75
"""The exit code of a job that another process has claimed."""

PRELOADED = ("goal_analysis.vse.folder.run", "goal_analysis.recombination.text")
"""What the server imports."""


@dataclass(frozen=True)
class Job:
    """A call of ``goal-analyze``.

    Args:
        name: how messages call it.
        words: the arguments of the call.
        output: the file that it writes last; where it is there, the job is done.
        log: where what it prints goes; the claim lies beside it.
    """

    name: str
    words: tuple[str, ...]
    output: Path
    log: Path

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.output.exists()

    def claim(self) -> FileLock | None:
        """Claim the job until the lock is released or the process ends; None while another process has claimed it."""
        return try_lock(self.log.with_suffix(".claim"))

    def run(self, threads: int) -> None:
        """Make the call in this process, which ends with it."""
        claim = self.claim()
        if claim is None:
            raise SystemExit(TAKEN)
        if self.done:  # by another, while this process was being started
            return
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        with self.log.open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.argv = ["goal-analyze", *self.words]
        runpy.run_module("goal_analysis", run_name="__main__")


@dataclass(frozen=True)
class Failure:
    """A job that ended without its output.

    Args:
        job: which.
        code: its exit code.
        why: the caller ended it, for this reason; empty where it ended by itself.
    """

    job: Job
    code: int
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return f"{self.job.name}: {self.why}"
        try:
            last = self.job.log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        except OSError:
            last = []
        how = f"killed by {signal.Signals(-self.code).name}" if self.code < 0 else f"ended with {self.code}"
        return f"{self.job.name}: {how}: {' '.join(last) or 'without a word'}; see {self.job.log}"


@dataclass(eq=False)
class _Running:
    process: BaseProcess
    why: str = ""


@interrupted_by_sigterm()
def run_jobs(
    jobs: Iterable[Job],
    at_once: int,
    threads: int = 1,
    report: Callable[[Job, Failure | None], None] = lambda job, failure: None,
    watch: Callable[[Job], str] = lambda job: "",
) -> list[Failure]:
    """Run those that are not done, so many at once; those that fail do not stop the others.

    One whose process is killed is begun again, up to `BEGINNINGS` times in all. Ctrl-C ends them all; so does a
    SIGTERM, which schedulers send, unless the caller handles that itself.

    Args:
        jobs: in the order in which they are begun; the next is asked for when there is room for it.
        at_once: processes.
        threads: of each.
        report: is handed every job that ended, and its failure if it failed; the jobs that were done before, too.
        watch: is asked about every running job again and again; what is not empty says why it is ended.

    Raises:
        ValueError: fewer than one process.
        KeyboardInterrupt: at either signal, when all have ended.
    """
    if at_once < 1:
        raise ValueError(f"jobs: got {at_once} processes but expected 1 at least")
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    server = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
    if forks:
        server.set_forkserver_preload(list(PRELOADED))
    coming, exhausted = iter(jobs), False
    elsewhere: list[Job] = []
    looked = 0.0
    running: dict[Job, _Running] = {}
    kills: dict[Job, int] = {}
    failures: list[Failure] = []

    def begin(job: Job) -> None:
        if job.done:
            report(job, None)
            return
        claim = job.claim()
        if claim is None:
            elsewhere.append(job)
            return
        claim.release()  # the process claims it for itself
        process = server.Process(target=job.run, args=(threads,), name=job.name)
        with held_back():  # it runs, and nobody could end it, before start() has heard from the server which one it is
            process.start()
            running[job] = _Running(process)

    def end(job: Job, code: int) -> None:
        why = running.pop(job).why
        if code == TAKEN:
            elsewhere.append(job)
            return
        if code < 0 and not why and not job.done and kills.get(job, 0) + 1 < BEGINNINGS:
            kills[job] = kills.get(job, 0) + 1
            begin(job)
            return
        failure = None if job.done else Failure(job, code, why)
        failures.extend([failure] if failure else [])
        report(job, failure)

    try:
        while not (exhausted and not running and not elsewhere):
            if elsewhere and time.monotonic() - looked > LOOK_ELSEWHERE:
                looked, again = time.monotonic(), elsewhere[:]
                elsewhere.clear()
                for job in again:
                    begin(job) if job.done or len(running) < at_once else elsewhere.append(job)
            while not exhausted and len(running) < at_once:
                job = next(coming, None)
                exhausted = job is None
                if job is not None:
                    begin(job)
            for job, one in list(running.items()):
                code = one.process.exitcode
                if code is not None:
                    end(job, code)
                elif not one.why and (why := watch(job)):
                    one.why = why
                    one.process.terminate()
            time.sleep(POLL)
        return failures
    finally:
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.join()
