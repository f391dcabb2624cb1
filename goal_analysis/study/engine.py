"""Engines run jobs, which are calls of ``goal-analyze``, and end with the process that submitted them.

`LocalProcesses` forks them from a server that has everything imported: importing takes as long as a short run.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from filelock import FileLock, Timeout

from goal_analysis.vse.folder.run_folder import LOCK, RESULT

ATTEMPTS = 3
"""A job whose process is killed, as the system does where memory is short, is begun so many times; a run goes on."""

LOST = 130, 255  # the exit codes of a job that a signal told to end, and of one whose server died, which alone knows it
PATIENCE = 60.0  # seconds for a process that is ending to leave the folder, or to end at all
PAUSE = 1.0  # seconds before a process is started that could not be started
PRELOADED = ("goal_analysis.vse.folder.run", "goal_analysis.api.runs", "goal_analysis.cli")  # what the server imports

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Job:
    """A call of ``goal-analyze`` that trains a run."""

    name: str  # how messages call it
    folder: Path  # of the run
    words: tuple[str, ...]  # the arguments of the call

    @property
    def done(self) -> bool:
        """Whether the run has come to its end."""
        return (self.folder / RESULT).exists()

    @property
    def log(self) -> Path:
        """The file for what the call prints."""
        return self.folder / "output.log"

    def call(self, threads: int = 1) -> None:
        """Make the call in this process, which then ends; where the run was just being made, wait for its end."""
        with suppress(Timeout), FileLock(self.folder / LOCK).acquire(timeout=PATIENCE):
            pass
        if self.done:
            return
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        with self.log.open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.argv = ["goal-analyze", *self.words]
        runpy.run_module("goal_analysis", run_name="__main__")


@runtime_checkable
class Engine(Protocol):
    """What runs jobs, and begins those again whose process was killed."""

    @property
    def places(self) -> int:
        """How many jobs have room at once."""
        ...

    def submit(self, job: Job) -> None:
        """Begin the job now, or when there is room."""

    def wait(self, seconds: float) -> dict[Job, str]:
        """The jobs that have ended, and how; where there is none, so many seconds are waited for one."""
        ...

    def cancel(self, job: Job) -> None:
        """End a job, which `wait` gives when it has ended."""

    def close(self) -> None:
        """End all jobs."""


class LocalProcesses:
    """Jobs in processes of this machine, each on one of the devices, as ``CUDA_VISIBLE_DEVICES`` names them."""

    def __init__(self, threads: int = 1, devices: Sequence[str] | None = None) -> None:
        self.threads, self.devices = threads, _devices() if devices is None else tuple(devices)
        self._server = server(PRELOADED)
        self._running: dict[Job, tuple[BaseProcess, str]] = {}
        self._begun: Counter[Job] = Counter()
        self._lost: dict[Job, str] = {}

    @property
    def places(self) -> int:
        """One, or as many as there are devices."""
        return max(1, len(self.devices))

    def submit(self, job: Job) -> None:
        """Begin the job now."""
        seen = Counter(dict.fromkeys(self.devices, 0))
        seen.update(device for _, device in self._running.values() if device)
        device = min(seen, key=lambda one: seen[one]) if seen else ""
        while True:
            self._begun[job] += 1
            process = self._server.Process(target=_work, args=(job, self.threads, device), name=job.name)
            try:
                process.start()
            except (OSError, EOFError) as problem:  # the server was just killed, and a new one begins when it has ended
                time.sleep(PAUSE)
                if self._begun[job] >= ATTEMPTS:
                    self._lost[job] = f"could not be begun: {problem!r}"
                    return
            else:
                self._running[job] = process, device
                return

    def wait(self, seconds: float) -> dict[Job, str]:
        """The jobs that have ended, and how."""
        wait([process.sentinel for process, _ in self._running.values()], 0 if self._lost else seconds)
        ended: dict[Job, str] = {}
        for job, (process, _) in list(self._running.items()):
            if (code := process.exitcode) is not None:
                del self._running[job]
                process.close()  # ends the process if it was the server that died
                ended[job] = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
                if not job.done and (code < 0 or code in LOST) and self._begun[job] < ATTEMPTS:
                    del ended[job]
                    self.submit(job)
        ended |= self._lost
        self._lost.clear()
        return ended

    def cancel(self, job: Job) -> None:
        """End the job's process."""
        self._begun[job] = ATTEMPTS
        if job in self._running:
            self._running[job][0].terminate()

    def close(self) -> None:
        """End all processes."""
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.join(PATIENCE)
            process.kill()
        self._running.clear()


def server(preloaded: Sequence[str]) -> Any:
    """What starts processes: forks, where a system has them, of one server that has these modules imported."""
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(list(preloaded))
    return context


def _devices() -> tuple[str, ...]:
    import torch

    count, named = torch.cuda.device_count(), os.environ.get(VISIBLE)
    return tuple(named.split(",")[:count] if named else map(str, range(count)))


def _work(job: Job, threads: int, device: str) -> None:
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    if device:
        os.environ[VISIBLE] = device
    job.call(threads)


def _end_with_the_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    wait([caller.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
