"""Objectives from text and back: one line, and TOML documents."""

from __future__ import annotations

import re
import shlex
import string
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import goal_analysis as ga
from goal_analysis.declarations import number_of, number_text
from goal_analysis.numeric.functions import weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import DIRECTIONS, direction_regularized
from goal_analysis.recombination.minings import MININGS, Mining, mining_of, mining_text, semi_hard, softmax, top_k
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts, twin_of
from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import (
    direction_of,
    direction_text,
    from_toml,
    line_of,
    parse_objective,
    to_toml,
)
from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, MIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid
from goal_analysis.symbolic.language.similarity import SIMILARITIES
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.weights import linear_pair, nca_triplet

PARTS = Parts(triplet_weights, pair_weights, catalog)
MINED = [*MININGS, "semi_hard:0.35", "top_k:3", "selectively_hard:0.02", "softmax:6,12", "softmax:0,3.5"]
PAIRS = [*(p.name for p in pair_weights), "contrastive"]
HEADS = [*(loss.name for loss in catalog), *(t.name for t in triplet_weights), "nca_twin", "hinge_twin"]
IDS = torch.tensor([0, 1, 1, 2, 3, 4])


def read(text: str, **fields) -> Objective:
    return parse_objective(text, PARTS, **fields)


def numbers_of(objective: Objective) -> dict[str, float]:
    return {h.name: float(h.default) for h in objective.hyperparameters}


def of_scores(objective: Objective) -> torch.Tensor:
    torch.manual_seed(0)
    return weights_of_scores(objective, torch.rand(6, 6) * 1.6 - 0.8, Matches.of_image_ids(IDS), {})


def written(objective: Objective, parts: Parts) -> str:
    return line_of(objective, parts) or to_toml(objective, parts)


def is_read_back(objective: Objective) -> None:
    """What is written, as a line or not, is read as the same value, and so is TOML."""
    text = written(objective, PARTS)
    again = from_toml(text, PARTS) if "\n" in text else read(text)
    for other in (again, from_toml(to_toml(objective, PARTS), PARTS)):
        assert other == objective, text
    assert written(again, PARTS) == text


def possible(text: str) -> Objective | None:
    try:
        return read(text)
    except ValueError as problem:  # a twin that does not exist, pair weights that read others of what is no similarity
        known = "f\\(z|potential|parts can be exchanged|read other pairs|similarit|has no positives"
        assert re.search(known, str(problem)), problem  # noqa: PT017
        return None


# --- there and back -------------------------------------------------------------------------------


def test_every_loss_pair_weight_and_mining_is_read_back() -> None:
    behind = cycle(["", *(f"@{mining}" for mining in MINED)])
    texts = [f"{loss.name}{mined}" for loss in catalog for mined in ("", next(behind))]
    texts += [f"{head}/{pair}{next(behind)}" for i, head in enumerate(HEADS) for pair in PAIRS[i % 3 :: 3]]
    texts += [f"nca/linear@{mining}" for mining in MINED]
    found = [objective for objective in map(possible, texts) if objective is not None]
    assert len(found) > 0.75 * len(texts)
    for objective in found:
        assert read(line_of(objective, PARTS) or "") == objective, objective.name


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_fields_and_settings_are_read_back(data: st.DataObject) -> None:
    head = data.draw(st.sampled_from([*HEADS, *(f"{head}/linear@top_k:2" for head in HEADS[::4])]))
    found = possible(head if "/" in head or head in {loss.name for loss in catalog} else f"{head}/linear")
    if found is None:
        return
    directions = st.sampled_from([None, *DIRECTIONS, direction_regularized(0.3)])
    numbers = {h.name: data.draw(st.integers(1, 99)) / 100 for h in found.hyperparameters if data.draw(st.booleans())}
    is_read_back(
        replace(
            found.with_settings({k: v for k, v in numbers.items() if v >= 0}),
            similarity=data.draw(st.sampled_from([found.similarity, *SIMILARITIES])),
            direction=data.draw(directions),
            reduction=data.draw(st.sampled_from(Reduction)),
            anchors=data.draw(st.sampled_from(Anchors)),
        )
    )


