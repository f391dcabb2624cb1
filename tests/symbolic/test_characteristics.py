"""What is said of weights, against a dense sample and against what is known in closed form."""

import math
import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import sympy as sp
import torch

from goal_analysis.numeric.characteristics import (
    FLAT,
    Action,
    Answer,
    Effect,
    Growth,
    characteristics,
    characteristics_page,
)
from goal_analysis.numeric.compilation import compiled, formula
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, sigmoid, softplus, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE, NEGATIVE_EUCLIDEAN, Similarity
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.typesetting.pages import to_data, to_plain
from goal_analysis.symbolic.weight import Factors, WeightField, compose
from losses_catalog import catalog, pair_weights, triplet_weights

losses = {loss.name: loss for loss in catalog}
LOG_RATIO = Similarity("log_ratio", "log p/q", -sp.oo, sp.oo)


def of_pairs(name, **settings):
    constant = next(t for t in triplet_weights if t.name == "constant")
    return characteristics(compose(constant, next(p for p in pair_weights if p.name == name)), settings)


def of_formula(text, similarity=COSINE):
    outer = parse(text, {"s_p": x_p, "s_n": x_n})
    term = Term(outer=outer, positives=EACH(s_p), negatives=EACH(s_n))
    return decompose(Objective(name="formula", title="", terms=(term,), similarity=similarity))


def said(found):
    return to_data([characteristics_page(found)])


# --- laws over a dense sample ---------------------------------------------------------------------

POINTS = 100_000
ROUNDING = 1e-9
FORMULAS = [
    ("softplus(log((1+s_n)/(1-s_n)) - log((1+s_p)/(1-s_p)))", COSINE),
    ("softplus(64*(s_n - 0.25)*(s_p - 0.75))", COSINE),
    ("softplus(8*(s_n - 0.25)*(s_p - 0.75))", LOG_RATIO),
    ("s_p - s_n", COSINE),
    ("(s_n - s_p - 1)**2", COSINE),
    ("(s_n - s_p)*hinge(s_n - 0.9)", COSINE),
    ("1/(1.5 - s_p) + 1/(s_n - 0.3)**2", COSINE),
    ("1/(s_n - s_p)", COSINE),
    ("1/(2 + s_n - s_p)", COSINE),
    ("exp(3*(s_n - s_p))", COSINE),
    ("exp(-(100*(s_n - 0.35))**2) - s_p", COSINE),
    ("hinge(s_n - s_p + 0.2)*hinge(0.3 - s_n)", COSINE),
    ("(s_n + (0.3 if s_n > 0.123 else 0))**2 - s_p", COSINE),
    ("(1 - sigmoid(2*(s_p - s_n)))*softplus(0.1*(s_n - s_p)) + sigmoid(2*(s_p - s_n))*exp(0.1*(s_n - s_p))", LOG_RATIO),
    ("s_n*(0.0001 if s_n > 0.123 else 1) - s_p", LOG_RATIO),
    ("hinge(s_n - s_p - 3)", LOG_RATIO),
    ("softplus(s_n - s_p)*s_p", COSINE),
    ("sqrt(-s_n)*s_p", NEGATIVE_EUCLIDEAN),
    ("cos(9*s_n)*s_p", COSINE),
    ("s_p*log(1.0001 - s_p) + s_n**3", COSINE),
]
FIELDS = {
    **{loss.name: lambda loss=loss: decompose(loss).field for loss in catalog},
    **{f"{t.name}/{p.name}": lambda t=t, p=p: compose(t, p) for t in triplet_weights for p in pair_weights},
    **{f"{text} of {of.name}": lambda text=text, of=of: of_formula(text, of).field for text, of in FORMULAS},
}


@cache
def sample(similarity):
    """Points of the plane, some as near to its edges and corners as makes no difference but to a step on the edge."""
    low, high = map(float, similarity.window)
    generator = torch.Generator().manual_seed(5)
    share = torch.rand(2, POINTS, generator=generator, dtype=torch.float64)
    edge = torch.rand(2, POINTS, generator=generator) < 0.02
    share = torch.where(edge, share.round(), share).clamp(1e-12, 1 - 1e-12)
    if math.isinf(float(similarity.identical)):
        low, high = 25 * low, 25 * high
    return low + (high - low) * share


