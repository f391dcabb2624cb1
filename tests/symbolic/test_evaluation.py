"""Programs: one value for every shared part, the same numbers in floats and in many digits, stable at the ends."""

import math

import mpmath
import pytest
import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import detach, hinge, logsumexp, s_n, s_p, sigmoid, softplus, step
from goal_analysis.symbolic.proof.evaluation import FLOAT, MULTIPRECISION, UnsupportedFunction, evaluate, program
from losses_catalog import catalog


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_floats_agree_with_many_digits(loss):
    field = decompose(loss).field
    low, high = map(float, field.similarity.window)
    values = field.values()
    compiled = program([weight.subs(values) for weight in (field.positive, field.negative)], [s_p, s_n])
    for share_p, share_n in ((0.21, 0.73), (0.52, 0.53), (0.91, 0.33)):
        point = (low + share_p * (high - low), low + share_n * (high - low))
        floats = compiled.run(FLOAT, *point)
        with mpmath.workdps(40):
            digits = compiled.run(MULTIPRECISION, *map(mpmath.mpf, point))
        assert floats == pytest.approx([float(x) for x in digits], rel=1e-9, abs=1e-280), loss.name


def test_a_shared_part_is_computed_once():
    operations = [s.operation for s in program([sigmoid(s_n - s_p) * (1 - s_p), sigmoid(s_n - s_p)], [s_p, s_n]).steps]
    assert operations.count("sigmoid") == 1
    assert operations.count("sub") == 2


@pytest.mark.parametrize(
    ("expression", "x", "expected"),
    [
        (softplus(s_n), 1000.0, 1000.0),
        (softplus(s_n), -1000.0, 0.0),
        (sigmoid(s_n), -1000.0, 0.0),
        (logsumexp(s_n, sp.Integer(1)), 1000.0, 1000.0),
        (hinge(s_n), -1.0, 0.0),
        (step(s_n), 0.0, 0.5),
        (sp.exp(s_n), 1000.0, math.inf),
        (1 / s_n, 0.0, math.inf),
        (detach(s_n) ** 2, 3.0, 9.0),
        (sp.sqrt(s_n), 4.0, 2.0),
        (s_n ** sp.Rational(-3, 2), 4.0, 0.125),
        (-s_n / 3, 6.0, -2.0),
    ],
)
def test_floats_are_stable(expression, x, expected):
    assert evaluate(expression, {s_n: x}) == expected


def test_an_unknown_function_is_named():
    with pytest.raises(UnsupportedFunction, match="got the function 'gamma' in gamma"):
        program([sp.gamma(s_n)], [s_n])


def test_a_missing_input_is_named():
    with pytest.raises(ValueError, match="got the symbol s_p but expected the inputs s_n"):
        program([s_p], [s_n])
