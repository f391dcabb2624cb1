"""Small data, as a user has them in a folder."""

import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from goal_analysis.study.engine import PRELOADED, server


@pytest.fixture(scope="session")
def folder(folder_of_words) -> Path:
    """Features that depend on the words of five captions each, as files."""
    return folder_of_words(40)


def called(words: Sequence[str]) -> subprocess.Popen:
    """A call of the command line, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "goal_analysis", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="session")
def call() -> Callable[[Sequence[str]], subprocess.Popen]:
    """Calls the command line in a process of its own."""
    return called


class Forked:
    """Work in a session of a process forked from this one, which has everything imported: what it says, how it ends."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.returncode: int | None = None
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            self.pid = os.fork()
        if not self.pid:
            os.setsid()
            for output in (1, 2):
                os.dup2(write, output)
            sys.stdout = sys.stderr = os.fdopen(1, "w", 1, closefd=False)
            torch.set_num_threads(1)
            if (
                forkserver._forkserver._forkserver_pid is not None
            ):  # of a child of another process nobody asks for its end
                forkserver._forkserver.ensure_running = lambda: None
            os._exit(_ended(work))
        os.close(write)
        self.stdout = os.fdopen(read)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self.communicate()
        self.stdout.close()

    def poll(self) -> int | None:
        """The exit code, below 0 that of a signal; None before the end."""
        return self._ended_with(os.WNOHANG)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self) -> str:
        """What is said until the end."""
        said = self.stdout.read()
        self._ended_with(0)
        return said

    def _ended_with(self, how: int) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, how)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


def _ended(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def command(words: Sequence[str]) -> Forked:
    """A call of the command line as `Forked` work."""

    def work() -> None:
        sys.argv = ["goal-analyze", *words]
        runpy.run_module("goal_analysis", run_name="__main__")

    return Forked(work)


@pytest.fixture(scope="session")
def forked() -> type[Forked]:
    """What does work in a forked process."""
    return Forked


@pytest.fixture(scope="session")
def forked_call() -> Callable[[Sequence[str]], Forked]:
    """Calls the command line in a forked process."""
    return command


@pytest.fixture(scope="session")
def one_server() -> None:
    """The server of `LocalProcesses`, which all studies of this process and of those forked from it have in common."""
    server(PRELOADED)
    forkserver.ensure_running()


@pytest.fixture(scope="session")
def killed_midway(one_server: None) -> Callable[[Sequence[str], Path], dict[Path, int]]:
    """Calls the command line, kills it when two runs in a folder are done, and gives the results and their times."""

    def kill(words: Sequence[str], output: Path) -> dict[Path, int]:
        with command(words) as process:
            deadline = time.monotonic() + 600
            while len(list(output.rglob("result.json"))) < 2 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
        return {path: path.stat().st_mtime_ns for path in output.rglob("result.json")}

    return kill
