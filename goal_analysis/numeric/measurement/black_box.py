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

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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
from goal_analysis.numeric.measurement.inputs import (
    ACCEPTED,
    Arrangement,
    Inputs,
    LossFunction,
    UnmeasurableLoss,
    batch_similarities,
    in_batch,
    name_of,
    reachable,
    vectors_with,
)

ROUNDING = 1e-8  # slopes below this share of the largest weight are rounding: the weights are constant


@dataclass(frozen=True, eq=False)
class PairGradients:
    """∂L/∂s of every pair of vectors at several points, symmetric, zero on the diagonal.

    ``unexplained`` is the norm of what they leave of the tangential gradient, ``norm`` that of the whole, ``connected``
    whether the loss depended on its inputs at all, and ``precision`` the coarsest resolution that it returned.
    """

    gradients: Float[Tensor, "points vectors vectors"]
    unexplained: Float[Tensor, " points"]
    norm: Float[Tensor, " points"]
    connected: bool
    precision: float


def copy_of(loss_fn: LossFunction) -> LossFunction:
    """A module's deep copy, so that calls change no buffer of the user's; any other callable as it is."""
    if not isinstance(loss_fn, torch.nn.Module):
        return loss_fn
    # Tensors that hang on a graph, which losses with a memory keep, refuse to be copied with it.
    held = (v for module in loss_fn.modules() for v in vars(module).values() if isinstance(v, Tensor))
    apart: dict[int, Any] = {id(v): v.detach().clone() for v in held if not v.is_leaf}
    try:
        return copy.deepcopy(loss_fn, apart)
    except Exception as error:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a module that cannot be copied ({type(error).__name__}: {error}) "
            "but expected one that can; hand in a function that calls it instead"
        ) from error


def forget_graphs(loss_fn: LossFunction) -> None:
    """Detach the tensors that a module remembers, whose graphs would grow with every call."""
    for module in loss_fn.modules() if isinstance(loss_fn, torch.nn.Module) else ():
        for name, held in list(vars(module).items()):
            if isinstance(held, Tensor) and not held.is_leaf:
                setattr(module, name, held.detach())


def pair_gradients(
    loss_fn: LossFunction,
    arrangement: Arrangement,
    similarities: Float[Tensor, "points vectors vectors"],
    dim: int | None = None,
) -> PairGradients:
    """∂L/∂s of every pair of an arrangement of vectors, one call of the loss a point.

    Raises:
        UnmeasurableLoss: the call fails, or returns no finite scalar.
    """
    if arrangement.inputs is Inputs.SCORES:
        n = arrangement.first
        scores = similarities[:, :n, n:].contiguous()
        by_scores, connected, precision = _gradients(loss_fn, arrangement, scores, similarities)
        gradients = torch.zeros_like(similarities)
        gradients[:, :n, n:], gradients[:, n:, :n] = by_scores, by_scores.mT
        return PairGradients(
            gradients, by_scores.new_zeros(len(scores)), by_scores.flatten(1).norm(dim=1), bool(connected), precision
        )
    vectors = vectors_with(similarities, dim or similarities.shape[-1])
    found, connected, precision = _gradients(loss_fn, arrangement, vectors, similarities)
    return PairGradients(*_by_pairs(found, vectors, similarities), connected, precision)


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


def _gradients(
    loss_fn: LossFunction, arrangement: Arrangement, points: Tensor, similarities: Tensor
) -> tuple[Tensor, bool, float]:
    """The gradient of the loss by each of ``points``, whether there was any, and the precision."""
    gradients, connected, precision = torch.zeros_like(points), False, 0.0
    for gradient, point, around in zip(gradients, points, similarities, strict=True):
        leaf = point.clone().requires_grad_()
        value = _value(loss_fn, arrangement, leaf)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
            raise UnmeasurableLoss(f"{name_of(loss_fn)}: got {_described(value)} but expected a scalar tensor")
        precision = max(precision, torch.finfo(value.dtype).eps)
        # Many losses return a constant where nothing is active; that is a gradient of zero.
        found = _by_leaf(loss_fn, value, leaf) if value.requires_grad else None
        forget_graphs(loss_fn)
        for what, number in (("value", value), ("gradient", found)):
            if number is not None and not torch.isfinite(number).all():
                raise UnmeasurableLoss(
                    f"{name_of(loss_fn)}: got a {what} that is not finite, at the similarities "
                    f"{[[round(s, 4) for s in row] for row in around.tolist()]}, but expected finite numbers"
                )
        if found is not None:
            gradient.copy_(found)
            connected = True
    return gradients, connected, precision


