"""Kinks, stopped gradients, one-sided terms, several positives and class proxies, each by itself."""

from dataclasses import replace

import pytest
import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.aggregators import EACH, MAX, MEAN
from goal_analysis.symbolic.language.primitives import detach, gap, hinge, s_n, s_p, sigmoid, softplus, step, undetach
from goal_analysis.symbolic.objective import Anchors, Objective, Term
from goal_analysis.symbolic.proof.evaluation import FLOAT, evaluate
from goal_analysis.symbolic.proof.identity import proves_zero
from losses_catalog import catalog

losses = {loss.name: loss for loss in catalog}


def test_hinge_has_slope_0_then_half_then_1():
    slope = sp.diff(hinge(s_n), s_n)
    assert slope == step(s_n)
    assert [evaluate(slope, {s_n: x}, FLOAT) for x in (-0.1, 0.0, 0.1)] == [0.0, 0.5, 1.0]


def test_hinge_weights_are_on_inside_the_margin_alone():
    factors = decompose(losses["triplet"]).field.factors
    values = losses["triplet"].values()
    at = [evaluate(factors.triplet.subs(values), {s_p: 0.5, s_n: x}) for x in (0.2, 0.4)]
    assert at == [0.0, 1.0]


def test_detach_reads_as_its_argument_and_differentiates_to_zero():
    assert sp.diff(detach(s_n) * s_n, s_n) == detach(s_n)
    assert undetach(detach(s_n) * s_n) == s_n**2
    assert undetach(detach(detach(s_n) + 1)) == s_n + 1
    assert sp.diff(s_n * s_n, s_n) == 2 * s_n


def test_detach_halves_the_gradient_of_a_square():
    def loss(inner):
        return Objective(name="square", title="", terms=(Term(outer=gap, negatives=EACH(inner)),))

    stopped = decompose(loss(detach(s_n) * s_n)).field.negative
    whole = decompose(loss(s_n * s_n)).field.negative
    assert (stopped, whole) == (s_n, 2 * s_n)


def test_circle_keeps_its_self_paced_factors_as_pair_weights():
    factors = decompose(losses["circle"]).field.factors
    m = next(h.symbol for h in losses["circle"].hyperparameters if h.name == "m")
    assert sp.expand(factors.positive - (1 + m - s_p)) == 0
    assert factors.negative == hinge(s_n + m)


def test_one_sided_terms_have_a_constant_triplet_weight():
    factors = decompose(losses["multi_similarity"]).field.factors
    assert factors.triplet == 1
    assert factors.positive.func is sigmoid
    assert factors.negative.func is sigmoid


def test_a_loss_of_negatives_alone_has_no_positive_weight():
    term = Term(outer=softplus(gap), negatives=MAX(s_n))
    field = decompose(Objective(name="push", title="", terms=(term,))).field
    assert field.positive == 0
    assert field.negative == sigmoid(s_n)
    assert field.factors.positive == 0


def test_a_loss_of_positives_alone_has_no_negative_weight():
    term = Term(outer=gap, positives=MEAN(s_p))
    field = decompose(Objective(name="pull", title="", terms=(term,))).field
    assert (field.positive, field.negative) == (1, 0)


def test_sup_con_holds_the_other_positives_in_its_denominator():
    loss = losses["sup_con"]
    p1, p2, n1 = sp.symbols("p1 p2 n1", real=True)
    scale = {h.symbol: sp.Rational(1) for h in loss.hyperparameters}
    (first, _), (negative,) = loss.weights((p1, p2), (n1,))
    total = sp.exp(p1) + sp.exp(p2) + sp.exp(n1)
    assert proves_zero(first.subs(scale) - (sp.Rational(1, 2) - sp.exp(p1) / total))
    assert proves_zero(negative.subs(scale) - sp.exp(n1) / total)
    # An easy positive is pushed away: its weight is negative, as it has more than its share of the softmax.
    assert evaluate(first.subs(scale), {p1: 5.0, p2: 0.0, n1: 0.0}) < 0


def test_info_nce_leaves_the_other_positives_out():
    loss = losses["info_nce"]
    p1, p2, n1 = sp.symbols("p1 p2 n1", real=True)
    (first, _), _ = loss.weights((p1, p2), (n1,))
    assert not first.has(p2)


@pytest.mark.parametrize("name", ["proxy_nca", "proxy_anchor", "cos_face", "arc_face"])
def test_class_proxies_are_the_other_modality(name):
    loss = losses[name]
    assert loss.proxies
    assert loss.anchors is (Anchors.COLUMNS if name == "proxy_anchor" else Anchors.ROWS)
    assert decompose(loss).separable


def test_only_proxy_losses_have_proxies():
    assert {loss.name for loss in catalog if loss.proxies} >= {
        "proxy_nca",
        "proxy_anchor",
        "cos_face",
        "arc_face",
    }
    assert not losses["triplet"].proxies


def test_arc_face_pulls_harder_and_tuplet_margin_repels_the_closest():
    arc = decompose(losses["arc_face"])
    tuplet = decompose(losses["tuplet_margin"])
    at = {s_p: sp.Float(0.999), s_n: sp.Float(0.0)}
    arc_positive, tuplet_positive = (
        evaluate(d.field.factors.positive.subs(d.loss.values()).subs(at), {}) for d in (arc, tuplet)
    )
    assert arc_positive > 1
    assert tuplet_positive < 0


def test_an_equal_loss_keeps_its_own_note():
    noted = replace(losses["triplet"], note="with a note")
    assert noted == losses["triplet"]
    assert decompose(losses["triplet"]).loss.note != "with a note"
    assert decompose(noted).loss.note == "with a note"
    assert decompose(noted).field is decompose(losses["triplet"]).field
