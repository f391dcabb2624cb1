"""The table of triplet weights × pair weights, and the losses that are known to be the gradient of nothing."""

import math
from dataclasses import replace

import pytest
import sympy as sp

from goal_analysis.recombination.parts import twin_of
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.analysis.recovery import NoTwin, potential, tangent_profile, u
from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, MAX, MEAN, MEAN_ACTIVE, SOFTMIN, SUM
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
    x_p,
)
from goal_analysis.symbolic.language.similarity import DOT, Similarity
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.parsing.declaration import loss_from_mapping
from goal_analysis.symbolic.proof.evaluation import evaluate
from goal_analysis.symbolic.proof.identity import find_witness, refute_zero
from goal_analysis.symbolic.weight import Factors, TripletWeight, WeightField, compose
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
    if pairs.relative:
        with pytest.raises(NoTwin, match="read other pairs of the batch"):
            twin_of(triplet_weight, pairs)
        return
    if triplet_weight.name == "constant":
        with pytest.raises(NoTwin, match="expected f"):
            twin_of(triplet_weight, pairs)
        return
    composed = compose(twin_of(triplet_weight, pairs), pairs)
    verdict = integrability(composed)
    assert verdict.integrable, composed.name
    loss = verdict.loss
    assert loss is not None
    for similarity, weight in ((s_p, -composed.positive), (s_n, composed.negative)):
        assert find_witness(sp.diff(loss, similarity) - weight, composed.ranges) is None


def with_profile(field, profile=None):
    """The field with a function of the potential as T, by default that of its tangent twin."""
    closed = potential(field)
    t = (tangent_profile(field)[0] if profile is None else profile).subs(u, closed)
    p, n = field.factors.positive, field.factors.negative
    return replace(field, positive=t * p, negative=t * n, factors=Factors(t, p, n))


def test_the_published_circle_weight_is_the_twin_of_nca_on_linear_pairs():
    twin_of_nca = with_profile(the_cell("nca", "linear")[0])
    circle = the_cell("circular", "linear")[0]
    assert refute_zero(twin_of_nca.factors.triplet - circle.factors.triplet, circle.ranges) is None
    twin_of_circle = with_profile(the_cell("circular", "constant")[0])
    nca = the_cell("nca", "constant")[0]
    assert refute_zero(twin_of_circle.factors.triplet - nca.factors.triplet, nca.ranges) is None


def test_any_profile_of_the_potential_is_integrable():
    field = the_cell("nca", "sigmoid")[0]
    for profile in (sigmoid(3 * u), sp.exp(u), step(u), sp.Integer(1)):
        verdict = integrability(with_profile(field, profile))
        assert verdict.integrable
        assert verdict.loss is not None


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


@pytest.mark.parametrize(("p", "n"), [(0, 0), (sp.Rational(3, 10), -sp.Rational(1, 2))])
def test_weights_that_wind_around_a_pole_do_work_along_a_circle(p, n):
    square = (s_n - n) ** 2 + (s_p - p) ** 2
    verdict = integrability(WeightField(name="angle", positive=(s_n - n) / square, negative=(s_p - p) / square))
    assert verdict.curl.simplify() == 0
    assert verdict.integrable is False
    assert "along a circle" in verdict.reason
    assert verdict.witness.value == pytest.approx(2 * math.pi)
    assert dict(verdict.witness.point) == pytest.approx({"s_n": n, "s_p": p}, abs=1e-12)
    # log r has the same pole, and no work around it.
    assert integrability(WeightField(name="log", positive=-(s_p - p) / square, negative=(s_n - n) / square)).integrable


def test_what_is_open_says_what_was_tried():
    verdict = integrability(formula("s_n*s_p*atan(s_n/s_p)"))
    assert verdict.integrable is None
    assert verdict.reason.startswith("open: ")
    assert "the largest asymmetry at" in verdict.reason
    assert "| integrable | open |" in verdict._repr_markdown_()
    assert repr(verdict).startswith("Integrability(open: ")


def formula(text, **fields):
    return decompose(replace(loss_from_mapping("tried", {"formula": text}), **fields))


@pytest.mark.parametrize(
    "formula_",
    [
        "s_p*s_n/abs(s_n)",
        "s_p*sigmoid(1/s_n)",
        "s_p*tanh(1/(s_n - 0.25))",
        "sign(s_n - 0.2)*s_p",
        "s_n*s_p if 0.2 < s_n and s_n < 0.4 or s_p < -0.5 else 0",
        "(s_n - s_p)*step(abs(s_n - 0.25)**(3/2) - 0.125)",
        "s_p*step(s_n - 0.30001)*step(0.30002 - s_n)",
        "s_p if sin(3*s_n) > 0.5 else s_n",
    ],
)
def test_a_jump_without_a_step_of_its_own_is_seen(formula_):
    verdict = integrability(formula(formula_))
    assert verdict.integrable is False
    assert {"s_n", "s_p"} <= {name for name, _ in verdict.witness.point}


