"""Objectives from text and back: one line, and TOML documents."""

import re
import string
from typing import ClassVar

import pytest
import torch
from goal_analysis.numeric.mining import (
    MINERS,
    All,
    DistanceWeighted,
    Hardest,
    Miner,
    SelectivelyHard,
    SemiHard,
    Softmax,
    TopK,
)
from goal_analysis.numeric.triplets import Triplets
from goal_analysis.recombination.composition import Parts, compact, from_toml, parse_objective, to_toml
from goal_analysis.recombination.composition.minings import direction_of, direction_text, mining_of, mining_text
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from goal_analysis.declarations import number_of, number_text
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import DIRECTIONS, Direction, direction_regularized
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import side_by_side, twin_of
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid
from goal_analysis.symbolic.language.similarity import SIMILARITIES
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose
from losses_catalog.weights import linear_pair, nca_triplet, pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights)
MINED = (All(), SemiHard(0.35), TopK(3), SelectivelyHard(0.02), Softmax(6.0, 12.0), Softmax(0.0, 3.5))


def same(one: GradientObjective, other: GradientObjective) -> bool:
    """Whether both put the same weights on a batch, to the last bit, and say the same of everything else."""
    scores = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ids = torch.tensor([0, 1, 1, 2, 3, 4])
    torch.manual_seed(0)
    w = one.weight_matrix(scores, Matches.of_image_ids(ids))
    torch.manual_seed(0)
    v = other.weight_matrix(scores, Matches.of_image_ids(ids))
    told = [(o.mining, o.similarity, o.reduction, o.anchors, o.direction and o.direction.formula) for o in (one, other)]
    return torch.equal(w, v) and told[0] == told[1]


@st.composite
def arguments(draw: st.DrawFn) -> tuple:
    """What an objective is constructed from."""
    t = draw(st.sampled_from(triplet_weights))
    p = draw(st.sampled_from(pair_weights))
    mining = draw(st.sampled_from([Hardest(), *MINED]))
    if p.relative and isinstance(mining, Softmax):
        mining = TopK(2)
    values = {
        h.name: draw(st.floats(0.01, 50).filter(lambda v: v > 0))
        for h in (*t.hyperparameters, *p.hyperparameters)
        if draw(st.booleans())
    }
    return (
        t,
        p,
        mining,
        draw(st.sampled_from(SIMILARITIES)),
        draw(st.sampled_from([None, *DIRECTIONS, direction_regularized(0.3)])),
        draw(st.sampled_from(Reduction)),
        draw(st.sampled_from(Anchors)),
        values,
    )


# --- one line -------------------------------------------------------------------------------------


@given(arguments())
@settings(max_examples=60, deadline=None)
def test_lines_are_read_back(given_arguments: tuple) -> None:
    o = GradientObjective(*given_arguments)
    read = parse_objective(
        compact(o),
        PARTS,
        similarity=o.similarity,
        direction=o.direction,
        reduction=o.reduction,
        anchors=o.anchors,
    )
    assert same(read, o)
    assert compact(read) == compact(o)


def test_another_setting_is_another_objective() -> None:
    one, other = (parse_objective(f"nca(tau={tau})/linear", PARTS) for tau in ("10", "10.0000001"))
    assert not same(one, other)


def test_a_line_says_what_it_says() -> None:
    objective = parse_objective(" nca ( tau = 1/4 ) / sigmoid(beta=3, lam=-.5) @ softmax:6,12 ", PARTS)
    assert objective.settings == {"tau": 0.25, "beta": 3.0, "lam": -0.5}
    assert objective.mining == Softmax(6.0, 12.0)
    assert compact(objective) == "nca(tau=0.25)/sigmoid(beta=3, lam=-0.5)@softmax:6,12"
    assert compact(parse_objective("nca(tau=10)/linear@hardest", PARTS)) == "nca/linear"


def test_a_twin_is_the_gradient_of_a_loss() -> None:
    objective = parse_objective("nca_twin(tau=3)/linear", PARTS)
    assert compact(objective) == "nca_twin(tau=3)/linear"
    assert integrability(objective.field).integrable
    assert not integrability(compose(nca_triplet, linear_pair)).integrable
    assert objective.triplet_weight == twin_of(nca_triplet, linear_pair)


