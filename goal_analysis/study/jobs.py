"""Jobs in parallel processes: each is a command with a folder of its own, and one that is done is not run again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A command.

    Args:
        name: how messages call it.
        command: its words.
        output: the file that it writes last; where it is there, the job is done.
        log: where what it prints goes.
    """

    name: str
    command: tuple[str, ...]
    output: Path
    log: Path

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.output.exists()


@dataclass(frozen=True)
class Failure:
    """A job that ended without its output.

    Args:
        job: which.
        code: its exit code.
    """

    job: Job
    code: int

    def __str__(self) -> str:
        try:
            last = self.job.log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        except OSError:
            last = []
        return f"{self.job.name}: ended with {self.code}: {' '.join(last) or 'without a word'}; see {self.job.log}"


def run_jobs(
    jobs: Sequence[Job], at_once: int, threads: int = 1, report: Callable[[Job], None] = lambda job: None
) -> list[Failure]:
    """Run those that are not done, so many at once; those that fail do not stop the others.

    Args:
        jobs: in the order in which they are begun.
        at_once: processes.
        threads: of each.
        report: is handed every job that ended.

    Raises:
        ValueError: fewer than one process.
    """
    if at_once < 1:
        raise ValueError(f"jobs: got {at_once} processes but expected 1 at least")
    waiting = [job for job in jobs if not job.done]
    running: dict[Job, subprocess.Popen] = {}
    failures = []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                job.log.parent.mkdir(parents=True, exist_ok=True)
                with job.log.open("w") as log:
                    running[job] = subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            for job, process in [(j, p) for j, p in running.items() if p.poll() is not None]:
                del running[job]
                if process.returncode or not job.done:
                    failures.append(Failure(job, process.returncode))
                report(job)
            time.sleep(0.05)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return failures
