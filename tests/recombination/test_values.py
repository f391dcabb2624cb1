"""The value of an integrable objective is a loss: autograd differentiates it to the weights that train."""

from __future__ import annotations

import pytest
import sympy as sp
import torch
from goal_analysis.numeric.mining import All, DistanceWeighted, Hardest, Miner, SelectivelyHard, SemiHard, Softmax, TopK
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import TANGENTIAL, direction
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.analysis.recovery import tangent_twin
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import (
    COSINE,
    NEGATIVE_EUCLIDEAN,
    NEGATIVE_SQUARED_EUCLIDEAN,
    Similarity,
)
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose
from losses_catalog.weights import (
    circular_triplet,
    constant_pair,
    constant_triplet,
    hinge_triplet,
    linear_pair,
    nca_triplet,
    pair_weights,
    sigmoid_pair,
    tau,
    triplet_weights,
)

MININGS: tuple[Miner, ...] = (
    Hardest(),
    TopK(2),
    All(),
    SemiHard(0.4),
    SemiHard(0.0),
    SelectivelyHard(0.0),
    Softmax(3.0, 6.0),
    Softmax(0.0, 5.0),
    Softmax(0.0, 0.0),
)
every_mining = pytest.mark.parametrize("mining", MININGS, ids=str)
IDS = torch.tensor([0, 1, 1, 2, 7]), torch.tensor([0, 0, 1, 2, 1, 9])  # of image 4 and text 5 there is no pair


def twin_of(triplet: TripletWeight, pairs: PairWeights) -> TripletWeight:
    field = tangent_twin(compose(triplet, pairs))[0]
    assert field.factors is not None
    needed = tuple(h for h in field.hyperparameters if h.symbol in field.factors.triplet.free_symbols)
    return TripletWeight(name=f"twin_{triplet.name}", expression=field.factors.triplet, hyperparameters=needed)


OWN = [p for p in pair_weights if not p.relative]
PARTS = [(t, p) for t in triplet_weights for p in OWN]
PARTS += [(twin_of(t, p), p) for t in (hinge_triplet, nca_triplet, circular_triplet) for p in OWN]
PARTS += [(constant_triplet, PairWeights(name="half_linear", positive=sp.S.One, negative=1 + s_n))]


def random_scores() -> Tensor:
    return (torch.rand(5, 6) * 1.8 - 0.9).requires_grad_()


def gradient(value: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, inputs)


@every_mining
def test_autograd_of_the_value_is_the_weight_matrix(mining: Miner) -> None:
    matches, tested = Matches.of_image_ids(*IDS), 0
    for triplet, pairs in PARTS:
        for anchors in Anchors:
            for reduction in Reduction:
                o = GradientObjective(triplet, pairs, mining, anchors=anchors, reduction=reduction)
                if not o.describe().integrable:
                    continue
                tested += 1
                s = random_scores()
                (got,) = gradient(o.value_from_scores(s, matches), s)
                assert torch.allclose(got, o.weight_matrix(s, matches), rtol=1e-9, atol=1e-12), o
    assert tested >= (6 if isinstance(mining, SemiHard) else 12)


def test_a_thousandth_of_another_weight_is_seen() -> None:
    matches, s = Matches.of_image_ids(*IDS), random_scores()
    for mining in (Hardest(), All(), Softmax(3.0, 6.0)):
        o, other = (GradientObjective(nca_triplet, constant_pair, mining, settings={"tau": t}) for t in (10.0, 10.01))
        (got,) = gradient(o.value_from_scores(s, matches), s)
        assert not torch.allclose(got, other.weight_matrix(s, matches), rtol=1e-9, atol=1e-12)


@every_mining
def test_the_value_changes_along_a_path_by_the_work_of_the_weights(mining: Miner) -> None:
    matches = Matches.of_image_ids(*IDS)
    start, end = random_scores().detach(), random_scores().detach()
    share = torch.linspace(0, 1, 201)
    for triplet, pairs in ((nca_triplet, constant_pair), (hinge_triplet, constant_pair)):
        o = GradientObjective(triplet, pairs, mining)
        middles = ((share[1:] + share[:-1]) / 2).tolist()
        work = sum((o.weight_matrix(start + m * (end - start), matches) * (end - start)).sum() for m in middles) / 200
        change = o.value_from_scores(end, matches) - o.value_from_scores(start, matches)
        assert abs(work - change) < 0.03, o
        if not isinstance(mining, SemiHard):
            assert abs(change) > 0.1, o


@every_mining
def test_gradcheck(mining: Miner) -> None:
    matches, s = Matches.of_image_ids(*IDS), random_scores()
    o = GradientObjective(nca_triplet, constant_pair, mining)
    assert torch.autograd.gradcheck(lambda scores: o.value_from_scores(scores, matches), (s,))