def test_settings_beside_the_line() -> None:
    assert parse_objective("nca/linear", PARTS, settings={"tau": 3}).settings == {"tau": 3}
    with pytest.raises(ValueError, match="got tau 2 times but expected every one once"):
        parse_objective("nca(tau=3)/linear", PARTS, settings={"tau": 3})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got '' but expected TRIPLET/PAIR@MINING, such as nca(tau=12)/linear@softmax:12"),
        ("nca", "expected TRIPLET/PAIR@MINING"),
        ("nca/linear/linear", "expected TRIPLET/PAIR@MINING"),
        ("nca((tau=1))/linear", "expected TRIPLET/PAIR@MINING"),
        ("nca/linear@all@all", "expected TRIPLET/PAIR@MINING"),
        ("ncaa/linear", "triplet weight: got 'ncaa' but expected one of nca, "),
        ("nca/liner", "pair weights: got 'liner' but expected one of linear, "),
        ("nca_twins/linear", "triplet weight: got 'nca_twins'"),
        ("constant_twin/linear", "expected f(z(s_p, s_n))"),
        ("nca(ta=3)/linear", "nca: got a value for 'ta' but expected one of tau"),
        ("nca/linear(tau=3)", "linear: got a value for 'tau' but expected none: it has no hyperparameters"),
        ("nca(tau)/linear", "nca: got 'tau' but expected NAME=VALUE"),
        ("nca(tau=)/linear", "nca: tau: got '' but expected a finite number"),
        ("nca(tau=ten)/linear", "nca: tau: got 'ten' but expected a finite number"),
        ("nca(tau=-1)/linear", "nca: tau: got -1.0 but expected a number in (0, inf)"),
        ("nca(tau=1,tau=1)/linear", "settings: got tau 2 times but expected every one once"),
        ("nca/linear@", "miner: got '' but expected one of hardest"),
        ("nca/linear@hardst", "miner: got 'hardst' but expected one of hardest"),
        ("nca/linear@hardest:1", "miner hardest: got 1 numbers in 'hardest:1' but expected none"),
        ("nca/linear@softmax:1,2,3", "expected up to 2: positive_scale, negative_scale"),
        ("nca/linear@softmax:-1", "miner softmax: positive_scale: got -1.0 but expected"),
        ("nca/linear@top_k:2.5", "miner top_k: k: got 2.5 but expected a whole number"),
        ("nca/linear@top_k:0", "miner top_k: k: got 0 but expected at least 1"),
        ("nca/linear@top_k:", "miner top_k: got '' but expected a finite number"),
    ],
)
def test_a_wrong_line_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_objective(text, PARTS)
    assert str(error.value).startswith("objective")


def test_a_long_line_is_refused() -> None:
    with pytest.raises(ValueError, match="got 501 characters but expected up to 500"):
        parse_objective("n" * 501, PARTS)


@given(st.text(alphabet=string.printable + "αβ⁺−∞", max_size=60) | st.from_regex(r"nca(\(.{0,9}\))?/linear(@.{0,9})?"))
@settings(max_examples=150, deadline=None)
def test_whatever_the_line_the_only_error_is_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse_objective(text, PARTS), GradientObjective)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - an error is one of the two right ends


# --- miners, directions, numbers ------------------------------------------------------------------


@pytest.mark.parametrize("mining", [*MINERS, *MINED, DistanceWeighted(16, 0.25, 1.1)], ids=repr)
def test_minings_are_read_back(mining: Miner) -> None:
    assert mining_of(mining_text(mining)) == mining


def test_a_mining_of_somebody_else_has_no_text() -> None:
    class Own:
        name: ClassVar[str] = "own"

        def __call__(self, scores: Tensor, matches: Matches) -> Triplets:
            return Hardest()(scores, matches)

    with pytest.raises(ValueError, match="others have no text"):
        mining_text(Own())


