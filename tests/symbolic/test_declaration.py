"""Losses from tables: both forms, the way back, and errors that name loss, field and what is accepted."""

import tomllib

import pytest
import sympy as sp

from goal_analysis.symbolic.language.aggregators import (
    EACH,
    LOGSUMEXP,
    MAX,
    MEAN,
    MIN,
    SOFTMIN,
    Aggregator,
    Pool,
    softmax_active,
)
from goal_analysis.symbolic.language.hyperparameter import (
    Hyperparameter,
    interval_text,
    nonnegative,
    positive,
    real,
    unit,
)
from goal_analysis.symbolic.language.primitives import gap, hinge, logsumexp, s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term
from goal_analysis.symbolic.parsing import FormulaError
from goal_analysis.symbolic.parsing.declaration import (
    interval_from_text,
    loss_from_mapping,
    loss_to_mapping,
    losses_from_mapping,
)
from losses_catalog import catalog

tau = Hyperparameter("tau", 10, positive)
gamma = Hyperparameter("gamma", sp.Rational(1, 3), unit, "scale")
margin = Hyperparameter("margin", 0.2, nonnegative)

DOCUMENT = """
[losses.nca]
formula = "softplus(tau*(s_n - s_p))/tau"
hyperparameters = {tau = 10}

[losses.hardest]
formula = "hinge(s_n - s_p + margin)"
negatives = "max"
hyperparameters = {margin = {default = 0.2, domain = "[0, inf)", meaning = "how much farther"}}
title = "Triplet, hardest negative"
reference = "faghri2018"
anchors = "both"
reduction = "sum"

[losses.circle_like]
hyperparameters = {gamma = 80}
reference = ["sun2020", "other"]
similarity = "dot"
anchors = "rows"
proxies = true
note = "by hand"
[[losses.circle_like.terms]]
outer = "softplus(gap)"
positives = {inner = "gamma*(s_p - 1)", aggregator = "softmin"}
negatives = {inner = "gamma*s_n", aggregator = "logsumexp", pool = "all"}
"""


def test_a_toml_document_becomes_losses() -> None:
    nca, hardest, circle_like = losses_from_mapping(tomllib.loads(DOCUMENT))
    assert nca == Objective(
        name="nca",
        title="nca",
        terms=(
            Term(
                outer=softplus(tau.symbol * (x_n - x_p)) / tau.symbol,
                positives=EACH(s_p),
                negatives=EACH(s_n),
            ),
        ),
        hyperparameters=(tau,),
    )
    assert hardest.terms == (Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=MAX(s_n)),)
    assert hardest.hyperparameters == (Hyperparameter("margin", 0.2, nonnegative, "how much farther"),)
    assert (hardest.title, hardest.reference) == ("Triplet, hardest negative", ("faghri2018",))
    assert (hardest.anchors, hardest.reduction, hardest.proxies) == (Anchors.BOTH, Reduction.SUM, False)
    scale = sp.Symbol("gamma", positive=True)
    assert circle_like.terms == (
        Term(
            outer=softplus(gap),
            positives=SOFTMIN(scale * (s_p - 1)),
            negatives=LOGSUMEXP(scale * s_n, Pool.ALL),
        ),
    )
    assert (circle_like.similarity, circle_like.anchors) == (DOT, Anchors.ROWS)
    assert circle_like.proxies
    assert (circle_like.reference, circle_like.note) == (("sun2020", "other"), "by hand")


def test_a_formula_of_one_similarity_has_one_side() -> None:
    loss = loss_from_mapping("pull", {"formula": "(1 - s_p)**2", "positives": "mean"})
    assert loss.terms == (Term(outer=(1 - x_p) ** 2, positives=MEAN(s_p)),)
    assert loss_from_mapping("push", {"formula": "hinge(s_n)"}).terms == (Term(outer=hinge(x_n), negatives=EACH(s_n)),)


def test_a_formula_may_speak_of_the_gap() -> None:
    assert (
        loss_from_mapping("a", {"formula": "hinge(gap)"}).terms
        == loss_from_mapping("b", {"formula": "hinge(s_n - s_p)"}).terms
    )