def contradictions(found, field):
    """Statements that the sample contradicts."""
    values = field.values() | {r.symbol: sp.S.Zero for r in field.relative}
    places = sample(field.similarity)

    def at(expression, points=places):
        (value,) = compiled([expression.subs(values)], (s_p, s_n))(*points)
        return value

    factors = field.factors or Factors(sp.S.Zero, field.positive, field.negative)
    own = (s_p, s_n) if field.factors else (None, None)
    shapes = [(found.positive, factors.positive, own[0]), (found.negative, factors.negative, own[1])]
    shapes += [] if found.triplet is None else [(found.triplet, factors.triplet, None)]
    for shape, expression, s in shapes:
        value = at(expression)
        yield from _of_bounds(shape, value)
        for along in (s_p, s_n) if s is None else (s,):
            moved = places.clone()
            moved[int(along is s_n)] = places[int(along is s_n)].flip(0)
            yield from _of_growth(shape, along, places, moved, value, at(expression, moved))
        if shape.along is not None:
            yield from _of_curve(shape, places[int(s is s_n)], value)
    for action, weight in ((found.pull, field.positive), (found.push, field.negative)):
        yield from _of_action(action, places, at(weight), at)
        if action.below_at is not None:
            below = at(weight, torch.tensor(action.below_at, dtype=torch.float64)[:, None])
            yield from ["not below zero where that is said"] if not below < 0 else []


def _of_bounds(shape, value):
    bounds, value = shape.bounds, value[value.isfinite()]
    room = ROUNDING * (1 + (bounds.scale if math.isfinite(bounds.scale) else 0))
    if value.max() > bounds.most + room or value.min() < bounds.least - room:
        yield f"from {value.min()} to {value.max()}, and not from {bounds.least} to {bounds.most}"
    reached = value.abs().max()
    if math.isfinite(bounds.scale) and bounds.scale > 1.25 * reached + ROUNDING and bounds.scale > 1e-3:
        yield f"nowhere above {reached}, and not up to {bounds.scale}"
    if math.isinf(bounds.scale) and reached < 20:
        yield f"nowhere above {reached}, and not unbounded"


def _of_growth(shape, along, places, moved, before, after):
    harder = (moved - places)[int(along is s_n)] * (1 if along is s_n else -1)
    change = (after - before) * harder.sign()
    room = ROUNDING * (1 + torch.maximum(before.abs(), after.abs()))
    grows, falls = (bool((sign * change > room)[change.isfinite()].any()) for sign in (1, -1))
    growth = shape.answer.growth
    denied = {Growth.GROWS: falls, Growth.FALLS: grows, Growth.CONSTANT: grows or falls, Growth.MIXED: False}
    if denied[growth]:
        yield f"it does not hold that it {growth.value}"


def _of_curve(curve, s, value):
    for plateau in curve.plateaus:
        inside = value[(s > plateau.low) & (s < plateau.high)]
        if ((inside - plateau.value).abs() > 1.0001 * FLAT * curve.bounds.scale).any():
            yield "not flat"
    edges = [-math.inf, *curve.sign_changes, math.inf]
    for low, high in pairwise(edges):
        inside = value[(s > low + 1e-6) & (s < high - 1e-6) & value.isfinite()]
        if (inside > 0).any() and (inside < 0).any():
            yield "a change of sign that is not named"


def _of_action(action, places, weight, at):
    room = 1e-13 * float(weight[weight.isfinite()].abs().max())
    above, below = weight > room, weight < -room
    wrong = {
        Effect.RIGHT: below.any(),
        Effect.REVERSED: above.any(),
        Effect.NONE: above.any() or below.any(),
        Effect.MIXED: not below.any() or not above.any(),
    }[action.effect]
    if wrong:
        yield f"it does not hold that it is {action.effect}"
    if action.effect is Effect.MIXED and not action.where.startswith("for example"):  # that point is looked at alone
        there, sure = _condition(action.where, places, at)
        if (sure & ((below & ~there) | (above & there))).any():
            yield f"it is not below zero where {action.where} alone"


