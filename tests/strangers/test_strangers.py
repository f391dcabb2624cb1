"""A stranger of every kind goes through describe, train, study, export and plot, and no other file knows of it."""

import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from goal_analysis.cli import app
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.export import export
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import line_of, parse_objective

FILE = Path(__file__).with_name("stranger.py")
KINDS = ("loss", "weights", "aggregated", "selected", "directed", "measured")
SETTINGS = (
    "training.epochs=1",
    "training.batch_size=32",
    "data.train=64",
    "data.dev=32",
    "data.test=1",
    "model.image.dim=16",
    "model.text.dim=16",
)


def command(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def settings() -> list[str]:
    return [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_is_described_trains_and_is_exported(kind: str) -> None:
    objective = GradientObjective(parse_objective(f"{FILE}:{kind}(steepness=5)", Parts()))
    assert line_of(objective.objective, Parts()) == f"{FILE}:{kind}(steepness=5)"
    described = objective.describe()
    assert described.settings == {"steepness": 5}
    assert described.to_plain()
    x, y = (torch.nn.functional.normalize(torch.randn(6, 4), dim=1).requires_grad_() for _ in range(2))
    objective(x, y).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.any()
    source = export(objective, "It")
    module: dict = {"__name__": "exported"}
    sys.modules["exported"] = type(sys)("exported")
    sys.modules["exported"].__dict__.update(module)
    exec(compile(source, "exported.py", "exec"), sys.modules["exported"].__dict__)
    again = x.detach().clone().requires_grad_()
    sys.modules["exported"].__dict__["It"]()(again, y).backward()
    assert torch.allclose(again.grad, x.grad, atol=1e-7)


def test_what_an_undeclared_selection_does_is_open_and_has_no_value() -> None:
    objective = GradientObjective(parse_objective(f"{FILE}:selected", Parts()))
    assert objective.describe().integrable is None
    with pytest.raises(ValueError, match="not known to be the gradient of a loss"):
        objective.value_from_scores(torch.eye(3), Matches.of_pairs(3))


def test_a_strange_loss_is_its_own_gradient() -> None:
    objective = GradientObjective(parse_objective(f"{FILE}:loss", Parts()))
    s = torch.rand(5, 5, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(objective.value_from_scores(s, Matches.of_pairs(5)), s)
    assert torch.allclose(gradient, objective.weight_matrix(s, Matches.of_pairs(5)))
    with pytest.raises(ValueError, match="gradient of a loss"):  # the direction is none of its similarity
        GradientObjective(parse_objective(f"{FILE}:directed", Parts())).value(torch.eye(2), torch.eye(2))


def test_strangers_are_trained_studied_and_drawn_from_the_command_line(tmp_path: Path) -> None:
    command("plot", f"{FILE}:weights", "--kind", "pair", "-o", str(tmp_path / "pictures"))
    assert list((tmp_path / "pictures").glob("*.png"))
    asked = [word for kind in ("aggregated", "selected") for word in ("--objective", f"{FILE}:{kind}")]
    words = ("--data", "scenes", *asked, "--budget", "1", "--seeds", "1", *settings(), "-o", str(tmp_path / "study"))
    shown = command("study", *words)
    assert f"{FILE}:selected" in shown
