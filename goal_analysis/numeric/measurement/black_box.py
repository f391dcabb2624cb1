"""The gradient by similarities of any loss, recovered from its gradients by embeddings.

Let E hold the embeddings as rows, linearly independent, and G the gradient of the loss by E. A loss that reads cosines
or distances of its embeddings has g_i = Σ_j c_ij·(e_j − s_ij·e_i), one that reads dot products g_i = Σ_j c_ij·e_j, with
c_ij = ∂L/∂s_ij in both. So the coefficients of g_i in the basis E are the wanted derivatives; that of e_i itself does
not matter. Every pair is found twice, at its two ends. c is the mean, which is the least-squares solution in these
coordinates. What it leaves of the tangential gradient is *unexplained*. That is zero for every function of the
similarities; it is not zero if the gradient is stopped at one end of a pair, or if the loss reads something else.

On a batch, W(S) holds the gradients by all measured similarities. It is the gradient of a function if and only if its
Jacobian J = ∂W/∂S is symmetric. The *non-integrability index* over random batches is

    ‖(J − Jᵀ)/2‖ / (‖J‖ + ‖W‖)        (Frobenius; 0 for a gradient, less than 1 for a field that only turns)

by central differences of W. ‖W‖ stands beside ‖J‖, as similarities are of order one, so that the rounding of constant
weights is not compared with itself. The second derivative of the loss would not do: where a loss stops a gradient, W is
what trains, and the loss knows nothing of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.arrangement import (
    OF_SCORES,
    Arrangement,
    batch_similarities,
    in_batch,
    reachable,
    vectors_with,
)
from goal_analysis.numeric.measurement.calling import Call, copy_of
from goal_analysis.numeric.measurement.fields import (
    NEARBY,
    STEPS,
    Field,
    Turning,
    largest,
    scatter,
    turning,
    usual_noise,
)
from goal_analysis.numeric.measurement.inputs import UnmeasurableLoss

NOTHING: Mapping[str, Tensor] = MappingProxyType({})
ROUNDING = 1e-8  # slopes below this share of the largest weight are rounding: the weights are constant


@dataclass(frozen=True, eq=False)
class PairGradients:
    """∂L/∂s of every pair of vectors at several points, symmetric, zero on the diagonal; NaN where the loss is not
    finite.

    ``unexplained`` is the norm of what they leave of the tangential gradient, ``norm`` that of the whole, ``used`` at
    which vectors there was any, ``connected`` whether the loss depended on its inputs at all, ``precision`` the
    coarsest resolution that it returned, and ``learned`` the gradient of every parameter, or its norm.
    """

    gradients: Float[Tensor, "points vectors vectors"]
    unexplained: Float[Tensor, " points"]
    norm: Float[Tensor, " points"]
    used: Bool[Tensor, " vectors"]
    connected: bool
    precision: float
    learned: Mapping[str, Float[Tensor, " points"]]


def pair_gradients(
    call: Call, arrangement: Arrangement, similarities: Float[Tensor, "points vectors vectors"]
) -> PairGradients:
    """∂L/∂s of every pair of an arrangement of vectors, one call of the loss a point.

    Raises:
        UnmeasurableLoss: the call fails, or returns no scalar.
    """
    points = points_with(arrangement, similarities)
    found, connected, precision, learned = gradients_of(call, arrangement, points)
    if arrangement.shape.inputs in OF_SCORES:
        n = arrangement.first
        gradients = torch.zeros_like(similarities)
        gradients[:, :n, n:], gradients[:, n:, :n] = found, found.mT
        used = torch.full((len(arrangement.labels),), bool(found.nan_to_num().any()))
        nothing, norm = found.new_zeros(len(found)), found.flatten(1).norm(dim=1)
        return PairGradients(gradients, nothing, norm, used, connected, precision, learned)
    used = found.nan_to_num().abs().sum((0, 2)) > 0
    return PairGradients(*_by_pairs(found, points, similarities), used, connected, precision, learned)


def points_with(arrangement: Arrangement, similarities: Float[Tensor, "points vectors vectors"]) -> Tensor:
    """What a loss is handed at these similarities: scores, or vectors of the dimension that it wants."""
    if arrangement.shape.inputs in OF_SCORES:
        return similarities[:, : arrangement.first, arrangement.first :].contiguous()
    return vectors_with(similarities, arrangement.shape.dim or similarities.shape[-1])


def reading_coordinates(call: Call, arrangement: Arrangement, similarities: Tensor) -> float:
    """The share by which the gradients change when all vectors are turned together, which no similarity does."""
    if arrangement.shape.inputs in OF_SCORES:
        return 0.0
    points = points_with(arrangement, similarities)
    size = points.shape[-1]
    turn = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=points.dtype)).Q
    found = gradients_of(call, arrangement, points)[0].nan_to_num()
    turned = (gradients_of(call, arrangement, points @ turn)[0] @ turn.T).nan_to_num()
    return share(turned - found, found)


def share(part: Tensor, total: Tensor) -> float:
    """‖part‖/‖total‖, at most 1; 0 of nothing."""
    return min(1.0, (part.norm() / total.norm()).item()) if total.any() else 0.0


def _by_pairs(found: Tensor, vectors: Tensor, similarities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The module's formulas: ∂L/∂s, the norm of what they leave, and that of the tangential gradient."""
    count = similarities.shape[-1]
    factor, inside = vectors[..., :count], found[..., :count]
    ends = torch.linalg.solve_triangular(factor, inside, upper=False, left=False)
    pairs = (ends + ends.mT) / 2
    pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=-2, dim2=-1))
    own = (pairs * similarities).sum(-1, keepdim=True)
    tangential = found - (found * vectors).sum(-1, keepdim=True) * vectors
    left = tangential - (pairs @ vectors - own * vectors)
    return pairs, left.flatten(1).norm(dim=1), tangential.flatten(1).norm(dim=1)


