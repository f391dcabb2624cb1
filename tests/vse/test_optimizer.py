"""Groups of parameters by their names: what they are, what they move, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from goal_analysis.vse.folder.checkpoint import load, steps
from goal_analysis.vse.folder.run import load_model
from goal_analysis.vse.folder.run_folder import CHECKPOINTS, RUN
from goal_analysis.vse.loop.experiment import ParameterGroup, TrainingOptions
from goal_analysis.vse.loop.training import make_optimizer, parameter_names
from goal_analysis.vse.models.model import build_model
from goal_analysis.vse.models.text import Vocabulary

VOCABULARY = Vocabulary.built_on(["a dog runs"], 1)
TABLES = {"image": {"name": "regions", "dim": 8}, "text": {"name": "recurrent"}}


def model(**more):
    return build_model({**TABLES, **more}, (3, 5), VOCABULARY)


@pytest.mark.parametrize("more", [{}, {"scorer": {"name": "fusion"}}, {"reranker": {"name": "fusion"}}], ids=str)
def test_encoders_have_one_name_wherever_they_stand(more: dict) -> None:
    names = parameter_names(made := model(**more))
    assert {"image.linear.weight", "text.vectors.weight", "text.gru.weight_ih_l0"} <= names.keys()
    assert list(names.values()) == list(made.parameters())


def test_the_first_group_that_matches_has_a_parameter() -> None:
    made = model()
    groups = (
        ParameterGroup(match="*.bias", weight_decay=0),
        ParameterGroup(match="text.gru.*", learning_rate=1e-5),
        ParameterGroup(match="text.vectors.*", frozen=True),
    )
    optimizer = make_optimizer(made, TrainingOptions(learning_rate=1e-3, weight_decay=0.1, groups=groups))
    number = {id(p): name for name, p in parameter_names(made).items()}
    found = {
        number[id(p)]: (group["lr"] * group["share"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert found["image.linear.bias"] == (1e-3, 0)
    assert found["image.linear.weight"] == (1e-3, 0.1)
    assert found["text.gru.weight_hh_l0"] == (pytest.approx(1e-5), 0.1)
    assert "text.vectors.weight" not in found
    assert len(found) == len(number) - 1
    assert not made.text.local.vectors.weight.requires_grad


def state(run: Path, step: int) -> dict[str, Tensor]:
    return dict(load(run / CHECKPOINTS, step).model)


def test_rates_and_frozen_parameters_hold_in_a_run_and_after_it_went_on(trained_small, tmp_path: Path) -> None:
    groups = (
        "training.groups=[{match='text.*', learning_rate=1e-7, weight_decay=0}, {match='image.*.bias', frozen=true}]"
    )
    settings = ("training.schedule=constant", "training.checkpoint_steps=1", groups)
    trained_small(tmp_path, *settings)
    torch.manual_seed(0)
    first, last = steps(tmp_path / CHECKPOINTS)[0], steps(tmp_path / CHECKPOINTS)[-1]
    before, after = state(tmp_path, first), state(tmp_path, last)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before if "idf" not in name}
    assert moved["image.layers.2.bias"] == 0
    assert moved["image.layers.2.weight"] > 1e-3
    assert 0 < moved["text.weight"] < 1e-5
    assert load_model(tmp_path).step == last or last > 0


def test_a_killed_run_with_groups_ends_as_if_it_had_not_been(trained_small, tmp_path: Path, monkeypatch) -> None:
    groups = "training.groups=[{match='text.*', learning_rate=1e-3}]"
    trained_small(tmp_path / "whole", groups)
    from goal_analysis.vse.loop import training

    calls = iter(range(100))

    def dying(*given, real=training.record_of):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(training, "record_of", dying)
        with pytest.raises(KeyboardInterrupt):
            trained_small(tmp_path / "killed", groups)
    trained_small(tmp_path / "killed", groups)
    last = steps(tmp_path / "whole" / CHECKPOINTS)[-1]
    both = [state(tmp_path / name, last) for name in ("whole", "killed")]
    assert all(both[0][name].equal(both[1][name]) for name in both[0])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("[{match='txt.*'}]", r"groups\[0\]: match: got 'txt.\*', which matches no name, but expected .*text.weight"),
        ("[{match='*'}, {match='text.*'}]", r"groups\[1\].*no name that an earlier group leaves, but expected"),
        ("[{match='*', frozen=true}]", "groups: got all parameters frozen but expected some to train"),
        ("[{match='*', learning_rate=0}]", r"groups\[0\]: learning_rate: got 0 but expected a finite number above 0"),
        ("[{mach='*'}]", r"groups\[0\]: got the key 'mach' but expected one of match"),
        ("[{}]", r"groups\[0\]: got no match but expected a pattern of names, such as text.model"),
    ],
)
def test_what_is_refused(trained_small, tmp_path: Path, groups: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained_small(tmp_path, f"training.groups={groups}")
    assert not (tmp_path / RUN).exists()
