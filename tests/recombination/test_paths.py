"""Laws of the ways that keep no matrix of scores: each gives what the general way through the matrix gives."""

import copy
from collections.abc import Callable

import pytest
import torch
from goal_analysis.numeric.mining import Hardest, Miner, Softmax, TopK
from goal_analysis.recombination.paths import matches_of, quick_surrogate
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.similarity import TANGENTIAL
from goal_analysis.recombination import hardest, positives
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Reduction
from losses_catalog.weights import (
    constant_pair,
    constant_triplet,
    linear_pair,
    nca_triplet,
    pair_weights,
    relative_linear_pair,
    sigmoid_pair,
    triplet_weights,
)

Found = tuple[Tensor, Tensor, Tensor]
Way = Callable[..., Tensor | None]
MININGS = (Hardest(), Softmax(5.0, 12.0), Softmax(50.0, 200.0))
SIZES = {"whole": None, "tiles": (48, 40), "tiles that divide": (50, 30), "wide tiles": (70, 150), "tall": (150, 29)}

minings = pytest.mark.parametrize("mining", MININGS, ids=("hardest", "soft", "soft and steep"))
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())


def unit(n: int, dim: int = 6, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def batch(n: int = 150) -> tuple[Tensor, Tensor]:
    x = unit(n)
    return x, normalize(x + unit(n, seed=1), dim=1)


def found(way: Way, x: Tensor, y: Tensor, *ids: Tensor | None) -> Found:
    """The value of a way, and its gradients times an upstream gradient of 3."""
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    value = way(x, y, *ids)
    assert value is not None, "there is no quick way"
    return (value.detach(), *torch.autograd.grad(3 * value, (x, y)))


def quick(o: GradientObjective) -> Way:
    return lambda x, y, *ids: quick_surrogate(o.weighting, o.reduction, x, y, *ids)


def general(o: GradientObjective) -> Way:
    def way(x: Tensor, y: Tensor, *ids: Tensor | None) -> Tensor:
        return o.from_scores(x @ y.T, matches_of(len(x), x.device, *(*ids, None, None)[:2]))

    return way


def agree(got: Found, expected: Found, tolerance: float = 1e-12) -> bool:
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(got, expected, strict=True))


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, int] | None], None]:
    def force(size: tuple[int, int] | None) -> None:
        monkeypatch.setattr(positives, "WHOLE", 0 if size else 2048)
        monkeypatch.setattr(positives, "TILE", size)

    return force


