"""Antiderivatives are checked before they are given."""

import pytest
import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, s_n, sigmoid, step
from goal_analysis.symbolic.proof.antiderivative import antiderivative
from goal_analysis.symbolic.proof.identity import refute_zero

a = sp.Symbol("a", positive=True)
ranges = {s_n: (sp.Integer(-1), sp.Integer(1)), a: (sp.Integer(1), sp.Integer(3))}


@pytest.mark.parametrize(
    "function",
    [
        sp.Integer(3),
        s_n**2 - a * s_n,
        sigmoid(a * s_n - 1),
        a * hinge(1 - 2 * s_n),
        s_n * step(s_n + sp.Rational(1, 4)),
        hinge(s_n - a / 4) ** 2,
        sp.exp(-a * s_n),
        1 / (sp.exp(a * s_n) + 3),
        (s_n + a) ** sp.Rational(1, 2),
        s_n / sp.sqrt(1 - s_n**2),
        (3 * s_n**2 - 1) / (s_n**3 - s_n + 4),
        s_n * sp.exp(-a * s_n**2),
        1 / (s_n**2 - 3),
    ],
    ids=str,
)
def test_the_derivative_gives_the_function_back(function):
    found = antiderivative(function, s_n, ranges)
    assert found is not None
    assert refute_zero(sp.diff(found, s_n) - function, ranges) is None


def test_antiderivatives_are_continuous_across_kinks():
    found = antiderivative(s_n * step(s_n + sp.Rational(1, 4)), s_n, ranges)
    below, above = (found.subs(s_n, sp.Rational(-1, 4) + side * sp.Rational(1, 10**9)) for side in (-1, 1))
    assert abs(float(above - below)) < 1e-8


def test_none_is_given_where_none_is_found():
    assert antiderivative(sigmoid(sp.exp(s_n) + s_n**3), s_n, ranges) is None


def test_none_is_given_where_the_language_has_no_word_for_it():
    assert antiderivative(1 / sp.sqrt(1 - s_n**2), s_n, ranges) is None  # an arc sine
