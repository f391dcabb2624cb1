"""Every signal at every stage of a command: nothing is half-written, no traceback, and the same command goes on."""

import os
import signal
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch

from goal_analysis.cli import main
from goal_analysis.cli.options import INTERRUPTED

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
SMALL = (
    *("--set", "model.image.dim=8", "--set", "model.tokenizer.name=words", "--set", "model.tokenizer.min_count=1"),
    *("--set", "training.epochs=2", "--set", "training.batch_size=20", "--set", "training.log_steps=1"),
    *("--set", "training.checkpoint_steps=2"),
)
TRAINING = {
    "data are opened": ("open", "train_ims.npy", 1),
    "the record gets its name": ("os.rename", "run.json", 1),
    "the first step is logged": ("open", "log.jsonl", 6),
    "the middle of an epoch": ("open", "log.jsonl", 12),
    "evaluation": ("open", "dev_ims.npy", 4),
    "a checkpoint is begun": ("os.mkdir", ".step-*", 2),
    "a checkpoint gets its name": ("os.rename", "step-*", 2),
    "the result gets its name": ("os.rename", "result.json", 1),
}
"""An audit event, a name of a file, and for the how many-th time."""


@pytest.fixture(scope="module")
def data(of_words, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("data") / "small"
    where.mkdir()
    for split, images, seed in (("train", 40, 1), ("dev", 12, 2)):
        features, captions = of_words(images, seed, captions=5)
        np.save(where / f"{split}_ims.npy", features)
        (where / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    return where


def signalled(
    words: Sequence[object], output: Path, number: int = 0, moment: tuple[str, str, int] | None = None
) -> int:
    """The exit code of the command line in a forked process that a signal meets at a moment; below 0, the signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        torch.set_num_threads(1)
        for name in ("SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        printed = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        if moment is not None:
            send_at(number, *moment)
        sys.argv = ["goal-analyze", *map(str, words)]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def send_at(number: int, event: str, name: str, time: int) -> None:
    left = [time]

    def look(said: str, arguments: tuple[object, ...]) -> None:
        paths = (Path(argument).name for argument in arguments if isinstance(argument, str | os.PathLike))
        if said == event and any(fnmatch(path, name) for path in paths):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), number)

    sys.addaudithook(look)


def lasting(folder: Path) -> dict[str, bytes]:
    """What a run has, but for the clock and what the command was."""
    names = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in names
        if path.name not in ("seconds.jsonl", "run.json", "run.lock")
    }


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no signal meets."""
    folder = tmp_path_factory.mktemp("trained")
    assert signalled(training(data, folder / "run"), folder / "printed") == 0
    return folder / "run"


def training(data: Path, run: Path) -> tuple[object, ...]:
    return ("train", "--preset", "bag_of_words", "--data", data, "--objective", "vse_pp", *SMALL, "-o", run)


@pytest.mark.parametrize("stage", TRAINING)
@pytest.mark.parametrize("name", SIGNALS)
def test_training_goes_on_after_a_signal_at_any_stage(
    data: Path, trained: Path, tmp_path: Path, name: str, stage: str
) -> None:
    words, printed = training(data, tmp_path / "run"), tmp_path / "printed"
    code = signalled(words, printed, getattr(signal, name), TRAINING[stage])
    check_end(code, name, printed, f"what is done stays in {tmp_path / 'run'}/")
    assert signalled(words, printed) == 0
    assert lasting(tmp_path / "run") == lasting(trained)


def check_end(code: int, name: str, printed: Path, said: str) -> None:
    """A command ends by SIGKILL, or says in words that it was interrupted."""
    if name == "SIGKILL":
        assert code == -signal.SIGKILL
    else:
        assert code == INTERRUPTED
        assert said in printed.read_text()
    assert "Traceback" not in printed.read_text()
