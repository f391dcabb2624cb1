"""The numbers of a probe, against other ways to compute them."""

import math

import pytest
import torch

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import statistics


def test_an_anchor_without_negatives_is_left_out() -> None:
    empty = torch.zeros(2, 3, dtype=torch.bool)
    positives = torch.tensor([[True, False, False], [True, True, True]])
    gradient = torch.tensor([[-1.0, 0.5, 0.5], [-1.0, 0.0, 0.0]])
    named = statistics(torch.rand(2, 3), gradient, Matches(positives, ~positives), (0.5,))
    assert named["active_share"] == 1
    assert named["effective_negatives"] == pytest.approx(2)
    nothing = statistics(torch.rand(2, 3), torch.zeros(2, 3), Matches(empty, empty), (0.5,))
    assert all(math.isnan(number) for number in nothing.values())


def test_quantiles_agree_with_those_of_torch() -> None:
    scores, positives = torch.randn(30, 40), torch.rand(30, 40) < 0.3
    levels = (0.0, 0.1, 0.5, 0.93, 1.0)
    named = statistics(scores, torch.ones(30, 40), Matches(positives, torch.zeros_like(positives)), levels)
    expected = torch.quantile(scores[positives], torch.tensor(levels))
    assert [named[f"s_p_q{100 * level:g}"] for level in levels] == pytest.approx(expected.tolist())
    assert all(math.isnan(named[f"s_n_q{100 * level:g}"]) for level in levels)


def test_equal_weights_count_as_many_as_they_are() -> None:
    nobody = torch.zeros(1, 9, dtype=torch.bool)
    for count in (1, 3, 8):
        weights = torch.zeros(1, 9)
        weights[0, :count] = 0.7
        named = statistics(weights, weights, Matches(nobody, ~nobody), (0.5,))
        assert named["effective_negatives"] == pytest.approx(count)