def test_a_temperature_goes_to_the_aggregator() -> None:
    side = {"aggregator": "softmax_active", "temperature": "2*tau"}
    loss = loss_from_mapping("mined", {"formula": "s_n - s_p", "negatives": side, "hyperparameters": {"tau": 10}})
    assert loss.terms[0].negatives == softmax_active(2 * tau.symbol)(s_n)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, Hyperparameter("h", 10, positive)),
        (0.2, Hyperparameter("h", 0.2, positive)),
        (0, Hyperparameter("h", 0, real)),
        (-1.5, Hyperparameter("h", -1.5, real)),
        ("1/3", Hyperparameter("h", sp.Rational(1, 3), positive)),
        ({"default": 1}, Hyperparameter("h", 1, positive)),
        ({"default": 1, "domain": "[0, 1]"}, Hyperparameter("h", 1, unit)),
        (
            {"default": 0.5, "domain": " ( -inf , pi/2 ) "},
            Hyperparameter("h", 0.5, sp.Interval.open(-sp.oo, sp.pi / 2)),
        ),
    ],
)
def test_a_bare_number_is_a_scale_if_positive(value: object, expected: Hyperparameter) -> None:
    loss = loss_from_mapping("mine", {"formula": "h*s_n", "hyperparameters": {"h": value}})
    assert loss.hyperparameters == (expected,)


# --- the way back --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_every_loss_of_the_catalog_can_be_written_and_read_back(loss: Objective) -> None:
    assert loss_from_mapping(loss.name, loss_to_mapping(loss)) == loss


HANDMADE = Objective(
    name="handmade",
    title="Everything at once",
    terms=(
        Term(
            outer=softplus(gap / 3) + x_p**2 / 8,
            positives=MIN(gamma.symbol * (s_p - 1)),
            negatives=softmax_active(tau.symbol)(s_n * margin.symbol, Pool.BOTH_ENDS),
        ),
        Term(outer=logsumexp(0, 1 - x_p), positives=MEAN(s_p)),
    ),
    hyperparameters=(tau, gamma, margin),
    reference=("a", "b"),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.COLUMNS,
    reduction=Reduction.SUM,
    proxies=True,
    note="as it is",
)


def test_every_field_survives_the_way_back() -> None:
    read = loss_from_mapping("handmade", loss_to_mapping(HANDMADE))
    assert read == HANDMADE
    assert read.note == HANDMADE.note
    assert loss_to_mapping(read) == loss_to_mapping(HANDMADE)


def test_the_way_back_is_checked_field_by_field() -> None:
    for key, other in {
        "title": "x",
        "reference": [],
        "similarity": "cosine",
        "anchors": "rows",
        "proxies": False,
    }.items():
        assert loss_from_mapping("handmade", loss_to_mapping(HANDMADE) | {key: other}) != HANDMADE


def one_term(outer: sp.Expr, **sides: object) -> Objective:
    return Objective(name="mine", title="Mine", terms=(Term(outer=outer, **sides),))


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (
            one_term(x_n, negatives=Aggregator("median", sp.Add, "the middle one")(s_n)),
            "aggregator: got 'median'",
        ),
        (one_term(x_n, negatives=Aggregator("max", sp.Add, "not the largest")(s_n)), "it reads back as"),
        (one_term(sp.asin(x_n), negatives=EACH(s_n)), "got the function 'asin'"),
        (one_term(sp.Float(0.1) * x_n, negatives=EACH(s_n)), "it reads back as"),
    ],
    ids=["aggregator", "impostor", "function", "float"],
)
def test_what_cannot_be_said_is_not_written(loss: Objective, problem: str) -> None:
    with pytest.raises(ValueError, match="loss 'mine': got what declarations cannot say") as refusal:
        loss_to_mapping(loss)
    assert problem in str(refusal.value)


