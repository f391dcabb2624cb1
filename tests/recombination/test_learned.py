"""Hyperparameters that training moves: their gradient is that of the loss's value, and they stay in their bounds."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

import goal_analysis as ga
from goal_analysis.api.objectives import parts_with, text_of
from goal_analysis.numeric.functions import loss_value
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.export import export
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.recombination.text import from_toml, to_toml
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.objective import Objective
from losses_catalog import catalog

IDS = torch.tensor([0, 0, 1, 2, 3])
STEP = 1e-6
LEARNING = [loss for loss in catalog if loss.hyperparameters]


def embeddings() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    drawn = (torch.randn(len(IDS), 4, generator=generator, dtype=torch.float64) for _ in range(2))
    x, y = (normalize(one, dim=1).requires_grad_() for one in drawn)
    return x, y


def all_learned(loss: Objective) -> GradientObjective:
    return GradientObjective(replace(loss, learned=tuple(h.name for h in loss.hyperparameters)))


def by_parameters(objective: GradientObjective, scores: Tensor, matches: Matches) -> list[float]:
    parameters = list(objective.parameters())
    return [float(g) for g in torch.autograd.grad(objective.from_scores(scores, matches), parameters)]


def by_differences(loss: Objective, scores: Tensor, matches: Matches) -> list[float]:
    """∂L/∂h of every hyperparameter, or ∂L/∂log h of one that is always positive, of the value alone."""
    found = []
    for h in loss.hyperparameters:
        value, size = float(h.default), STEP * max(1, abs(float(h.default)))
        up, down = (float(loss_value(loss, scores, matches, {h.name: value + d})) for d in (size, -size))
        found.append((up - down) / (2 * size) * (value if h.symbol.is_positive else 1))
    return found


def scores_of(loss: Objective) -> tuple[Tensor, Matches]:
    low, high = (float(end) for end in loss.similarity.window)
    drawn = torch.rand(5, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    matches = Matches.of_image_ids(IDS)
    return low + (high - low) * (0.1 + 0.8 * drawn), replace(matches, carried=torch.rand(5, 5, dtype=torch.float64))


def within(h: Hyperparameter) -> float:
    """A value beside the default, which is an end of the domain."""
    near = float(h.default)
    return next(value for value in (0.9 * near or 0.1, 1.1 * near) if value in h.domain)


@pytest.mark.parametrize("loss", LEARNING, ids=lambda loss: loss.name)
def test_the_gradient_is_that_of_the_value(loss: Objective) -> None:
    at_ends = [h for h in loss.hyperparameters if h.default in (h.domain.start, h.domain.end)]
    loss = loss.with_settings({h.name: within(h) for h in at_ends})
    if loss.detaches:
        pytest.skip("its value moves through what it stops too")
    scores, matches = scores_of(loss)
    found, expected = by_parameters(all_learned(loss), scores, matches), by_differences(loss, scores, matches)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6 * max(1.0, *map(abs, expected)))


def test_another_value_has_another_gradient() -> None:
    loss = next(loss for loss in catalog if loss.name == "info_nce")
    scores, matches = scores_of(loss)
    other = all_learned(loss.with_settings({"tau": 10.1}))
    assert by_parameters(other, scores, matches) != pytest.approx(by_differences(loss, scores, matches), rel=1e-4)


@pytest.mark.parametrize("text", ["info_nce(learned=tau)", "siglip(learned=scale+bias)", "nca(learned=tau)/constant"])
def test_the_embeddings_move_as_before(text: str) -> None:
    x, y = embeddings()
    learning, fixed = ga.objective(text), ga.objective(text, learned=())
    found = torch.autograd.grad(3 * learning(x, y, IDS), (x, y, *learning.parameters()))
    for mine, theirs in zip(found[:2], torch.autograd.grad(3 * fixed(x, y, IDS), (x, y)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    value = learning.value(x, y, IDS)
    for mine, theirs in zip(found[2:], torch.autograd.grad(3 * value, list(learning.parameters())), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_where_gradients_are_stopped_the_declared_loss_moves_it() -> None:
    loss = next(loss for loss in catalog if loss.name == "hardness_weighted_info_nce")
    scores, matches = scores_of(loss)
    found = by_parameters(all_learned(loss), scores, matches)
    stopped = loss_value(loss, scores, matches)
    assert all(math.isfinite(g) and g for g in found)
    assert stopped.isfinite()


def test_weights_of_no_loss_prescribe_nothing() -> None:
    with pytest.raises(
        ValueError, match=r"learned: got tau, but no loss is known .* expected tau:loss, .* or tau:none"
    ):
        ga.objective("nca(learned=tau)/linear")
    with pytest.raises(ValueError, match=r"got tau:loss, but no loss is known .* expected tau:none, which stays"):
        ga.objective("nca(learned=tau:loss)/linear@semi_hard:0.2")


def nca_by_hand(log_tau: Tensor, s: Tensor) -> Tensor:
    """The loss of nca's triplet weight alone: of every row and column the hardest triplet of pairs of one text each."""
    others = s - torch.diag(torch.full((len(s),), torch.inf, dtype=s.dtype))
    gaps = torch.cat((others.amax(1) - s.diagonal(), others.amax(0) - s.diagonal()))
    return (torch.nn.functional.softplus(log_tau.exp() * gaps) / log_tau.exp()).mean()


