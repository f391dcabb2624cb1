"""A direction is the gradient of its similarity: closed forms against autograd, and the other directions."""

import pytest
import sympy as sp
import torch

from goal_analysis.numeric.similarity import (
    DIRECTIONS,
    TANGENTIAL,
    direction,
    direction_regularized,
    embedding_gradients,
    scores,
)
from goal_analysis.symbolic.language.similarity import (
    COSINE,
    DOT,
    NEGATIVE_EUCLIDEAN,
    NEGATIVE_SQUARED_EUCLIDEAN,
    SIMILARITIES,
    Similarity,
)

SHAPES = [(5, 7, 3), (1, 4, 2), (6, 6, 8), (0, 3, 2), (3, 0, 2)]
EUCLIDEAN = (NEGATIVE_SQUARED_EUCLIDEAN, NEGATIVE_EUCLIDEAN)

by_name = pytest.mark.parametrize("similarity", SIMILARITIES, ids=lambda s: s.name)


def batch(anchors: int, candidates: int, dim: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(anchors, candidates), torch.randn(anchors, dim), torch.randn(candidates, dim)


def by_autograd(similarity: Similarity, w, x, y) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    to_x, to_y = torch.autograd.grad((w * scores(similarity, x, y)).sum(), (x, y))
    return to_x, to_y


def farthest(one, other) -> float:
    gaps = [(a - b).abs().max() for a, b in zip(one, other, strict=True) if a.numel()]
    return float(max(gaps, default=torch.tensor(0.0)))


@by_name
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_autograds(similarity: Similarity, shape) -> None:
    w, x, y = batch(*shape)
    assert farthest(embedding_gradients(similarity, w, x, y), by_autograd(similarity, w, x, y)) < 1e-12


@by_name
def test_a_weight_times_one_and_a_millionth_is_told_apart(similarity: Similarity) -> None:
    w, x, y = batch(5, 7, 3)
    spoilt = w.clone()
    spoilt[2, 3] *= 1 + 1e-6
    assert farthest(embedding_gradients(similarity, spoilt, x, y), by_autograd(similarity, w, x, y)) > 1e-9


@by_name
def test_every_other_similarity_has_another_gradient(similarity: Similarity) -> None:
    w, x, y = batch(5, 7, 3)
    for other in set(SIMILARITIES) - {similarity}:
        assert farthest(embedding_gradients(other, w, x, y), by_autograd(similarity, w, x, y)) > 1e-2


@by_name
def test_scores_follow_the_formula(similarity: Similarity) -> None:
    _, x, y = batch(4, 6, 3)
    formula = {
        COSINE: lambda a, b: a @ b / (a @ a).sqrt() / (b @ b).sqrt(),
        DOT: lambda a, b: a @ b,
        NEGATIVE_SQUARED_EUCLIDEAN: lambda a, b: -(a - b) @ (a - b),
        NEGATIVE_EUCLIDEAN: lambda a, b: -((a - b) @ (a - b)).sqrt(),
    }[similarity]
    expected = torch.stack([torch.stack([formula(a, b) for b in y]) for a in x])
    torch.testing.assert_close(scores(similarity, x, y), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("similarity", [s for s in SIMILARITIES if s != DOT], ids=lambda s: s.name)
def test_the_declared_range_is_reached_on_unit_vectors(similarity: Similarity) -> None:
    x = torch.nn.functional.normalize(torch.randn(5, 4), dim=1)
    same, opposite = scores(similarity, x, x).diagonal(), scores(similarity, x, -x).diagonal()
    torch.testing.assert_close(same, torch.full_like(same, float(similarity.identical)))
    torch.testing.assert_close(opposite, torch.full_like(opposite, float(similarity.opposite)))


def test_a_range_without_ends_is_reached_nowhere() -> None:
    x = torch.nn.functional.normalize(torch.randn(5, 4), dim=1)
    assert (DOT.opposite, DOT.identical) == (-sp.oo, sp.oo)
    for length in (1.0, 1e3, 1e6):
        longer = length * x
        same, opposite = scores(DOT, longer, longer).diagonal(), scores(DOT, longer, -longer).diagonal()
        torch.testing.assert_close(same, torch.full_like(same, length**2))
        torch.testing.assert_close(opposite, -same)


def hard_points(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Coinciding, opposite, almost coinciding, zero and far away vectors."""
    x = torch.tensor([[1.0, 2.0, 2.0], [-1.0, -2.0, -2.0], [0.0, 0.0, 0.0], [3e4, 0.0, -4e4]], dtype=dtype)
    return x, torch.cat([x, x[:1] * (1 + 1e-5)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("direction", DIRECTIONS, ids=lambda d: d.name)
def test_gradients_are_finite_everywhere(direction, dtype) -> None:
    x, y = hard_points(dtype)
    w = torch.randn(len(x), len(y), dtype=dtype)
    for gradient in embedding_gradients(direction, w, x, y):
        assert gradient.isfinite().all()
        assert gradient.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@by_name
def test_autograd_is_finite_there_too_and_agrees(similarity: Similarity, dtype) -> None:
    x, y = hard_points(dtype)
    w = torch.randn(len(x), len(y), dtype=dtype)
    for own, theirs in zip(embedding_gradients(similarity, w, x, y), by_autograd(similarity, w, x, y), strict=True):
        assert theirs.isfinite().all()
        size = theirs.abs().max()
        assert (own - theirs).abs().max() <= (2e-2 if dtype == torch.float32 else 1e-10) * size


def test_the_obvious_formula_would_not_be_finite() -> None:
    x = torch.ones(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(((x - torch.ones(1, 3)) ** 2).sum().sqrt(), x)
    assert gradient.isnan().all()


def test_coinciding_points_do_not_move() -> None:
    x = torch.randn(3, 4)
    to_x, to_y = embedding_gradients(NEGATIVE_EUCLIDEAN, torch.eye(3), x, x.clone())
    assert not to_x.any()
    assert not to_y.any()


@pytest.mark.parametrize("similarity", EUCLIDEAN, ids=lambda s: s.name)
@pytest.mark.parametrize("close", [1, 40], ids=["a few", "collapsed"])
def test_close_points_keep_their_digits(similarity: Similarity, close: int) -> None:
    x = 100 + torch.randn(40, 8, dtype=torch.float32)
    y = 100 + torch.randn(40, 8, dtype=torch.float32)
    x[:, 0] += 1000 * torch.arange(40)  # far from each other
    y[:, 0] -= 1000 * torch.arange(40) + 3000
    y[:close] = x[:close] + 0.01
    if close == 40:
        x, y = x[:1] + 0.1 * torch.randn_like(x), x[:1] + 0.1 * torch.randn_like(x)
    exact = scores(similarity, x.double(), y.double())
    assert ((scores(similarity, x, y) - exact) / exact).abs().max() < 1e-4
    by_product = -((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T)
    assert ((by_product + (x.double()[:, None] - y.double()).square().sum(-1)).abs()).max() > 1e-3


@by_name
def test_narrow_numbers(similarity: Similarity) -> None:
    _, x, y = batch(4, 4, 8)
    found = scores(similarity, x.bfloat16(), y.bfloat16())
    assert found.dtype == (torch.float32 if similarity in EUCLIDEAN else torch.bfloat16)
    assert (found.double() - scores(similarity, x, y)).abs().max() < 0.5


def test_tangential_is_the_cosines_direction_on_unit_vectors() -> None:
    w, x, y = batch(5, 7, 3)
    unit_x, unit_y = (torch.nn.functional.normalize(v, dim=1) for v in (x, y))
    tangential = embedding_gradients(TANGENTIAL, w, unit_x, unit_y)
    assert farthest(tangential, embedding_gradients(COSINE, w, unit_x, unit_y)) < 1e-12
    assert farthest(embedding_gradients(TANGENTIAL, w, x, y), embedding_gradients(COSINE, w, x, y)) > 1e-2


def test_tangential_moves_nothing_along_itself_but_the_dot_product_does() -> None:
    w, x, y = batch(5, 7, 3)
    for gradient, embedding in zip(embedding_gradients(TANGENTIAL, w, x, y), (x, y), strict=True):
        assert (gradient * embedding).sum(1).abs().max() < 1e-12
    for gradient, embedding in zip(embedding_gradients(DOT, w, x, y), (x, y), strict=True):
        assert (gradient * embedding).sum(1).abs().max() > 1e-2


def one_triplet() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor([[-0.7, 0.4]]), torch.randn(1, 4), torch.randn(2, 4)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_regularised_negative_keeps_this_share_of_its_move_along_the_pair(strength: float) -> None:
    w, anchor, (positive, negative) = one_triplet()
    pair = positive - anchor[0]
    free = embedding_gradients(DOT, w, anchor, torch.stack([positive, negative]))
    held = embedding_gradients(direction_regularized(strength), w, anchor, torch.stack([positive, negative]))
    assert abs(held[1][1] @ pair - (1 - strength) * (free[1][1] @ pair)) < 1e-12
    assert abs(free[1][1] @ pair) > 1e-2
    assert farthest([held[0], held[1][:1]], [free[0], free[1][:1]]) == 0


def test_an_anchor_that_nothing_pulls_has_no_line_to_keep_clear_of() -> None:
    w, x, y = batch(3, 4, 2)
    assert (
        farthest(
            embedding_gradients(direction_regularized(1.0), w.abs(), x, y),
            embedding_gradients(DOT, w.abs(), x, y),
        )
        == 0
    )


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_of_its_range_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength: got .* but expected a number in \[0, 1\]"):
        direction_regularized(strength)


@pytest.mark.parametrize("known", DIRECTIONS, ids=lambda d: d.name)
def test_a_direction_is_found_by_its_name(known) -> None:
    assert direction(known.name) is known


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(ValueError, match=r"got 'cosinus' but expected one of cosine, dot, .*tangential"):
        direction("cosinus")


def test_every_similarity_has_a_direction() -> None:
    assert {s.name for s in SIMILARITIES} <= {d.name for d in DIRECTIONS}


def test_a_similarity_from_elsewhere_is_refused_by_name() -> None:
    stranger = Similarity("manhattan", "−|a − b|", NEGATIVE_EUCLIDEAN.opposite, NEGATIVE_EUCLIDEAN.identical)
    w, x, y = batch(2, 2, 2)
    for attempt in (
        lambda: scores(stranger, x, y),
        lambda: embedding_gradients(stranger, w, x, y),
    ):
        with pytest.raises(ValueError, match="got 'manhattan' without tensors but expected one of cosine, dot"):
            attempt()