def _condition(where, places, at):
    """Where a condition holds, and where rounding of its numbers does not matter."""
    there, sure = torch.zeros(POINTS, dtype=torch.bool), torch.ones(POINTS, dtype=torch.bool)
    for stretch in where.split(" or "):
        holds = torch.ones(POINTS, dtype=torch.bool)
        words = re.split(" ([<>]) ", stretch)
        for left, sign, right in zip(words[::2], words[1::2], words[2::2], strict=False):
            names = {"s_p": s_p, "s_n": s_n}
            difference = at(parse(right, names) - parse(left, names)) * (1 if sign == "<" else -1)
            holds &= difference > 0
            sure &= difference.abs() > 2e-3
        there |= holds
    return there, sure


@pytest.mark.parametrize("name", FIELDS)
def test_no_point_of_a_dense_sample_contradicts_what_is_said(name):
    field = FIELDS[name]()
    assert list(contradictions(characteristics(field), field)) == []


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_effects_are_those_of_autograd(loss):
    """The weight by autograd of the declared loss, whose factors nobody took apart."""
    found, field = characteristics(decompose(loss)), decompose(loss).field
    places = sample(loss.similarity).clone().requires_grad_()
    at = field.values()
    value = formula(loss.expression(), (s_p, s_n), tuple(at.items()))(*places)
    weights = torch.autograd.grad(value.sum(), places, allow_unused=True)[0] * torch.tensor([[-1.0], [1.0]])

    def read(expression):
        (found,) = compiled([expression.subs(at)], (s_p, s_n))(*places.detach())
        return found

    for action, weight in zip((found.pull, found.push), weights, strict=True):
        assert list(_of_action(action, places.detach(), weight.nan_to_num(0.0, 0.0, 0.0), read)) == [], field.name


def test_false_statements_are_contradicted():
    field = FIELDS["circle_undetached"]()
    found = characteristics(field)
    assert found.triplet is not None
    assert (found.positive.along, found.negative.along, found.triplet.along) == (s_p, s_n, None)
    negative, triplet, push = found.negative, found.triplet, found.push
    (change,) = negative.sign_changes
    spoilt = [
        replace(found, triplet=replace(triplet, bounds=replace(triplet.bounds, most=0.99 * triplet.bounds.most))),
        replace(found, triplet=replace(triplet, bounds=replace(triplet.bounds, most=2 * triplet.bounds.most))),
        replace(found, negative=replace(negative, bounds=replace(negative.bounds, most=math.inf))),
        replace(found, triplet=replace(triplet, answer=Answer(Growth.GROWS, False))),
        replace(found, positive=replace(found.positive, answer=Answer(Growth.FALLS, True))),
        replace(found, negative=replace(negative, bounds=replace(negative.bounds, least=0.0))),
        replace(found, negative=replace(negative, sign_changes=(change + 0.01,))),
        replace(found, negative=replace(negative, plateaus=(replace(negative.plateaus[0], high=0.1),))),
        replace(found, pull=Action(Effect.REVERSED, True)),
        replace(found, pull=Action(Effect.NONE, True)),
        replace(found, push=Action(Effect.RIGHT, True)),
        replace(found, push=replace(push, where="s_n < 0.1")),
        replace(found, push=replace(push, where="s_p < 0")),
        replace(found, push=replace(push, below_at=(0.0, 0.5))),
    ]
    assert list(contradictions(found, field)) == []
    assert all(next(contradictions(one, field), None) for one in spoilt)


# --- what is known in closed form -----------------------------------------------------------------


def test_signs_are_said_of_the_weight_over_the_plane():
    """A circle loss whose aggregates are multiplied by mistake: w⁺ has the sign of s_n − 0.25 whatever s_p is."""
    found = characteristics(of_formula("softplus(64*(s_n - 0.25)*(s_p - 0.75))"))
    assert said(found)["pull"] == "repels the positive where s_n > 0.25"
    assert said(found)["push"] == "attracts the negative where s_p < 0.75"


def test_a_loss_that_pushes_positives_away_is_reversed():
    found = characteristics(of_formula("softplus(s_p - s_n)"))
    assert said(found)["pull"] == "reversed: repels the positive and nowhere attracts it"
    assert said(found)["push"] == "reversed: attracts the negative and nowhere repels it"
    right = characteristics(of_formula("softplus(s_n - s_p)"))
    assert said(right)["pull"] == "attracts the positive and nowhere repels it"


