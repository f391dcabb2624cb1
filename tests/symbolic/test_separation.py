"""Weights that separate do so up to one constant, and those that do not come with a contradiction."""

import pytest
import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import separate
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, sigmoid, step
from goal_analysis.symbolic.proof.evaluation import evaluate
from goal_analysis.symbolic.proof.identity import refute_zero

t = sp.Symbol("t", positive=True)
unit = (sp.Integer(-1), sp.Integer(1))
ranges = {s_p: unit, s_n: unit, t: (sp.Integer(1), sp.Integer(4))}

SEPARABLE = [
    (sigmoid(s_n - s_p) * (1 - s_p), sigmoid(s_n - s_p) * s_n),
    (3 * t * step(s_n - s_p) * hinge(1 - s_p), t * step(s_n - s_p) * sigmoid(s_n)),
    (sp.exp(s_n + s_p), sp.exp(2 * s_n)),
    ((s_p + s_n) * (2 + s_p) * s_n, (s_p + s_n) * s_n**2 * 7),
    ((s_p + 2) ** 2 + t, (s_n + 3) ** 2 + t),
    (sp.S.Zero, s_n * s_p),
    (s_p + s_n, sp.S.Zero),
    # The factors show only after the exponentials of sums are taken apart.
    (1 / (sp.exp(s_p + s_n) + sp.exp(s_n)), 1 / (sp.exp(s_p + 1) + sp.exp(s_p))),
]


@pytest.mark.parametrize(("positive", "negative"), SEPARABLE)
def test_what_is_a_product_separates(positive, negative):
    factors, contradiction = separate(positive, negative, ranges)
    assert contradiction is None
    assert not factors.positive.has(s_n)
    assert not factors.negative.has(s_p)
    for weight, pair_weight in ((positive, factors.positive), (negative, factors.negative)):
        assert refute_zero(factors.triplet * pair_weight - weight, ranges) is None


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        (1 + s_p * s_n, sp.S.One),
        (sigmoid(s_p - s_n), s_n + 2),
        (1 - step(s_n - s_p), sp.S.One),
        (1 + step(s_n - s_p), sp.S.One),  # zero mixed derivative in every region, yet no product
        (step(s_p - s_n), step(s_n - s_p)),  # never both: what one region says of P⁻ the other denies
    ],
)
def test_what_is_no_product_contradicts_itself(positive, negative):
    factors, contradiction = separate(positive, negative, ranges)
    assert factors is None
    point = dict(contradiction.witness.point)

    def at(weight, i, j):
        places = {s_p: point.get(f"s_p{i}", 0), s_n: point.get(f"s_n{j}", 0)}
        return evaluate(weight.subs(places), {})

    implied = {
        "w⁺₁₁·w⁺₂₂·w⁻₁₂·w⁻₂₁ − w⁺₁₂·w⁺₂₁·w⁻₁₁·w⁻₂₂": lambda p, n: (
            p(1, 1) * p(2, 2) * n(1, 2) * n(2, 1) - p(1, 2) * p(2, 1) * n(1, 1) * n(2, 2)
        ),
        "where w⁻₁₁ = 0, w⁺₁₁·w⁻₂₁": lambda p, n: (n(1, 1) == 0) * p(1, 1) * n(2, 1),
        "where w⁺₁₁ = 0, w⁻₁₁·w⁺₁₂": lambda p, n: (p(1, 1) == 0) * n(1, 1) * p(1, 2),
    }[contradiction.what]
    value = implied(lambda i, j: at(positive, i, j), lambda i, j: at(negative, i, j))
    assert value == pytest.approx(contradiction.witness.value, rel=1e-6)
    assert value != 0


def test_the_constant_goes_where_the_convention_says():
    factors, _ = separate(6 * t * (1 - s_p), 2 * t * s_n, ranges)
    assert (factors.triplet, factors.positive, factors.negative) == (6 * t, 1 - s_p, s_n / 3)