def test_a_prescribed_gradient_is_that_of_the_loss_without_prescribed_pair_weights() -> None:
    x, y = embeddings()
    learning, fixed = ga.objective("nca(learned=tau:loss)/linear"), ga.objective("nca/linear")
    (parameter,) = learning.parameters()
    found = torch.autograd.grad(3 * learning(x, y), (x, y, parameter))
    for mine, theirs in zip(found[:2], torch.autograd.grad(3 * fixed(x, y), (x, y)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    log_tau = parameter.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(3 * nca_by_hand(log_tau, (x @ y.T).detach()), log_tau)
    torch.testing.assert_close(found[2], expected, rtol=1e-5, atol=1e-7)
    (wrong,) = torch.autograd.grad(nca_by_hand(log_tau, (x @ y.T).detach()), log_tau)
    assert not torch.allclose(found[2], wrong, rtol=1e-2)


def weighted_info_nce_by_hand(scale: Tensor, strength: Tensor, s: Tensor) -> Tensor:
    """Hardness weighting as it ships: what hardness adds is a constant for autograd, for a learned scale too."""
    off = ~torch.eye(len(s), dtype=torch.bool)
    return torch.nn.functional.cross_entropy(scale * s + strength * s.detach() * off, torch.arange(len(s)))


@pytest.mark.parametrize("by", ["", ":loss"])
def test_a_learned_scale_beside_stopped_gradients_moves_as_autograd_moves_it(by: str) -> None:
    x, y = embeddings()
    text = f"hardness_weighted_info_nce(learned=scale{by}+strength{by})"
    learning = ga.objective(text)
    found = torch.autograd.grad(learning(x, y), (x, *learning.parameters()))
    a = x.detach().clone().requires_grad_()
    logs = [parameter.detach().clone().requires_grad_() for parameter in learning.parameters()]
    scale, strength = logs[0].exp(), logs[1]  # a strength may be zero, so that it moves by itself
    expected = torch.autograd.grad(weighted_info_nce_by_hand(scale, strength, a @ y.detach().T), (a, *logs))
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_pair_weights_are_prescribed_and_the_declared_loss_moves_the_scale() -> None:
    x, y = embeddings()
    learning = ga.objective("hardness_weighted_info_nce(learned=scale:loss)/linear")
    (parameter,) = learning.parameters()
    (found,) = torch.autograd.grad(learning(x, y), parameter)
    log_scale = parameter.detach().clone().requires_grad_()
    by_hand = weighted_info_nce_by_hand(log_scale.exp(), torch.tensor(9.0), (x @ y.T).detach())
    torch.testing.assert_close(found, torch.autograd.grad(by_hand, log_scale)[0], rtol=1e-5, atol=1e-7)


def test_what_stays_has_no_gradient_and_is_kept() -> None:
    x, y = embeddings()
    held = ga.objective("nca(learned=tau<=100:none)/linear")
    (parameter,) = held.parameters()
    held(x, y).backward()
    assert parameter.grad is None
    assert not parameter.requires_grad
    with torch.no_grad():
        parameter.fill_(math.log(20))  # a schedule of one's own
    assert held.learned is not None
    assert held.learned.values == pytest.approx({"tau": 20})
    expected = torch.autograd.grad(ga.objective("nca(tau=20)/linear")(x, y), x)[0]
    torch.testing.assert_close(torch.autograd.grad(held(x, y), x)[0], expected, rtol=1e-5, atol=1e-7)
    other = ga.objective("nca(learned=tau<=100:none)/linear")
    other.load_state_dict(held.state_dict())
    assert other.learned is not None
    assert other.learned.values == held.learned.values


def test_the_order_in_which_they_are_named_does_not_matter() -> None:
    x, y = embeddings()
    one, other = (ga.objective(f"siglip(learned={text})") for text in ("scale+bias", "bias+scale"))
    for mine, theirs in zip(
        torch.autograd.grad(one(x, y), (x, *one.parameters())),
        torch.autograd.grad(other(x, y), (x, *other.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("said", ["tau:loss", "tau<=100:loss", "tau:none"])
def test_what_is_prescribed_is_said(said: str) -> None:
    value = ga.objective(f"nca(learned={said})/linear")
    assert {"loss": "without prescribed pair weights", "none": "(stays)"}[said.partition(":")[2]] in str(
        value.describe()
    )
    assert from_toml(to_toml(value.objective, parts_with()), parts_with()) == value.objective
    assert ga.objective(text_of(value)).objective == value.objective
    toml = f'triplet = "nca"\npair = "linear"\nlearned = ["{said}"]\n'
    assert ga.objective(toml).objective == value.objective


def test_clip_is_said_in_a_line() -> None:
    """OpenAI's logit scale: learned by its logarithm, and never above 100."""
    x, y = embeddings()
    clip = ga.objective("info_nce(tau=14.3, learned=tau<=100)")
    assert [name for name, _ in clip.named_parameters()] == ["learned.log_tau"]
    optimizer = torch.optim.SGD(clip.parameters(), lr=10)
    for _ in range(3):
        optimizer.zero_grad()
        (-clip(x, y)).backward()  # ever sharper
        optimizer.step()
    assert clip.learned is not None
    assert clip.learned.values["tau"] == pytest.approx(100)
    assert "tau=100" in repr(clip)


def test_it_is_kept_by_states_copies_and_replacements() -> None:
    one = ga.objective("info_nce(learned=tau)")
    with torch.no_grad():
        for parameter in one.parameters():
            parameter += 1
    other = ga.objective("info_nce(learned=tau)")
    other.load_state_dict(one.state_dict())
    x, y = embeddings()
    expected = torch.autograd.grad(one(x, y), x)[0]
    for same in (other, copy.deepcopy(one), one.replaced(refuse_nonfinite=False), AcrossProcesses(one)):
        assert torch.equal(torch.autograd.grad(same(x, y), x)[0], expected)
    assert not torch.equal(torch.autograd.grad(ga.objective("info_nce")(x, y), x)[0], expected)
    assert list(one.replaced(refuse_nonfinite=False).parameters()) == list(one.parameters())


@pytest.mark.parametrize("learned", [("tau",), ("tau<=100",)])
def test_lines_tables_and_values_say_the_same(learned: tuple[str, ...]) -> None:
    value = ga.objective("info_nce", learned=learned).objective
    assert value.learned == learned
    line = f"info_nce(learned={learned[0]})"
    assert ga.objective(line).objective == value
    assert ga.objective(f'objective = "info_nce"\nlearned = ["{learned[0]}"]\n').objective == value
    assert from_toml(to_toml(value, parts_with()), parts_with()) == value
    declared = ga.objective(
        f'formula = "softplus(tau*gap)"\nlearned = "{learned[0]}"\n[hyperparameters]\ntau = 5\n'
    ).objective
    assert declared.learned == learned
    assert from_toml(to_toml(declared)) == replace(declared, name="declared")


@pytest.mark.parametrize(
    ("learned", "words"),
    [
        ("nothing", "learned: got 'nothing' but expected one of tau, each once"),
        (("tau", "tau<=3"), "got 'tau' but expected one of tau, each once"),
        ("tau<=x", "learned: got 'x'"),
        ("tau:los", "got tau:los but expected tau, tau:loss or tau:none"),
        ("tau:", "got tau: but expected tau, tau:loss or tau:none"),
        (("tau:none", "tau"), "got 'tau' but expected one of tau, each once"),
        ("tau<=-1", "tau: got -1"),
        ("tau<=2", "got tau<=2 but expected at least 10, where tau begins"),
    ],
)
def test_what_is_wrong_is_refused(learned: str | tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match="got") as refused:
        ga.objective("info_nce", learned=learned)
    assert words in str(refused.value)


def test_an_exported_file_has_numbers_alone() -> None:
    with pytest.raises(ValueError, match="export: got tau, which is learned, but expected numbers"):
        export(ga.objective("info_nce(learned=tau)"))
