"""The family: every combination of parts under a name of its own, and what its filters find."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch

from goal_analysis.numeric.functions import weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.description import SIGNS, Description
from goal_analysis.recombination.family import FAMILY_MININGS, LeftOut, combinations, family, pair_weights_of
from goal_analysis.recombination.minings import hardest, mining_in, mining_text, softmax, top_k
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import from_toml, parse_objective, to_toml
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.weights import (
    circular_triplet,
    constant_pair,
    constant_triplet,
    linear_pair,
    nca_triplet,
    relative_linear_pair,
)

NAMED = tuple(
    loss for loss in catalog if loss.name in ("circle", "info_nce", "contrastive", "triplet_squared_euclidean")
)
PARTS = Parts(triplet_weights, pair_weights, (*NAMED, *(loss for loss in catalog[::5] if loss not in NAMED)))
PUBLISHED = Parts(triplet_weights, pair_weights)
FEW = Parts(
    (constant_triplet, nca_triplet, circular_triplet),
    (constant_pair, linear_pair, relative_linear_pair),
    NAMED,
)


@lru_cache
def everything() -> tuple[Description | LeftOut, ...]:
    return tuple(combinations(PARTS))


def members() -> list[Description]:
    return [found for found in everything() if isinstance(found, Description)]


def test_members_are_unique_by_name_and_every_name_is_read_back() -> None:
    names = [found.name for found in everything()]
    assert len(names) == len(set(names))
    assert len(members()) >= 300
    for member in members()[::5]:
        assert parse_objective(member.name, PARTS) == member.objective, member.name
    for member in members()[::41]:
        assert from_toml(to_toml(member.objective, PARTS), PARTS) == member.objective, member.name


def test_every_combination_is_there_or_left_out() -> None:
    pairs = len(PARTS.pair_weights) + len(pair_weights_of(PARTS))
    of_weights = (len(PARTS.triplet_weights) + 2) * pairs
    of_losses = len(PARTS.losses) * len(PARTS.pair_weights)
    assert len(everything()) == (of_weights + of_losses) * len(FAMILY_MININGS)
    names = {member.name for member in members()}
    assert {f"{t.name}/{p.name}" for t in triplet_weights for p in pair_weights} <= names
    assert "multi_similarity" not in {p.name for p in pair_weights_of(Parts((), pair_weights, catalog))}, (
        "equals others"
    )


def test_what_is_left_out_says_why() -> None:
    reasons = {found.name: found.reason for found in everything() if isinstance(found, LeftOut)}
    assert all(reasons.values())
    assert "no triplets to compare" in reasons["nca/relative_linear@softmax:12"]
    assert "itself" in reasons["nca_twin/constant"]
    assert "no potential" in reasons["hinge_twin/relative_linear@top_k:5"]
    assert "distances" in reasons["triplet_squared_euclidean/linear@hardest"]


def test_members_are_what_their_names_say() -> None:
    for member in members():
        mining = mining_in(member.objective)
        if mining is not None:
            _, _, mined = member.name.partition("@")
            assert mining_text(mining) == (mined or "hardest"), member.name
        same = member.parts == (member.name, "constant")  # weights that a loss has anyway
        assert same or member.name.startswith("/".join(member.parts))


@pytest.mark.parametrize("mining", [hardest(), softmax(12, 12), top_k(2)], ids=mining_text)
def test_swapping_rows_and_columns_transposes_the_weights(mining) -> None:
    s, matches = torch.rand(6, 6) * 1.6 - 0.8, Matches.of_pairs(6)
    seen = 0
    for member in family(FEW, [mining], ["nca"]):
        w = weights_of_scores(member.objective, s, matches)
        assert w.isfinite().all(), member.name
        if member.objective.anchors.value == parse_objective("nca/linear", FEW).anchors.value:
            torch.testing.assert_close(weights_of_scores(member.objective, s.T, matches), w.T, msg=member.name)
            seen += 1
    assert seen > 15


def test_filters_do_what_they_say() -> None:
    every = list(family(FEW, [hardest()], ["nca"]))
    for member in every:
        assert (member.integrable, member.reason) == (member.verdict.integrable, member.verdict.reason)
        assert member.sign in SIGNS
        assert "_twin" not in member.name or "@" in member.name or member.integrable, member.name
    filters = {
        "integrable": (True, lambda member: member.verdict.integrable is True),
        "sign": ("mixed", lambda member: member.sign == "mixed"),
        "using": (["nca", "circle"], lambda member: bool({"nca", "circle"} & {*member.parts})),
    }
    for name, (value, holds) in filters.items():
        arguments: dict[str, Any] = {name: value}
        found = [member.name for member in family(FEW, [hardest()], ["nca"], **arguments)]
        assert found == [member.name for member in every if holds(member)]
        assert 0 < len(found) < len(every), name


def test_the_published_grid_on_the_hardest() -> None:
    yes, no = (
        {member.name for member in family(PUBLISHED, [hardest()], [], integrable=integrable)}
        for integrable in (True, False)
    )
    assert yes >= {"constant/constant", "nca/constant", "constant/linear", "circular/linear"}
    assert no >= {"nca/linear", "circular/constant", "nca/sigmoid", "constant/relative_linear"}
    assert next(m.name for m in family(FEW, [top_k(2)], ["nca"], using=["nca_twin"])) == "nca_twin/linear@top_k:2"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sign": "good"}, "sign: got 'good' but expected one of pulls and pushes"),
        ({"using": ["linaer"]}, "part: got 'linaer' but expected one of linear"),
        ({"twinned": ["nca_twin"]}, "triplet weight: got 'nca_twin' but expected one of"),
    ],
)
def test_what_is_not_known_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(family(PUBLISHED, **arguments))
