"""Descriptions say of an objective what its parts say, in text, in Markdown and as data."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import sympy as sp
import torch

from goal_analysis.numeric.similarity import TANGENTIAL, direction_regularized
from goal_analysis.recombination.description import SIGNS
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import parse_objective
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, real
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.weights import constant_triplet, linear_pair, nca_triplet, sigmoid_pair

PARTS = Parts(triplet_weights, pair_weights, catalog)
GRID = [f"{t.name}/{p.name}" for t in triplet_weights for p in pair_weights]
SAMPLE = [
    *GRID,
    *(
        "nca/linear@softmax:12",
        "constant/linear@all",
        "nca/constant@semi_hard:0.3",
        "hinge/constant@distance_weighted:512,0.5,1.4",
    ),
    *("circle", "info_nce", "vse_pp", "lifted_structure", "circle/linear", "info_nce@hardest", "nca_twin/linear"),
]


def of(text: str, **fields) -> GradientObjective:
    return GradientObjective(parse_objective(text, PARTS, **fields))


@pytest.mark.parametrize("text", SAMPLE)
def test_text_markdown_and_data_agree_with_the_verdict(text: str) -> None:
    objective = of(text)
    found, verdict = objective.describe(), objective.verdict()
    assert (found.name, found.integrable, found.reason, found.loss) == (
        text,
        verdict.integrable,
        verdict.reason,
        verdict.loss,
    )
    assert found.reason
    assert found.loss is None or found.integrable, "a loss of what is the gradient of none"
    assert found.sign in SIGNS
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["integrable"] is found.integrable
    assert all(isinstance(formula, str) for formula in data["weights"].values())
    assert data["settings"] == {h.name: float(h.default) for h in objective.objective.hyperparameters}
    assert found.reason in str(found)
    narrow = found.to_plain(width=60)
    assert max(map(len, narrow.splitlines())) < max(61, max(map(len, found.to_plain().splitlines())))
    assert re.sub(r"\s", "", narrow) == re.sub(r"\s", "", found.to_plain())
    check_markdown(found._repr_markdown_())


def check_markdown(text: str) -> None:
    """Tables of two columns whose formulas open and close what they open."""
    assert text.startswith("### ")
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in text.splitlines() if line.startswith("|"))
    formulas = re.findall(r"\$([^$]*)\$", text)
    assert formulas
    assert text.count("$") == 2 * len(formulas)
    for formula in formulas:
        depth = 0
        for sign in re.sub(r"\\[{}|]", "", formula):
            depth += {"{": 1, "}": -1}.get(sign, 0)
            assert depth >= 0, formula
        assert depth == 0, formula
        assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right"), formula
        assert formula.isascii(), formula


def test_a_formula_that_does_not_close_is_seen() -> None:
    good = of("nca/constant").describe()._repr_markdown_()
    check_markdown(good)
    for spoilt in (good.replace("}", "", 1), good.replace(r"\right", "", 1), good.replace("$", "", 1)):
        with pytest.raises(AssertionError):
            check_markdown(spoilt)


def test_formulas_are_read_back_and_settings_are_those_given() -> None:
    found = of("nca(tau=3)/sigmoid").describe()
    names = {"s_p": s_p, "s_n": s_n} | {h.name: h.symbol for h in found.weights.hyperparameters}
    data = found.to_json()
    formulas = data["weights"]
    assert isinstance(formulas, dict)
    assert parse(formulas["T"], names) == nca_triplet.expression
    assert parse(formulas["P+"], names) == sigmoid_pair.positive
    assert parse(formulas["w-"], names) == found.weights.negative
    assert data["settings"] == found.settings == {"tau": 3.0, "alpha": 2.0, "beta": 10.0, "lam": 0.5}


def test_what_is_set_is_said() -> None:
    found = of("nca(tau=4)/constant@softmax:3,6.5", direction=TANGENTIAL, reduction=Reduction.SUM, anchors=Anchors.ROWS)
    data = found.describe().to_json()
    assert {k: data[k] for k in ("mining", "direction", "reduction", "anchors")} == {
        "mining": "softmax(positive_scale=3, negative_scale=6.5)",
        "direction": "tangential",
        "reduction": "sum",
        "anchors": "rows",
    }
    for word in ("tangential", "6.5", "sum over the anchors", "rows", "tau", "4"):
        assert word in str(found.describe()), word


def test_a_direction_of_its_own_is_the_gradient_of_nothing() -> None:
    found = of("nca/constant", direction=direction_regularized(0.5)).describe()
    assert (found.integrable, found.loss) == (False, None)
    assert "the direction direction_regularized is not the gradient of the similarity cosine" in found.reason


def test_the_similarity_sets_the_range() -> None:
    of_cosine, of_distance = (
        of("constant/linear", similarity=similarity).describe().characteristics.positive
        for similarity in (None, NEGATIVE_EUCLIDEAN)
    )
    assert (of_cosine.at_identical, of_cosine.at_opposite) == (0, 2)
    assert (of_distance.at_identical, of_distance.at_opposite) == (1, 3)


lean = Hyperparameter("lean", 0, real)


@pytest.mark.parametrize(
    ("triplet", "positive", "negative", "sign"),
    [
        (1, 1, 1, "pulls and pushes"),
        (1, 1, 0, "pulls alone"),
        (1, 0, 1 + s_n, "pushes alone"),
        (1, 1, s_n, "mixed"),
        (1, s_p, 1, "mixed"),
        (-1, -1, -1, "pulls and pushes"),
        (-1, 1, 1 + s_n, "reversed"),
        (1, -1, 0, "reversed"),
        (1, -1, 1, "mixed"),
        (s_n - s_p, 1, 1, "mixed"),
        (0, 1, 1, "none"),
    ],
)
def test_signs(triplet, positive, negative, sign: str) -> None:
    t = TripletWeight(name="t", expression=sp.sympify(triplet))
    p = PairWeights(name="p", positive=sp.sympify(positive), negative=sp.sympify(negative))
    assert GradientObjective(composed(t, p)).describe().sign == sign


def test_signs_are_those_of_the_settings() -> None:
    p = PairWeights(name="p", positive=sp.S.One, negative=1 + lean.symbol * s_n, hyperparameters=(lean,))
    objective = composed(constant_triplet, p)
    signs = [GradientObjective(objective.with_settings({"lean": x})).describe().sign for x in (0.5, 3.0)]
    assert signs == ["pulls and pushes", "mixed"]


def test_describing_changes_nothing() -> None:
    o = of("nca/relative_sigmoid")
    x = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    before = o(x, x.flip(0))
    o.describe()
    assert o(x, x.flip(0)) == before
    assert o.objective == replace(parse_objective("nca/relative_sigmoid", PARTS))
    assert GradientObjective(composed(nca_triplet, linear_pair)).describe().name == "nca/linear"