def test_a_factor_with_a_sign_of_its_own_changes_no_effect():
    turned = Factors(-sigmoid(s_n - s_p), sp.Integer(-1), -(1 + s_n))
    field = WeightField(
        name="turned",
        positive=turned.triplet * turned.positive,
        negative=turned.triplet * turned.negative,
        factors=turned,
    )
    found = characteristics(field)
    assert (found.pull.effect, found.push.effect) == (Effect.RIGHT, Effect.RIGHT)
    assert found.pull.proved
    assert found.push.proved


def test_extremes_are_refined():
    hard = characteristics(decompose(losses["selectively_hard_triplet"]))
    assert hard.positive.bounds.most == pytest.approx(5, abs=1e-9)
    assert not hard.positive.bounds.proved
    assert "at most 5 (searched, not proved)" in said(hard)["positive"]
    assert characteristics(decompose(losses["info_nce"])).triplet.bounds.proved
    narrow = characteristics(of_formula("exp(-(100*(s_n - 0.35))**2) - s_p")).negative
    assert narrow.bounds.most == pytest.approx(100 * math.sqrt(2 / math.e), rel=1e-9)


def test_the_triplet_weight_of_the_tuplet_margin_falls_past_its_slack():
    found = characteristics(decompose(losses["tuplet_margin"]))
    slack = float(next(h.default for h in losses["tuplet_margin"].hyperparameters if h.name == "slack"))
    assert found.triplet.answer.growth is Growth.MIXED
    assert found.triplet.answer.falls_at[0] > math.cos(slack)
    assert found.positive.sign_changes == pytest.approx([math.cos(slack)], abs=1e-9)
    assert found.positive.at_identical == -math.inf
    assert said(found)["pull"] == "repels the positive where s_p > 0.995"


@pytest.mark.parametrize(
    ("text", "poles"),
    [
        ("log((1 + s_n)/(1 - s_n)) - s_p", ["s_n = -1", "s_n = 1"]),
        ("1/(s_n - 0.3) - s_p", ["s_n = 0.3"]),
        ("1/s_n - s_p", ["s_n = 0"]),
        ("s_n - sqrt(1 - s_p**2)", ["s_p = -1", "s_p = 1"]),
        ("1/(s_n - s_p)", ["s_n - s_p = 0"]),
        ("log(2 + s_n - s_p)", ["s_p = 1, s_n = -1"]),
        ("1/(1.5 - s_p) + s_n", []),
        ("(1 - s_p)*log(1.001 - s_p) + s_n", []),
        ("softplus(80*(s_n - s_p))", []),
        ("hinge(1 - s_p)**1.5 + s_n", []),
    ],
)
def test_poles_are_named(text, poles):
    found = characteristics(of_formula(text))
    shapes = (found.positive, found.negative, *([found.triplet] if found.triplet else []))
    assert [pole.where for shape in shapes for pole in shape.bounds.poles] == poles
    assert all(pole in str(said(found)) for pole in poles)
    assert ("unbounded" in str(said(found))) == bool(poles)


def test_where_there_is_no_real_value_is_said():
    found = characteristics(of_formula("sqrt(s_n)**3 - s_p"))
    assert found.negative.bounds.undefined[0] < 0
    assert "no real value at -0." in said(found)["negative"]
    assert "no real value" not in str(said(characteristics(of_formula("hinge(s_n)**1.5 - s_p"))))


def test_linear_negative_weight_attracts_below_zero():
    found = of_pairs("linear")
    assert found.negative.sign_changes == pytest.approx([0.0], abs=1e-9)
    assert (found.negative.at_opposite, found.negative.at_identical) == (-1, 1)
    assert found.negative.answer == Answer(Growth.GROWS, True)
    assert found.negative.plateaus == ()
    assert (found.push.effect, found.push.where) == (Effect.MIXED, "s_n < 0")


def test_constant_weights_do_nothing_of_the_kind():
    found = of_pairs("constant")
    assert found.positive.answer == Answer(Growth.CONSTANT, True)
    assert found.positive.sign_changes == ()
    assert found.pull == Action(Effect.RIGHT, True)


