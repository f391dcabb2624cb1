"""What the catalog's formulas lead to where the answer is known, and how they agree with one another."""

import pytest
import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.primitives import s_n, s_p, undetach
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, compose
from losses_catalog.circle import circle_loss
from losses_catalog.circle_undetached import circle_undetached_loss
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.multi_similarity import multi_similarity_loss
from losses_catalog.normalised_softmax import normalised_softmax_loss
from losses_catalog.proxy_nca_pp import proxy_nca_pp_loss
from losses_catalog.selectively_hard_triplet import selectively_hard_triplet_loss
from losses_catalog.triplet import triplet_loss
from losses_catalog.triplet_squared_euclidean import triplet_squared_euclidean_loss
from losses_catalog.unified import unified_loss
from losses_catalog.universal_weighting import universal_weighting_loss
from losses_catalog.vse_pp import vse_pp_loss
from losses_catalog.weights import (
    circular_triplet,
    constant_pair,
    constant_triplet,
    hinge_triplet,
    linear_pair,
    nca_triplet,
    polynomial_pair,
    relative_linear_pair,
    relative_sigmoid_pair,
    sigmoid_pair,
)

POSITIVES = sp.symbols("p1 p2", real=True)
NEGATIVES = sp.symbols("n1 n2 n3", real=True)
SIMILARITIES = (0.7, 0.35, 0.6, -0.1, 0.2)


def at(expression: sp.Expr, loss: Objective, **settings: float) -> float:
    """The value at the loss's defaults, or ``settings``, and at `SIMILARITIES`."""
    point = dict(zip((*POSITIVES, *NEGATIVES), map(sp.Float, SIMILARITIES), strict=True))
    functions = undetach(expression.subs(loss.values(settings)).subs(point)).rewrite(sp.exp)
    return float(functions.doit())


def test_circle_loss_is_no_gradient_and_its_undetached_form_is() -> None:
    assert not integrability(decompose(circle_loss)).integrable
    assert integrability(decompose(circle_undetached_loss)).integrable


def test_the_pair_weights_of_circle_loss_are_its_self_paced_factors() -> None:
    m = circle_loss.hyperparameters[1].symbol
    factors = decompose(circle_loss).field.factors
    assert factors is not None
    assert factors.positive == 1 + m - s_p
    assert factors.negative.args[0] == s_n + m


def test_the_selectively_hard_triplet_jumps_where_both_are_alike() -> None:
    verdict = integrability(decompose(selectively_hard_triplet_loss))
    assert "jump across s_n - s_p = 0" in verdict.reason


INTEGRABLE_PARTS = {
    ("constant", "constant"),
    ("constant", "linear"),
    ("constant", "sigmoid"),
    ("constant", "polynomial"),
    ("hinge", "constant"),
    ("nca", "constant"),
    ("circular", "linear"),
}
PAIRS = (
    constant_pair,
    linear_pair,
    sigmoid_pair,
    relative_linear_pair,
    relative_sigmoid_pair,
    polynomial_pair,
)


@pytest.mark.parametrize("triplet_weight", [constant_triplet, hinge_triplet, nca_triplet, circular_triplet])
@pytest.mark.parametrize("pair_weights", PAIRS, ids=lambda pair_weights: pair_weights.name)
def test_the_family_is_integrable_where_the_triplet_weight_fits_the_pairs(triplet_weight, pair_weights) -> None:
    field = compose(triplet_weight, pair_weights)
    expected = (triplet_weight.name, pair_weights.name) in INTEGRABLE_PARTS
    assert integrability(field).integrable is expected, field.name


def test_facenet_is_twice_the_triplet_loss_with_half_the_margin() -> None:
    squared_distances = {s_p: 2 * s_p - 2, s_n: 2 * s_n - 2}
    facenet = triplet_squared_euclidean_loss.expression().subs(squared_distances)
    for p, n in ((0.7, 0.6), (0.7, 0.65), (0.2, 0.9)):
        ours = triplet_loss.expression().subs(triplet_loss.values({"margin": 0.1})).subs({s_p: p, s_n: n})
        theirs = facenet.subs(triplet_squared_euclidean_loss.values()).subs({s_p: p, s_n: n})
        assert float(theirs) == pytest.approx(2 * float(ours))