def embeddings(length: float = 1.0) -> tuple[Tensor, Tensor]:
    x, y = (length * normalize(torch.randn(n, 4), dim=1) for n in (5, 6))
    return x.requires_grad_(), y.requires_grad_()


@every_mining
@pytest.mark.parametrize("reduction", [Reduction.SUM, Reduction.MEAN])
def test_embeddings_are_trained_as_the_value_would(mining: Miner, reduction: Reduction) -> None:
    if isinstance(mining, SemiHard) and mining.margin and reduction is Reduction.MEAN:
        pytest.skip("the mean over anchors that leave is the gradient of nothing")
    for similarity in (COSINE, NEGATIVE_SQUARED_EUCLIDEAN, NEGATIVE_EUCLIDEAN):
        o = GradientObjective(hinge_triplet, constant_pair, mining, similarity=similarity, reduction=reduction)
        x, y = embeddings()
        got, expected = (gradient(of(x, y, *IDS), x, y) for of in (o.value, o))
        assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(got, expected, strict=True)), o


@pytest.mark.parametrize("of", [direction("cosine"), direction("dot"), TANGENTIAL], ids=lambda d: d.name)
def test_directions_that_are_the_cosines_gradient_on_unit_vectors(of) -> None:
    o = GradientObjective(nca_triplet, constant_pair, direction=of)
    raw = tuple(e.detach().requires_grad_() for e in embeddings())
    x, y = (normalize(e, dim=1) for e in raw)
    got, expected = (torch.autograd.grad(f(x, y, *IDS), raw, retain_graph=True) for f in (o.value, o))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(got, expected, strict=True))


def test_embeddings_that_are_no_unit_vectors_are_normalised() -> None:
    o = GradientObjective(nca_triplet, constant_pair)
    x, y = embeddings(3.0)
    with pytest.warns(UserWarning, match="they are normalised"):
        value = o.value(x, y, *IDS)
    assert torch.allclose(value, o.value(x / 3, y / 3, *IDS))
    got, expected = (gradient(v, x, y) for v in (value, o(x, y, *IDS)))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(got, expected, strict=True))


def test_softmax_of_nca_at_its_own_scale_is_info_nce() -> None:
    o = GradientObjective(nca_triplet, constant_pair, Softmax(12.0, 12.0), settings={"tau": 12.0})
    s = torch.rand(7, 7)
    both = sum(torch.nn.functional.cross_entropy(12 * t, torch.arange(7), reduction="sum") for t in (s, s.T))
    assert torch.allclose(o.value_from_scores(s, Matches.of_pairs(7)), both / 12, rtol=1e-12)


def test_the_hinge_on_the_hardest_negative_is_max_violation() -> None:
    o = GradientObjective(hinge_triplet, constant_pair)
    s = torch.rand(7, 7)
    diagonal = s.diag()
    others = s.masked_fill(torch.eye(7, dtype=torch.bool), -1)
    expected = sum((0.2 + others.amax(axis) - diagonal).clamp_min(0).sum() for axis in (0, 1))
    assert torch.allclose(o.value_from_scores(s, Matches.of_pairs(7)), expected, rtol=1e-12)


def test_steps_along_the_gradient_lower_the_value() -> None:
    for mining in (Hardest(), All(), Softmax(3.0, 6.0)):
        o = GradientObjective(circular_triplet if isinstance(mining, All) else nca_triplet, constant_pair, mining)
        if not o.describe().integrable:
            o = GradientObjective(circular_triplet, linear_pair, mining)
        s = random_scores()
        before = o.value_from_scores(s, Matches.of_image_ids(*IDS))
        (to_s,) = gradient(before, s)
        assert o.value_from_scores(s - 1e-3 * to_s, Matches.of_image_ids(*IDS)) < before


@every_mining
def test_batches_without_triplets_have_the_value_0_and_no_gradient(mining: Miner) -> None:
    o = GradientObjective(nca_triplet, constant_pair, mining)
    for matches in (Matches.of_pairs(1), Matches.of_image_ids(torch.zeros(3).long()), Matches.of_image_ids(*IDS)):
        s = torch.rand(matches.shape).requires_grad_()
        value = o.value_from_scores(s, matches)
        assert value.isfinite()
        (got,) = gradient(value, s)
        assert got.isfinite().all()
        if not (matches.negatives.any() and matches.positives.any()):
            assert value == 0
            assert got.eq(0).all()


def test_smaller_floats_are_computed_in_float32() -> None:
    o = GradientObjective(nca_triplet, constant_pair)
    x, y = (e.detach().bfloat16().requires_grad_() for e in embeddings())
    value = o.value(x, y, *IDS)
    assert value.dtype == torch.float32
    assert gradient(value, x)[0].dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert o.value(x, y, *IDS) == value


