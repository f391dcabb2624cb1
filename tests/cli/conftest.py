"""Small data, as a user has them in a folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def folder(of_words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features that depend on the words of five captions each, as files."""
    where = tmp_path_factory.mktemp("data") / "small"
    where.mkdir()
    for split, images, seed in (("train", 40, 1), ("dev", 12, 2)):
        features, captions = of_words(images, seed, captions=5)
        np.save(where / f"{split}_ims.npy", features)
        (where / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
        (where / f"{split}_ids.txt").write_text("\n".join(map(str, range(images))) + "\n")
    return where


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


@pytest.fixture(scope="session")
def killed_midway() -> Callable[[Sequence[str], Path], dict[Path, int]]:
    """Calls the command line, kills it when two runs in a folder are done, and gives the results and their times."""

    def kill(words: Sequence[str], output: Path) -> dict[Path, int]:
        with called(words) as process:
            deadline = time.monotonic() + 180
            while len(list(output.rglob("result.json"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
        return {path: path.stat().st_mtime_ns for path in output.rglob("result.json")}

    return kill
