"""Exported files: the same gradients to the last bit, alone in the world, and a check that sees what is changed."""

import ast
import re
import subprocess
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from kinds_of_losses import carrying
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import DIRECTIONS, Direction
from goal_analysis.recombination.export import export
from goal_analysis.recombination.minings import Mining
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.recombine import recombine
from goal_analysis.recombination.text import parse_objective
from goal_analysis.symbolic.language.aggregators import EACH
from losses_catalog import catalog, pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights, catalog)
RECOMBINED = (
    "nca(tau=12)/linear@softmax:12",
    "nca/constant",
    "circular/linear@softmax:5,60",
    "circle(gamma=80)/linear",
    "info_nce@hardest",
    "constant/linear@mean",
    "nca/constant@semi_hard:0.2",
    "nca/linear@top_k:5",
    "constant/relative_linear",
    "nca/relative_sigmoid@top_k:3",
    "nca_twin/linear@all",
    "constant/constant@distance_weighted:8",
    "constant/constant@selectively_hard",
)
NAMES = (*(loss.name for loss in catalog), *RECOMBINED)


def objective(text: str, **fields: object) -> GradientObjective:
    return GradientObjective(parse_objective(text, PARTS, **fields))


def loaded(source: str) -> types.ModuleType:
    module = types.ModuleType("exported")
    sys.modules["exported"] = module
    exec(compile(source, "exported.py", "exec"), module.__dict__)
    return module


def batch(n: int = 14, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(n)
    x, y = (normalize(torch.randn(n, 8), dim=1).to(dtype).requires_grad_() for _ in range(2))
    return x, y, torch.arange(n) * 2 // 3


def gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, leaves)


@pytest.mark.parametrize("text", NAMES)
def test_the_dense_way_has_the_same_bits(text: str) -> None:
    live, own = objective(text), loaded(export(objective(text), "It")).It()
    x, y, ids = batch()
    s = (x @ y.T).detach().requires_grad_()
    matches = carrying(live.objective, Matches.of_image_ids(ids))
    torch.manual_seed(0)
    (expected,) = gradients(live.from_scores(s, matches), s)
    torch.manual_seed(0)
    (found,) = gradients(own.from_scores(s, *matches.tables), s)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "text", ["vse_pp", "info_nce", "circle", "lifted_structure", "siglip", "nca/linear", RECOMBINED[0]]
)
def test_the_tiled_way_has_the_same_bits(text: str) -> None:
    live, own = objective(text), loaded(export(objective(text), "It", "tiled")).It()
    for dtype in (torch.float32, torch.bfloat16):
        x, y, ids = batch(dtype=dtype)
        expected = gradients(live(x, y, ids), x, y)
        assert all(map(torch.equal, gradients(own(x, y, ids), x, y), expected))


@pytest.mark.parametrize("direction", DIRECTIONS, ids=lambda d: d.name)
def test_directions_are_exported(direction: Direction) -> None:
    live = objective("nca/linear@softmax:12", direction=direction)
    x, y, ids = batch()
    found = gradients(loaded(export(live, "It")).It()(x, y, ids), x, y)
    assert all(map(torch.equal, found, gradients(live(x, y, ids), x, y)))


def changed(source: str) -> str:
    """The file with a weight halved, or a hinge left out."""
    halved = re.sub(r"torch\.(sigmoid|heaviside)\(", r"0.5 * torch.\1(", source, count=1)
    found = halved if halved != source else re.sub(r"\.clamp_min\(0\)", "", source, count=1)
    assert found != source
    return found


@pytest.mark.parametrize("text", ["circle", "vse_pp", "nca/linear@softmax:12", "lifted_structure"])
def test_a_file_passes_its_check_and_a_changed_one_fails(text: str) -> None:
    source = export(objective(text))
    assert set(re.findall(r"^(?:from|import) (\w+)", source, re.M)) <= {"torch", *sys.stdlib_module_names}
    loaded(source).check()
    with pytest.raises(AssertionError, match="but expected tensor"):
        loaded(changed(source)).check()


def test_a_file_alone_checks_itself(tmp_path: Path) -> None:
    source, file = export(objective("circle")), tmp_path / "exported.py"
    for text, code in ((source, 0), (changed(source), 1)):
        file.write_text(text, encoding="utf-8")
        call = [sys.executable, "-I", str(file)]
        assert subprocess.run(call, cwd=tmp_path, capture_output=True, check=False).returncode == code


def test_the_dense_file_can_be_read() -> None:
    source = export(objective("nca(tau=12)/linear@softmax:12"))
    code = [line for line in source.splitlines() if line.strip()]
    assert len(code) < 225
    assert "selection" not in source  # nor is there anything else that this objective does not have
    assert "selection" in export(objective("nca/linear@top_k:5"))
    assert "is the gradient of no loss" in source
    assert "tau = 12" in source
    assert "is the gradient of a loss" in export(objective("info_nce"))


def test_a_gradient_penalty_is_refused_there_too() -> None:
    x, y, ids = batch()
    module = loaded(export(objective("nca/linear"), "It")).It()
    (found,) = torch.autograd.grad(module(x, y, ids), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate it once"):
        found.square().sum().backward()


def test_a_loss_keeps_its_value() -> None:
    x, y, ids = batch()
    live = objective("multi_similarity")
    found = loaded(export(live, "It")).It().loss(x, y, ids)
    assert torch.equal(found, live.value(x, y, ids))
    assert not hasattr(loaded(export(objective("nca/linear"), "It")).It(), "loss")


@dataclass(frozen=True)
class Closest:
    """A stranger's selection: negatives within ``reach`` of the largest."""

    reach: float = 0.1

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        largest = s.masked_fill(~members, -torch.inf).amax(1, keepdim=True)
        return members & (s >= largest - self.reach)


def flipped(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return -(weights @ y), -(weights.T @ x)


def test_strangers_are_exported_with_their_source() -> None:
    value = recombine(objective("nca/linear").objective, mining=Mining(EACH, EACH, Closest(0.3)))
    live = GradientObjective(replace(value, direction=Direction("flipped", "−y, −x", flipped)))
    x, y, ids = batch()
    source = export(live, "It")
    assert "class Closest" in source
    assert "def flipped" in source
    assert all(map(torch.equal, gradients(loaded(source).It()(x, y, ids), x, y), gradients(live(x, y, ids), x, y)))


def test_what_has_no_source_is_refused() -> None:
    value = recombine(objective("nca/linear").objective, mining=Mining(EACH, EACH, lambda s, members, other: members))
    with pytest.raises(ValueError, match="export: got"):
        export(value, "It")


@pytest.mark.parametrize("name", ["class", "a b", "1x", ""])
def test_names_are_identifiers(name: str) -> None:
    with pytest.raises(ValueError, match="name: got"):
        export(objective("circle"), name)
    with pytest.raises(ValueError, match="way: got 'fast' but expected one of dense, tiled"):
        export(objective("circle"), "It", "fast")


def test_hostile_names_stay_words() -> None:
    hostile = '"""; import os\n\\'
    with pytest.raises(ValueError, match="expected an identifier"):
        replace(objective("nca/linear").objective, name=hostile)
    value = replace(objective("nca/linear").objective, title=hostile)
    tree = ast.parse(export(value, "It"))
    assert not any(isinstance(n, ast.Import) and n.names[0].name == "os" for n in ast.walk(tree))