@pytest.mark.parametrize("text", ["circle(gamma=80)", "nca(tau=12)/linear@softmax:12", "hinge_twin/linear@top_k:2"])
def test_the_same_text_gives_the_same_gradient_through_toml(text: str) -> None:
    objective = read(text)
    w = of_scores(objective)
    assert w.abs().max() > 0
    assert torch.equal(of_scores(from_toml(to_toml(objective, PARTS), PARTS)), w)
    alone = from_toml(to_toml(objective))  # as formulas, without a name
    torch.testing.assert_close(of_scores(alone), w)


@pytest.mark.parametrize("mining", MINED)
def test_what_a_description_prints_is_what_is_read(mining: str) -> None:
    said = GradientObjective(read(f"nca/linear@{mining}")).describe().mining
    assert mining_of(said) == mining_of(mining) == mining_of(mining_text(mining_of(mining)))


def test_a_mining_of_somebody_else_has_no_text() -> None:
    with pytest.raises(ValueError, match="others have no text"):
        mining_text(Mining(MIN, LOGSUMEXP))


@pytest.mark.parametrize("direction", [*DIRECTIONS, direction_regularized(0.25)], ids=lambda d: d.formula)
def test_directions_are_read_back(direction) -> None:
    assert direction_of(direction_text(direction)).formula == direction.formula


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(value: float) -> None:
    assert number_of(number_text(value)) == value


# --- what a line says -----------------------------------------------------------------------------


def test_a_line_says_what_it_says() -> None:
    found = read(" nca ( tau = 1/4 ) / sigmoid(beta=3, lam=-.5) @ softmax:6,12 ")
    assert numbers_of(found) == {"tau": 0.25, "alpha": 2, "beta": 3, "lam": -0.5}
    assert found == composed(*PARTS.resolved("nca", "sigmoid"), softmax(6, 12), found.name).with_settings(
        {"tau": 0.25, "beta": 3, "lam": -0.5}
    )
    assert read("nca/linear@hardest") == read("nca/linear")
    assert read("nca(tau=12)/linear@softmax:12") == read("nca/linear@softmax(12, 12)", settings={"tau": 12})
    assert read("nca(tau=12)/linear") != read("nca(tau=12.0000001)/linear")
    assert mining_of("top_k(k=2)") == top_k(2)
    assert mining_of("semi_hard : 0.3") == semi_hard(0.3)


@pytest.mark.parametrize(
    ("plain", "quoted"),
    [
        ("nca:tau=12/linear@softmax:12", "nca(tau=12)/linear@softmax:12"),
        ("circle:gamma=80,m=1/4", "circle(gamma=80, m=1/4)"),
        ("circle:m=1/3/linear", "circle(m=1/3)/linear"),
        ("nca:tau=12/sigmoid:alpha=3@top_k:5", "nca(tau=12)/sigmoid(alpha=3)@top_k:5"),
        ("circle:gamma=80,anchors=both,reduction=sum", "circle(gamma=80, anchors=both, reduction=sum)"),
        ("info_nce:tau=1e2@hardest", "info_nce(tau=1e2)@hardest"),
    ],
)
def test_settings_behind_a_colon_are_those_in_parentheses(plain: str, quoted: str) -> None:
    assert read(plain) == read(quoted)
    assert shlex.quote(plain) == plain, "no shell needs quotes"
    is_read_back(read(plain))
    with pytest.raises(ValueError, match="got a value for 'tua' but expected"):
        read(plain.replace("=", "=1,tua=", 1))


def test_a_line_says_anchors_and_reduction() -> None:
    found = read("circle(gamma=80, anchors=both)/linear")
    assert found == replace(read("circle(gamma=80)/linear"), anchors=Anchors.BOTH)
    assert read("info_nce(reduction=sum)") == read("info_nce", reduction=Reduction.SUM)
    assert read("circle(anchors=both)", anchors=Anchors.ROWS) == read("circle(anchors=rows)"), "a keyword wins"
    for anchors in Anchors:
        is_read_back(read("multi_similarity", anchors=anchors))
    assert line_of(found, PARTS) == "circle(gamma=80, anchors=both)/linear"