@pytest.mark.parametrize("direction", [*DIRECTIONS, direction_regularized(0.25)], ids=lambda d: d.formula)
def test_directions_are_read_back(direction: Direction) -> None:
    assert direction_of(direction_text(direction)).formula == direction.formula


@pytest.mark.parametrize(
    ("text", "said"),
    [("sideways", "direction: got 'sideways'"), ("dot:1", "direction dot: got the number '1' but expected none")],
)
def test_wrong_directions_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        direction_of(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(value: float) -> None:
    assert number_of(number_text(value)) == value


@pytest.mark.parametrize("text", ["", "1e9999", "1/0", "nan", "inf", "1_0", "0x1", "1e400", "9" * 100, "1/2/3", "--1"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="but expected a finite number"):
        number_of(text)


# --- TOML -----------------------------------------------------------------------------------------


@given(arguments())
@settings(max_examples=60, deadline=None)
def test_documents_are_read_back(given_arguments: tuple) -> None:
    objective = GradientObjective(*given_arguments)
    assert same(from_toml(to_toml(objective, PARTS), PARTS), objective)
    alone = from_toml(to_toml(objective))
    assert same(alone, objective)
    assert alone.field == objective.field


def test_a_twin_is_written_as_a_name_or_as_its_formula() -> None:
    twin = parse_objective("nca_twin(tau=3)/linear@top_k:2", PARTS)
    assert 'triplet = "nca_twin"' in to_toml(twin, PARTS)
    assert same(from_toml(to_toml(twin, PARTS), PARTS), twin)
    assert same(from_toml(to_toml(twin)), twin)


def test_a_weight_that_only_bears_the_name_is_written_as_its_formula() -> None:
    other = TripletWeight(name="nca", expression=sigmoid(s_n - s_p))
    document = to_toml(GradientObjective(other, linear_pair), PARTS)
    assert 'formula = "sigmoid(s_n - s_p)"' in document
    assert 'pair = "linear"' in document


def test_own_formulas() -> None:
    objective = from_toml(
        """
        mining = "softmax:12"
        pair = { positive = "(1 - s_p)**k", negative = "s_n", hyperparameters = { k = 2 } }
        reduction = "mean"
        [triplet]
        formula = "sigmoid(a*(s_n - s_p))"
        hyperparameters = { a = { default = 10, domain = "(0, inf)", meaning = "steepness" } }
        [settings]
        a = "1/3"
        """
    )
    assert objective.settings == {"a": pytest.approx(1 / 3)}
    assert objective.pair_weights.positive.subs("k", 2) != 0
    assert objective.reduction is Reduction.MEAN


def test_words_with_quotes_are_escaped() -> None:
    h = Hyperparameter("a", 1, positive, 'a "quote", a \\ and\n a line\x7f')
    own = TripletWeight(name="own", expression=h.symbol * s_n, hyperparameters=(h,))
    assert from_toml(to_toml(GradientObjective(own, linear_pair))).triplet_weight == own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("triplet = ", "objective: got what is no TOML"),
        ("pair = 'linear'", "objective: got no triplet but expected a name or a table of formulas"),
        ("triplet = 'nca'", "objective: got no pair"),
        ("triplet = 'nca'\npair = 'linear'\nminig = 'all'", "got the key 'minig' but expected one of mining"),
        ("triplet = 'nca'\npair = 'linear'\nreduction = 'max'", "reduction: got 'max' but expected one of mean, sum"),
        ("triplet = 'nca'\npair = 'linear'\nanchors = 'all'", "anchors: got 'all' but expected one of"),
        ("triplet = 'nca'\npair = 'linear'\nsimilarity = 'cos'", "similarity: got 'cos' but expected one of cosine"),
        ("triplet = 'nca'\npair = 'linear'\ndirection = 'up'", "direction: got 'up' but expected one of"),
        ("triplet = 'nca'\npair = 'linear'\nmining = 'most'", "miner: got 'most' but expected one of"),
        ("triplet = 'nca'\npair = 'linear'\n[settings]\ntua = 1", "got a value for 'tua' but expected one of tau"),
        ("pair = 'linear'\ntriplet = { formula = 's_n + q' }", "got the unknown name 'q'"),
        ("pair = 'linear'\ntriplet = { formula = '__import__(\"os\")' }", "triplet weight: formula"),
        ("pair = 'linear'\ntriplet = { formula = 's_n', name = 'a b' }", "name: got 'a b' but expected an identifier"),
        ("pair = 'linear'\ntriplet = { formla = 's_n' }", "got the key 'formla' but expected one of formula"),
        ("triplet = 'nca'\npair = { positive = 's_n', negative = 's_n' }", "got the unknown name 's_n'"),
        ("triplet = 'nca'\npair = { positive = 's_p' }", "pair weights: got no negative but expected one"),
        (
            "triplet = 'nca'\n[pair]\npositive = 'R'\nnegative = 's_n'\nrelative = { R = { contribution = 's_p' } }",
            "relative: R: got no other but expected one of positive, negative",
        ),
    ],
)
def test_a_wrong_document_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        from_toml(text, PARTS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("triplet = 1\npair = 'linear'", "triplet weight: got 1 but expected a table of formula, "),
        ("triplet = 'nca'\npair = 'linear'\nmining = 3", "objective: mining: got 3 but expected text"),
        ("triplet = 'nca'\npair = 'linear'\nsettings = 3", "objective: settings: got 3 but expected a table"),
    ],
)
def test_a_wrong_type_is_refused(text: str, said: str) -> None:
    with pytest.raises(TypeError, match=re.escape(said)):
        from_toml(text, PARTS)


