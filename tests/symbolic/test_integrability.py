"""The table of triplet weights × pair weights, and the losses that are known to be the gradient of nothing."""

import pytest
import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.analysis.recovery import NoTwin, tangent_twin, twin, u
from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, SUM
from goal_analysis.symbolic.language.primitives import (
    detach,
    gap,
    hinge,
    maximum,
    s_n,
    s_p,
    sigmoid,
    softplus,
    step,
    x_n,
)
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.parsing.declaration import loss_from_mapping
from goal_analysis.symbolic.proof.identity import refute_zero
from goal_analysis.symbolic.weight import TripletWeight, WeightField, compose
from losses_catalog import catalog, pair_weights, triplet_weights

INTEGRABLE = {
    "constant": {"constant", "linear", "sigmoid", "polynomial"},
    "nca": {"constant"},
    "circular": {"linear"},
    "hinge": {"constant"},
}
"""Which pair weights every triplet weight is integrable with; the relative ones are with none."""

losses = {loss.name: loss for loss in catalog}
every_cell = pytest.mark.parametrize(
    ("triplet_weight", "pairs"),
    [(t, p) for t in triplet_weights for p in pair_weights],
    ids=lambda weight: weight.name,
)


@every_cell
def test_table(triplet_weight, pairs):
    field = compose(triplet_weight, pairs)
    verdict = integrability(field)
    assert verdict.integrable == (pairs.name in INTEGRABLE[triplet_weight.name]), (field.name, verdict.reason)
    if verdict.integrable:
        assert verdict.loss is not None
        for similarity, weight in ((s_p, -field.positive), (s_n, field.negative)):
            assert refute_zero(sp.diff(verdict.loss, similarity) - weight, field.ranges) is None
    else:
        assert verdict.witness is not None
        assert verdict.loss is None


def test_the_table_covers_what_the_catalog_has():
    assert {t.name for t in triplet_weights} == set(INTEGRABLE)
    assert {"constant", "linear", "sigmoid", "relative_linear", "relative_sigmoid"} <= {p.name for p in pair_weights}


def the_cell(triplet_weight, pairs):
    field = compose(
        next(t for t in triplet_weights if t.name == triplet_weight),
        next(p for p in pair_weights if p.name == pairs),
    )
    return field, integrability(field)


def test_closed_forms_of_the_table():
    tau, margin = sp.Symbol("tau", positive=True), sp.Symbol("margin", nonnegative=True)
    square = (1 - s_p) ** 2 + s_n**2
    for cell, expected in {
        ("constant", "constant"): s_n - s_p,
        ("constant", "linear"): square / 2,
        ("nca", "constant"): softplus(tau * (s_n - s_p)) / tau,
        ("circular", "linear"): softplus(tau * (square - sp.Rational(1, 2))) / (2 * tau),
        ("hinge", "constant"): hinge(s_n - s_p + margin),
    }.items():
        field, verdict = the_cell(*cell)
        for s in (s_p, s_n):  # equal up to a constant
            assert refute_zero(sp.diff(verdict.loss - expected, s), field.ranges) is None, cell


def test_detached_circle_is_the_gradient_of_nothing_and_undetached_circle_of_itself():
    detached = integrability(decompose(losses["circle"]))
    assert not detached.integrable
    assert "∂w⁺/∂s_n + ∂w⁻/∂s_p" in detached.reason
    assert integrability(decompose(losses["circle_undetached"])).integrable


def test_a_jump_across_a_kink_is_seen_where_the_smooth_curl_vanishes():
    _, verdict = the_cell("hinge", "linear")
    assert verdict.curl == 0
    assert not verdict.integrable
    assert "jump across" in verdict.reason


def test_a_kink_beyond_the_range_of_similarities_does_no_harm():
    always_on = TripletWeight(name="always", expression=step(s_n - s_p + 3))
    linear = next(p for p in pair_weights if p.name == "linear")
    assert integrability(compose(always_on, linear)).integrable


