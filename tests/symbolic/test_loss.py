"""What a loss refuses when it is constructed, and how it says so."""

import dataclasses

import pytest
import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, MAX, MEAN, Pool, Side
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive, unit
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Objective, Term

tau = Hyperparameter("tau", 10.0, positive)
stray = sp.Symbol("q", real=True)


def loss(*terms, hyperparameters=()):
    return Objective(name="mine", title="Mine", terms=terms, hyperparameters=hyperparameters)


every_positive, every_negative = EACH(s_p), EACH(s_n)


def term(outer=gap, positives=every_positive, negatives=every_negative):
    return Term(outer=outer, positives=positives, negatives=negatives)


@pytest.mark.parametrize(
    ("terms", "hyperparameters", "message"),
    [
        (
            [term(outer=softplus(gap) + stray)],
            (),
            r"loss 'mine': terms\[0\]\.outer: got the symbol q .* allowed are count_n, count_p, x_n, x_p",
        ),
        (
            [term(), term(positives=MEAN(s_p), negatives=EACH(s_n * s_p))],
            (),
            r"terms\[1\]\.negatives: got s_p in .* but expected positives that are enumerated",
        ),
        ([term(positives=EACH(s_n))], (), r"terms\[0\]\.positives: got the symbol s_n .* allowed are s_p"),
        ([term(outer=softplus(tau.symbol * gap))], (), r"got the symbol tau .* allowed are count_n, count_p, x_n, x_p"),
        ([term()], (tau,), "hyperparameters: got tau, which no term uses"),
        ([term(outer=tau.symbol * gap)], (tau, tau), "expected every name once"),
        ([], (), "got no terms but expected at least one"),
        ([term(positives=None, negatives=None)], (), "neither positives nor negatives"),
        ([term(positives=EACH(s_p, Pool.ALL))], (), "got the pool 'all' but expected 'own'"),
        ([term(positives=None, negatives=LOGSUMEXP(s_n, Pool.BOTH_ENDS))], (), "got the pool 'both ends'"),
    ],
)
def test_refusals(terms, hyperparameters, message):
    with pytest.raises(ValueError, match=message):
        loss(*terms, hyperparameters=hyperparameters)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (term(negatives=s_n), r"terms\[0\]\.negatives: got s_n but expected an aggregator over a formula"),
        (
            term(outer="softplus(gap)"),
            r"terms\[0\]\.outer: got 'softplus\(gap\)' but expected a SymPy expression",
        ),
        ("softplus(gap)", r"terms\[0\]: got 'softplus\(gap\)' but expected a Term"),
    ],
)
def test_types_are_refused(wrong, message):
    with pytest.raises(TypeError, match=message):
        loss(wrong)


def test_a_sound_loss_is_accepted():
    assert loss(term(outer=softplus(tau.symbol * gap)), hyperparameters=(tau,)).expression() == softplus(
        tau.symbol * (s_n - s_p)
    )


def test_a_name_has_to_be_an_identifier():
    with pytest.raises(ValueError, match="got the name 'my loss' but expected an identifier"):
        Objective(name="my loss", title="", terms=(term(),))


@pytest.mark.parametrize(
    ("name", "default", "domain", "message"),
    [
        ("tau", -1.0, positive, r"'tau': default: got -1.0 but expected a number in \(0, inf\)"),
        ("tau", 0.0, positive, r"expected a number in \(0, inf\)"),
        ("share", 1.5, unit, r"got 1.5 but expected a number in \[0, 1\]"),
        ("tau", float("nan"), nonnegative, "got nan but expected a number"),
        ("tau", float("inf"), nonnegative, "got inf but expected a number"),
        ("tau", True, nonnegative, "got True but expected a number"),
        ("tau", "10", nonnegative, "got '10' but expected a number"),
        ("s_p", 1.0, positive, "got the name 's_p' but expected an identifier other than"),
        ("2tau", 1.0, positive, "got the name '2tau' but expected an identifier"),
    ],
)
def test_hyperparameters_are_checked(name, default, domain, message):
    with pytest.raises(ValueError, match=message):
        Hyperparameter(name, default, domain)


def test_settings_are_checked():
    sound = loss(term(outer=softplus(tau.symbol * gap)), hyperparameters=(tau,))
    assert sound.values({"tau": 3}) == {tau.symbol: 3}
    with pytest.raises(ValueError, match="loss 'mine': got a value for 'tua' but expected one of tau"):
        sound.values({"tua": 3})
    with pytest.raises(ValueError, match=r"loss 'mine': tau: got -3 but expected a number in \(0, inf\)"):
        sound.values({"tau": -3})


def test_losses_are_values():
    a, b = (loss(term(outer=hinge(gap), negatives=MAX(s_n))) for _ in range(2))
    assert a == b
    assert len({a, b}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.name = "other"


def test_a_side_is_not_an_aggregator():
    assert isinstance(MAX(s_n), Side)
