"""Scales: what is tuned of an objective, in which range, and what becomes of it."""

from itertools import cycle, product

import pytest
from kinds_of_losses import covering

from goal_analysis.recombination.minings import mining_in, softmax
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import line_of, parse_objective, to_toml
from goal_analysis.study import OBJECTIVE, TRAINING
from goal_analysis.study.scales import (
    OF_TRAINING,
    Scale,
    own_scales,
    points,
    scaled,
    scales_of,
    trained_with,
    training_scales,
)
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.loop.experiment import TrainingOptions
from losses_catalog import catalog
from losses_catalog.weights import pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights, catalog)
MININGS = ("hardest", "top_k:5", "semi_hard:0.2", "softmax:12", "softmax:9,14", "softmax:0,14")
RECOMBINED = [
    f"{t.name}/{p.name}@{mining}"
    for (t, p), mining in zip(product(triplet_weights, pair_weights), cycle((*MININGS, MININGS[0])), strict=False)
    if not (p.relative and mining.startswith("softmax"))
]
"""Every pair of weights with one mining, the next with the next."""


def made(text: str) -> Objective:
    return parse_objective(text, PARTS)


def names(text: str, *tuned: str) -> list[str]:
    return [s.name for s in scales_of(made(text), TrainingOptions(), tuned or (OBJECTIVE,))]


@pytest.mark.parametrize(
    "text", [*RECOMBINED, *(loss.name for loss in covering(catalog)), "circle/linear", "info_nce@softmax:12"]
)
def test_every_value_of_every_range_makes_an_objective_that_has_a_text(text: str) -> None:
    objective = made(text)
    scales = scales_of(objective, TrainingOptions())
    assert scales
    for share in (0.0, 0.3, 1.0):
        found = scaled(objective, {s.name: s.at(share) for s in scales})
        assert [side.weight for t in found.terms for side in t.sides] == [
            side.weight for t in objective.terms for side in t.sides
        ]
        assert parse_objective(line_of(found, PARTS) or to_toml(found, PARTS), PARTS) == found
    assert scaled(objective, {s.name: s.own for s in scales}) == objective


def test_the_one_scale_of_infonce_is_one() -> None:
    assert names("info_nce") == ["tau"]
    infonce = made("nca(tau=12)/constant@softmax:12")
    assert [s.name for s in own_scales(infonce)] == ["mining.scale"]
    found = scaled(infonce, {"mining.scale": 20.0})
    assert (found.values(), mining_in(found)) == (
        {made("nca/linear").hyperparameters[0].symbol: 20},
        softmax(20.0, 20.0),
    )
    assert names("nca(tau=5)/constant@softmax:12") == ["mining.scale", "tau"]
    apart = scaled(made("nca(tau=5)/constant@softmax:12"), {"mining.scale": 20.0})
    assert float(apart.hyperparameters[0].default) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nca/sigmoid", ["tau"]),
        ("hinge/linear", ["margin"]),
        ("constant/linear", ["training.learning_rate"]),
        ("constant/linear@top_k:3", ["mining.k"]),
        ("constant/linear@semi_hard:0.1", ["mining.margin"]),
        ("vse_pp", ["margin"]),
        ("circle/linear", ["gamma", "m"]),
        ("multi_similarity", ["alpha", "beta", "lam"]),
        ("siglip", ["scale", "bias"]),
    ],
)
def test_what_is_tuned_is_what_the_objective_is_not(text: str, expected: list[str]) -> None:
    assert names(text) == expected
    assert names(text, OBJECTIVE, "learning_rate") == list(dict.fromkeys(("training.learning_rate", *expected)))


def test_scales_of_softmax_mining_that_differ_are_apart() -> None:
    assert names("nca/constant@softmax:9,14") == ["mining.positive_scale", "mining.negative_scale", "tau"]
    found = scaled(made("nca/constant@softmax:9,14"), {"mining.positive_scale": 6.0, "mining.negative_scale": 20.0})
    assert mining_in(found) == softmax(6.0, 20.0)


def test_an_aggregator_that_reads_a_hyperparameter_is_no_mining_of_a_name() -> None:
    assert names("benchmarks/twins.py:hardness_twin") == ["scale", "strength"]


def test_all_objectives_are_tuned_in_one_space_of_the_training() -> None:
    assert [s.name for s in training_scales(TrainingOptions())] == [OF_TRAINING + name for name in TRAINING]
    of_vse, of_siglip = (scales_of(made(text), TrainingOptions()) for text in ("vse_pp", "siglip"))
    assert of_vse[: len(TRAINING)] == of_siglip[: len(TRAINING)] == training_scales(TrainingOptions())
    trained = [
        [{name: value for name, value in point.items() if name.startswith(OF_TRAINING)} for point in points(scales, 9)]
        for scales in (of_vse, of_siglip)
    ]
    assert trained[0] == trained[1], "also the same points of it"
    assert points(of_vse, 9)[:5] == points(of_vse, 5), "a larger budget goes on"
    for point in trained[0]:
        options = trained_with(TrainingOptions(), point)
        assert options.captions_per_image > 1 or options.text_text == options.image_image == 0
        assert TrainingOptions().epochs // 3 <= options.epochs <= TrainingOptions().epochs
    with pytest.raises(ValueError, match="tune: got 'rate' but expected one of"):
        names("vse_pp", "rate")


def test_ranges_are_read_by_ratios_or_by_differences() -> None:
    assert [Scale("a", 3, 1, 9).at(x) for x in (0.0, 0.5, 1.0)] == [1, 3, 9]
    assert [Scale("a", 3, 0, 9, logarithmic=False).at(x) for x in (0.0, 0.5, 1.0)] == [0, 4.5, 9]
    assert Scale("a", 3, 1, 9, whole=True).at(0.4) == 2


def test_a_value_out_of_its_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="tau: got -1"):
        scaled(made("nca/linear"), {"tau": -1.0})