IDS = {
    "pairs": (),
    "captions": (torch.arange(150) // 5,),
    "captions in disorder": ((torch.arange(150) * 37) % 60,),
    "ids of both": ((torch.arange(150) * 7) % 100, torch.arange(150) % 120),
    "one image": (torch.cat([torch.zeros(30), torch.arange(120)]).long(),),
}


@minings
@sizes
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
def test_every_weight_gets_the_gradient_of_the_general_way(
    mining: Miner, size: tuple[int, int] | None, ids: tuple[Tensor, ...], tiled: Callable
) -> None:
    tiled(size)
    x, y = batch()
    for t in triplet_weights:
        for p in pair_weights:
            if not p.relative:
                o = GradientObjective(t, p, mining)
                assert agree(found(quick(o), x, y, *ids), found(general(o), x, y, *ids)), o


@minings
@sizes
@pytest.mark.parametrize("anchors", Anchors)
@pytest.mark.parametrize("reduction", Reduction)
def test_one_sided_anchors_means_and_other_shapes(
    mining: Miner, size: tuple[int, int] | None, anchors: Anchors, reduction: Reduction, tiled: Callable
) -> None:
    tiled(size)
    o = GradientObjective(nca_triplet, sigmoid_pair, mining, anchors=anchors, reduction=reduction)
    x, y = batch(60)[0], batch()[1]
    ids = (torch.arange(60), torch.arange(150) % 61)  # text 60 and 121 have no image
    assert agree(found(quick(o), x, y, *ids), found(general(o), x, y, *ids))
    assert agree(found(quick(o), x, y[:60]), found(general(o), x, y[:60]))


def test_a_weight_that_is_off_by_a_thousandth_is_seen() -> None:
    x, y = batch()
    o, other = (GradientObjective(nca_triplet, linear_pair, settings={"tau": tau}) for tau in (10.0, 10.01))
    assert not agree(found(quick(other), x, y), found(general(o), x, y))


def test_captions_that_are_not_masked_are_seen() -> None:
    x, y = batch()
    o = GradientObjective(nca_triplet, linear_pair)
    assert not agree(found(quick(o), x, y), found(general(o), x, y, torch.arange(150) // 5))


@minings
@pytest.mark.parametrize("size", [None, (64, 32)], ids=["whole", "tiles"])
@pytest.mark.parametrize("n", [1, 2, 130, 300])
def test_all_equal_and_repeated_embeddings(
    mining: Miner, n: int, size: tuple[int, int] | None, tiled: Callable
) -> None:
    # Halves, so that equal pairs have exactly equal scores whatever the order of summing: ties.
    tiled(size)
    equal = torch.full((n, 4), 0.5)
    few = torch.eye(4).repeat(n, 1)[torch.randperm(n) % (4 * n)]
    o = GradientObjective(constant_triplet, linear_pair, mining)
    for x, y in ((equal, equal), (few, few), (few, few.flip(0)), (equal, few)):
        assert agree(found(quick(o), x, y), found(general(o), x, y))
        assert found(quick(o), x, y)[1].isfinite().all()


@pytest.mark.parametrize("size", [None, (64, 32), (1, 1)], ids=["whole", "tiles", "single scores"])
def test_among_ties_the_first_candidate_wins(size: tuple[int, int] | None) -> None:
    n = 30 if size == (1, 1) else 200  # a tile a score is slow
    pairs = positives.Positives.of_pairs(n)
    same = torch.full((n, 4), 0.5)
    mined = hardest.extremes(same, same, pairs, size)
    first = torch.tensor([1] + [0] * (n - 1))
    assert mined.row_at.equal(first)
    assert mined.column_at.equal(first)
    last = same.clone()
    last[-1] *= 2
    assert not hardest.extremes(same, last, pairs, size).row_at.equal(first)


@minings
def test_anchors_without_negatives_contribute_nothing(mining: Miner) -> None:
    x, y = batch(8)
    for ids in (torch.zeros(8, dtype=torch.long), torch.tensor([5])):
        for reduction in Reduction:
            o = GradientObjective(nca_triplet, linear_pair, mining, reduction=reduction)
            value, *gradients = found(quick(o), x[: len(ids)], y[: len(ids)], ids)
            assert value == 0
            assert all(g.eq(0).all() for g in gradients)
    assert found(quick(GradientObjective(nca_triplet, linear_pair, mining)), x, y)[1].ne(0).any()


@minings
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smaller_floats_are_computed_in_float32(mining: Miner, dtype: torch.dtype) -> None:
    x, y = (e.to(dtype) for e in batch())
    o = GradientObjective(nca_triplet, linear_pair, mining)
    for got, exact in zip(found(o, x, y)[1:], found(quick(o), x.double(), y.double())[1:], strict=True):
        assert got.dtype == dtype
        assert torch.linalg.vector_norm(got - exact) <= 100 * torch.finfo(dtype).eps * torch.linalg.vector_norm(exact)
        assert torch.linalg.vector_norm(got - exact) > 0


@minings
def test_autocast_changes_nothing(mining: Miner) -> None:
    x, y = (e.float() for e in batch())
    o = GradientObjective(nca_triplet, linear_pair, mining)
    with torch.autocast("cpu", torch.bfloat16):
        inside = found(o, x, y)
        assert (x @ y.T).dtype == torch.bfloat16
    assert agree(inside, found(o, x, y), 0)


@minings
def test_permuting_the_batch_permutes_the_gradients(mining: Miner) -> None:
    x, y = batch()
    o, order = GradientObjective(nca_triplet, sigmoid_pair, mining), torch.randperm(150)
    value, to_x, to_y = found(quick(o), x, y)
    assert agree(found(quick(o), x[order], y[order]), (value, to_x[order], to_y[order]))
    assert not agree(found(quick(o), x[order], y[order]), (value, to_x, to_y))


@minings
def test_swapping_image_and_text_swaps_the_gradients(mining: Miner) -> None:
    x, y = batch()
    o = GradientObjective(nca_triplet, sigmoid_pair, mining)
    value, to_x, to_y = found(quick(o), x, y)
    assert agree(found(quick(o), y, x), (value, to_y, to_x))
    one_sided = GradientObjective(nca_triplet, sigmoid_pair, mining, anchors=Anchors.ROWS)
    value, to_x, to_y = found(quick(one_sided), x, y)
    assert not agree(found(quick(one_sided), y, x), (value, to_y, to_x))


@minings
def test_gradients_scale_and_accumulate(mining: Miner) -> None:
    (x, y), o = batch(), GradientObjective(nca_triplet, linear_pair, mining)
    once, weight = found(o, x, y)[1], torch.eye(6, requires_grad=True)
    for scale in (1.0, -2.5):
        (scale * o(normalize(x @ weight, dim=1), y)).backward()
    accumulated, weight.grad = weight.grad, None
    (-1.5 * o(normalize(x @ weight, dim=1), y)).backward()
    assert torch.allclose(accumulated, weight.grad, atol=1e-12)
    assert weight.grad.abs().max() > 1e-3
    assert not once.eq(0).all()


@minings
def test_a_scaler_steps_as_without_one(mining: Miner) -> None:
    x, y = (e.float() for e in batch())
    o = GradientObjective(nca_triplet, linear_pair, mining, reduction=Reduction.MEAN)
    plain = torch.nn.Linear(6, 6, dtype=torch.float32)
    scaled = copy.deepcopy(plain)
    for model, scaler in ((plain, None), (scaled, torch.amp.GradScaler("cpu", init_scale=2.0**10))):
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        value = o(normalize(model(x), dim=1), y)
        if scaler is None:
            value.backward()
            optimiser.step()
        else:
            scaler.scale(value).backward()
            assert model.weight.grad.abs().max() > 100 * plain.weight.grad.abs().max()
            scaler.step(optimiser)
    assert torch.allclose(plain.weight, scaled.weight, atol=1e-6)


# Where torch breaks its graph it looks at the gradients of what it hands on.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@minings
def test_compiling_falls_back(mining: Miner) -> None:
    (x, y), o = batch(), GradientObjective(nca_triplet, linear_pair, mining)
    compiled = torch.compile(lambda a, b: 2 * o(a.mul(1.0), b), backend="aot_eager")
    assert agree(found(compiled, x, y), found(lambda a, b: 2 * o(a, b), x, y))
    assert not agree(found(compiled, x, y), found(o, x, y))


@minings
def test_deterministic_mode(mining: Miner) -> None:
    (x, _), o, ids = batch(), GradientObjective(nca_triplet, linear_pair, mining), torch.arange(150) // 5
    hub = x[:1].expand(150, -1).contiguous()  # every image has the same hardest text
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (found(o, x, hub, ids) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))
    assert first[2].ne(0).any()


@minings
def test_numbers_that_are_not_finite_are_refused_by_row(mining: Miner) -> None:
    x, y = batch(9)
    for wrong in (torch.nan, torch.inf, -torch.inf):
        spoilt = y.clone()
        spoilt[4, 2] = spoilt[7, 0] = wrong
        with pytest.raises(ValueError, match="text_embeddings: row 4: got a number that is not finite"):
            GradientObjective(nca_triplet, linear_pair, mining)(x, spoilt)
    spoilt[4, 2] = spoilt[7, 0] = torch.nan
    passing = GradientObjective(nca_triplet, linear_pair, mining, refuse_nonfinite=False)
    with pytest.warns(UserWarning, match="unit vectors"):
        assert passing(x, spoilt).isnan()
    assert GradientObjective(nca_triplet, linear_pair, mining)(x, y).isfinite()


def test_what_has_no_way_of_its_own_goes_through_the_matrix() -> None:
    x, y = batch(20)
    for o in (
        GradientObjective(nca_triplet, linear_pair, TopK(3)),
        GradientObjective(nca_triplet, relative_linear_pair),
        GradientObjective(constant_triplet, constant_pair, Softmax(10.0, 0.0)),
    ):
        assert quick(o)(x, y) is None
    assert quick(GradientObjective(nca_triplet, linear_pair))(x, y, torch.zeros(20).long()) is not None
    many = torch.zeros(60).long()
    assert quick(GradientObjective(nca_triplet, linear_pair))(*batch(60), many) is None
    plain = found(GradientObjective(nca_triplet, linear_pair), x, y)
    for other in ({"similarity": NEGATIVE_EUCLIDEAN}, {"direction": TANGENTIAL}):
        assert not agree(found(GradientObjective(nca_triplet, linear_pair, **other), x, y), plain)
