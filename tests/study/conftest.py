"""Small runs to report on, with captions that would break a careless page."""

from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split
from goal_analysis.vse.folder.run import run_experiment
from goal_analysis.vse.loop.experiment import Experiment, experiment_from_mapping
from losses_catalog import catalog, pair_weights, triplet_weights

HOSTILE = (
    "<script>document.title='taken'</script> a dog",
    "\"'><img src=x onerror=\"document.title='taken'\"> a cat",
    "</script><script>document.title='taken'</script> a bird",
    "{{ 7 * 7 }} & <b>a</b> fish",
)
OBJECTIVES = ("hinge/constant", "nca(tau=4)/linear")


def pictures(name: str, images: int) -> Split:
    """Pictures of noise with two captions each, hostile ones among them."""
    rng = np.random.default_rng(len(name))
    captions = tuple(HOSTILE[(i + i // 2) % len(HOSTILE)] for i in range(2 * images))
    array = rng.integers(0, 255, (images, 3, 16, 16), dtype=np.uint8)
    return Split(name, ArrayImages(array), captions, np.arange(2 * images) // 2)


@pytest.fixture(scope="session")
def picture_data() -> RetrievalData:
    return RetrievalData("<i>pictures</i>", pictures("train", 12), pictures("dev", 8))


def parsed(text: str) -> GradientObjective:
    return GradientObjective(parse_objective(text, Parts(triplet_weights, pair_weights, catalog)))


@pytest.fixture(scope="session")
def objective_of():
    """What makes an objective of a line."""
    return parsed


def declared(objective: str, seed: int) -> Experiment:
    return experiment_from_mapping(
        {
            "name": "</title>small",
            "data": {"name": "pictures"},
            "model": {
                "image": {"name": "convolution", "dim": 8, "width": 8},
                "text": {"name": "bag_of_words"},
                "tokenizer": {"name": "words", "min_count": 1},
            },
            "objective": objective,
            "training": {"epochs": 2, "batch_size": 8},
            "seed": seed,
        }
    )


@pytest.fixture(scope="session")
def runs(picture_data: RetrievalData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, two objectives over two seeds; not to be written in."""
    folder = tmp_path_factory.mktemp("runs")
    for objective in OBJECTIVES:
        for seed in range(2):
            where = folder / objective.replace("/", "_") / f"seed-{seed}"
            fabric = Fabric(accelerator="cpu", devices=1)
            words = ["goal-analyze", "train", "-o", str(where), "<script>"]
            run_experiment(declared(objective, seed), parsed(objective), picture_data, where, fabric, words)
    return folder
