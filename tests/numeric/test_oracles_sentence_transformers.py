"""sentence-transformers as an oracle: value and embedding gradients of the losses that it has."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.objective import Reduction
from losses_catalog import catalog

losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses", reason="of newer versions of it")

LABELS = torch.arange(4).repeat_interleave(3)
OF_CLASSES, OF_PAIRS = Matches.of_labels(LABELS), Matches.of_pairs(12)
MODEL = torch.nn.Identity()  # embeddings come in as they are


def all_pairs(x: Tensor, _: Tensor) -> Tensor:
    i, j = (OF_CLASSES.positives | OF_CLASSES.negatives).nonzero(as_tuple=True)
    loss = losses.ContrastiveLoss(MODEL, size_average=False)
    return loss.compute_loss_from_embeddings([x[i], x[j]], OF_CLASSES.positives[i, j].int())


def pairs_of_each_anchor(x: Tensor, _: Tensor) -> Tensor:
    def of_anchor(i: int) -> Tensor:
        others = torch.arange(12) != i
        labels = OF_CLASSES.positives[i, others].int()
        return losses.CoSENTLoss(MODEL).compute_loss_from_embeddings([x[i].expand(11, -1), x[others]], labels)

    return torch.stack([of_anchor(i) for i in range(12)]).mean()


def hardness(x: Tensor, y: Tensor) -> Tensor:
    loss = losses.MultipleNegativesRankingLoss(MODEL, hardness_mode="in_batch_negatives", hardness_strength=9.0)
    return loss.compute_loss_from_embeddings([x, y], LABELS)


def batch_hard(x: Tensor, _: Tensor) -> Tensor:
    return losses.BatchHardTripletLoss(MODEL, margin=0.05).batch_hard_triplet_loss(LABELS, normalize(x))


def mega_batch(x: Tensor, y: Tensor) -> Tensor:
    return losses.MegaBatchMarginLoss(MODEL, use_mini_batched_version=False).calculate_loss([[x], [y]])


ORACLES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Matches, Reduction]] = {
    "batch_hard_triplet": (batch_hard, OF_CLASSES, Reduction.MEAN),
    "contrastive_cosine_squared": (all_pairs, OF_CLASSES, Reduction.SUM),
    "cosent": (pairs_of_each_anchor, OF_CLASSES, Reduction.MEAN),
    "hardness_weighted_info_nce": (hardness, OF_PAIRS, Reduction.MEAN),
    "mega_batch_margin": (mega_batch, OF_PAIRS, Reduction.MEAN),
}


def same(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-9 * expected.abs().max())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ORACLES)
def test_values_and_gradients_are_the_same(name: str, seed: int) -> None:
    theirs, matches, reduction = ORACLES[name]
    loss = replace(next(loss for loss in catalog if loss.name == name), reduction=reduction)
    generator = torch.Generator().manual_seed(seed)
    x, y = ((2 * torch.randn(12, 6, generator=generator)).requires_grad_() for _ in range(2))
    embeddings = (x, y) if matches is OF_PAIRS else (x,)
    expected = theirs(x, y)
    of_theirs = torch.autograd.grad(expected, embeddings)

    s = scores(loss.similarity, normalize(x), normalize(embeddings[-1]))
    w = weights_of_scores(loss, s.detach(), matches)
    of_mine = torch.autograd.grad((w * s).sum(), embeddings)
    value = loss_value(loss, s, matches)
    assert expected > 0
    assert same(value, expected)
    assert not same(1.001 * value, expected)
    for mine, other in zip(of_mine, of_theirs, strict=True):
        assert other.abs().max() > 0
        assert same(mine, other)
        assert not same(1.001 * mine, other)
