"""Experiments from tables: what is understood, and what is refused with what would be accepted."""

import json
from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric
from random_models import WRITERS

from goal_analysis.declarations import read_file, with_settings
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.vse.data.split import ArrayImages, RetrievalData, Split
from goal_analysis.vse.folder.run import run_experiment
from goal_analysis.vse.folder.run_folder import read_log
from goal_analysis.vse.loop.experiment import TrainingOptions, experiment_from_mapping, preset, presets
from goal_analysis.vse.loop.training import learning_rate
from losses_catalog.weights import constant_pair, hinge_triplet

HARDEST = GradientObjective(composed(hinge_triplet, constant_pair))

GIVEN = {
    "name": "mine",
    "data": {"name": "scenes"},
    "model": {"image": {"name": "linear"}},
    "objective": "nca/linear",
    "training": {"epochs": 3, "learning_rate": 1},
    "seed": 4,
}


def test_an_experiment_survives_json() -> None:
    experiment = experiment_from_mapping(GIVEN)
    assert experiment.training.epochs == 3
    assert experiment_from_mapping(json.loads(json.dumps(experiment.mapping()))) == experiment


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_an_experiment_of_its_name(name: str) -> None:
    assert experiment_from_mapping(preset(name), name).name == name


TINY = ["model.image.dim=16", "training.epochs=1", "training.batch_size=10", "training.warm_up_steps=0"]
"""Two steps of ten pairs."""


@pytest.mark.parametrize("shape", [(12,), (9, 12), (3, 16, 16)], ids=["of the whole", "regions", "pictures"])
@pytest.mark.parametrize("name", presets())
def test_every_preset_trains_on_every_kind_of_images(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    settings = list(TINY)
    if name == "vse_infty_bert":
        transformers = pytest.importorskip("transformers", minversion="5")
        WRITERS["bert"](tmp_path / "bert")
        settings.append(f"model.text.path={tmp_path / 'bert'}")
        assert transformers.BertModel
    experiment = experiment_from_mapping(with_settings(preset(name), settings), name)
    images = np.random.default_rng(0).random((10, *shape), dtype=np.float32)
    split = Split("train", ArrayImages(images), ("a red dog", "a blue cat") * 10, np.arange(20) // 2)
    fabric = Fabric(accelerator="cpu", devices=1)
    if name == "scenes" and len(shape) < 3:
        with pytest.raises(ValueError, match=r"model.image: convolution: .* but expected pictures"):
            run_experiment(experiment, HARDEST, RetrievalData("tiny", split, split), tmp_path / "run", fabric)
        return
    progress = run_experiment(experiment, HARDEST, RetrievalData("tiny", split, split), tmp_path / "run", fabric)
    assert progress.step == 2
    assert read_log(tmp_path / "run")[-1].keys() >= ({"rsum", "dual_rsum"} if name == "fusion" else {"rsum"})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objectiv": 1}, "experiment: got the key 'objectiv' but expected one of objective, data, model"),
        ({"training": {"epoch": 3}}, "training: got the key 'epoch' but expected one of epochs, "),
        ({"training": {"epochs": 0}}, "training: epochs: got 0 but expected a whole number from 1 to 1,000,000"),
        (
            {"training": {"epochs": "five"}},
            "training: epochs: got 'five' but expected a whole number from 1 to 1,000,000",
        ),
        ({"training": {"epochs": 1.5}}, "training: epochs: got 1.5 but expected a whole number"),
        ({"training": {"epochs": True}}, "training: epochs: got True but expected a whole number"),
        ({"training": {"clip": float("inf")}}, "clip: got inf but expected a finite number of at least 0"),
        ({"training": {"learning_rate": float("nan")}}, "learning_rate: got nan but expected a finite number above 0"),
        ({"training": {"schedule": "linear"}}, "schedule: got 'linear' but expected one of constant, cosine, step"),
        ({"training": {"text_text": 1}}, "training: text_text: got 1 beside captions_per_image = 1 but expected 0"),
        (
            {"model": {"scorer": {}}, "training": {"chunk": 8}},
            "training: chunk: got 8 beside a model that scores pairs of a whole batch but expected 0",
        ),
        ({"training": 3}, "training: got 3 but expected a table of epochs, "),
        ({"objective": 3}, "objective: got 3 but expected text"),
        ({"data": {}}, "experiment: data: got no name but expected the name of a data set or a path"),
        ({"data": {"name": "scenes", "skip_bad": "yes"}}, "data: skip_bad: got 'yes' but expected true or false"),
        ({"data": {"name": 5}}, "data: name: got 5 but expected the name of a data set or a path"),
        ({"seed": -1}, "seed: got -1 but expected a whole number from 0 to 4,294,967,295"),
        ({"name": "a\nb"}, "name: got 'a\\\\nb' but expected a printable text"),
    ],
)
def test_what_is_not_understood_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment_from_mapping({**GIVEN, **changed})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="experiment: got no model but expected a table"):
        experiment_from_mapping({name: value for name, value in GIVEN.items() if name != "model"})


def test_settings_go_where_they_say() -> None:
    given = {"training": {"epochs": 1}, "seed": 0}
    found = with_settings(given, ["training.epochs=15", "seed=3", "model.text.name=recurrent", "training.clip=0.5"])
    assert found == {"training": {"epochs": 15, "clip": 0.5}, "seed": 3, "model": {"text": {"name": "recurrent"}}}
    assert given == {"training": {"epochs": 1}, "seed": 0}


@pytest.mark.parametrize("assignment", ["epochs", "=3", "training..epochs=3", "seed.a=3"])
def test_settings_that_are_none_are_refused(assignment: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        with_settings({"seed": 0}, [assignment])


def test_files_that_are_no_experiments_are_refused(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"a = ", b"a" * 1_000_001, b"a=" + b"[" * 900_000):
        path = tmp_path / "e.toml"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)):
            read_file(path)


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"got 'bag' but expected one of .*bag_of_words"):
        preset("bag")


def test_schedules() -> None:
    cosine = TrainingOptions(epochs=10, learning_rate=2.0)
    rates = [learning_rate(cosine, step, 10) for step in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 2.0
    assert rates[50] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-3
    step = TrainingOptions(epochs=4, learning_rate=1.0, schedule="step", step_epochs=2, step_factor=0.1)
    assert [round(learning_rate(step, s, 5), 3) for s in (0, 9, 10, 19)] == [1.0, 1.0, 0.1, 0.1]
    constant = TrainingOptions(learning_rate=3, schedule="constant", warm_up_steps=2)
    assert [learning_rate(constant, s, 5) for s in (0, 1, 2)] == [1.5, 3.0, 3.0]
