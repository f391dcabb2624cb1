"""Descriptions say of an objective what its parts say, in text, in Markdown and as data."""

from __future__ import annotations

import json
import re

import pytest
import sympy as sp
import torch
from goal_analysis.numeric.mining import MINERS, DistanceWeighted, Hardest, Miner, SelectivelyHard, SemiHard, Softmax

from goal_analysis.numeric.similarity import TANGENTIAL, direction_regularized
from goal_analysis.recombination.description import SIGNS, Description
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.analysis import integrability as deciding
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, real
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog.weights import (
    constant_pair,
    constant_triplet,
    linear_pair,
    nca_triplet,
    pair_weights,
    relative_sigmoid_pair,
    sigmoid_pair,
    triplet_weights,
)

COMPOSITIONS = [
    (t, p, m) for t in triplet_weights for p in pair_weights for m in MINERS if not (p.relative and m.name == "softmax")
]


def test_every_composition_is_described_in_text_markdown_and_data() -> None:
    verdicts = set()
    for triplet, pairs, mining in COMPOSITIONS:
        found = GradientObjective(triplet, pairs, mining).describe()
        verdicts.add(found.integrable)
        assert found.name == f"{triplet.name} / {pairs.name} @ {mining.name}"
        assert found.integrable is not None, found.reason
        assert (found.loss is not None) is found.integrable, found.name
        assert found.sign in SIGNS
        data = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert set(data) == {*Description.__dataclass_fields__}
        for text in (data["loss"], data["potential"], *data["weights"].values()):
            assert text is None or isinstance(text, str)
        assert found.reason in str(found)
        check_markdown(found._repr_markdown_())
    assert verdicts == {True, False}


def check_markdown(text: str) -> None:
    """Tables of two columns whose formulas open and close what they open."""
    assert text.startswith("### ")
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3, line
    formulas = re.findall(r"\$([^$]*)\$", text)
    assert formulas
    assert text.count("$") == 2 * len(formulas)
    for formula in formulas:
        bare = re.sub(r"\\[{}|]", "", formula)
        depth = 0
        for sign in bare:
            depth += {"{": 1, "}": -1}.get(sign, 0)
            assert depth >= 0, formula
        assert depth == 0, formula
        assert formula.count(r"\left") - formula.count(r"\leftarrow") == formula.count(r"\right"), formula
        assert not re.search(r"_[^{\\a-zA-Z0-9]|\^\^|__", formula), formula
        assert formula.isascii(), formula


def test_a_formula_that_does_not_close_is_seen() -> None:
    good = GradientObjective(nca_triplet, constant_pair).describe()._repr_markdown_()
    check_markdown(good)
    for spoilt in (good.replace("}", "", 1), good.replace(r"\right", "", 1), good.replace("$", "", 1)):
        with pytest.raises(AssertionError):
            check_markdown(spoilt)


def test_formulas_read_back() -> None:
    found = GradientObjective(nca_triplet, sigmoid_pair, settings={"tau": 3}).describe()
    names = {"s_p": s_p, "s_n": s_n} | {h.name: h.symbol for h in found.weights.hyperparameters}
    data = found.to_json()
    formulas = data["weights"]
    assert isinstance(formulas, dict)
    assert parse(formulas["T"], names) == nca_triplet.expression
    assert parse(formulas["P+"], names) == sigmoid_pair.positive
    assert parse(formulas["w-"], names) == found.weights.negative
    assert data["settings"] == {"tau": 3.0, "alpha": 2.0, "beta": 10.0, "lam": 0.5}


def test_what_is_set_is_said() -> None:
    found = GradientObjective(
        nca_triplet,
        constant_pair,
        Softmax(3.0, 6.5),
        direction=TANGENTIAL,
        reduction=Reduction.MEAN,
        anchors=Anchors.ROWS,
        settings={"tau": 4.0},
    ).describe()
    assert (found.mining, found.direction, found.reduction, found.anchors) == (
        "softmax(positive_scale=3, negative_scale=6.5)",
        "tangential",
        "mean",
        "rows",
    )
    assert dict(found.settings) == {"tau": 4.0}
    for word in ("tangential", "6.5", "mean over the anchors", "rows", "tau", "softplus(tau*(x_n - x_p))/tau"):
        assert word in str(found), word


