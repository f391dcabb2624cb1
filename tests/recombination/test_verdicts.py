"""W(S) is the gradient of a loss exactly where the verdict says so, and then autograd of the value is W."""

import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import sympy as sp
import torch
import verdict_paths as paths
from kinds_of_losses import carrying
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from goal_analysis import twin
from goal_analysis.numeric.engine.aggregators import Aggregator as OnTensors
from goal_analysis.numeric.engine.aggregators import at_largest, maximum
from goal_analysis.numeric.engine.selections import SelectivelyHard, SemiHard, TopK
from goal_analysis.numeric.functions import loss_value
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import DIRECTIONS, TANGENTIAL, Direction
from goal_analysis.recombination.minings import Mining
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts, weights_of_loss
from goal_analysis.recombination.recombine import composed, recombine
from goal_analysis.recombination.text import parse_objective
from goal_analysis.recombination.verdict import loss_of, verdict, verdict_on_scores
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.aggregators import (
    EACH,
    EACH_MEAN,
    LOGSUMEXP,
    MAX,
    MEAN,
    MIN,
    Aggregator,
    Pool,
    Side,
)
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, step, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN, NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog import catalog, pair_weights, triplet_weights
from losses_catalog.weights import constant_pair, linear_pair, nca_triplet

PARTS = Parts(triplet_weights, pair_weights, catalog)
TRIPLETS = ("constant", "hinge", "nca", "circular", "nca_twin", "hinge_twin")
PAIRS = ("constant", "linear", "sigmoid", "polynomial")
MININGS = (
    "hardest",
    "top_k:2",
    "all",
    "semi_hard:0.4",
    "mask_above:0.2",
    "selectively_hard:0.3",
    "softmax:3,6",
    "mean",
)
OF_NONE = ("mask_above:0.2", "selectively_hard:0.3")  # with which the weights are the gradient of no loss
RECOMBINED = (
    "circle(gamma=8)/linear",
    "info_nce@all",
    "multi_similarity/linear@softmax:6",
    "vse_pp/linear",
    "sup_con",
    "ipo/constant@mask_above",
    "triplet@mask_above:0.2",
    "info_nce@mask_above",
)
POSITIVES = torch.tensor([True, True, False, False, False])
IDS = torch.tensor([0, 1, 1, 2, 7]), torch.tensor([0, 0, 1, 2, 1, 9])  # of image 4 and text 5 there is no pair


def read(text: str, **fields) -> Objective:
    return parse_objective(text, PARTS, **fields)


