"""Scales: what is tuned of an objective, in which range, and what becomes of it."""

import pytest

from goal_analysis.recombination.minings import mining_in, softmax
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective, written
from goal_analysis.study.scales import LEARNING_RATE, MINING_K, MINING_MARGIN, MINING_SCALE, Scale, scaled, scales_of
from goal_analysis.symbolic.objective import Objective
from losses_catalog import catalog
from losses_catalog.weights import pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights, catalog)
MININGS = ("hardest", "top_k:5", "semi_hard:0.2", "softmax:12")
RECOMBINED = [
    f"{t.name}/{p.name}@{mining}"
    for t in triplet_weights
    for p in pair_weights
    for mining in MININGS
    if not (p.relative and mining.startswith("softmax"))
]


def made(text: str) -> Objective:
    return parse_objective(text, PARTS)


def names(text: str, tune_rate: bool = False) -> list[str]:
    return [s.name for s in scales_of(made(text), 1e-3, tune_rate)]


@pytest.mark.parametrize(
    "text", [*RECOMBINED, *(loss.name for loss in catalog), "circle/linear", "info_nce@softmax:12"]
)
def test_every_value_of_every_range_makes_an_objective_that_has_a_text(text: str) -> None:
    objective = made(text)
    scales = scales_of(objective, 1e-3)
    assert scales
    for share in (0.0, 0.3, 1.0):
        found = scaled(objective, {s.name: s.at(share) for s in scales})
        assert [side.weight for t in found.terms for side in t.sides] == [
            side.weight for t in objective.terms for side in t.sides
        ]
        assert parse_objective(written(found, PARTS), PARTS) == found
    assert scaled(objective, {s.name: s.own for s in scales}) == objective


def test_the_one_scale_of_infonce_is_one() -> None:
    assert names("info_nce") == ["tau"]
    infonce = made("nca(tau=12)/constant@softmax:12")
    assert [s.name for s in scales_of(infonce, 1e-3)] == [MINING_SCALE]
    found = scaled(infonce, {MINING_SCALE: 20.0})
    assert (found.values(), mining_in(found)) == (
        {made("nca/linear").hyperparameters[0].symbol: 20},
        softmax(20.0, 20.0),
    )
    assert names("nca(tau=5)/constant@softmax:12") == [MINING_SCALE, "tau"]
    apart = scaled(made("nca(tau=5)/constant@softmax:12"), {MINING_SCALE: 20.0})
    assert float(apart.hyperparameters[0].default) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nca/sigmoid", ["tau"]),
        ("hinge/linear", ["margin"]),
        ("constant/linear", [LEARNING_RATE]),
        ("constant/linear@top_k:3", [MINING_K]),
        ("constant/linear@semi_hard:0.1", [MINING_MARGIN]),
        ("vse_pp", ["margin"]),
        ("circle/linear", ["gamma", "m"]),
        ("multi_similarity", ["alpha", "beta", "lam"]),
        ("siglip", ["scale", "bias"]),
    ],
)
def test_what_is_tuned_is_what_the_objective_is_not(text: str, expected: list[str]) -> None:
    assert names(text) == expected
    assert names(text, tune_rate=True) == list(dict.fromkeys((*expected, LEARNING_RATE)))


def test_ranges_are_read_by_ratios_or_by_differences() -> None:
    assert [Scale("a", 3, 1, 9).at(x) for x in (0.0, 0.5, 1.0)] == [1, 3, 9]
    assert [Scale("a", 3, 0, 9, logarithmic=False).at(x) for x in (0.0, 0.5, 1.0)] == [0, 4.5, 9]
    assert Scale("a", 3, 1, 9, whole=True).at(0.4) == 2


def test_a_value_out_of_its_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="tau: got -1"):
        scaled(made("nca/linear"), {"tau": -1.0})