def test_names_that_both_weights_have_are_told_apart() -> None:
    found = read("hinge(margin=0.3)/contrastive(margin=0.9)")
    assert numbers_of(found) == {"margin": 0.3, "margin_pair": 0.9}
    assert read("hinge(margin=0.3, margin_pair=0.9)/contrastive") == found
    is_read_back(found)
    margin = Hyperparameter("margin", 0.2, nonnegative)
    t = TripletWeight(name="t", expression=sigmoid(s_n - s_p + margin.symbol), hyperparameters=(margin,))
    shared = PairWeights(name="p", positive=margin.symbol - s_p, negative=s_n, hyperparameters=(margin,))
    assert numbers_of(parse_objective("t/p(margin=0.9)", Parts((t,), (shared,)))) == {"margin": 0.9}
    with pytest.raises(ValueError, match="got margin 2 times"):
        parse_objective("t(margin=0.1)/p(margin=0.9)", Parts((t,), (shared,)))
    with pytest.raises(ValueError, match="triplet weights: got 'nca' among nca, nca but expected every name once"):
        Parts((nca_triplet, nca_triplet))


def test_a_twin_is_the_gradient_of_a_loss() -> None:
    assert GradientObjective(read("nca_twin(tau=3)/linear")).verdict().integrable
    assert not GradientObjective(read("nca(tau=3)/linear")).verdict().integrable
    assert read("nca_twin/linear") == composed(twin_of(nca_triplet, linear_pair), linear_pair, name="nca_twin/linear")


def test_a_formula_is_a_loss_of_every_triplet() -> None:
    found = read("softplus(tau*(s_n - s_p))/tau", settings={"tau": 10})
    assert found.is_loss
    torch.testing.assert_close(of_scores(found), of_scores(read("nca/constant@all")))


def test_an_objective_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from losses_catalog.circle import circle_loss as own\nelse_ = 3\n")
    assert torch.equal(of_scores(read(f"{file}:own(gamma=80)")), of_scores(read("circle(gamma=80)")))
    assert torch.equal(of_scores(read(f"{file}:own/linear@hardest")), of_scores(read("circle/linear@hardest")))
    is_read_back(read(f"{file}:own(gamma=80)/linear"))
    for name, said in (("other", "no attribute 'other'"), ("else_", "got 3 but expected an Objective")):
        with pytest.raises(ValueError, match=said):
            read(f"{file}:{name}")
    with pytest.raises(ValueError, match=r"got no file .*none\.py but expected a Python file"):
        read(f"{tmp_path / 'none.py'}:own")


def test_a_document_of_own_formulas_and_a_hostile_name() -> None:
    found = from_toml(
        """
        mining = "softmax:12"
        pair = { positive = "(1 - s_p)**k", negative = "s_n", hyperparameters = { k = 2 } }
        reduction = "sum"
        [triplet]
        formula = "sigmoid(a*(s_n - s_p))"
        hyperparameters = { a = { default = 10, domain = "(0, inf)", meaning = "steepness" } }
        [settings]
        a = "1/3"
        """
    )
    assert numbers_of(found) == {"a": pytest.approx(1 / 3), "k": 2}
    assert found.reduction is Reduction.SUM
    h = Hyperparameter("a", 1, positive, 'a "quote", a \\ and\n a line\x7f')
    own = composed(TripletWeight(name="own", expression=h.symbol * s_n, hyperparameters=(h,)), linear_pair)
    assert from_toml(to_toml(own)).hyperparameters == (h,)
    for name in ("circle", "a/b\n[terms]", "__import__('os')", "nca/linear", 'a/"""'):
        with_name = replace(own, name=name)
        assert torch.equal(of_scores(from_toml(to_toml(with_name, PARTS), PARTS)), of_scores(own)), name
    with pytest.raises(ValueError, match="but expected an identifier"):
        replace(own, name='a"b')


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got '' but expected a loss, or TRIPLET/PAIR@MINING, such as circle(gamma=80), nca(tau=12)/linear"),
        ("nca/linear/linear", "expected a loss, or TRIPLET/PAIR@MINING"),
        ("nca((tau=1))/linear", "expected a loss, or TRIPLET/PAIR@MINING"),
        ("nca/linear@all@all", "expected a loss, or TRIPLET/PAIR@MINING"),
        ("nca", "as in nca/linear; the loss is called neighbourhood_components"),
        ("circle(tau=10)/linear", "expected one of gamma, m; the triplet weight circle is called circular now"),
        ("hinge", "got the triplet weight hinge alone but expected pair weights behind it, as in hinge/linear"),
        ("ncaa/linear", "got 'ncaa' but expected one of nca, "),
        ("info_nec", "got 'info_nec' but expected one of info_nce, "),
        ("nca/liner", "pair weights: got 'liner' but expected one of linear, "),
        ("nca/lifted_structure@hardest(", "expected one of hardest"),
        ("constant_twin/linear", "expected f(z(s_p, s_n))"),
        ("nca(ta=3)/linear", "nca: got a value for 'ta' but expected one of tau"),
        ("nca/linear(tua=3)", "linear: got a value for 'tua' but expected one of tau"),
        ("nca(tau)/linear", "nca: got 'tau' but expected NAME=VALUE"),
        ("nca(tau=ten)/linear", "nca: tau: got 'ten' but expected a finite number"),
        ("nca(tau=-1)/linear", "nca: tau: got -1.0 but expected a number in (0, inf)"),
        ("nca(tau=1,tau=1)/linear", "settings: got tau 2 times but expected every one once"),
        ("nca(anchors=row)/linear", "anchors: got 'row' but expected one of rows, columns, both"),
        ("nca/linear(anchors=rows)", "linear: got a value for 'anchors' but expected one of tau"),
        ("circle(reduction=sum, reduction=sum)", "got reduction 2 times but expected every one once"),
        ("nca/linear@hardst", "mining: got 'hardst' but expected one of hardest"),
        ("nca/linear@hardest:1", "mining hardest: got 1 numbers in 'hardest:1' but expected none"),
        ("nca/linear@softmax:1,2,3", "expected up to 2: positive_scale, negative_scale"),
        ("nca/linear@softmax:-1", "mining softmax: positive_scale: got -1.0 but expected"),
        ("nca/linear@top_k:2.5", "mining top_k: k: got 2.5 but expected a whole number"),
        ("nca/linear@top_k:0", "k: got 0 but expected a whole number of at least 1"),
        ("n" * 501, "got 501 characters but expected up to 500"),
    ],
)
def test_a_wrong_line_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        read(text)
    assert str(error.value).startswith("objective")


