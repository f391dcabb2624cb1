"""The first epochs of training, on all negatives alike."""

import pytest
import torch

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.vse.loop.training import on_all_negatives
from losses_catalog import catalog, pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights, catalog)


def made(text: str) -> GradientObjective:
    return GradientObjective(parse_objective(text, PARTS))


@pytest.mark.parametrize("text", ["nca/linear@softmax:12", "nca/linear@mean", "info_nce", "circle", "siglip"])
def test_what_counts_all_negatives_stays(text: str) -> None:
    objective = made(text)
    assert on_all_negatives(objective) is objective


@pytest.mark.parametrize("text", ["nca(tau=5)/linear", "nca(tau=5)/relative_linear", "nca(tau=5)/linear@semi_hard:0.1"])
def test_first_epochs_count_all_negatives_alike(text: str) -> None:
    begun = on_all_negatives(made(text))
    scores = torch.nn.functional.normalize(torch.randn(8, 4), dim=1) @ torch.randn(4, 8).clamp(-0.4, 0.4)
    every = made("nca(tau=5)/linear@top_k:7")
    matches = Matches.of_pairs(8)
    assert torch.allclose(begun.weight_matrix(scores, matches), every.weight_matrix(scores, matches))