@pytest.mark.parametrize(
    "formula_",
    [
        "s_n - s_p + 0.3*step(s_n - 0.3)",
        "(abs(s_n) - 0.5)*s_p + 0.01*s_n if abs(s_n) > 0.5 else 0",
        "(abs(s_n)**(3/2) - 0.333)*sin(3*s_p) + 0.1 if abs(s_n)**(3/2) > 0.333 else 0",
        "(exp(s_n) - 1.5)*s_p*step(exp(s_n) - 1.5) + step(s_p)",
        "s_p**6 + 0.1 if s_p**3 > 0 else s_p**3*log(exp(10*s_n) + exp(10*s_p))",  # ∂w⁻/∂s_p is 0 there
    ],
)
def test_a_loss_that_jumps_by_constants_alone_is_integrable(formula_):
    verdict = integrability(formula(formula_))
    assert verdict.integrable is True
    assert "jumps by constants" in verdict.reason


@pytest.mark.parametrize(
    ("formula_", "integrable"),
    [
        ("(s_n + s_p)*step(s_n - s_p - 1.99)", False),
        ("(s_n - s_p)*step(s_n*s_p - 0.9999)", False),
        ("(s_n - s_p)*step(s_n - s_p - 1.99)", True),
        ("(s_n - s_p)*step(s_n - 1)", True),
        ("step(hinge(s_n - 0.3))*s_p", False),
        ("step(hinge(s_n - 0.3) - 0.7)*s_p", True),
        ("s_n if 0 < s_n < s_p else 0", False),
        ("s_n*s_p if s_n > 0 and s_p > 0 else 0", True),
        ("1 if s_n > 0 or s_p > 0.5 else s_p", False),
        ("s_p if -2 < s_n < 2 else 0", True),
        ("step(exp(s_n) - 2.7182)*s_p", False),
        ("step(exp(s_n) - 2.7183)*s_p", True),
        ("(s_n**2 + (1 - s_p)**2)*step(s_n**2 + (1 - s_p)**2 + 1/16)", True),
    ],
)
def test_thresholds_in_corners_and_beyond_the_range_are_told_apart(formula_, integrable):
    verdict = integrability(formula(formula_))
    assert verdict.integrable is integrable, verdict.reason


def test_a_similarity_without_a_range_is_looked_at_far_out():
    assert integrability(formula("s_p*step(s_n - 1000000)", similarity=DOT)).integrable is False


@pytest.mark.parametrize("text", ["(s_n - s_p)*step(s_n**2 - 2)", "s_p*step(0.1 - sqrt(4 - 2*s_n)/2)"])
def test_a_threshold_that_no_cosine_reaches_is_never_met(text):
    field = formula(text).field
    assert (field.positive, field.negative) == (0, 0)


@pytest.mark.parametrize(
    ("text", "integrable"),
    [
        ("hinge(s_n - s_p - 3)", True),
        ("s_p*step(s_n - 3)", False),
        ("s_p*step(s_n + 90)", False),
        ("s_n*s_p*step(s_n + s_p - 3.0625)", False),
        ("(s_n - s_p) if abs(s_n - 3) > 0.25 else 0", False),
    ],
)
@pytest.mark.parametrize("similarity", [DOT, Similarity("log_ratio", "log p/q", -sp.oo, sp.oo)], ids=lambda s: s.name)
def test_a_similarity_without_a_range_reaches_every_kink(text, integrable, similarity):
    decomposition = formula(text, similarity=similarity)
    assert (decomposition.field.negative, decomposition.field.positive) != (0, 0)
    assert integrability(decomposition).integrable is integrable


SX = {"x_p": x_p, "x_n": x_n}


@pytest.mark.parametrize(
    ("outer", "negatives", "integrable"),
    [
        ("step(x_n - 1.5)*(x_n - x_p)", SUM(s_n), False),
        ("step(x_n - 2.5)*(x_n - x_p)", SUM(s_n), False),
        ("step(x_n + x_p - 1.2)*x_n", LOGSUMEXP(s_n), False),
        ("step(x_n - 1.5)*(x_n - x_p)", MEAN(s_n), True),
        ("step(x_n - 1.5)*(x_n - x_p)", MAX(s_n), True),
        ("step(x_n + 1.1)*(x_n - x_p)", LOGSUMEXP(s_n), True),
        ("hinge(x_n - x_p - 1/3)", LOGSUMEXP(detach((1 - s_n) ** 2) * s_n), False),
    ],
)
def test_thresholds_are_met_where_aggregates_of_several_pairs_lie(outer, negatives, integrable):
    term = Term(outer=parse(outer, SX), positives=EACH(s_p), negatives=negatives)
    verdict = integrability(decompose(Objective(name="several", title="", terms=(term,))))
    assert verdict.integrable is integrable, verdict.reason


