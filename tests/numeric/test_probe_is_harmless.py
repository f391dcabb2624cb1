"""A probe changes no gradient and keeps nothing of a training step alive."""

import gc
import weakref

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from goal_analysis.api.objectives import objective as door
from goal_analysis.numeric.engine.selections import DistanceWeighted
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.minings import Mining
from goal_analysis.recombination.recombine import composed
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.aggregators import EACH
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.weights import linear_pair, nca_triplet


def info_nce(scores: Tensor) -> Tensor:
    return cross_entropy(10 * scores, torch.arange(len(scores)))


def random_scores() -> Tensor:
    return (torch.rand(12, 12) * 2 - 1).requires_grad_()


def training(probe: GradientProbe | None, steps: int = 4) -> list[Tensor]:
    """A small model's parameters after a few steps."""
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Dropout(0.3), torch.nn.Linear(30, 16))
    optimiser = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        optimiser.zero_grad()
        x, y = (normalize(model(torch.randn(8, 20)), dim=1) for _ in range(2))
        scores = x @ y.T
        if probe is not None:
            probe.watch(scores, Matches.of_pairs(8))
        info_nce(scores).backward()
        optimiser.step()
    return [*model.parameters(), *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_the_same_to_the_last_bit(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    with GradientProbe(every=1, anchors=5, objective=decompose(info_nce_loss)) as probe:
        watched = training(probe)
    assert all(torch.equal(a, b) for a, b in zip(watched, training(None), strict=True))
    assert len(probe.frame()) == 4


def random_training(probe: GradientProbe | None) -> list[Tensor]:
    """Parameters after steps with negatives that are drawn: by torch's numbers, and by a generator of the mining."""
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Dropout(0.3), torch.nn.Linear(30, 16))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    own = Mining(EACH, EACH, DistanceWeighted(16, generator=torch.Generator().manual_seed(3)))
    objectives = [door("nca/linear@distance_weighted:16"), door(composed(nca_triplet, linear_pair, own))]
    for objective in objectives if probe else ():
        probe.follow(objective)
    for _ in range(3):
        optimiser.zero_grad()
        x, y = (normalize(model(torch.randn(8, 20)), dim=1) for _ in range(2))
        sum(objective(x, y) for objective in objectives).backward()
        optimiser.step()
    return list(model.parameters())


def test_following_draws_none_of_the_random_numbers() -> None:
    with GradientProbe(every=1) as probe:
        watched = random_training(probe)
    assert len(probe.frame()) == 6
    assert all(torch.equal(a, b) for a, b in zip(watched, random_training(None), strict=True))


class Meddler(GradientProbe):
    """A probe that changes the last digits."""

    def watch(self, scores: Tensor, matches: Matches, step: int | None = None) -> None:
        scores.register_hook(lambda gradient: torch.nextafter(gradient, gradient + 1))


def test_a_last_bit_would_be_seen() -> None:
    with Meddler() as probe:
        watched = training(probe)
    assert not all(torch.equal(a, b) for a, b in zip(watched, training(None), strict=True))


class Token:
    """Something that dies with the graph it is attached to."""


class Carry(torch.autograd.Function):
    """Doubles its input; its node holds a token."""

    @staticmethod
    def forward(ctx, x: Tensor, token: Token) -> Tensor:
        ctx.token = token
        return 2 * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return 2 * gradient, None


@pytest.mark.parametrize("backward", [True, False])
def test_nothing_is_kept_alive(backward: bool) -> None:
    leaf, token = random_scores(), Token()
    with GradientProbe(every=1) as probe:
        scores = Carry.apply(leaf, token)
        probe.watch(scores, Matches.of_pairs(12))
        loss = info_nce(scores)
        if backward:
            loss.backward()
        alive = weakref.ref(scores), weakref.ref(loss), weakref.ref(token)
        del scores, token
        gc.collect()
        # A negative control: the loss holds the graph, so what hangs on it is alive.
        assert alive[2]() is not None
        del loss
        gc.collect()
        assert all(ref() is None for ref in alive)
        probe.watch(leaf, Matches.of_pairs(12))
        info_nce(leaf).backward()
    assert probe.frame().size < 50