def gradients_of(call: Call, arrangement: Arrangement, points: Tensor) -> tuple[Tensor, bool, float, dict[str, Tensor]]:
    """The gradient of the loss by each of ``points``, NaN where it or the loss is not finite; whether there was any,
    the precision, and the gradients of the parameters.
    """
    if call.at_once and len(points) > 1:
        with suppress(Exception):  # what cannot be mapped is called point by point
            return mapped(call, arrangement, points)
    gradients, connected, precision = torch.zeros_like(points), False, 0.0
    learned = {name: points.new_zeros(len(points)) for name in call.learned}
    for place, point in enumerate(points):
        value, by_point, others = differentiated(call, arrangement, point)
        precision = max(precision, torch.finfo(value.dtype).eps)
        connected |= by_point is not None
        for name, other in others.items():
            learned[name][place] = other.sum() if other.numel() == 1 else other.norm()
        # Many losses return a constant where nothing is active; that is a gradient of zero.
        finite = value.isfinite().all() and (by_point is None or by_point.isfinite().all())
        gradients[place] = torch.nan if not finite else 0.0 if by_point is None else by_point
    return gradients, connected, precision, learned


def mapped(call: Call, arrangement: Arrangement, points: Tensor) -> tuple[Tensor, bool, float, dict[str, Tensor]]:
    """`gradients_of`, in one call that torch maps over the points; whatever a loss raises that cannot be mapped."""
    leaf, own = points.clone().requires_grad_(), {}
    for name, p in call.learned.items():
        own[name] = p.detach().expand(len(points), *p.shape).clone().requires_grad_()
    apart = replace(call, loss_fn=copy_of(call.loss_fn), remembers=False)
    with warnings.catch_warnings(action="ignore"):
        values = torch.vmap(lambda x, learned: value_of(apart, arrangement, x, learned).reshape(()))(leaf, own)
        by_point, *others = torch.autograd.grad(values.sum(), [leaf, *own.values()], allow_unused=True)
    if by_point is None:
        raise UnmeasurableLoss(f"{call.name}: got no gradient from many points at once")
    finite = values.isfinite() & by_point.flatten(1).isfinite().all(1)
    by_point = by_point.masked_fill(~finite.view(-1, *(1,) * (points.ndim - 1)), torch.nan)
    learned = {name: points.new_zeros(len(points)) for name in own}
    for name, other in zip(own, others, strict=True):
        if other is not None:
            other = other.flatten(1)
            learned[name] = (other.sum(1) if other.shape[1] == 1 else other.norm(dim=1)).to(points.dtype)
    return by_point, True, torch.finfo(values.dtype).eps, learned