@pytest.mark.parametrize(
    ("outer", "positives", "negatives", "integrable"),
    [
        ("x_n - x_p", SUM(detach(sp.exp(s_p)) * s_p), LOGSUMEXP(1 - s_n), True),
        ("x_n - x_p", SUM(sp.log(2 + s_p)), MAX(detach(s_n) * s_n), True),
        ("detach(x_n)*x_n - x_p", SUM(s_p), LOGSUMEXP(s_n), True),
        ("x_n*x_p", SUM(detach(s_p) * s_p), SUM(s_n), False),
        ("detach(x_p)*x_n", EACH(s_p), EACH(s_n), False),
        ("step(x_p - 0.3)*x_n", EACH(s_p), EACH(s_n), False),
        ("x_n*x_p", MEAN(s_p), MEAN_ACTIVE(2 + s_n), True),
        ("x_n*x_p", MEAN(s_p), MEAN_ACTIVE(s_n), False),
        ("x_n - x_p", SOFTMIN(s_p), MEAN(5 * (s_n + sp.Rational(1, 8)) * step(s_n - sp.Rational(1, 7))), True),
        ("x_n*x_p", SOFTMIN(s_p), MEAN(5 * (s_n + sp.Rational(1, 8)) * step(s_n - sp.Rational(1, 7))), False),
        ("exp(x_n - x_p - detach(x_n - x_p))", EACH(s_p), LOGSUMEXP(10 * s_n), True),
        ("detach(sigmoid(x_n - x_p))*(x_n - x_p)", EACH(s_p), LOGSUMEXP(s_n), True),
        ("detach(x_n - x_p)*x_n - detach(x_n + x_p)*x_p", SOFTMIN(s_p), LOGSUMEXP(s_n), True),
        ("detach(x_n - x_p)*x_n + detach(x_n + x_p)*x_p", SOFTMIN(s_p), LOGSUMEXP(s_n), False),
        ("exp(x_n)*detach(x_p)", EACH(s_p), LOGSUMEXP(s_n), False),
        ("detach(sigmoid(x_n - x_p))*(x_n - x_p)", EACH(s_p), LOGSUMEXP(step(s_n) * s_n + step(s_n - 0.5)), False),
    ],
)
def test_summands_of_two_sides_are_judged_apart(outer, positives, negatives, integrable):
    term = Term(outer=parse(outer, SX), positives=positives, negatives=negatives)
    verdict = integrability(decompose(Objective(name="summands", title="", terms=(term,))))
    assert verdict.integrable is integrable, verdict.reason


def test_a_threshold_of_the_potential_is_integrable_and_one_of_something_else_is_not():
    p, n = hinge(sp.Rational(4, 5) - s_p), hinge(s_n - sp.Rational(3, 10))
    for argument, integrable in (((p**2 + n**2) / 2, True), (p**2 + 2 * n**2, False)):
        t = step(hinge(argument) + hinge(-argument) - sp.Rational(1, 16))
        field = WeightField(name="cut", positive=t * p, negative=t * n, factors=Factors(t, p, n))
        assert integrability(field).integrable is integrable, argument


@pytest.mark.parametrize("text", ["(1 - s_p)**3*s_n**2", "exp(s_p)*s_n**2", "(1 - s_p)*(s_n - 0.25)**4"])
def test_the_potential_and_the_twin_are_finite_on_both_sides_of_a_zero(text):
    field = formula(text).field
    of_pairs = integrability(field).potential
    profiled = with_profile(field, sigmoid(u))
    for p in (-0.7, 0.3):
        for n in (-0.8, 0.1, 0.6):
            for e in (of_pairs, profiled.positive, profiled.negative):
                assert math.isfinite(evaluate(e, {s_p: p, s_n: n})), e


@pytest.mark.parametrize(
    "text", ["softplus(log((1+s_n)/(1-s_n)) - log((1+s_p)/(1-s_p)))", "(1 - s_p)*hinge(s_n - 0.3)", "-(2 + s_p)*s_n"]
)
def test_the_positive_pair_weight_is_positive_in_the_middle_of_the_range(text):
    field = formula(text).field
    assert evaluate(field.factors.positive, {s_p: 0.0}) > 0
    product = field.factors.triplet * field.factors.positive - field.positive
    assert abs(evaluate(product, {s_p: 0.3, s_n: 0.6})) < 1e-12