@given(st.text(alphabet=string.printable + "αβ⁺−∞", max_size=60) | st.from_regex(r"nca(\(.{0,9}\))?/linear(@.{0,9})?"))
@settings(max_examples=60, deadline=None)
def test_whatever_the_line_the_only_error_is_a_value_error(text: str) -> None:
    try:
        assert isinstance(read(text), Objective)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - an error is one of the two right ends


NAMED = "triplet = 'nca'\npair = 'linear'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("triplet = ", "objective: got what is no TOML"),
        ("pair = 'linear'", "objective: got no triplet but expected a name or a table of formulas"),
        ("objective = 'circle'\ntriplet = 'nca'", "got triplet beside objective but expected it in the line"),
        (NAMED + "minig = 'all'", "got the key 'minig' but expected one of mining"),
        (NAMED + "reduction = 'max'", "reduction: got 'max' but expected one of mean, mean_active, mean_each, sum"),
        (NAMED + "anchors = 'all'", "anchors: got 'all' but expected one of"),
        (NAMED + "similarity = 'cos'", "similarity: got 'cos' but expected one of cosine"),
        (NAMED + "direction = 'up'", "direction: got 'up' but expected one of"),
        (NAMED + "direction = 'dot:1'", "direction dot: got the number '1' but expected none"),
        (NAMED + "mining = 'most'", "mining: got 'most' but expected one of"),
        (NAMED + "mining = 3", "objective: mining: got 3 but expected text"),
        (NAMED + "[settings]\ntua = 1", "expected one of tau"),
        ("pair = 'linear'\ntriplet = { formula = 's_n + q' }", "got the unknown name 'q'"),
        ("pair = 'linear'\ntriplet = { formula = '__import__(\"os\")' }", "triplet weight: formula"),
        ("triplet = 'nca'\npair = { positive = 's_n', negative = 's_n' }", "got the unknown name 's_n'"),
        ("#" * 100_001, "got 100,001 characters but expected up to 100,000"),
    ],
)
def test_a_wrong_document_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        from_toml(text, PARTS)


@pytest.mark.parametrize("text", ["", "1e9999", "1/0", "nan", "inf", "1_0", "0x1", "9" * 400, "1/2/3", "--1"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="but expected a finite number"):
        number_of(text)


def test_a_formula_may_be_broken_and_a_file_may_begin_with_a_mark(tmp_path) -> None:
    assert ga.objective("hinge(s_n\n - s_p)").name == "hinge(s_n - s_p)"
    assert ga.objective("vse_pp\n").name == "vse_pp"
    file = tmp_path / "mine.toml"
    file.write_text('objective = "circle"\n', "utf-8-sig")
    assert ga.objective(file).name == "circle"
