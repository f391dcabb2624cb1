"""A small run to break, ways to break it, and what is left of it."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from goal_analysis.declarations import with_settings
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.vse.data.split import ArrayImages, Images, RetrievalData, Rows, Split
from goal_analysis.vse.folder.checkpoint import Progress, load, steps
from goal_analysis.vse.folder.run import run_experiment
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, LOG, RESULT, TABLE
from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset
from losses_catalog import pair_weights, triplet_weights

WORDS = ("a", "red", "blue", "dog", "cat", "runs", "sits", "near")
SETTINGS = (
    "data.name=made_up",
    "model.image.dim=8",
    "model.tokenizer.name=words",
    "model.tokenizer.min_count=1",
    "training.epochs=2",
    "training.batch_size=20",
    "training.learning_rate=0.02",
    "training.checkpoint_steps=2",
    "training.log_steps=1",
)
LINE = "nca(tau=8)/constant@softmax:8"


@pytest.fixture(scope="session")
def data(of_words) -> RetrievalData:
    def split(name: str, images: int) -> Split:
        features, captions = of_words(images, seed=images, captions=2, words=WORDS, dim=6)
        return Split(name, ArrayImages(features), captions, np.arange(2 * images) // 2)

    return RetrievalData("made up", split("train", 40), split("dev", 12))


@pytest.fixture(scope="session")
def train(data: RetrievalData) -> Callable[..., Progress]:
    """Trains the small experiment in a folder, or goes on there."""

    def run(
        folder: Path, *settings: str, on: RetrievalData = data, report=lambda record: None, devices: int = 1
    ) -> Progress:
        experiment = experiment_from_mapping(with_settings(preset("bag_of_words"), [*SETTINGS, *settings]))
        objective = GradientObjective(parse_objective(LINE, Parts(triplet_weights, pair_weights)))
        fabric = Fabric(accelerator="cpu", devices=devices)
        fabric.launch()
        return run_experiment(experiment, objective, on, folder, fabric, report=report)

    return run


@pytest.fixture(scope="session")
def whole(train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happens to; not to be written in."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return folder


def _contents(folder: Path) -> dict[str, object]:
    """Log, table, result and the last weights of a run, bit for bit."""
    last = load(folder / CHECKPOINTS, steps(folder / CHECKPOINTS)[-1])
    found: dict[str, object] = {name: (folder / name).read_bytes() for name in (LOG, TABLE, RESULT)}
    return found | {name: t.numpy().tobytes() for name, t in {**last.model, **last.optimizer}.items()}


@dataclass(frozen=True, eq=False)
class WatchedImages:
    """Images of which each reading is announced by its number, from 1, before it is made."""

    images: Images
    look: Callable[[int], object]
    readings: list[int] = field(default_factory=lambda: [0])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Rows) -> torch.Tensor:
        self.readings[0] += 1
        self.look(self.readings[0])
        return self.images.batch(rows)

    def fingerprint(self) -> str:
        return self.images.fingerprint()


@pytest.fixture(scope="session")
def breaking(data: RetrievalData) -> Callable[[int, Callable[[], object]], RetrievalData]:
    """Makes data of which a reading of the images to train on, from 1, does something else first.

    The first reading is that of the statistics, and then there is one a step.
    """

    def make(number: int, then: Callable[[], object] = kill_oneself) -> RetrievalData:
        images = WatchedImages(data.train.images, partial(at_reading, number, then))
        return replace(data, train=replace(data.train, images=images))

    return make


def at_reading(number: int, then: Callable[[], object], reading: int) -> None:
    if reading == number:
        then()


def kill_oneself() -> None:
    """End this process by SIGKILL, which nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(event: str, name: str, number: int) -> None:
    signal_at(signal.SIGKILL, event, name, number)


def signal_at(sent: int, event: str, name: str, number: int) -> None:
    """Send this process a signal before it does something to a file for the so-many-th time.

    Args:
        sent: the signal.
        event: as Python's audit events are named: ``open``, ``os.rename`` …
        name: of the file, with ``*`` for anything.
        number: from 1.
    """
    left = [number]

    def look(said: str, arguments: tuple[object, ...]) -> None:
        paths = (Path(argument).name for argument in arguments if isinstance(argument, str | os.PathLike))
        if said == event and any(fnmatch(path, name) for path in paths):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), sent)

    sys.addaudithook(look)


def _in_a_child(work: Callable[[], object], *moment: Any) -> int:
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        try:
            if moment:
                kill_at(*moment)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _commanded(
    words: Sequence[object], printed: str | Path, number: int = 0, moment: Any = None, errors: str | Path | None = None
) -> int:
    from goal_analysis.cli import main

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        torch.set_num_threads(1)
        for name in ("SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for place, where in ((1, printed), (2, errors or printed)):
            os.dup2(os.open(where, os.O_CREAT | os.O_WRONLY | os.O_APPEND), place)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        if moment is not None:
            signal_at(number, *moment)
        sys.argv = ["goal-analyze", *map(str, words)]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="session")
def commanded() -> Callable[..., int]:
    """The exit code of the command line in a forked process that a signal meets at a moment; below 0, the signal.

    It takes the words, the file for what is printed, the signal, the moment as `kill_at` does, and a file for errors.
    """
    return _commanded


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, object]]:
    """What a run left, to be compared."""
    return _contents


@pytest.fixture(scope="session")
def in_a_child() -> Callable[..., int]:
    """The exit code of a forked process that does some work, killed at a moment as `kill_at` takes it.

    Below 0, the code is the signal that ended the process.
    """
    return _in_a_child
