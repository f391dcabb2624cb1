"""Jobs in parallel processes: each is a command with a folder of its own, and one that is done is not run again.

Several callers may have the same jobs at the same time, on one machine or on several that share the folders: whoever
locks a job's claim runs it, and the others wait for its end. The claim is the process's own too, so it outlives a
caller that was killed for as long as the process does.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

POLL = 0.1
"""Seconds between two looks at what is running."""


@dataclass(frozen=True)
class Job:
    """A command.

    Args:
        name: how messages call it.
        command: its words.
        output: the file that it writes last; where it is there, the job is done.
        log: where what it prints goes; the claim lies beside it.
    """

    name: str
    command: tuple[str, ...]
    output: Path
    log: Path

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.output.exists()

    def claimed(self) -> IO[str] | None:
        """The open file that claims the job until it is closed everywhere; None while another process has it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        file = self.log.with_suffix(".claim").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file


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
        return f"{self.job.name}: ended with {self.code}: {' '.join(last) or 'without a word'}; see {self.job.log}"


@dataclass(eq=False)
class _Running:
    process: subprocess.Popen
    claim: IO[str]
    why: str = ""


def run_jobs(
    jobs: Iterable[Job],
    at_once: int,
    threads: int = 1,
    report: Callable[[Job, Failure | None], None] = lambda job, failure: None,
    watch: Callable[[Job], str] = lambda job: "",
) -> list[Failure]:
    """Run those that are not done, so many at once; those that fail do not stop the others.

    Args:
        jobs: in the order in which they are begun; the next is asked for when there is room for it.
        at_once: processes.
        threads: of each.
        report: is handed every job that ended, and its failure if it failed; the jobs that were done before, too.
        watch: is asked about every running job again and again; what is not empty says why it is ended.

    Raises:
        ValueError: fewer than one process.
    """
    if at_once < 1:
        raise ValueError(f"jobs: got {at_once} processes but expected 1 at least")
    coming = iter(jobs)
    elsewhere: list[Job] = []
    running: dict[Job, _Running] = {}
    failures: list[Failure] = []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def begin(job: Job) -> None:
        if job.done:
            report(job, None)
        elif (claim := job.claimed()) is None:
            elsewhere.append(job)
        elif job.done:  # between the two looks
            claim.close()
            report(job, None)
        else:
            with job.log.open("w") as log:
                process = subprocess.Popen(
                    job.command, stdout=log, stderr=subprocess.STDOUT, env=environment, pass_fds=[claim.fileno()]
                )
            running[job] = _Running(process, claim)

    try:
        exhausted = False
        while True:
            again, elsewhere = elsewhere, []
            for job in again:
                if len(running) < at_once or job.done:
                    begin(job)
                else:
                    elsewhere.append(job)
            while not exhausted and len(running) < at_once:
                job = next(coming, None)
                exhausted = job is None
                if job is not None:
                    begin(job)
            for job, one in list(running.items()):
                code = one.process.poll()
                if code is None:
                    one.why = one.why or watch(job)
                    if one.why:
                        one.process.terminate()
                    continue
                del running[job]
                one.claim.close()
                failure = None if job.done else Failure(job, code, one.why)
                failures += [failure] if failure else []
                report(job, failure)
            if exhausted and not running and not elsewhere:
                return failures
            time.sleep(POLL)
    finally:
        for one in running.values():
            one.process.terminate()
        for one in running.values():
            one.process.wait()
            one.claim.close()