def test_the_selectively_hard_triplet_jumps():
    verdict = integrability(decompose(losses["selectively_hard_triplet"]))
    assert not verdict.integrable
    assert "jump across" in verdict.reason


def test_relative_weights_read_other_pairs():
    _, verdict = the_cell("constant", "relative_linear")
    assert not verdict.integrable
    assert "another anchor's positive" in verdict.reason


def test_a_detached_loss_may_be_integrable_on_one_triplet_and_not_on_several():
    self_paced = Term(outer=gap, negatives=LOGSUMEXP(detach(s_n) * (s_n - 1)))
    verdict = integrability(decompose(Objective(name="self_paced", title="", terms=(self_paced,))))
    assert verdict.curl == 0
    assert not verdict.integrable
    assert "with several pairs" in verdict.reason
    # With q = s·s the stopped weight is proportional to q′, and softmax·q′ is a gradient again.
    lucky = Term(outer=gap, negatives=LOGSUMEXP(detach(s_n) * s_n))
    assert integrability(decompose(Objective(name="lucky", title="", terms=(lucky,)))).integrable


@every_cell
def test_every_objective_has_an_integrable_twin(triplet_weight, pairs):
    field = compose(triplet_weight, pairs)
    if pairs.relative:
        with pytest.raises(NoTwin, match="read other pairs of the batch"):
            tangent_twin(field)
        return
    if triplet_weight.name == "constant":
        with pytest.raises(NoTwin, match="expected f"):
            tangent_twin(field)
        return
    composed, loss = tangent_twin(field)
    assert integrability(composed).integrable, composed.name
    assert loss is not None
    for similarity, weight in ((s_p, -composed.positive), (s_n, composed.negative)):
        assert refute_zero(sp.diff(loss, similarity) - weight, composed.ranges) is None


def test_the_published_circle_weight_is_the_twin_of_nca_on_linear_pairs():
    twin_of_nca = tangent_twin(the_cell("nca", "linear")[0])[0]
    circle = the_cell("circular", "linear")[0]
    assert refute_zero(twin_of_nca.factors.triplet - circle.factors.triplet, circle.ranges) is None
    twin_of_circle = tangent_twin(the_cell("circular", "constant")[0])[0]
    nca = the_cell("nca", "constant")[0]
    assert refute_zero(twin_of_circle.factors.triplet - nca.factors.triplet, nca.ranges) is None


def test_any_profile_of_the_potential_is_integrable():
    field = the_cell("nca", "sigmoid")[0]
    for profile in (sigmoid(3 * u), sp.exp(u), step(u), sp.Integer(1)):
        composed, loss = twin(field, profile)
        assert integrability(composed).integrable
        assert loss is not None


def test_a_profile_of_something_else_is_not():
    linear = the_cell("nca", "linear")[0]
    field = WeightField(name="off", positive=(1 - s_p) * sp.exp(s_n * s_p), negative=s_n * sp.exp(s_n * s_p))
    assert integrability(field).integrable is False
    assert integrability(linear).integrable is False


def test_weights_that_jump_when_another_pair_leaves_the_active_set_are_no_gradient():
    verdict = integrability(decompose(losses["ranked_list"]))
    assert verdict.curl == 0
    assert not verdict.integrable
    assert "with several pairs, the weights jump across" in verdict.reason


@pytest.mark.parametrize(
    "formula",
    [
        "(s_n - s_p) if abs(s_n) > 0.5 else 0",
        "(s_n - s_p) if abs(s_n) > 0.51 else 0",
        "hinge(s_n - s_p + 0.2) if s_n**2 > 0.25 else 0",
        "(s_n - s_p)*step(1 - sqrt(2 - 2*s_n))",
        "softplus(10*(s_n - s_p)) if abs(s_p) < 0.75 else 0",
        "step(s_n**3)*s_p",
        "s_p*step(exp(s_n) + s_p - 0.3)",
    ],
)
def test_a_loss_that_jumps_across_any_kind_of_kink_is_no_gradient(formula):
    verdict = integrability(decompose(loss_from_mapping("jumps", {"formula": formula})))
    assert verdict.integrable is False
    assert verdict.witness is not None