def differentiated(
    call: Call, arrangement: Arrangement, point: Tensor
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """The loss at vectors or scores, its gradient by them, None where there is none, and those of the parameters.

    Raises:
        UnmeasurableLoss: the call fails, returns no scalar, or cannot be differentiated.
    """
    leaf = point.clone().requires_grad_()
    value = value_of(call, arrangement, leaf)
    if not value.requires_grad:
        return value, None, {}
    learned = call.learned
    try:
        by_leaf, *others = torch.autograd.grad(value.sum(), [leaf, *learned.values()], allow_unused=True)
    except Exception as error:
        raise UnmeasurableLoss(
            f"{call.name}: got a loss that cannot be differentiated: {type(error).__name__}: {error}"
        ) from error
    call.forget_graphs()
    return value, by_leaf, {n: g for n, g in zip(learned, others, strict=True) if g is not None}


def value_of(call: Call, arrangement: Arrangement, leaf: Tensor, learned: Mapping[str, Tensor] = NOTHING) -> Tensor:
    """The loss at vectors or scores.

    Raises:
        UnmeasurableLoss: the call fails, or returns no scalar.
    """
    arguments = arrangement.arguments(leaf.to(arrangement.shape.dtype))
    try:
        value = call(*arguments, **learned)
    except Exception as error:
        raise call.refused(arguments, error) from error
    if isinstance(value, Mapping) and len(value) == 1:
        (value,) = value.values()
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        raise UnmeasurableLoss(f"{call.name}: got {_described(value)} but expected a scalar tensor")
    return value


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a value of shape {tuple(value.shape)} and {value.dtype}"
    return f"a value of type {type(value).__name__}"


def non_integrability(call: Call, *, batches: int = 2) -> Turning:
    """The index of the module's formula over several random batches, and how much of it is believed."""
    arrangement = in_batch(call.shape)
    at = torch.stack([batch_similarities(arrangement, seed) for seed in range(batches)])

    def weights(similarities: Tensor) -> tuple[Tensor, float]:
        found = pair_gradients(call, arrangement, similarities.flatten(0, -3))
        return found.gradients[:, arrangement.measured].unflatten(0, similarities.shape[:-2]), found.precision

    aside = torch.randn(at.shape, generator=torch.Generator().manual_seed(0), dtype=at.dtype).sign().triu(1)
    around, precision = weights(torch.stack([at + sign * NEARBY * (aside + aside.mT) for sign in range(-2, 3)]))
    middle = around[2].nan_to_num()
    noise = max(usual_noise(scatter(around)), precision / 2 * largest(middle))
    moves = torch.zeros(int(arrangement.measured.sum()), *at.shape[1:], dtype=at.dtype)
    moves[(torch.arange(len(moves)), *arrangement.measured.nonzero(as_tuple=True))] = 1
    moves = moves + moves.mT

    def fields() -> Iterator[Field]:
        for step in STEPS:
            moved = torch.stack([at[:, None] + step * moves, at[:, None] - step * moves])
            if call.shape.inputs not in OF_SCORES and not reachable(moved).all():
                return
            above, below = weights(moved)[0].nan_to_num()
            jacobians = ((above - below) / (2 * step)).mT
            jacobians[jacobians.abs() < ROUNDING * largest(torch.stack([above, below]))] = 0
            yield Field(step, (jacobians - jacobians.mT) / 2, (jacobians.norm() + middle.norm()).item())

    return turning(fields(), noise)