# --- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "interval",
    [real, positive, nonnegative, unit, sp.Interval.Lopen(-1, sp.Rational(1, 3)), sp.Interval(0, sp.pi / 2)],
    ids=interval_text,
)
def test_intervals_read_back(interval: sp.Interval) -> None:
    assert interval_from_text(interval_text(interval)) == interval


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0, 1", "expected an interval such as '(0, inf)'"),
        ("(0; 1)", "expected an interval such as '(0, inf)'"),
        ("(0, 1, 2)", "expected an interval such as '(0, inf)'"),
        ("[1, 0]", "whose start lies before its end"),
        ("[1, 1]", "whose start lies before its end"),
        ("[0, infinity)", "got the unknown name 'infinity'"),
        ("[0, nan)", "got the unknown name 'nan'"),
        ("[sqrt(2) + sqrt(3), sqrt(5 + 2*sqrt(6))]", "ends that are clearly apart"),
    ],
)
def test_what_is_no_interval_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="got") as refusal:
        interval_from_text(text)
    assert problem in str(refusal.value)


# --- errors --------------------------------------------------------------------------------------

WRONG = """
title = "x" => loss 'mine': got neither formula nor terms but expected one of them
formula = "s_n"; terms = [] => loss 'mine': got both formula and terms but expected one of them
formulla = "s_n" => loss 'mine': got the key 'formulla' but expected one of formula, anchors, grouped, hyperparameters,
formula = 1 => loss 'mine': formula: got 1 but expected a formula
formula = "2" => loss 'mine': formula: got 2 but expected a formula of s_p or s_n
formula = "s_n"; positives = "max" => loss 'mine': got positives but expected none, as the formula has no s_p
formula = "s_n"; negatives = "maxx" => loss 'mine': negatives: aggregator: got 'maxx' but expected one of max,
formula = "s_n"; negatives = 1 => negatives: got 1 but expected a table of aggregator, pool, temperature
formula = "s_n"; negatives.inner = "s_n" => negatives: got the key 'inner' but expected one of aggregator,
formula = "s_n"; negatives.pool = "al" => negatives: pool: got 'al' but expected one of all, both_ends, own
formula = "s_n"; negatives.pool = "all" => got the pool 'all' but expected 'own'
formula = "s_n"; negatives.temperature = "2" => got a temperature but expected it for softmax_active, soft_max,
formula = "s_n"; negatives = "softmax_active" => negatives: got no temperature but expected a formula
formula = "s_n"; similarity = "cosin" => similarity: got 'cosin' but expected one of cosine,
formula = "s_n"; anchors = "row" => anchors: got 'row' but expected one of rows,
formula = "s_n"; reduction = 3 => reduction: got 3 but expected one of mean, mean_active, mean_each, sum
formula = "s_n"; reduction = "max" => reduction: got 'max' but expected one of mean, mean_active, mean_each, sum
formula = "s_n"; proxies = "yes" => proxies: got 'yes' but expected true or false
formula = "s_n"; title = 1 => title: got 1 but expected text
formula = "s_n"; reference = [1] => reference: got [1] but expected text or a list of texts
formula = "s_n"; hyperparameters = 3 => loss 'mine': hyperparameters: got 3 but expected a table
formula = "s_n"; hyperparameters.h = 2 => loss 'mine': hyperparameters: got h, which no term uses
formula = "h*s_n"; hyperparameters.h = true => hyperparameters: h: default: got True but expected a number
formula = "h*s_n"; hyperparameters.h = "sqrt(2)" => expected a number or a fraction such as '1/3'
formula = "h*s_n"; hyperparameters.h = nan => default: got nan but expected a number in (-inf, inf)
terms = [{outer = "exp", positives = "each", named = {exp = "mean"}}] => named: got the name 'exp' but expected a free
terms = [{outer = "z", positives = "each", named = {z = "each"}}] => named.z: got each but expected an aggregate of all
formula = "h*s_n"; hyperparameters.h.domain = "(0, 1)" => h: default: got nothing but expected a number
formula = "h*s_n"; hyperparameters.h = {default = 2, domain = "(0, 1)"} => expected a number in (0, 1)
formula = "h*s_n"; hyperparameters.h = {default = 2, domain = 1} => h: domain: got 1 but expected text
formula = "h*s_n"; hyperparameters.h = {default = 2, domian = ""} => h: got the key 'domian' but expected
formula = "s_n"; hyperparameters.lambda = 2 => got the name 'lambda' but expected an identifier
formula = "s_n"; hyperparameters.s_n = 2 => got the name 's_n' but expected an identifier
terms.outer = "gap" => loss 'mine': terms: got {'outer': 'gap'} but expected a list of tables
terms = [] => loss 'mine': got no terms but expected at least one
terms = ["gap"] => loss 'mine': terms[0]: got 'gap' but expected a table of outer, named, total, positives, negatives
terms = [{positives = "max"}] => loss 'mine': terms[0]: got no outer but expected a formula
terms = [{outer = "gap"}] => loss 'mine': terms[0]: got neither positives nor negatives
terms = [{outer = "gap", negatives = {iner = ""}}] => loss 'mine': terms[0]: negatives: got the key 'iner'
terms = []; negatives = "max" => got negatives beside terms but expected it in each of the terms
"""