@pytest.mark.parametrize("similarity", [COSINE, NEGATIVE_EUCLIDEAN], ids=lambda s: s.name)
def test_what_is_the_gradient_of_no_loss_has_no_value(similarity: Similarity) -> None:
    matches, s, (x, y) = Matches.of_image_ids(*IDS), random_scores(), embeddings()
    for o, why in (
        (GradientObjective(nca_triplet, linear_pair, similarity=similarity), "the curl"),
        (GradientObjective(nca_triplet, constant_pair, DistanceWeighted(), similarity=similarity), "a random draw"),
        (GradientObjective(constant_triplet, sigmoid_pair, SemiHard(), similarity=similarity), "semi-hard triplets"),
    ):
        name = o.triplet_weight.name
        expected = rf"(?s)triplet_weight={name}.*not the gradient of a loss \(.*{why}.*but expected one"
        with pytest.raises(ValueError, match=expected):
            o.value_from_scores(s, matches)
        with pytest.raises(ValueError, match=expected):
            o.value(x, y, *IDS)


def test_a_foreign_direction_has_a_value_of_the_scores_alone() -> None:
    o = GradientObjective(nca_triplet, constant_pair, direction=direction("negative_euclidean"))
    plain = GradientObjective(nca_triplet, constant_pair)
    matches, s, (x, y) = Matches.of_image_ids(*IDS), random_scores(), embeddings()
    assert o.value_from_scores(s, matches) == plain.value_from_scores(s, matches)
    with pytest.raises(ValueError, match="negative_euclidean is not the gradient of the similarity cosine"):
        o.value(x, y, *IDS)


def test_a_loss_without_a_closed_form_is_said_to_have_none() -> None:
    growing = TripletWeight(name="growing", expression=sp.exp(6 * s_n))
    one_sided = PairWeights(name="one_sided", positive=sp.S.Zero, negative=1 + s_n)
    o = GradientObjective(growing, one_sided, Softmax(3.0, 6.0))
    assert o.describe().integrable
    with pytest.raises(ValueError, match="no closed form was found but expected"):
        o.value_from_scores(random_scores(), Matches.of_image_ids(*IDS))


def test_what_is_not_finite_or_does_not_fit_is_refused() -> None:
    o = GradientObjective(nca_triplet, constant_pair)
    s = torch.rand(3, 3)
    with pytest.raises(ValueError, match="but expected"):
        o.value_from_scores(s[:2], Matches.of_pairs(3))
    s[1, 2] = torch.nan
    with pytest.raises(ValueError, match="scores: row 1: got a number that is not finite"):
        o.value_from_scores(s, Matches.of_pairs(3))
    with pytest.raises(ValueError, match="image_embeddings"):
        o.value(s, torch.eye(3))


def test_softmax_mining_refuses_what_is_not_real_beyond_the_similarity() -> None:
    root = TripletWeight(name="root", expression=sp.sqrt(1 - s_p**2), hyperparameters=())
    positive_root = TripletWeight(name="rooted", expression=sp.sqrt(tau.symbol + 1 - s_n), hyperparameters=(tau,))
    with pytest.raises(ValueError, match=r"triplet weight root: got mining softmax.*not real at x_p = -1\.01.*hardest"):
        GradientObjective(root, constant_pair, Softmax())
    for accepted in (
        (root, Hardest(), {}),
        (root, Softmax(0.0, 5.0), {}),  # a mean stays in the range
        (positive_root, Softmax(), {"tau": 2.0}),
        (nca_triplet, Softmax(), {}),
    ):
        triplet, mining, settings = accepted
        o = GradientObjective(triplet, constant_pair, mining, settings=settings)
        assert o.weight_matrix(torch.ones(6, 6), Matches.of_pairs(6)).isfinite().all()
    with pytest.raises(ValueError, match="triplet weight rooted"):
        GradientObjective(positive_root, constant_pair, Softmax(), settings={"tau": 0.005})
    relative = next(p for p in pair_weights if p.relative)
    with pytest.raises(ValueError, match=rf"pair weights {relative.name}: got mining softmax, which has no triplets"):
        GradientObjective(nca_triplet, relative, Softmax())


def test_softmax_at_scale_0_reads_the_mean() -> None:
    o = GradientObjective(nca_triplet, constant_pair, Softmax(0.0, 0.0), anchors=Anchors.ROWS)
    s, matches = torch.rand(4, 4), Matches.of_pairs(4)
    others = (s.sum(1) - s.diag()) / 3
    t = torch.sigmoid(10 * (others - s.diag()))
    expected = t[:, None] * (matches.negatives / 3 - matches.positives.double())
    assert torch.allclose(o.weight_matrix(s, matches), expected)
