"""A small run to break, ways to break it, and what is left of it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from goal_analysis.recombination.composition import Parts, parse_objective
from goal_analysis.symbolic.objective import Reduction
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split
from goal_analysis.vse.folder.checkpoint import load, steps
from goal_analysis.vse.folder.run import RESULT, start
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, LOG, TABLE
from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset, with_settings
from goal_analysis.vse.loop.training import Progress
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
        objective = parse_objective(LINE, Parts(triplet_weights, pair_weights), reduction=Reduction.MEAN)
        fabric = Fabric(accelerator="cpu", devices=devices)
        fabric.launch()
        return start(experiment, objective, on, folder, fabric, report=report)

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


def _killed() -> None:
    """The end of this process by SIGKILL, which nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


def _at_call(number: int, function: Callable, then: Callable[[], object] = _killed) -> Callable:
    """The function, but for its call of this number, from 1, in whose place something else happens."""
    calls = 0

    def called(*arguments, **named):
        nonlocal calls
        calls += 1
        return then() if calls == number else function(*arguments, **named)

    return called


def _in_a_child(work: Callable[[], object]) -> int:
    """The exit code of a forked process that does this; below 0, the signal that ended it."""
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, object]]:
    """What a run left, to be compared."""
    return _contents


@pytest.fixture(scope="session")
def at_call() -> Callable[..., Callable]:
    """A function that breaks at a call of it."""
    return _at_call


@pytest.fixture(scope="session")
def in_a_child() -> Callable[[Callable[[], object]], int]:
    """A process of its own."""
    return _in_a_child