def test_a_huge_document_is_refused() -> None:
    with pytest.raises(ValueError, match="got 100,001 characters but expected up to 100,000"):
        from_toml("#" * 100_001)


# --- parts ----------------------------------------------------------------------------------------


def test_a_name_twice_or_of_a_twin_is_refused() -> None:
    with pytest.raises(ValueError, match="triplet weights: got 'nca' among nca, nca but expected every name once"):
        Parts((nca_triplet, nca_triplet))
    twin = TripletWeight(name="my_twin", expression=s_n)
    with pytest.raises(ValueError, match="expected a name that does not end in _twin"):
        Parts((twin,))


def test_hyperparameters_that_both_have_stay_one_and_others_are_renamed() -> None:
    margin, other = (Hyperparameter("margin", default, nonnegative) for default in (0.2, 1))
    t = TripletWeight(name="t", expression=sigmoid(s_n - s_p + margin.symbol), hyperparameters=(margin,))
    same_one, another = (
        PairWeights(name="p", positive=h.symbol - s_p, negative=s_n, hyperparameters=(h,)) for h in (margin, other)
    )
    assert side_by_side(t, same_one) == (t, same_one)
    renamed = side_by_side(t, another)[1]
    assert [h.name for h in renamed.hyperparameters] == ["margin_pair"]
    assert [h.default for h in renamed.hyperparameters] == [1]
    parts = Parts((t,), (another,))
    objective = parse_objective("t(margin=0.1)/p(margin=0.9)", parts)
    assert objective.settings == {"margin": 0.1, "margin_pair": 0.9}
    assert compact(objective) == "t(margin=0.1)/p(margin=0.9)"
    assert same(from_toml(to_toml(objective, parts), parts), objective)
    shared = parse_objective("t/p(margin=0.9)", Parts((t,), (same_one,)))
    assert compact(shared) == "t/p(margin=0.9)"
    with pytest.raises(ValueError, match="got margin 2 times"):
        parse_objective("t(margin=0.1)/p(margin=0.9)", Parts((t,), (same_one,)))


def test_relative_similarities_are_renamed_too() -> None:
    relative = next(p for p in pair_weights if p.name == "relative_linear")
    slack = Hyperparameter("slack", 5, positive)
    t = TripletWeight(name="t", expression=slack.symbol * s_n, hyperparameters=(slack,))
    pair = side_by_side(t, relative)[1]
    assert {symbol.name for r in pair.relative for symbol in r.member.free_symbols} >= {"slack_pair"}
    assert {symbol.name for r in pair.relative for symbol in r.member.free_symbols}.isdisjoint({"slack"})
