"""Scales: what is tuned of an objective, in which range, and what becomes of it."""

import pytest
from goal_analysis.numeric.mining import Hardest, Miner, SemiHard, Softmax, TopK

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.study.scales import LEARNING_RATE, MINING_K, MINING_MARGIN, MINING_SCALE, Scale, scaled, scales_of
from goal_analysis.symbolic.objective import Reduction
from losses_catalog.weights import (
    constant_pair,
    constant_triplet,
    hinge_triplet,
    linear_pair,
    nca_triplet,
    pair_weights,
    sigmoid_pair,
    triplet_weights,
)

MINERS: tuple[Miner, ...] = (Hardest(), TopK(5), SemiHard(0.2), Softmax(12.0, 12.0))


def names(objective: GradientObjective, tune_rate: bool = False) -> list[str]:
    return [s.name for s in scales_of(objective, 1e-3, tune_rate)]


@pytest.mark.parametrize("triplet", triplet_weights, ids=lambda t: t.name)
@pytest.mark.parametrize("mining", MINERS, ids=lambda m: m.name)
def test_every_value_of_every_range_makes_an_objective(triplet, mining) -> None:
    for pair in pair_weights:
        if pair.relative and isinstance(mining, Softmax):
            continue
        objective = GradientObjective(triplet, pair, mining, reduction=Reduction.MEAN)
        scales = scales_of(objective, 1e-3)
        assert scales
        for share in (0.0, 0.3, 1.0):
            found = scaled(objective, {s.name: s.at(share) for s in scales})
            assert type(found.mining) is type(mining)
            assert (found.reduction, found.pair_weights) == (Reduction.MEAN, pair)
        same = scaled(objective, {s.name: s.own for s in scales})
        assert repr(same) == repr(objective)


def test_the_one_scale_of_infonce_is_one() -> None:
    infonce = GradientObjective(nca_triplet, constant_pair, Softmax(12.0, 12.0), settings={"tau": 12})
    assert names(infonce) == [MINING_SCALE]
    found = scaled(infonce, {MINING_SCALE: 20.0})
    assert (found.settings["tau"], found.mining) == (20.0, Softmax(20.0, 20.0))
    apart = GradientObjective(nca_triplet, constant_pair, Softmax(12.0, 12.0), settings={"tau": 5})
    assert names(apart) == [MINING_SCALE, "tau"]
    assert scaled(apart, {MINING_SCALE: 20.0}).settings["tau"] == 5


def test_what_is_tuned_is_what_the_objective_is_not() -> None:
    assert names(GradientObjective(nca_triplet, sigmoid_pair)) == ["tau"]
    assert names(GradientObjective(hinge_triplet, linear_pair)) == ["margin"]
    assert names(GradientObjective(constant_triplet, linear_pair)) == [LEARNING_RATE]
    assert names(GradientObjective(nca_triplet, linear_pair), tune_rate=True) == ["tau", LEARNING_RATE]
    assert names(GradientObjective(constant_triplet, linear_pair, TopK(3))) == [MINING_K]
    assert names(GradientObjective(constant_triplet, linear_pair, SemiHard(0.1))) == [MINING_MARGIN]


def test_ranges_are_read_by_ratios_or_by_differences() -> None:
    assert [Scale("a", 3, 1, 9).at(x) for x in (0.0, 0.5, 1.0)] == [1, 3, 9]
    assert [Scale("a", 3, 0, 9, logarithmic=False).at(x) for x in (0.0, 0.5, 1.0)] == [0, 4.5, 9]
    assert Scale("a", 3, 1, 9, whole=True).at(0.4) == 2


def test_a_value_out_of_its_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="nca: tau: got -1"):
        scaled(GradientObjective(nca_triplet, linear_pair), {"tau": -1.0})
