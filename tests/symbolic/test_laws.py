"""Laws that every loss of the catalog obeys; a new loss is tested by existing."""

from dataclasses import replace
from functools import cache

import pytest
import sympy as sp
from kinds_of_losses import covering

from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.analysis.recovery import potential, recover_loss
from goal_analysis.symbolic.language.primitives import detach, s_n, s_p, slope, undetach
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.proof.identity import proves_zero, refute_zero
from goal_analysis.symbolic.proof.tidying import tidy
from losses_catalog import catalog

DISCONTINUOUS = {
    "selectively_hard_triplet",
    "semi_hard_triplet",
    "false_negative_masked_info_nce",
    "mv_am_softmax",
    "mv_arc_softmax",
    "online_contrastive",
    "curricular_face",
    "sel_hn",
}
"""Losses that jump themselves, so that their weights leave out what happens at the jump."""

every_loss = pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
every_kind = pytest.mark.parametrize("loss", covering(catalog), ids=lambda loss: loss.name)


def triplet_residues(loss, field):
    """What is left of −∂L/∂s_p = w⁺ and ∂L/∂s_n = w⁻, and of w = T·P."""
    on_triplet = loss.expression()
    residues = [
        undetach(sp.diff(on_triplet, s_p)) + field.positive,
        undetach(sp.diff(on_triplet, s_n)) - field.negative,
    ]
    if field.factors:
        residues.append(field.factors.triplet * field.factors.positive - field.positive)
        residues.append(field.factors.triplet * field.factors.negative - field.negative)
    return residues


@cache
def recovered(loss):
    """The loss that its weights alone give back; None where no closed form is found."""
    field = decompose(loss).field
    return recover_loss(field, potential(field))


@every_loss
def test_the_product_of_the_factors_is_the_gradient(loss):
    field = decompose(loss).field
    for residue in triplet_residues(loss, field):
        # Where the range of the similarity settles a hinge, the identity holds on that range.
        assert refute_zero(tidy(residue, field.similarity), field.ranges) is None, loss.name


@every_kind
def test_a_factor_of_1_001_breaks_the_identity(loss):
    field = decompose(loss).field
    factor = sp.Rational(1001, 1000)
    larger = replace(field, positive=field.positive * factor, negative=field.negative * factor)
    residues = [tidy(residue, field.similarity) for residue in triplet_residues(loss, replace(larger, factors=None))]
    assert any(refute_zero(residue, field.ranges) for residue in residues), loss.name


@every_kind
def test_a_typed_in_weight_breaks_the_identity(loss):
    field = decompose(loss).field
    typed_in = replace(field, positive=field.positive + sp.Rational(1, 1000), factors=None)
    residue = tidy(triplet_residues(loss, typed_in)[0], field.similarity)
    assert refute_zero(residue, field.ranges) is not None, loss.name


@every_kind
def test_the_pieces_give_the_gradient_on_several_pairs(loss):
    positives = sp.symbols("p1 p2", real=True)
    negatives = sp.symbols("n1 n2", real=True)
    expression = loss.expression(positives, negatives)
    weights_p, weights_n = loss.weights(positives, negatives)
    for s, gradient in (*zip(positives, (-w for w in weights_p), strict=True), *zip(negatives, weights_n, strict=True)):
        residue = undetach(sp.diff(expression, s)) - gradient
        assert proves_zero(residue), (loss.name, s)


@every_loss
def test_pair_weights_read_their_own_pair(loss):
    factors = decompose(loss).field.factors
    if factors is None:
        pytest.skip("the weights do not separate")
    assert not factors.positive.has(s_n)
    assert not factors.negative.has(s_p)


@every_loss
def test_the_free_constant_is_in_the_triplet_weight(loss):
    factors = decompose(loss).field.factors
    if factors is None:
        pytest.skip("the weights do not separate")
    shape = factors.positive if factors.positive != 0 else factors.negative
    constants = [f for f in sp.Mul.make_args(sp.factor_terms(shape)) if not f.has(s_p, s_n)]
    assert all(f == -1 or not (f.is_number or f.is_positive) or f == 1 for f in constants), (loss.name, shape)


@every_loss
def test_what_detaches_nothing_is_integrable_unless_it_jumps(loss):
    if loss.detaches:
        pytest.skip("a gradient is stopped")
    verdict = integrability(decompose(loss))
    assert verdict.integrable == (loss.name not in DISCONTINUOUS), (loss.name, verdict.reason)


@every_loss
def test_an_integrable_loss_is_recovered_from_its_weights_alone(loss):
    decomposition = decompose(loss)
    field = decomposition.field
    if not integrability(decomposition).integrable:
        pytest.skip("there is no loss")
    found = recovered(loss)
    if found is None:
        pytest.skip("no closed form found")
    assert refute_zero(sp.diff(found, s_n) - field.negative, field.ranges) is None, loss.name
    assert refute_zero(sp.diff(found, s_p) + field.positive, field.ranges) is None, loss.name


def test_most_losses_are_recovered_from_their_weights_alone():
    without = [loss.name for loss in catalog if recovered(loss) is None]
    assert len(without) <= 0.2 * len(catalog), without


@every_loss
def test_slopes_are_derivatives(loss):
    positives, negatives = sp.symbols("s_p1:3", real=True), sp.symbols("s_n1:3", real=True)
    value = sp.Add(*(one for term in loss.terms for _, one in term.surrogate.values(positives, negatives)))
    for s in (positives[0], negatives[1]):
        assert slope(value, s) == sp.diff(value, s)


@pytest.mark.parametrize(
    "text", ["exp(s_n*s_p)/(1 + s_n**2)", "erf(s_n) - atan(s_p*s_n)", "sqrt(1 - s_n)*max(s_n, s_p)"]
)
def test_slopes_of_what_formulas_hold(text):
    found = parse(text, {"s_n": s_n, "s_p": s_p})
    assert sp.simplify(slope(found, s_n) - sp.diff(found, s_n)) == 0
    assert slope(detach(found) * s_n, s_n) == detach(found)
    assert slope(s_n**s_p, s_p) == sp.diff(s_n**s_p, s_p)
