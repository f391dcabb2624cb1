"""Weights that separate do so up to one constant, and those that do not come with a contradiction."""

import pytest
import sympy as sp

from goal_analysis.symbolic.identity import refute_zero
from goal_analysis.symbolic.primitives import hinge, s_n, s_p, sigmoid, step
from goal_analysis.symbolic.separation import separate

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
    factors, witness = separate(positive, negative, ranges)
    assert witness is None
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
    ],
)
def test_what_is_no_product_contradicts_itself(positive, negative):
    factors, witness = separate(positive, negative, ranges)
    assert factors is None
    p1, p2, n1, n2 = (dict(witness.point).get(name) for name in ("s_p1", "s_p2", "s_n1", "s_n2"))

    def at(weight, p, n):
        return float(weight.subs({s_p: p, s_n: n}).rewrite(sp.exp))

    left = at(positive, p1, n1) * at(positive, p2, n2) * at(negative, p1, n2) * at(negative, p2, n1)
    right = at(positive, p1, n2) * at(positive, p2, n1) * at(negative, p1, n1) * at(negative, p2, n2)
    assert left - right == pytest.approx(witness.value, rel=1e-6)


def test_the_constant_goes_where_the_convention_says():
    factors, _ = separate(6 * t * (1 - s_p), 2 * t * s_n, ranges)
    assert (factors.triplet, factors.positive, factors.negative) == (6 * t, 1 - s_p, s_n / 3)
