"""Small data and a small experiment, to train in a second."""

from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric

from goal_analysis.api.objectives import objective as made
from goal_analysis.declarations import with_settings
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split
from goal_analysis.vse.folder.checkpoint import Progress
from goal_analysis.vse.folder.run import run_experiment
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping, preset
from goal_analysis.vse.loop.training import Report
from losses_catalog.weights import constant_pair, nca_triplet


@pytest.fixture(scope="session")
def data(of_words) -> RetrievalData:
    """Features that depend on the words of two captions each."""

    def split(name: str, images: int, seed: int) -> Split:
        features, captions = of_words(images, seed, captions=2)
        return Split(name, ArrayImages(features), captions, np.arange(2 * images) // 2)

    return RetrievalData("made up", split("train", 60, 1), split("dev", 20, 2))


@pytest.fixture(scope="session")
def objective() -> GradientObjective:
    return GradientObjective(composed(nca_triplet, constant_pair, "softmax:8").with_settings({"tau": 8}))


def small(*settings: str) -> Experiment:
    given = with_settings(
        preset("bag_of_words"),
        [
            "data.name=made_up",
            "model.image.dim=8",
            "model.tokenizer.name=words",
            "model.tokenizer.min_count=1",
            "training.epochs=3",
            "training.batch_size=20",
            "training.learning_rate=0.02",
            "training.log_steps=2",
            *settings,
        ],
    )
    return experiment_from_mapping(given)


@pytest.fixture(scope="session")
def trained_small(data: RetrievalData, objective: GradientObjective):
    """Trains the small experiment in a folder."""

    def run(folder: Path, *settings: str, report: Report = lambda record: None, on: RetrievalData = data) -> Progress:
        experiment = small(*settings)
        fabric = Fabric(accelerator="cpu", devices=1, precision=experiment.training.precision)
        own = any(setting.startswith("objective=") for setting in settings)  # a new one: it learns
        trained = made(experiment.objective) if own else objective
        return run_experiment(experiment, trained, on, folder, fabric, report=report)

    return run