@pytest.mark.parametrize(
    "formula",
    [
        "(1 - s_p)*hinge(s_n - 0.3)",
        "(1 - s_p)*hinge(s_n - 0.2)",
        "max(s_n - s_p + 0.2, 0, s_n - 0.5)",
        "hinge(hinge(hinge(s_n - s_p + 0.1)**2 + s_n)**2 + s_n - 0.2)",
        "-log(exp(s_p)/(exp(s_p) + max(exp(s_n) - 0.1*exp(s_p), exp(-1))))",
        "hinge(s_n**2 + s_p**2 - 0.5)",
        "(s_n**2 + s_p**2 - 0.5)*sin(s_n) if s_n**2 + s_p**2 > 0.5 else 0",
    ],
)
def test_what_is_continuous_and_stops_no_gradient_is_integrable_whatever_its_form(formula):
    decomposition = decompose(loss_from_mapping("continuous", {"formula": formula}))
    verdict = integrability(decomposition)
    assert verdict.integrable is True
    assert "continuous" in verdict.reason
    assert verdict.loss == decomposition.loss.expression()


def test_a_separation_that_stays_open_takes_nothing_else_away():
    decomposition = decompose(loss_from_mapping("open", {"formula": "max(s_n - s_p + 0.2, 0, s_n - 0.5)"}))
    assert decomposition.separable is None
    assert decomposition.field.factors is None
    assert "neither factors" in decomposition.reason
    assert "| separable | open |" in decomposition._repr_markdown_()


def test_pairs_that_jump_together_beyond_the_range_of_one_are_no_gradient():
    term = Term(outer=step(x_n - sp.Rational(3, 2)) * gap, positives=EACH(s_p), negatives=SUM(s_n))
    verdict = integrability(decompose(Objective(name="together", title="", terms=(term,))))
    assert verdict.integrable is False
    assert "with several pairs" in verdict.reason


@pytest.mark.parametrize(
    ("kink", "expected"),
    [
        (maximum(s_n, -s_n) - sp.Rational(1, 2), False),
        (s_n**2 + s_p**2 - sp.Rational(1, 2), False),
        (s_n**2 + (1 - s_p) ** 2 - sp.Rational(1, 2), True),  # T is a function of U
        ((s_n - 1) ** 2 + (s_p - 1) ** 2 + sp.Rational(1, 2), True),  # positive everywhere
        (s_n + sp.exp(s_p) + 9, True),  # beyond the range, as interval arithmetic proves
    ],
)
def test_yes_is_a_proof_no_is_a_witness(kink, expected):
    linear = next(p for p in pair_weights if p.name == "linear")
    verdict = integrability(compose(TripletWeight(name="kinked", expression=step(kink)), linear))
    assert verdict.integrable is expected, verdict.reason
    assert (verdict.witness is not None) == (expected is False)
    assert verdict.potential is not None


def test_a_curl_that_is_zero_wherever_a_kink_is_met_proves_nothing():
    kink = sp.exp(s_n) + sp.exp(s_p) - 2
    smooth = ((sp.exp(s_n) + sp.exp(s_p)) ** 2 - 4) ** 2 * s_p
    field = WeightField(
        name="hidden", positive=-sp.diff(smooth, s_p) * step(kink), negative=sp.diff(smooth, s_n) * step(kink)
    )
    verdict = integrability(field)
    assert verdict.integrable is None
    assert verdict.reason.startswith("open: ")
    assert "on it the curl is at most" in verdict.reason
    assert "| integrable | open |" in verdict._repr_markdown_()
    assert repr(verdict).startswith("Integrability(open: ")