@pytest.mark.parametrize("margin", ["0.3", "0.4", "0.5", "m"])
def test_hinges_of_one_similarity_times_shapes_of_the_other_have_weights_and_a_verdict(margin):
    declared = {"formula": f"(1 - s_p)*hinge(s_n - {margin})"} | (
        {"hyperparameters": {"m": 0.3}} if margin == "m" else {}
    )
    decomposition = decompose(loss_from_mapping("times", declared))
    assert integrability(decomposition).integrable is True
    at = {s_p: 0.25, s_n: 0.75} | {h.symbol: h.default for h in decomposition.loss.hyperparameters}
    m = 0.3 if margin == "m" else float(margin)
    weights = (evaluate(w, at) for w in (decomposition.field.positive, decomposition.field.negative))
    assert tuple(weights) == pytest.approx((0.75 - m, 0.75))


def long(s):
    """A formula for which `sympy.simplify` takes minutes."""
    return sp.Mul(*(sigmoid(k * s) + sp.sin(k * s) ** 2 for k in range(1, 8)))


def test_a_formula_that_is_not_simplified_in_time_is_answered():
    field = WeightField(name="long", positive=long(s_p) * (1 - s_p) + s_n, negative=s_n - s_p)
    verdict = integrability(field)
    assert (verdict.integrable, verdict.loss) == (True, None)  # the curl is zero, and ∫P⁺ has no closed form
    assert integrability(replace(field, positive=field.positive + s_n)).integrable is False


def test_a_weight_that_reads_both_similarities_until_it_is_simplified_gives_its_loss_back():
    hidden = (s_n**2 - 1) / (s_n - 1) - s_n  # is 1
    field = WeightField(name="hidden", positive=hidden * s_p - s_n, negative=s_p + s_n**2)
    loss = integrability(field).loss
    for s, weight in ((s_p, -field.positive), (s_n, field.negative)):
        assert refute_zero(sp.diff(loss, s) - weight, field.ranges) is None


COMPARED = [
    *(f"{f}({{a}}) - {f}({{b}})" for f in ("tanh", "atan", "erf", "exp", "sigmoid", "softplus")),
    "acos({b}) - acos({a})",
    "tanh({a} - {b})",
    "erf({a} - ({b}))",
    "exp({a} - {b}) - 1",
    "log(2 + {a}) - log(2 + {b})",
    "sqrt(1 + {a}) - sqrt(1 + {b})",
    "({a})**3 - ({b})**3",
    "exp({a}) + {a} - exp({b}) - {b}",
]
"""What has the sign of a − b."""


@pytest.mark.parametrize("comparison", COMPARED)
@pytest.mark.parametrize(("a", "b", "rest"), [("s_n", "s_p", "s_n - s_p"), ("s_p", "0.3", "s_p - 0.3")])
def test_a_comparison_of_monotone_functions_is_one_of_their_arguments(comparison, a, b, rest):
    condition = comparison.format(a=a, b=b)
    continuous = integrability(formula(f"({rest}) if {condition} > 0 else 0"))
    if continuous.integrable is None:  # a number whose inverse has no closed form
        assert "erf" in condition
        return
    assert continuous.integrable, condition
    jumps = integrability(formula(f"(1 + {rest})*s_n*s_p if {condition} > 0 else 0"))
    assert jumps.integrable is False, condition
    assert jumps.witness is not None


@pytest.mark.parametrize(
    "beyond", ["s_n*s_p - 1", "s_n**2 + s_p**2 - 2", "exp(s_n) + exp(s_p) - 2*exp(1)", "s_n**4 + s_p**4 - 2"]
)
def test_a_kink_that_touches_a_corner_alone_is_none(beyond):
    never = formula(f"s_n*step({beyond})")
    assert integrability(never).integrable
    assert never.field.positive == never.field.negative == 0
    assert integrability(formula(f"s_n*step({beyond} + 0.01)")).integrable is False


@pytest.mark.parametrize("place", [(0, 0), (0.2, -0.4)])
def test_a_kink_around_a_small_disc_is_met(place):
    disc = f"0.0003 - (s_p - {place[0]})**2 - (s_n - ({place[1]}))**2"
    assert integrability(formula(f"s_n if {disc} > 0 else 0")).integrable is False
    assert integrability(formula(f"s_n*max({disc}, 0)")).integrable