@pytest.mark.parametrize("case", WRONG.strip().splitlines())
def test_errors_name_the_loss_the_field_and_what_is_accepted(case: str) -> None:
    document, problem = case.split(" => ")
    with pytest.raises(ValueError, match="got") as refusal:
        loss_from_mapping("mine", tomllib.loads(document.replace("; ", "\n")))
    assert str(refusal.value).startswith("loss 'mine': ")
    assert problem in str(refusal.value)


def test_a_declaration_is_a_table_with_names() -> None:
    with pytest.raises(ValueError, match=r"loss 'mine': got \[\] but expected a table of formula, terms, "):
        loss_from_mapping("mine", [])
    with pytest.raises(ValueError, match="loss 'mine': got the key 3 but expected text"):
        loss_from_mapping("mine", {3: 4})


def test_a_name_has_to_be_an_identifier() -> None:
    with pytest.raises(ValueError, match="got the name 'a b' but expected an identifier"):
        loss_from_mapping("a b", {"formula": "s_n"})


def test_a_document_holds_losses() -> None:
    with pytest.raises(ValueError, match="losses: got the key 'loss' but expected one of losses"):
        losses_from_mapping({"loss": {}})
    with pytest.raises(ValueError, match=r"losses: losses: got \[\] but expected a table"):
        losses_from_mapping({"losses": []})


SHOWN = """
formula = "softplus(s_n - s_q)"
loss 'mine': formula: got the unknown name 's_q' but expected one of s_p, s_n, count_n, count_p, gap, pi, y_n, y_p
  softplus(s_n - s_q)
                 ^^^

terms = [{outer = "gap + s_p", positives = "max"}]
loss 'mine': terms[0]: outer: got the unknown name 's_p' but expected one of {}
  gap + s_p
        ^^^

terms = [{outer = "gap", positives = {inner = "2 + 1/0"}}]
loss 'mine': terms[0]: positives: inner: got a division by zero but expected a divisor other than zero
  2 + 1/0
      ^^^

hyperparameters.h = {default = 1, domain = "(0, 1/q)"}
loss 'mine': hyperparameters: h: domain: got the unknown name 'q' but expected one of pi
  1/q
    ^
"""


@pytest.mark.parametrize("case", SHOWN.strip().split("\n\n"))
def test_a_formula_is_shown_with_its_owner(case: str) -> None:
    document, shown = case.split("\n", maxsplit=1)
    with pytest.raises(FormulaError) as refusal:
        loss_from_mapping("mine", tomllib.loads(document))
    assert str(refusal.value) == shown.replace("{}", "y_p, x_p, count_n, count_p, gap, pi, x_n, y_n")


def test_a_formula_of_ten_megabytes_is_refused_by_its_length() -> None:
    with pytest.raises(FormulaError, match="got a formula of 10000000 characters"):
        loss_from_mapping("mine", {"formula": "s" * 10_000_000})


def test_the_usual_similarity_is_the_cosine() -> None:
    assert loss_from_mapping("mine", {"formula": "s_n"}).similarity is COSINE