def test_a_direction_of_its_own_is_the_gradient_of_nothing() -> None:
    of = direction_regularized(0.5)
    found = GradientObjective(nca_triplet, constant_pair, direction=of).describe()
    assert found.integrable is False
    assert found.loss is None
    assert "the direction direction_regularized is not the gradient of the similarity cosine" in found.reason


def test_the_similarity_sets_the_range() -> None:
    of_cosine, of_distance = (
        GradientObjective(constant_triplet, linear_pair, similarity=s).describe().characteristics.positive
        for s in (GradientObjective(constant_triplet, linear_pair).similarity, NEGATIVE_EUCLIDEAN)
    )
    assert (of_cosine.at_identical, of_cosine.at_opposite) == (0, 2)
    assert (of_distance.at_identical, of_distance.at_opposite) == (1, 3)


lean = Hyperparameter("lean", 0, real)


@pytest.mark.parametrize(
    ("triplet", "positive", "negative", "sign"),
    [
        (sp.S.One, sp.S.One, sp.S.One, "pulls and pushes"),
        (sp.S.One, sp.S.One, sp.S.Zero, "pulls alone"),
        (sp.S.One, sp.S.Zero, 1 + s_n, "pushes alone"),
        (sp.S.One, sp.S.One, s_n, "mixed"),
        (sp.S.One, s_p, sp.S.One, "mixed"),
        (-sp.S.One, -sp.S.One, -sp.S.One, "pulls and pushes"),
        (s_n - s_p, sp.S.One, sp.S.One, "mixed"),
        (sp.S.Zero, sp.S.One, sp.S.One, "none"),
    ],
)
def test_signs(triplet: sp.Expr, positive: sp.Expr, negative: sp.Expr, sign: str) -> None:
    t = TripletWeight(name="t", expression=triplet)
    p = PairWeights(name="p", positive=positive, negative=negative)
    assert GradientObjective(t, p).describe().sign == sign


def test_signs_are_those_of_the_settings() -> None:
    p = PairWeights(name="p", positive=sp.S.One, negative=1 + lean.symbol * s_n, hyperparameters=(lean,))
    signs = [GradientObjective(constant_triplet, p, settings={"lean": x}).describe().sign for x in (0.5, 3.0)]
    assert signs == ["pulls and pushes", "mixed"]


def test_a_field_is_judged_once_for_all_objectives_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    kept = deciding.smooth_curl

    def counted(field):
        asked.append(field)
        return kept(field)

    monkeypatch.setattr(deciding, "smooth_curl", counted)
    fresh = PairWeights(name="fresh", positive=1 - s_p / 3, negative=s_n / 3)
    for mining in (Hardest(), SelectivelyHard(), DistanceWeighted(), Hardest()):
        for reduction in Reduction:
            GradientObjective(nca_triplet, fresh, mining, reduction=reduction).describe()
    assert len(asked) == 2  # at any setting, and then at its own
    other = PairWeights(name="other", positive=1 - s_p / 4, negative=s_n / 4)
    GradientObjective(nca_triplet, other).describe()
    assert len(asked) == 4


def test_describing_changes_nothing() -> None:
    o = GradientObjective(nca_triplet, relative_sigmoid_pair)
    x = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    before = o(x, x.flip(0))
    o.describe()
    assert o(x, x.flip(0)) == before


@pytest.mark.parametrize(
    ("mining", "text"),
    [
        (Hardest(), "hardest"),
        (SemiHard(0.25), "semi_hard(margin=0.25)"),
        (DistanceWeighted(dim=64), "distance_weighted(dim=64, cutoff=0.5, reach=1.4)"),
    ],
)
def test_minings_are_named_with_their_numbers(mining: Miner, text: str) -> None:
    assert GradientObjective(nca_triplet, constant_pair, mining).describe().mining == text
