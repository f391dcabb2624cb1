"""Characteristics against what is known of the weights."""

import math

import pytest
import sympy as sp

from goal_analysis.numeric.characteristics import Growth, characteristics, characteristics_page
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, sigmoid, softplus
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.typesetting.pages import to_plain
from goal_analysis.symbolic.weight import Factors, WeightField, compose
from losses_catalog import catalog, pair_weights, triplet_weights

losses = {loss.name: loss for loss in catalog}


def of_pairs(name, **settings):
    constant = next(t for t in triplet_weights if t.name == "constant")
    return characteristics(compose(constant, next(p for p in pair_weights if p.name == name)), settings)


def test_linear_negative_weight_attracts_below_zero():
    negative = of_pairs("linear").negative
    assert negative.sign_changes == pytest.approx([0.0], abs=1e-9)
    assert negative.negative_somewhere
    assert (negative.at_opposite, negative.at_identical) == (-1, 1)
    assert negative.growth is Growth.GROWS
    assert negative.plateaus == ()


def test_constant_weights_do_nothing_of_the_kind():
    positive = of_pairs("constant").positive
    assert positive.growth is Growth.CONSTANT
    assert positive.sign_changes == ()
    assert not positive.negative_somewhere


def test_sigmoid_saturates():
    negative = of_pairs("sigmoid", beta=50.0).negative
    low, high = negative.plateaus
    exact = 0.5 - math.log(99) / 50
    assert low.high == pytest.approx(exact, abs=0.005)
    assert high.low == pytest.approx(1 - exact, abs=0.005)
    assert (low.value, high.value) == (pytest.approx(0, abs=1e-9), pytest.approx(1, abs=1e-9))


def test_the_tuplet_margin_repels_positives_closer_than_the_margin():
    positive = characteristics(decompose(losses["tuplet_margin"])).positive
    slack = float(next(h.default for h in losses["tuplet_margin"].hyperparameters if h.name == "slack"))
    assert positive.sign_changes == pytest.approx([math.cos(slack)], abs=1e-9)
    assert positive.at_identical == -math.inf


def test_arc_face_has_an_infinite_limit():
    assert characteristics(decompose(losses["arc_face"])).positive.at_identical == math.inf


def test_the_scale_follows_the_settings():
    d = decompose(losses["info_nce"])
    name = d.loss.hyperparameters[0].name
    small, large = (characteristics(d, {name: value}).triplet.scale for value in (2.0, 20.0))
    assert large == pytest.approx(10 * small, rel=0.1)


def test_what_does_not_separate_has_surfaces():
    found = characteristics(decompose(losses["selectively_hard_triplet"]))
    assert found.triplet is None
    assert found.positive.hardest == 0
    assert "w⁺" in to_plain([characteristics_page(found)])


def test_a_falling_weight_is_told_from_a_growing_one():
    one = sp.Integer(1)
    falling = Factors(one, sigmoid(s_p), sigmoid(-s_n))
    found = characteristics(WeightField(name="f", positive=sigmoid(s_p), negative=sigmoid(-s_n), factors=falling))
    assert found.positive.growth is found.negative.growth is Growth.FALLS


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_every_loss_has_characteristics(loss):
    found = characteristics(decompose(loss))
    assert found.positive.scale > 0 or found.negative.scale > 0
    assert to_plain([characteristics_page(found)]).count("\n") == (3 if found.triplet else 2)


@pytest.mark.parametrize(
    ("outer", "easiest", "hardest"),
    [(softplus(gap), 0, 1), (sp.exp(gap), 0, math.inf), ((gap - 1) ** 2, -math.inf, math.inf)],
    ids=["softplus", "exp", "square"],
)
def test_a_similarity_without_a_range_has_limits_at_infinity(outer, easiest, hardest):
    log_ratio = Similarity("log_ratio", "log p/q", -sp.oo, sp.oo)
    term = Term(outer=outer, positives=EACH(s_p), negatives=EACH(s_n))
    loss = Objective(name="preference", title="", terms=(term,), similarity=log_ratio)
    found = characteristics(decompose(loss))
    assert (found.triplet.easiest, found.triplet.hardest) == (easiest, hardest)
    assert found.triplet.growth is Growth.GROWS
    assert found.positive.growth is Growth.CONSTANT
    assert integrability(decompose(loss)).integrable


@pytest.mark.parametrize(("low", "high"), [(-sp.oo, 0), (0, sp.oo)])
def test_a_similarity_with_one_end_has_one_limit_at_infinity(low, high):
    similarity = Similarity("half", "", sp.sympify(low), sp.sympify(high))
    saturating = Factors(sp.Integer(1), sigmoid(-s_p), sp.cos(s_n))
    field = WeightField(
        name="half",
        positive=saturating.positive,
        negative=saturating.negative,
        factors=saturating,
        similarity=similarity,
    )
    found = characteristics(field)
    ends = (found.positive.at_opposite, found.positive.at_identical)
    assert ends == pytest.approx((1, 0.5) if high == 0 else (0.5, 0))
    (plateau,) = found.positive.plateaus
    assert math.isinf(plateau.low) == (high == 0)
    assert math.isinf(plateau.high) == (low == 0)
    assert "inf" in to_plain([characteristics_page(found)])