def every_other(mining: str) -> list[Objective]:
    """Every other pair of weights with a mining, as on a chessboard, and with the next mining those that are left.

    A twin that does not exist is left out.
    """
    found = []
    for place, (t, p) in enumerate(product(TRIPLETS, PAIRS)):
        if (place + place // len(PAIRS) + MININGS.index(mining)) % 2:
            continue
        try:
            found.append(read(f"{t}/{p}@{mining}"))
        except ValueError:
            if "twin" not in t:
                raise
    return found


every_mining = pytest.mark.parametrize("mining", MININGS)


def corners(count: int) -> Tensor:
    return torch.rand(count, 4, len(POSITIVES)) * 1.9 - 0.95


def work(objective: Objective, of: Tensor) -> paths.Work:
    """∮⟨W, dS⟩ along closed polygons of the scores of one anchor; every point of a path is a row of its own."""
    alone = GradientObjective(replace(objective, anchors=Anchors.ROWS, reduction=Reduction.SUM))

    def field(points: np.ndarray) -> np.ndarray:
        positives = POSITIVES.expand(points.shape[1], -1)
        return alone.weight_matrix(torch.from_numpy(points.T), Matches(positives, ~positives)).T.numpy()

    return paths.work(field, of.numpy())


def check_work(objective: Objective) -> bool | None:
    found = verdict(replace(objective, anchors=Anchors.ROWS, reduction=Reduction.SUM))
    assert found.integrable is not None, (objective.name, found.reason)
    if found.integrable:
        done = work(objective, corners(16))
        assert not done.proves.any(), (objective.name, found.reason, done.done, done.error)
    else:  # few paths cross a jump that is small
        assert any(work(objective, corners(16)).proves.any() for _ in range(20)), (objective.name, found.reason)
    return found.integrable


@every_mining
def test_integrable_iff_no_work_is_done_along_closed_paths(mining: str) -> None:
    found = {check_work(objective) for objective in every_other(mining)}
    assert found == ({False} if mining in OF_NONE else {True, False})


@pytest.mark.parametrize("text", [*RECOMBINED, "lmnn@semi_hard", "lmnn@mask_above"])
def test_so_it_is_of_losses_with_exchanged_parts(text: str) -> None:
    check_work(read(text))


def test_a_tenth_of_another_weight_does_work() -> None:
    off = PairWeights(name="off", positive=sp.S.One, negative=1 + s_n / 10)
    for mining in ("hardest", "all", "softmax:3,6"):
        objective = composed(nca_triplet, off, mining)
        assert work(objective, corners(8)).proves.any(), objective
        assert verdict(objective).integrable is False


# --- the value ------------------------------------------------------------------------------------


def random_scores() -> Tensor:
    return (torch.rand(5, 6) * 1.8 - 0.9).requires_grad_()


def difference(objective: Objective, other: Objective | None = None) -> float:
    """Between autograd of the value and the weights, as a share of the largest."""
    s, matches = random_scores(), carrying(objective, Matches.of_image_ids(*IDS))
    (got,) = torch.autograd.grad(GradientObjective(objective).value_from_scores(s, matches), s)
    w = GradientObjective(other or objective).weight_matrix(s, matches)
    return float((got - w).abs().max() / w.abs().max().clamp_min(1e-9))


@every_mining
def test_autograd_of_the_value_is_the_weight_matrix(mining: str) -> None:
    ways, tested = [(Anchors.BOTH, Reduction.SUM), (Anchors.COLUMNS, Reduction.MEAN), (Anchors.ROWS, Reduction.SUM)], 0
    if mining in OF_NONE:  # hardly any is a gradient, and that takes a walk each
        ways = ways[:1]
    for plain in every_other(mining):
        for anchors, reduction in ways:
            objective = replace(plain, anchors=anchors, reduction=reduction)
            if loss_of(objective) is not None:
                tested += 1
                assert difference(objective) < 1e-9, objective
    assert tested >= 3 or mining in OF_NONE


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_every_loss_that_is_the_gradient_of_one_has_its_own_value(loss: Objective) -> None:
    if loss_of(loss) is None:
        assert verdict_on_scores(loss).integrable is False
        with pytest.raises(ValueError, match="not the gradient of a loss"):
            difference(loss)
    elif loss.similarity == COSINE and not loss.proxies:
        assert difference(loss) < 1e-9


def test_a_thousandth_of_another_weight_is_seen() -> None:
    for mining in ("hardest", "all", "softmax:3,6"):
        one, other = (read(f"nca(tau={tau})/constant@{mining}") for tau in (10.0, 10.01))
        assert difference(one, other) > 1e-6


def test_softmax_of_nca_at_its_own_scale_is_info_nce() -> None:
    s, matches = torch.rand(7, 7), Matches.of_pairs(7)
    both = sum(cross_entropy(12 * t, torch.arange(7)) for t in (s, s.T)) / 2
    for text, factor in (("nca(tau=12)/constant@softmax:12", 12), ("info_nce(tau=12)", 1)):
        value = GradientObjective(read(text)).value_from_scores(s, matches)
        torch.testing.assert_close(factor * value, both, rtol=1e-12, atol=0)


@pytest.mark.parametrize("similarity", [COSINE, NEGATIVE_SQUARED_EUCLIDEAN], ids=lambda s: s.name)
def test_embeddings_are_trained_as_the_value_would(similarity) -> None:
    x, y = (normalize(torch.randn(n, 4), dim=1).requires_grad_() for n in (5, 6))
    for text in ("hinge/constant", "nca/constant@all", "nca(tau=6)/constant@softmax:6", "circular/linear", "info_nce"):
        objective = GradientObjective(read(text, similarity=similarity))
        got, expected = (torch.autograd.grad(of(x, y, *IDS), (x, y)) for of in (objective.value, objective))
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nca/linear", "the curl"),
        ("nca/constant@distance_weighted", "a random draw"),
        ("nca/constant@semi_hard", "one anchor's last triplet"),
        ("triplet@mask_above:0.2", "one anchor's last triplet"),
        ("lmnn@semi_hard", "one of the terms is the gradient of no loss"),
    ],
)
def test_what_is_the_gradient_of_no_loss_has_no_value(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s){text}.*not the gradient of a loss \(.*but expected one"):
        GradientObjective(read(text)).value_from_scores(random_scores(), Matches.of_image_ids(*IDS))
    assert why in verdict(read(text)).reason or "∂w" in verdict(read(text)).reason


def test_a_loss_without_a_closed_form_is_said_to_have_none() -> None:
    growing = TripletWeight(name="growing", expression=sp.exp(6 * s_n))
    one_sided = PairWeights(name="one_sided", positive=sp.S.Zero, negative=1 + s_n)
    objective = composed(growing, one_sided, "softmax:3,6")
    assert verdict(objective).integrable
    assert verdict(composed(growing, one_sided, "softmax:3,5")).integrable is False
    with pytest.raises(ValueError, match="no closed form was found but expected"):
        GradientObjective(objective).value_from_scores(random_scores(), Matches.of_image_ids(*IDS))


def asymmetry(objective: Objective) -> float:
    """The largest difference between the halves of the gradients' Jacobian by embeddings, as a share of it."""
    module, at, h = GradientObjective(objective), torch.randn(6, 3), 1e-5
    ids = torch.tensor([0, 1, 1])

    def gradients(flat: Tensor) -> Tensor:
        flat = flat.requires_grad_()
        unit = normalize(flat.view(6, 3), dim=1)
        return torch.autograd.grad(module(unit[:3], unit[3:], ids, ids), flat)[0]

    rows = [(gradients(at.flatten() + h * e) - gradients(at.flatten() - h * e)) / (2 * h) for e in torch.eye(18)]
    jacobian = torch.stack(rows)
    return float((jacobian - jacobian.T).abs().max() / jacobian.abs().max())


FACTORS = ("cosine", "dot", "tangential", "negative_squared_euclidean")
"""Directions of unit vectors that are constant multiples of one another."""


@pytest.mark.parametrize("of", DIRECTIONS, ids=lambda d: d.name)
@pytest.mark.parametrize("similarity", [COSINE, NEGATIVE_SQUARED_EUCLIDEAN, NEGATIVE_EUCLIDEAN], ids=lambda s: s.name)
def test_a_direction_is_judged_as_what_it_is_on_unit_vectors(similarity, of: Direction) -> None:
    alike = of.name in FACTORS if similarity.name in FACTORS else of.name == similarity.name
    for text, integrable in (("nca/constant", alike), ("info_nce", alike), ("constant/constant@all", None)):
        objective = read(text, similarity=similarity, direction=of)
        found = verdict(objective)
        expected = of.name != "direction_regularized" if integrable is None else integrable
        assert found.integrable is expected, (text, found.reason)
        assert (found.witness is None) == expected
        assert (asymmetry(objective) < 1e-5) == expected, text


def test_a_direction_with_a_factor_trains_as_its_own_loss() -> None:
    x, y = (normalize(torch.randn(n, 4), dim=1).requires_grad_() for n in (5, 6))
    for text, direction_ in (
        ("nca/constant@softmax", "negative_squared_euclidean"),
        ("constant/constant@all", "negative_euclidean"),
    ):
        objective = GradientObjective(read(text, direction=direction_))
        got, expected = (torch.autograd.grad(of(x, y, *IDS), (x, y)) for of in (objective.value, objective))
        for a, b, e in zip(got, expected, (x, y), strict=True):
            across = (b - (b * e).sum(1, keepdim=True) * e).detach()
            torch.testing.assert_close(a - (a * e).sum(1, keepdim=True) * e, across, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("of", DIRECTIONS, ids=lambda d: d.name)
def test_where_weights_do_not_depend_on_scores_any_similarity_is_a_direction(of: Direction) -> None:
    found = verdict(read("constant/constant@all", similarity=DOT, direction=of))
    assert found.integrable is (of not in (TANGENTIAL, DIRECTIONS[-1])), found.reason
    assert verdict(read("nca/constant", similarity=DOT, direction=of)).integrable is (of.name == "dot")


@pytest.mark.parametrize(
    "text",
    [
        "nca(tau=12)/linear@softmax:12",
        "nca(tau=12)/linear",
        "nca(tau=12)/sigmoid(beta=7)@all",
        "circle(gamma=17)",
        "circular(tau=12)/constant@top_k:3",
    ],
)
def test_the_witness_is_at_the_settings_of_the_user(text: str) -> None:
    objective = read(text)
    found = verdict(objective)
    assert found.integrable is False
    point = dict(found.witness.point)
    for h in objective.hyperparameters:
        assert point.get(h.name, h.default) == pytest.approx(float(h.default))
    assert set(point) & {h.name for h in objective.hyperparameters}


@pytest.mark.parametrize(
    "text",
    [
        "nca/constant@semi_hard",
        "hinge/constant@semi_hard:1",
        "nca/constant@selectively_hard:0.3",
        "nca/linear@distance_weighted",
        "constant/linear@selectively_hard",
    ],
)
def test_no_comes_with_a_witness(text: str) -> None:
    found = verdict(read(text))
    assert found.integrable is False
    assert found.witness is not None
    assert found.witness.value != 0


def mined(t: str, p: str, n: str, mining: str = "hardest") -> Objective:
    names = {"s_p": s_p, "s_n": s_n}
    pair = PairWeights(name="p", positive=sp.sympify(parse(p, names)), negative=sp.sympify(parse(n, names)))
    return composed(TripletWeight(name="t", expression=sp.sympify(parse(t, names))), pair, mining)


@pytest.mark.parametrize(
    ("objective", "integrable"),
    [
        (mined("step(abs(s_n) - 0.5)", "1 - s_p", "s_n"), False),
        (mined("1 if s_n**2 > 0.25 else 1/2", "1", "1"), False),
        (mined("step(s_n - s_p + 0.25)*sigmoid(4*(s_n - s_p))", "1", "1"), True),
        (
            mined(
                "1 if (hinge(0.8 - s_p)**2 + hinge(s_n - 0.3)**2)/2 > 0.25 else 1/2",
                "hinge(0.8 - s_p)",
                "hinge(s_n - 0.3)",
            ),
            True,
        ),
        (mined("1", "1 - s_p", "step(abs(s_n) - 0.5)", "all"), True),
        (mined("step(s_n - 0.5)", "1", "1", "mean"), False),
        (mined("step(s_n - 1.5)", "1", "1", "softmax:1"), False),
        (mined("step(s_n - 1.5)", "1", "1", "all"), True),
        (mined("step(s_n - s_p - 0.681)", "1 - s_p", "1", "semi_hard:1"), True),
        (mined("step(abs(s_n) - 0.5)", "1", "1", "semi_hard:0.4"), False),
    ],
    ids=lambda o: getattr(o, "name", str(o)),
)
def test_thresholds_in_weights_and_selections(objective: Objective, integrable: bool) -> None:
    found = verdict(objective)
    assert found.integrable is integrable, found.reason
    assert integrable or found.witness is not None


@pytest.mark.parametrize(("inner", "integrable"), [(2 * s_n, True), (s_n**3 + s_n, True), (s_n**2, False)])
def test_a_choice_by_another_quantity_is_no_gradient_where_it_ties_different_pairs(inner, integrable: bool) -> None:
    term = Term(
        triplet=sp.S.One, positives=Side(MIN, s_p, weight=sp.S.One), negatives=Side(MAX, inner, weight=sp.S.One)
    )
    found = verdict(Objective(name="chosen", title="", terms=(term,)))
    assert found.integrable is integrable, found.reason


def test_verdicts_of_the_published_family() -> None:
    of_hardest = {"constant/constant", "constant/linear", "constant/sigmoid", "hinge/constant", "nca/constant"}
    names = [f"{t.name}/{p}" for t in triplet_weights for p in ("constant", "linear", "sigmoid", "relative_linear")]
    assert {name for name in names if verdict(read(name)).integrable} == {*of_hardest, "circular/linear"}
    soft = {name for name in names if "relative" not in name and verdict(read(f"{name}@softmax:10")).integrable}
    assert soft == {"constant/constant", "hinge/constant", "nca/constant"}


# --- recombined -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
def test_a_loss_recombined_from_its_own_parts_is_the_same_value(loss: Objective) -> None:
    assert recombine(loss) is loss
    if not all(term.plain and term.negatives for term in loss.terms if len(loss.terms) == 1):
        return
    try:
        triplet, pair = weights_of_loss(loss)
    except ValueError:
        return
    if len(loss.terms) == 1 and all(side.inner in (s_p, s_n) for side in loss.terms[0].sides):
        assert recombine(loss, triplet=triplet) is loss
        assert recombine(loss, pair=pair) is loss
    assert recombine(loss, pair=linear_pair) != loss


@pytest.mark.parametrize("text", [*RECOMBINED, *(f"{t}/sigmoid@{m}" for t in ("nca", "hinge") for m in MININGS)])
def test_every_way_has_the_gradients_of_the_weight_matrix(text: str) -> None:
    x, y = (normalize(torch.randn(40, 6), dim=1).requires_grad_() for _ in range(2))
    ids = torch.arange(40) // 2
    for anchors in Anchors:
        objective = GradientObjective(read(text, anchors=anchors))
        for given, matches in (((), Matches.of_pairs(40)), ((ids,), Matches.of_image_ids(ids))):
            w = objective.weight_matrix((x @ y.T).detach(), matches)
            found = torch.autograd.grad(-2 * objective(x, y, *given), (x, y))
            torch.testing.assert_close(found, (-2 * w @ y, -2 * w.T @ x), rtol=1e-9, atol=1e-12)
            assert not torch.allclose(found[0], -2.002 * w @ y, rtol=1e-6, atol=1e-9)


# --- strangers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecondHardest:
    """It says nothing of itself."""

    name: ClassVar[str] = "second_hardest"

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        at = s.masked_fill(~members, -torch.inf).topk(2, dim=1).indices[:, 1:]
        return torch.zeros_like(members).scatter(1, at, True) & members


@dataclass(frozen=True)
class ByOrder(SecondHardest):
    depends: ClassVar[str] = "order"


@dataclass(frozen=True)
class AnyNegative:
    depends: ClassVar[str] = "random"
    name: ClassVar[str] = "any_negative"

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        drawn = torch.multinomial(members.double() + 1e-12, 1)
        return torch.zeros_like(members).scatter(1, drawn, True) & members


@dataclass(frozen=True)
class Copied:
    """A selection by a threshold under another name, which says nothing of itself."""

    name: ClassVar[str] = "copied"

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        return SelectivelyHard(0.3)(s, members, other)


def mean_of_two(values: list) -> sp.Expr:
    return sp.Add(*values) / 2


HALF_SUM = Aggregator(
    "half_sum",
    mean_of_two,
    "½ for every pair",
    tensors=OnTensors("half_sum", lambda v, m: v.masked_fill(~m, 0).sum(-1) / 2, lambda v, m: m.to(v.dtype) / 2),
)
ANOTHER_MAX = replace(MAX, name="another_max", tensors=OnTensors("another_max", maximum, at_largest))


@pytest.mark.parametrize(
    ("selection", "integrable"),
    [(SecondHardest(), None), (Copied(), None), (ByOrder(), True), (AnyNegative(), False)],
    ids=lambda given: getattr(given, "name", str(given)),
)
def test_a_strangers_selection_has_the_verdict_that_it_declares(selection, integrable: bool | None) -> None:
    objective = GradientObjective(composed(nca_triplet, constant_pair, Mining(MIN, EACH_MEAN, selection)))
    assert objective.describe().integrable is integrable
    assert selection.name in objective.describe().mining
    s = random_scores()
    w = objective.weight_matrix(s, Matches.of_image_ids(*IDS))
    assert w.abs().max() > 0
    if integrable:
        assert difference(objective.objective) < 1e-9
    else:
        with pytest.raises(ValueError, match="known to be" if integrable is None else "not the gradient of a loss"):
            objective.value_from_scores(s, Matches.of_image_ids(*IDS))


@pytest.mark.parametrize(("selection", "integrable"), [(ByOrder(), None), (TopK(2), False)], ids=lambda x: str(x))
def test_a_witness_counts_where_the_selection_keeps_its_pairs(selection, integrable: bool | None) -> None:
    objective = mined("sigmoid(2*(exp(s_n) + exp(-s_p)))", "exp(-s_p)", "exp(s_n)", "mean")
    assert verdict(objective).integrable is False
    (term,) = objective.terms
    selected = replace(term, negatives=replace(term.negatives, selection=selection))
    assert verdict(objective.of_terms((selected,))).integrable is integrable


@pytest.mark.parametrize("selection", [SemiHard(0.4), SelectivelyHard(0.3)], ids=lambda s: s.name)
def test_what_compares_with_a_positive_is_refused_without_one(selection) -> None:
    for loss in (one for one in catalog if one.plain):
        mining = Mining(EACH, EACH, selection)
        if all(t.positives or not t.negatives for t in loss.terms):
            assert recombine(loss, mining=mining).terms
        else:
            with pytest.raises(ValueError, match=f"got the selection {selection.name}, .* no positives"):
                recombine(loss, mining=mining)


@pytest.mark.parametrize(("pool", "integrable"), [(Pool.OWN, False), (Pool.ALL, None)], ids=str)
def test_an_aggregate_of_all_pairs_is_no_lower_than_the_positive(pool: Pool, integrable: bool | None) -> None:
    outer = (x_n - x_p) * step(x_n + sp.Rational(7, 12))
    term = Term(outer=outer, positives=MEAN(s_p), negatives=replace(LOGSUMEXP(s_n), pool=pool))
    assert verdict(Objective(name="cut", title="Cut", terms=(term,))).integrable is integrable


def test_a_strangers_aggregator_trains_and_has_a_value() -> None:
    for aggregator in (HALF_SUM, ANOTHER_MAX):
        term = Term(outer=softplus(gap), positives=EACH(s_p), negatives=aggregator(s_n))
        loss = Objective(name="strange", title="Strange", terms=(term,))
        s, matches = random_scores(), Matches.of_image_ids(*IDS)
        w = GradientObjective(loss).weight_matrix(s, matches)
        (gradient,) = torch.autograd.grad(loss_value(loss, s, matches), s)
        torch.testing.assert_close(w, gradient)
        assert aggregator.name in GradientObjective(loss).describe().mining


def test_a_stranger_of_every_kind_comes_in_by_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "strangers.py").write_text(
        "from tests_of_strangers import *\n"
        "mining = Mining(MIN, EACH_MEAN, SecondHardest())\n"
        "mined = composed(nca_triplet, constant_pair, mining, 'mine', direction=uphill)\n"
    )
    module = sys.modules[__name__]
    of_weights = Direction("uphill", "w·y", lambda w, x, y: (w @ y, w.T @ x))
    vars(module)["uphill"] = of_weights
    sys.modules["tests_of_strangers"] = module
    try:
        objective = read(f"{tmp_path}/strangers.py:mined")
    finally:
        del sys.modules["tests_of_strangers"]
    assert objective.name == f"{tmp_path}/strangers.py:mined"
    found = GradientObjective(objective)
    assert found.describe().direction == "uphill"
    x, y = (normalize(torch.randn(6, 4), dim=1).requires_grad_() for _ in range(2))
    w = found.weight_matrix((x @ y.T).detach(), Matches.of_pairs(6))
    torch.testing.assert_close(torch.autograd.grad(found(x, y), (x, y)), (w @ y, w.T @ x))
    with pytest.raises(ValueError, match="has no attribute 'nothing'"):
        read(f"{tmp_path}/strangers.py:nothing")


@pytest.mark.parametrize("text", ["nca/linear", "(1 - s_p)**3*s_n**2", "(2 + s_p)*s_n", "softplus(8*s_n*(1 - s_p))"])
def test_the_twin_of_weights_and_of_a_loss_is_a_gradient_and_finite(text: str) -> None:
    of = twin(text)
    found = verdict(of)
    assert found.integrable is True, found.reason
    w = GradientObjective(of).weight_matrix(random_scores().detach(), Matches.of_image_ids(*IDS))
    assert w.isfinite().all()
    assert w.abs().max() > 0


def test_prescribed_weights_that_are_not_simplified_in_time_have_a_verdict():
    def long(s):
        return sp.Mul(*(sp.sin(k * s) ** 2 + sp.exp(s) / (k + sp.exp(k * s)) for k in range(1, 8)))

    def soft(weight: sp.Expr, inner: sp.Expr) -> Objective:
        negatives = Side(LOGSUMEXP, inner, weight=weight)
        term = Term(triplet=1 / (1 + sp.exp(-x_n)), negatives=negatives)
        return Objective(name="soft", title="", terms=(term,))

    found = verdict(soft(long(s_n), s_n))
    assert found.integrable is False
    assert found.witness is not None
    multiple = verdict(soft(sp.Integer(3), s_n))  # three times the derivative of the inner function
    assert multiple.integrable is True


def test_factors_of_a_side_that_gathers_both_kinds_of_pairs_multiply_to_the_weights():
    field = decompose(read("sup_con/linear")).field
    assert field.factors is None
    assert field.positive.has(s_n)