def test_unified_becomes_the_hardest_hinge_and_contains_the_softmax() -> None:
    one, several = POSITIVES[:1], NEGATIVES
    sharp = at(unified_loss.expression(one, several), unified_loss, gamma=400, margin=0.2)
    assert sharp == pytest.approx(at(vse_pp_loss.expression(one, several), vse_pp_loss, margin=0.2), abs=1e-6)
    plain_softmax = at(unified_loss.expression(one, several), unified_loss, gamma=10, margin=0)
    assert plain_softmax == pytest.approx(at(info_nce_loss.expression(one, several), info_nce_loss) / 10)


def test_proxy_nca_pp_is_a_normalised_softmax_of_twice_the_scale() -> None:
    # −d² = 2s − 2, and the 2 cancels in a softmax
    distances = {s: 2 * s - 2 for s in (*POSITIVES, *NEGATIVES)}
    theirs = proxy_nca_pp_loss.expression(POSITIVES[:1], NEGATIVES).subs(distances, simultaneous=True)
    ours = normalised_softmax_loss.expression(POSITIVES[:1], NEGATIVES)
    assert at(theirs, proxy_nca_pp_loss) == pytest.approx(at(ours, normalised_softmax_loss, scale=18))


def test_multi_similarity_weights_are_those_of_the_family() -> None:
    field = compose(constant_triplet, sigmoid_pair)
    settings = {"alpha": 2, "beta": 10, "lam": 0.5}
    difference = (decompose(multi_similarity_loss).field.positive - field.positive).subs(field.values(settings))
    assert difference == 0


def test_polynomial_weights_have_the_published_coefficients() -> None:
    field = compose(constant_triplet, polynomial_pair)
    assert sp.expand(field.positive.subs(field.values()) - (sp.Rational(7, 10) - sp.Rational(2, 5) * s_p)) == 0
    assert sp.expand(field.negative.subs(field.values()) - (sp.Rational(9, 5) * s_n - sp.Rational(2, 5))) == 0


@pytest.mark.parametrize("hard", [0.36, 0.6, 0.95])
def test_polynomial_weights_are_the_gradient_of_universal_weighting_beyond_its_hinges(hard: float) -> None:
    at_hard = {s_p: sp.Rational("0.3"), s_n: sp.Rational(str(hard))}
    field, derived = compose(constant_triplet, polynomial_pair), decompose(universal_weighting_loss).field
    for ours, theirs in ((field.positive, derived.positive), (field.negative, derived.negative)):
        assert ours.subs(field.values()).subs(at_hard) == theirs.subs(derived.values()).subs(at_hard)


def sigmoid_form(x: float) -> float:
    return 1 / (1 + float(sp.exp(x)))


@pytest.mark.parametrize(("p", "n"), [(0.7, 0.2), (0.1, 0.9), (-0.4, -0.3)])
def test_the_published_family_number_by_number(p: float, n: float) -> None:
    def value(expression: sp.Expr) -> float:
        values = {h.symbol: h.default for h in (*nca_triplet.hyperparameters, *sigmoid_pair.hyperparameters)}
        return float(expression.subs(values).subs({s_p: p, s_n: n}).rewrite(sp.exp))

    assert value(nca_triplet.expression) == pytest.approx(sigmoid_form(10 * (p - n)))
    assert value(circular_triplet.expression) == pytest.approx(sigmoid_form(10 * (p * (2 - p) - n**2 - 0.5)))
    assert value(sigmoid_pair.positive) == pytest.approx(sigmoid_form(2 * (p - 0.5)))
    assert value(sigmoid_pair.negative) == pytest.approx(sigmoid_form(-10 * (n - 0.5)))
    assert (value(linear_pair.positive), value(linear_pair.negative)) == pytest.approx((1 - p, n))


@pytest.mark.parametrize("pair_weights", [relative_linear_pair, relative_sigmoid_pair], ids=lambda p: p.name)
def test_relative_weights_read_what_they_declare(pair_weights: PairWeights) -> None:
    own, slack = {s_p, s_n}, {h.symbol for h in pair_weights.hyperparameters}
    for relative in pair_weights.relative:
        assert relative.contribution.free_symbols <= own | slack | {relative.other}
        assert relative.other in relative.member.free_symbols
        assert relative.symbol in (pair_weights.positive + pair_weights.negative).free_symbols
