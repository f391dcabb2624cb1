"""Similarities of embeddings, and directions: where a weight moves the two embeddings of a pair.

A direction is the gradient of a similarity, ∂L/∂xᵢ = Σⱼ Wᵢⱼ ∂sᵢⱼ/∂xᵢ and ∂L/∂yⱼ = Σᵢ Wᵢⱼ ∂sᵢⱼ/∂yⱼ: two products of
matrices. Other directions are the gradient of nothing; they are in the tuple `DIRECTIONS` too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.declarations import named
from goal_analysis.numeric.engine.geometry import CLOSE
from goal_analysis.symbolic.language.similarity import (
    COSINE,
    DOT,
    NEGATIVE_EUCLIDEAN,
    NEGATIVE_SQUARED_EUCLIDEAN,
    Similarity,
)

FEW = 4096
"""So many differences of coordinates are made at once, one for every pair."""

Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Direction:
    """How the weights of pairs move the embeddings.

    Args:
        name: an identifier.
        formula: what takes the place of ∂s/∂x and ∂s/∂y, in the notation of `embedding_gradients`.
        gradients: (W, X, Y) ↦ (∂L/∂X, ∂L/∂Y).
    """

    name: str
    formula: str
    gradients: Gradients


def scores(
    similarity: Similarity, x: Float[Tensor, "anchors dim"], y: Float[Tensor, "candidates dim"]
) -> Float[Tensor, "anchors candidates"]:
    """The similarity of every anchor with every candidate, differentiable; one without tensors is a ValueError.

    >>> scores(COSINE, torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    tensor([[1., 0.]])
    """
    return _tensors(similarity)[0](x, y)


def embedding_gradients(
    direction: Direction | Similarity,
    weights: Float[Tensor, "anchors candidates"],
    x: Float[Tensor, "anchors dim"],
    y: Float[Tensor, "candidates dim"],
) -> tuple[Float[Tensor, "anchors dim"], Float[Tensor, "candidates dim"]]:
    """The gradients ∂L/∂X and ∂L/∂Y of the embeddings, from the weights of the pairs.

    ∂L/∂xᵢ = Σⱼ Wᵢⱼ ∂sᵢⱼ/∂xᵢ, ∂L/∂yⱼ = Σᵢ Wᵢⱼ ∂sᵢⱼ/∂yⱼ. They are finite for zero, coinciding and opposite vectors, in
    the dtype to which weights and embeddings promote. Of a similarity its own gradient is the direction. Embeddings are
    as they enter `scores`, so not normalised for the cosine.

    >>> w = torch.tensor([[-1.0, 0.5]])
    >>> embedding_gradients(DOT, w, torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    (tensor([[-1.0000,  0.5000]]), tensor([[-1.0000, -0.0000],
            [ 0.5000,  0.0000]]))
    """
    found = _tensors(direction)[1] if isinstance(direction, Similarity) else direction
    dtype = torch.promote_types(weights.dtype, torch.promote_types(x.dtype, y.dtype))
    return found.gradients(weights.to(dtype), x.to(dtype), y.to(dtype))


def direction(name: str) -> Direction:
    """The direction of this name; a ValueError lists those that are known."""
    return named("direction", name, {direction.name: direction for direction in DIRECTIONS})


@lru_cache(maxsize=64)
def direction_regularized(strength: float) -> Direction:
    """Negatives move across the line between their anchor and its positive, not along it.

    ∂L/∂X = W·Y and ∂L/∂Y = Wᵀ·X − γ·[W]₊ᵀ·((x·u)·u), with u the unit vector from the anchor to what pulls it, p̄ᵢ − xᵢ
    where p̄ᵢ is the mean of Y weighted with [−Wᵢ]₊. At γ = 1, ``strength``, no negative is pushed towards the positive;
    at γ = 0 it is the direction of the dot product. Rows are the anchors: where columns are, hand over Wᵀ, Y, X. A γ
    outside of [0, 1] is a ValueError.

    This puts the effect that a penalty on cos(f_p − f_a, f_n − f_a) aims at into the gradient itself; it is not the
    gradient of that term. See "Moving in the Right Direction: A Regularization for Deep Metric Learning" (Mohan,
    Sankaran, Fedorishin, Setlur and Govindaraju, CVPR 2020, https://doi.org/10.1109/CVPR42600.2020.01460).
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"direction_regularized: strength: got {strength!r} but expected a number in [0, 1]")
    return Direction(
        "direction_regularized",
        f"of a negative: x − {strength:g}·(x·u)u, u the unit vector from anchor to positive",
        partial(_regularized_gradients, strength),
    )


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rows over their lengths, and the lengths; zero stays zero."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    length = length.masked_fill(length == 0, 1)
    return x / length, length


def _cosines(x: Tensor, y: Tensor) -> Tensor:
    """Without what rounding puts beyond ±1, where √(1 − s²) would be NaN; their gradient is whole."""
    cosines = _unit(x)[0] @ _unit(y)[0].T
    return cosines - (cosines - cosines.clamp(-1, 1)).detach()


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖xᵢ − yⱼ‖² through one matrix product; pairs so close that it cancels are done by their difference."""
    x, y = _wide(x), _wide(y)
    if len(x) * y.numel() <= FEW:  # nothing that depends on values, so that torch can map it
        return (x[:, None] - y).square().sum(2)
    sizes = (x * x).sum(1)[:, None] + (y * y).sum(1)
    squared = sizes - 2 * (x @ y.T)
    cancels = squared.detach() < CLOSE * sizes.detach()
    i, j = cancels.nonzero(as_tuple=True)
    if len(i) > len(x) + len(y):  # a collapsed batch: all by differences, without a copy per pair
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    return squared.index_put((i, j), (x[i] - y[j]).square().sum(1))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """‖xᵢ − yⱼ‖, whose derivative at zero is zero."""
    squared = _squared_distances(x, y)
    coincide = squared == 0
    return squared.masked_fill(coincide, 1).sqrt().masked_fill(coincide, 0)


def _dot_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return weights @ y, weights.T @ x


def _across(gradient: Tensor, unit: Tensor) -> Tensor:
    return gradient - (gradient * unit).sum(1, keepdim=True) * unit


def _tangential_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    to_x, to_y = _dot_gradients(weights, x, y)
    return _across(to_x, _unit(x)[0]), _across(to_y, _unit(y)[0])


def _cosine_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    (unit_x, length_x), (unit_y, length_y) = _unit(x), _unit(y)
    to_x, to_y = _dot_gradients(weights, unit_x, unit_y)
    return _across(to_x, unit_x) / length_x, _across(to_y, unit_y) / length_y


def _difference_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    to_x, to_y = _dot_gradients(weights, x, y)
    return to_x - weights.sum(1)[:, None] * x, to_y - weights.sum(0)[:, None] * y


def _squared_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return _difference_gradients(2 * weights, x, y)


def _euclidean_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    distances = _distances(x, y)
    coincide = distances == 0
    per_length = (weights / distances.masked_fill(coincide, 1)).masked_fill(coincide, 0)
    return _difference_gradients(per_length.to(weights.dtype), x, y)


def _regularized_gradients(strength: float, weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    pull, push = (-weights).clamp_min(0), weights.clamp_min(0)
    pulled = pull.sum(1, keepdim=True)
    towards = pull @ y / pulled.masked_fill(pulled == 0, 1) - x
    u = _unit(towards.masked_fill(pulled == 0, 0))[0]
    to_x, to_y = _dot_gradients(weights, x, y)
    return to_x, to_y - strength * (push.T @ ((x * u).sum(1, keepdim=True) * u))


_TENSORS: dict[Similarity, tuple[Callable[[Tensor, Tensor], Tensor], Direction]] = {
    COSINE: (_cosines, Direction("cosine", "of x: (ŷ − s·x̂)/‖x‖; of y: (x̂ − s·ŷ)/‖y‖", _cosine_gradients)),
    DOT: (lambda x, y: x @ y.T, Direction("dot", "of x: y; of y: x", _dot_gradients)),
    NEGATIVE_SQUARED_EUCLIDEAN: (
        lambda x, y: -_squared_distances(x, y),
        Direction("negative_squared_euclidean", "of x: 2(y − x); of y: 2(x − y)", _squared_gradients),
    ),
    NEGATIVE_EUCLIDEAN: (
        lambda x, y: -_distances(x, y),
        Direction("negative_euclidean", "of x: (y − x)/‖x − y‖; of y: (x − y)/‖x − y‖", _euclidean_gradients),
    ),
}
"""The scores of similarities, and their own directions."""


def _tensors(similarity: Similarity) -> tuple[Callable[[Tensor, Tensor], Tensor], Direction]:
    if similarity in _TENSORS:
        return _TENSORS[similarity]
    if similarity.tensors is None:
        known = ", ".join(known.name for known in _TENSORS)
        raise ValueError(f"similarity: got {similarity.name!r} without tensors but expected one of {known}")
    own = partial(_by_autograd, similarity.tensors)
    return similarity.tensors, Direction(similarity.name, f"the gradient of {similarity.formula}", own)


def _by_autograd(scores: Callable[[Tensor, Tensor], Tensor], w: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """What weights make of the embeddings of a similarity that says its scores alone."""
    with torch.enable_grad():
        x, y = (e.detach().requires_grad_() for e in (x, y))
        to_x, to_y = torch.autograd.grad(scores(x, y), (x, y), w)
    return to_x, to_y


SCORES = frozenset(s.name for s in (DOT, NEGATIVE_SQUARED_EUCLIDEAN, NEGATIVE_EUCLIDEAN))
"""The similarities that `goal_analysis.numeric.engine.geometry` makes of dot products."""

TANGENTIAL = Direction("tangential", "of x: y − (y·x̂)x̂; of y: x − (x·ŷ)ŷ", _tangential_gradients)
"""The dot product's direction without what normalisation would undo: of its gradient g an embedding x takes
g − (g·x̂)x̂. On unit vectors it is the direction of the cosine; on others it lacks the factor 1/‖x‖.

In the spirit of "Dissecting the impact of different loss functions with gradient surgery" (Xuan and Pless,
2022, https://arxiv.org/abs/2201.11307)."""

DIRECTIONS = (*(own for _, own in _TENSORS.values()), TANGENTIAL, direction_regularized(1.0))
