"""Captions of one image side by side in an epoch, and the terms among embeddings of one kind that they allow."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.vse.loop.batches import order
from goal_analysis.vse.loop.experiment import TrainingOptions
from goal_analysis.vse.loop.training import surrogate
from losses_catalog.weights import linear_pair, nca_triplet

IMAGES = np.repeat(np.arange(7), [5, 5, 1, 5, 3, 5, 2])
OBJECTIVE = GradientObjective(composed(nca_triplet, linear_pair))


@pytest.mark.parametrize("together", [1, 2, 3, 5])
def test_every_pair_comes_once_and_those_of_an_image_stand_together(together: int) -> None:
    for epoch in range(3):
        pairs = order(IMAGES, 4, epoch, together)
        assert sorted(pairs) == list(range(len(IMAGES)))
        images = IMAGES[pairs]
        runs = np.split(images, np.flatnonzero(np.diff(images)) + 1)
        if together > 1:  # an image's groups may happen to be neighbours
            most = sum(-(-count // together) for count in np.bincount(IMAGES))
            assert most // 2 <= len(runs) <= most
        assert (order(IMAGES, 4, epoch, together) == pairs).all()
    assert (order(IMAGES, 4, 0, together) != order(IMAGES, 4, 1, together)).any()
    assert (order(IMAGES, 4, 0, together) != order(IMAGES, 5, 0, together)).any()


def test_the_captions_of_an_image_are_drawn_anew_every_epoch() -> None:
    pairs = [order(np.repeat(np.arange(50), 5), 0, epoch, 2) for epoch in range(2)]
    partners = [{frozenset((a, b)) for a, b in pairwise(p) if a // 5 == b // 5} for p in pairs]
    assert len(partners[0] & partners[1]) < len(partners[0]) / 2


def test_terms_of_one_kind_are_those_of_its_own_scores() -> None:
    ids = torch.tensor([3, 3, 8, 8, 8, 1])
    x, y = (normalize(torch.randn(6, 4, dtype=torch.float64), dim=1).requires_grad_() for _ in range(2))
    found = torch.autograd.grad(surrogate(OBJECTIVE, (x, y), ids, (0.25, 2.0)), (x, y))
    among = Matches.of_labels(ids)
    of_images, of_texts = (OBJECTIVE.from_scores(e @ e.T, among) for e in (x, y))
    expected = torch.autograd.grad(OBJECTIVE(x, y, ids, ids) + 0.25 * of_images + 2 * of_texts, (x, y))
    torch.testing.assert_close(found, expected)
    without = torch.autograd.grad(surrogate(OBJECTIVE, (x, y), ids), (x, y))
    assert not torch.allclose(found[1], without[1])


def test_a_model_of_scores_alone_has_no_terms_of_one_kind() -> None:
    with pytest.raises(ValueError, match="but expected 0, for the model gives no embeddings"):
        surrogate(OBJECTIVE, torch.randn(4, 4), torch.arange(4), (0.0, 0.5))


def test_terms_of_one_kind_need_positives() -> None:
    with pytest.raises(ValueError, match="but expected 0 there, as a batch has no two captions of an image"):
        TrainingOptions(text_text=0.5)
    assert TrainingOptions(captions_per_image=2, text_text=0.5).text_text == 0.5