def test_sigmoid_saturates():
    negative = of_pairs("sigmoid", beta=50.0).negative
    low, high = negative.plateaus
    exact = 0.5 - math.log(99) / 50
    assert low.high == pytest.approx(exact, abs=1e-6)
    assert high.low == pytest.approx(1 - exact, abs=1e-6)
    assert (low.value, high.value) == (pytest.approx(0, abs=1e-9), pytest.approx(1, abs=1e-9))


def test_arc_face_has_an_infinite_limit():
    assert characteristics(decompose(losses["arc_face"])).positive.at_identical == math.inf


def test_the_bounds_and_the_effect_follow_the_settings():
    d = decompose(losses["info_nce"])
    name = d.loss.hyperparameters[0].name
    small, large = (characteristics(d, {name: value}).triplet.bounds.most for value in (2.0, 20.0))
    assert large == pytest.approx(10 * small, rel=0.1)
    assert of_pairs("linear", **{}).push.where == "s_n < 0"
    moved = [characteristics(decompose(losses["tuplet_margin"]), {"slack": x}).pull.where for x in (0.1, 0.5)]
    assert moved == ["s_p > 0.995", "s_p > 0.8776"]


def test_weights_that_read_other_pairs_are_said_to_stand_alone():
    alone, not_alone = of_pairs("relative_linear"), of_pairs("linear")
    assert "others" in said(alone)
    assert "others" not in said(not_alone)


def test_what_does_not_separate_has_surfaces():
    found = characteristics(decompose(losses["selectively_hard_triplet"]))
    assert found.triplet is None
    assert found.positive.hardest == 0
    assert "w⁺" in to_plain([characteristics_page(found)])


def test_a_falling_weight_is_told_from_a_growing_one():
    one = sp.Integer(1)
    falling = Factors(one, sigmoid(s_p), sigmoid(-s_n))
    found = characteristics(WeightField(name="f", positive=sigmoid(s_p), negative=sigmoid(-s_n), factors=falling))
    assert found.positive.answer == found.negative.answer == Answer(Growth.FALLS, True)


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_every_loss_has_characteristics(loss):
    found = characteristics(decompose(loss))
    assert found.positive.bounds.scale > 0 or found.negative.bounds.scale > 0
    assert to_plain([characteristics_page(found)]).count("\n") == (5 if found.triplet else 4)


@pytest.mark.parametrize(
    ("outer", "easiest", "hardest"),
    [(softplus(gap), 0, 1), (sp.exp(gap), 0, math.inf), ((gap - 1) ** 2, -math.inf, math.inf)],
    ids=["softplus", "exp", "square"],
)
def test_a_similarity_without_a_range_has_limits_at_infinity(outer, easiest, hardest):
    term = Term(outer=outer, positives=EACH(s_p), negatives=EACH(s_n))
    loss = Objective(name="preference", title="", terms=(term,), similarity=LOG_RATIO)
    found = characteristics(decompose(loss))
    assert (found.triplet.easiest, found.triplet.hardest) == (easiest, hardest)
    assert found.triplet.answer == Answer(Growth.GROWS, True)
    assert found.positive.answer == Answer(Growth.CONSTANT, True)
    assert integrability(decompose(loss)).integrable


@pytest.mark.parametrize(("low", "high"), [(-sp.oo, 0), (0, sp.oo)])
def test_a_similarity_with_one_end_has_one_limit_at_infinity(low, high):
    similarity = Similarity("half", "", sp.sympify(low), sp.sympify(high))
    saturating = Factors(sp.Integer(1), sigmoid(-s_p), sp.cos(s_n))
    field = WeightField(
        name="half",
        positive=saturating.positive,
        negative=saturating.negative,
        factors=saturating,
        similarity=similarity,
    )
    found = characteristics(field)
    ends = (found.positive.at_opposite, found.positive.at_identical)
    assert ends == pytest.approx((1, 0.5) if high == 0 else (0.5, 0))
    (plateau,) = found.positive.plateaus
    assert math.isinf(plateau.low) == (high == 0)
    assert math.isinf(plateau.high) == (low == 0)
    assert "inf" in to_plain([characteristics_page(found)])
