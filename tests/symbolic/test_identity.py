"""Proofs and refutations, and that neither is given without reason."""

import pytest
import sympy as sp

from goal_analysis.symbolic.language.primitives import (
    cosine_of_shifted_angle,
    hinge,
    logsumexp,
    maximum,
    minimum,
    s_n,
    s_p,
    sigmoid,
    softplus,
    step,
    where,
)
from goal_analysis.symbolic.proof.identity import Undecided, find_witness, proves_zero, refute_zero

t = sp.Symbol("t", positive=True)
m = sp.Symbol("m", nonnegative=True)
ranges = {s_p: (-1, 1), s_n: (-1, 1), t: (1, 10), m: (0, 1)}
ranges = {symbol: tuple(map(sp.Integer, ends)) for symbol, ends in ranges.items()}

IDENTITIES = [
    softplus(s_n) - softplus(-s_n) - s_n,
    sigmoid(s_n) + sigmoid(-s_n) - 1,
    sigmoid(s_n) * sigmoid(-s_n) - sp.exp(s_n) / (1 + sp.exp(s_n)) ** 2,
    logsumexp(t * s_n, t * s_p) - t * s_p - softplus(t * (s_n - s_p)),
    sigmoid(s_n - logsumexp(s_p, t)) - sp.exp(s_n) / (sp.exp(s_n) + sp.exp(s_p) + sp.exp(t)),
    hinge(t * s_n) - t * hinge(s_n),
    hinge(s_n) - hinge(-s_n) - s_n,
    step(s_n - s_p) + step(s_p - s_n) - 1,
    maximum(s_p, s_n) + minimum(s_p, s_n) - s_p - s_n,
    where(s_n, s_p, s_n) - step(s_n) * s_p - step(-s_n) * s_n,
    hinge(hinge(s_n)) - hinge(s_n),
    cosine_of_shifted_angle(s_p, m) ** 2 + (s_p * sp.sin(m) + sp.sqrt(1 - s_p**2) * sp.cos(m)) ** 2 - 1,
    s_p * (t**m) * t - s_p * t ** (m + 1),
    sp.exp(2 * t * s_n) - sp.exp(t * s_n) ** 2,
    sp.log(sp.exp(s_n) * t) - s_n - sp.log(t),
]


@pytest.mark.parametrize("identity", IDENTITIES, ids=str)
def test_identities_are_proved(identity):
    assert proves_zero(identity)
    assert refute_zero(identity, ranges) is None


@pytest.mark.parametrize("identity", IDENTITIES, ids=str)
def test_an_identity_with_a_slip_is_refuted(identity):
    slipped = identity + (s_n - s_p) / 10**9
    assert not proves_zero(slipped)
    witness = refute_zero(slipped, ranges)
    assert witness is not None
    assert witness.value != 0


def test_a_witness_names_the_point():
    witness = find_witness(s_n - s_p, ranges)
    point = dict(witness.point)
    assert witness.value == pytest.approx(point["s_n"] - point["s_p"])
    assert str(witness).endswith(f"s_n = {point['s_n']:.4g}, s_p = {point['s_p']:.4g}")


def test_what_neither_is_shown_is_said():
    hidden = sp.Function("f")(s_n)
    with pytest.raises(ValueError, match="'f'"):
        refute_zero(hidden - 1, ranges)
    # Zero on all of the range, but not as an expression: no algebra proves it.
    with pytest.raises(Undecided, match="neither a proof nor a witness"):
        refute_zero(hinge(s_n - 2), ranges)


def test_cancellation_is_not_taken_for_a_witness():
    assert find_witness(sp.exp(700 * s_n) * (sigmoid(s_p) + sigmoid(-s_p) - 1), ranges) is None
