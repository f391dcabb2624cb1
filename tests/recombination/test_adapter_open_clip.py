"""Objectives under the call of open_clip's losses, and inside open_clip itself where it can be imported."""

import re
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from goal_analysis.api.objectives import objective as door
from goal_analysis.recombination.adapters.open_clip import ClipObjective
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.recombination.recombine import composed
from losses_catalog.weights import linear_pair, nca_triplet

PAGE = Path(__file__).parents[2] / "docs" / "plugging-in.md"


def objective() -> GradientObjective:
    return GradientObjective(composed(nca_triplet, linear_pair))


def features(pairs: int = 6) -> list[Tensor]:
    return [normalize(torch.randn(pairs, 5), dim=1).requires_grad_() for _ in range(2)]


def test_the_gradients_are_those_of_direct_use() -> None:
    x, y = features()
    expected = torch.autograd.grad(objective()(x, y), (x, y))
    for loss in (ClipObjective(objective()), ClipObjective(AcrossProcesses(objective()))):
        found = torch.autograd.grad(loss(x, y, torch.tensor(14.0)), (x, y))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_dictionary_is_what_the_training_sums() -> None:
    x, y = features()
    losses = ClipObjective(objective())(image_features=x, text_features=y, logit_scale=14.0, output_dict=True)
    assert list(losses) == ["contrastive_loss"]
    assert losses["contrastive_loss"] == objective()(x, y)


def test_the_scale_and_the_bias_are_used_and_have_the_gradient_zero() -> None:
    x, y = features()
    scale, bias = torch.tensor(2.65, requires_grad=True), torch.tensor([-10.0], requires_grad=True)
    loss = ClipObjective(objective())
    loss(x, y, scale.exp(), bias).backward()
    assert scale.grad == 0
    assert bias.grad == 0
    assert loss(x, y, scale.exp(), bias) == loss(x, y, 100.0)


SCALED = {"info_nce": ("info_nce(tau=1)", {}), "siglip": ("siglip(scale=1, bias=0)", {"reduction": "mean"})}


def theirs(name: str, logits: Tensor) -> Tensor:
    """What `open_clip.ClipLoss` and `open_clip.SigLipLoss` make of logits."""
    if name == "siglip":
        return -nn.functional.logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)
    target = torch.arange(len(logits))
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_is_learned_where_there_is_a_loss(name: str) -> None:
    x, y = features()
    scale, bias = torch.tensor(1.5, requires_grad=True), torch.tensor(-0.5, requires_grad=True)
    text, more = SCALED[name]
    made = door(text, similarity="dot", **more)
    for inside in (made, AcrossProcesses(made)):
        loss = ClipObjective(inside, learn_scale=True)
        found = torch.autograd.grad(loss(x, y, scale.exp(), bias), (x, y, scale, bias))
        expected = torch.autograd.grad(theirs(name, scale.exp() * x @ y.T + bias), (x, y, scale, bias))
        torch.testing.assert_close(found, expected)
    assert name == "info_nce" or abs(float(expected[3])) > 1e-3
    without = torch.autograd.grad(loss(x, y, scale.exp()), (x, scale))
    torch.testing.assert_close(without, torch.autograd.grad(theirs(name, scale.exp() * x @ y.T), (x, scale)))


@pytest.mark.parametrize("inside", [door("nca/linear", similarity="dot"), door("info_nce(tau=1)")], ids=str)
def test_a_scale_without_a_loss_to_learn_from_is_refused(inside: GradientObjective) -> None:
    with pytest.raises(ValueError, match=r"learn_scale: got .* but expected the gradient of a loss .* similarity dot"):
        ClipObjective(inside, learn_scale=True)


def test_features_of_different_numbers_are_refused() -> None:
    x, y = features()
    with pytest.raises(ValueError, match="got 6 images and 5 texts without image_ids but expected the ids, or as many"):
        ClipObjective(objective())(x, y[:5], 14.0)


# --- open_clip itself -----------------------------------------------------------------------------


@pytest.fixture
def open_clip() -> ModuleType:
    """The package, or a skip: it needs torchvision, whose index builds cannot be imported beside a CPU torch."""
    torch.set_default_dtype(torch.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import open_clip
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"open_clip needs torchvision, which does not import beside a CPU torch: {error}")
    return open_clip


def small(package: ModuleType) -> nn.Module:
    """A CLIP of two layers."""
    vision = {"layers": 1, "width": 32, "head_width": 16, "image_size": 16, "patch_size": 8}
    text = {"layers": 1, "width": 32, "heads": 2, "context_length": 77, "vocab_size": 49408}
    return package.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text, output_dict=True)


def test_a_few_of_its_training_steps_move_the_retrieval(open_clip: ModuleType) -> None:
    """From weights drawn at random, where the hardest negatives alone make embeddings of one point."""
    model, loss = small(open_clip), ClipObjective(door("info_nce(tau=14)"))
    words = ["cat", "dog", "bird", "fish", "red", "blue", "green", "house", "tree", "car", "boat", "plane"]
    images, texts = torch.randn(12, 3, 16, 16), open_clip.tokenize(words)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0)
    scale = float(model.logit_scale)
    for _ in range(60):
        optimizer.zero_grad()
        losses = loss(**model(images, texts), output_dict=True)
        sum(value for name, value in losses.items() if name.endswith("_loss")).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    found = model(images, texts)
    right = (found["image_features"] @ found["text_features"].T).argmax(1) == torch.arange(12)
    assert float(right.double().mean()) > 0.6
    assert float(model.logit_scale) == scale


def test_it_is_called_as_its_own_loss_is(open_clip: ModuleType) -> None:
    found = small(open_clip)(torch.randn(4, 3, 16, 16), open_clip.tokenize(["a", "b", "c", "d"]))
    theirs = open_clip.ClipLoss()(**found, output_dict=True)
    assert theirs.keys() == ClipObjective(objective())(**found, output_dict=True).keys()


def test_the_page_runs(open_clip: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (body,) = (block for block in re.findall(r"```py\n(.*?)```", page, re.DOTALL) if "import open_clip" in block)
    exec(compile(body, str(PAGE), "exec"), {"torch": torch, "across": AcrossProcesses(objective())})
