"""Jobs in parallel processes: each is a call of ``goal-analyze`` with a folder of its own, and is run once.

Several callers may have the same jobs at the same time, on one machine or on several that share the folders. One of
them claims a job and runs it, and the others wait for its end. The claim is a lock of the process that runs the job, so
the claim of a caller that was killed lasts as long as its process goes on.

Jobs are forked from a server that has everything imported, where the system can fork: importing takes as long as a
short run.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from filelock import FileLock

from goal_analysis.files import try_lock

ATTEMPTS = 3
"""A job whose process is killed, as the system does where memory is short, is begun so many times; a run goes on."""

POLL = 0.1  # seconds between two looks at what is running
POLL_OTHERS = 2.0  # seconds between two looks at what other callers are running
TAKEN = 75  # the exit code of a process whose job another process has claimed
PRELOADED = ("goal_analysis.vse.folder.run", "goal_analysis.recombination.text")
"""What the server imports."""


@dataclass(frozen=True)
class Job:
    """A call of ``goal-analyze``.

    Args:
        name: how messages call it.
        words: the arguments of the call.
        output: the file that the call writes last; the job is done when the file exists.
        log: the file for what the call prints; the claim lies beside it.
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
        """Make the call in this process, which then ends."""
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
        why: the reason why the caller ended it; empty where it ended by itself.
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


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Turn a SIGTERM, which schedulers send, into a KeyboardInterrupt where it would end the process."""
    if not _is_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def delayed_signals() -> Iterator[None]:
    """Delay a Ctrl-C or a SIGTERM to the end of the context, also where an error ends the context.

    The signals are handled and not blocked, because processes that are started inside would have them blocked for
    ever. A signal that the process ignores, or that ends it, stays so.
    """
    if not _is_main_thread():
        yield
        return
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    handlers = {n: handler for n in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(n))}
    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def _is_main_thread() -> bool:
    """Whether this thread may set handlers of signals: only the main one may."""
    return threading.current_thread() is threading.main_thread()


@sigterm_as_interrupt()
def run_jobs(
    jobs: Iterable[Job],
    at_once: int,
    threads: int = 1,
    report: Callable[[Job, Failure | None], None] = lambda job, failure: None,
    watch: Callable[[Job], str] = lambda job: "",
) -> list[Failure]:
    """Run the jobs that are not done, ``at_once`` at a time; a job that fails does not stop the others.

    A job whose process is killed is begun again, up to `ATTEMPTS` times in all. Ctrl-C ends all jobs; so does a
    SIGTERM, unless the caller handles that itself.

    Args:
        jobs: in the order in which they are begun; the next is asked for when there is room for it.
        at_once: processes.
        threads: of each.
        report: is handed every job that ended, and its failure if it failed; jobs that were done before, too.
        watch: is asked about every running job again and again; a text ends the job, and is the reason why.

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
    running: dict[Job, BaseProcess] = {}
    reasons: dict[Job, str] = {}
    claimed_by_others: list[Job] = []
    looked = 0.0
    kills: Counter[Job] = Counter()
    failures: list[Failure] = []

    def begin(job: Job) -> None:
        if job.done:
            report(job, None)
            return
        claim = job.claim()
        if claim is None:
            claimed_by_others.append(job)
            return
        claim.release()  # the process claims it for itself
        process = server.Process(target=job.run, args=(threads,), name=job.name)
        with delayed_signals():  # before start() knows the process's id, nobody could end the process
            process.start()
            running[job] = process

    def end(job: Job, code: int) -> None:
        del running[job]
        why = reasons.pop(job, "")
        if code == TAKEN:
            claimed_by_others.append(job)
            return
        if code < 0 and not why and not job.done:
            kills[job] += 1
            if kills[job] < ATTEMPTS:
                begin(job)
                return
        failure = None if job.done else Failure(job, code, why)
        failures.extend([failure] if failure else [])
        report(job, failure)

    try:
        while not (exhausted and not running and not claimed_by_others):
            if claimed_by_others and time.monotonic() - looked > POLL_OTHERS:
                looked, again = time.monotonic(), claimed_by_others[:]
                claimed_by_others.clear()
                for job in again:
                    begin(job) if job.done or len(running) < at_once else claimed_by_others.append(job)
            while not exhausted and len(running) < at_once:
                job = next(coming, None)
                exhausted = job is None
                if job is not None:
                    begin(job)
            for job, process in list(running.items()):
                if process.exitcode is not None:
                    end(job, process.exitcode)
                elif job not in reasons and (why := watch(job)):
                    reasons[job] = why
                    process.terminate()
            time.sleep(POLL)
        return failures
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()
