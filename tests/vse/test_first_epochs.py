"""The first epochs of training, on all negatives alike."""

import torch
from goal_analysis.numeric.mining import Softmax, TopK

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.vse.loop.training import on_all_negatives
from losses_catalog.weights import linear_pair, nca_triplet, relative_linear_pair


def test_first_epochs_count_all_negatives_alike_where_not_all_count() -> None:
    soft = GradientObjective(nca_triplet, linear_pair, Softmax(12.0, 12.0))
    assert on_all_negatives(soft, 20) is soft
    hard = GradientObjective(nca_triplet, relative_linear_pair, settings={"tau": 5})
    begun = on_all_negatives(hard, 20)
    assert begun.mining == TopK(20)
    assert begun.settings == {"tau": 5}
    x, y = (torch.nn.functional.normalize(torch.randn(8, 4), dim=1) for _ in range(2))
    every = GradientObjective(nca_triplet, linear_pair, TopK(7), settings={"tau": 5})
    assert torch.equal(
        begun.weight_matrix(x @ y.T, Matches.of_pairs(8)), every.weight_matrix(x @ y.T, Matches.of_pairs(8))
    )