def _by_leaf(loss_fn: LossFunction, value: Tensor, leaf: Tensor) -> Tensor | None:
    try:
        return torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
    except Exception as error:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a loss that cannot be differentiated: {type(error).__name__}: {error}"
        ) from error


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a value of shape {tuple(value.shape)} and {value.dtype}"
    return f"a value of type {type(value).__name__}"


def _value(loss_fn: LossFunction, arrangement: Arrangement, leaf: Tensor) -> Any:
    arguments = arrangement.arguments(leaf)
    try:
        return loss_fn(*arguments)
    except Exception as error:
        given = ", ".join(f"{tuple(a.shape)} {str(a.dtype).removeprefix('torch.')}" for a in arguments)
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: called with {arrangement.inputs.value}, tensors of {given}, it raised "
            f"{type(error).__name__}: {error}. A module with parameters of its own wants .double() and dim=; "
            f"what it takes can be said by inputs=, one of {ACCEPTED}"
        ) from error


def weight_jacobian(
    loss_fn: LossFunction, inputs: Inputs, *, seed: int = 0, dim: int | None = None, step: float = STEPS[0]
) -> Float[Tensor, "pairs pairs"]:
    """J[i, k] = ∂W_i/∂s_k over the measured pairs of a small random batch; other similarities are held."""
    weights, _ = _weights_in_batch(loss_fn, inputs, _moved_similarities(inputs, seed, step), dim)
    above, below = weights.chunk(2)
    jacobian = ((above - below) / (2 * step)).T
    return jacobian.masked_fill(jacobian.abs() < ROUNDING * weights.abs().max(), 0.0)


def non_integrability(
    loss_fn: LossFunction, inputs: Inputs, *, batches: int = 2, seed: int = 0, dim: int | None = None
) -> Turning:
    """The index of the module's formula over several random batches, and how much of it is believed."""
    seeds = range(seed, seed + batches)
    nearby = torch.stack([_nearby_similarities(inputs, s) for s in seeds], 1)
    around, (precision, *_) = zip(*(_weights_in_batch(loss_fn, inputs, s, dim) for s in nearby), strict=True)
    at = around[2]
    noise = max(usual_noise(scatter(torch.stack(around))), precision / 2 * largest(at))

    def fields() -> Iterator[Field]:
        for step in STEPS:
            moved = (_moved_similarities(inputs, s, step) for s in seeds)
            if inputs is not Inputs.SCORES and not all(reachable(similarities).all() for similarities in moved):
                return
            jacobians = torch.stack([weight_jacobian(loss_fn, inputs, seed=s, dim=dim, step=step) for s in seeds])
            yield Field(step, (jacobians - jacobians.mT) / 2, (jacobians.norm() + at.norm()).item())

    return turning(fields(), noise)


def _weights_in_batch(
    loss_fn: LossFunction, inputs: Inputs, similarities: Tensor, dim: int | None
) -> tuple[Tensor, float]:
    arrangement = in_batch(inputs)
    found = pair_gradients(loss_fn, arrangement, similarities, dim)
    return found.gradients[:, arrangement.measured], found.precision


def _moved_similarities(inputs: Inputs, seed: int, step: float) -> Tensor:
    """The similarities of a batch with one pair after the other moved up, then down."""
    arrangement = in_batch(inputs)
    first, second = arrangement.measured.nonzero(as_tuple=True)
    pairs = torch.arange(len(first))
    moved = batch_similarities(arrangement, seed).repeat(2 * len(pairs), 1, 1)
    for sign, block in ((1, pairs), (-1, pairs + len(pairs))):
        moved[block, first, second] += sign * step
        moved[block, second, first] += sign * step
    return moved


def _nearby_similarities(inputs: Inputs, seed: int) -> Tensor:
    """The similarities of a batch in the middle of four that are as good as equal to it."""
    at = batch_similarities(in_batch(inputs), seed)
    to = torch.randn(at.shape, generator=torch.Generator().manual_seed(seed), dtype=at.dtype).sign().triu(1)
    return torch.stack([at + sign * NEARBY * (to + to.T) for sign in range(-2, 3)])
