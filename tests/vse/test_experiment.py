"""Experiments from tables: what is understood, and what is refused with what would be accepted."""

import json
from pathlib import Path

import pytest
import torch

from goal_analysis.vse.experiment import (
    experiment_from_mapping,
    preset,
    presets,
    read_experiment,
    with_settings,
)
from goal_analysis.vse.model import build_model, build_tokenizer
from goal_analysis.vse.schedule import learning_rate
from goal_analysis.vse.training_options import TrainingOptions

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


SHAPES = {"bag_of_words": (12,), "vse_infty": (9, 12), "cross_attention": (9, 12)}
"""Of the images that each preset is for."""


@pytest.mark.parametrize("name", presets())
def test_every_preset_has_a_model(name: str) -> None:
    config = experiment_from_mapping(preset(name), name).model
    tokenizer = build_tokenizer(config, ["a red dog", "a blue cat"] * 5)
    outputs = build_model(config, SHAPES[name], tokenizer).eval()(
        torch.ones(2, *SHAPES[name]), tokenizer(["a dog"] * 2)
    )
    scores = outputs if isinstance(outputs, torch.Tensor) else outputs[0] @ outputs[1].T
    assert scores.shape == (2, 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objectiv": 1}, "got the key 'objectiv' but expected name, data, model, objective, training, seed"),
        ({"training": {"epoch": 3}}, "training: got the key 'epoch' but expected epochs, batch_size"),
        ({"training": {"epochs": 0}}, "training: epochs: got 0 but expected at least 1"),
        ({"training": {"epochs": 1.5}}, "training: epochs: got 1.5 but expected int"),
        ({"training": {"epochs": True}}, "training: epochs: got True but expected int"),
        ({"training": {"learning_rate": float("nan")}}, "learning_rate: got nan but expected a number above 0"),
        ({"training": {"schedule": "linear"}}, "schedule: got 'linear' but expected one of cosine, step, constant"),
        ({"training": 3}, "training: got 3 but expected a table"),
        ({"objective": 3}, "objective: got 3 but expected a text"),
        ({"seed": -1}, "seed: got -1 but expected a whole number"),
        ({"name": "a\nb"}, "name: got 'a\\\\nb' but expected a printable text"),
    ],
)
def test_what_is_not_understood_is_refused(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment_from_mapping({**GIVEN, **changed})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="got no model but expected name, data, model"):
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
            read_experiment(path)


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
