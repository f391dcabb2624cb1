"""How far the weights of a loss on a batch are from being the gradient of anything.

W(S), the weights by all measured similarities of a batch, is the gradient of a function if and only if its
Jacobian J = ∂W/∂S is symmetric. The *non-integrability index* is

    ‖(J − Jᵀ)/2‖ / (‖J‖ + ‖W‖)        (Frobenius; 0 for a gradient, less than 1 for a field that only turns)

over random batches together, by central differences of W. ‖W‖ stands beside ‖J‖, as similarities are of
order one, so that the rounding of constant weights is not compared with itself. Differences of W, not the
second derivative of the loss: where a loss stops a gradient, W is what trains, and the loss knows nothing of
it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.measurement.black_box import LossFunction, pair_gradients
from goal_analysis.numeric.measurement.constructed_embeddings import Inputs, batch_similarities, in_batch, reachable
from goal_analysis.numeric.measurement.turning import (
    NEARBY,
    STEPS,
    Field,
    Turning,
    largest,
    scatter,
    turning,
    usual_noise,
)

ROUNDING = 1e-8
"""Slopes below this share of the largest weight are rounding: the weights are constant."""


def weight_jacobian(
    loss_fn: LossFunction, inputs: Inputs, *, seed: int = 0, dim: int | None = None, step: float = STEPS[0]
) -> Float[Tensor, "pairs pairs"]:
    """J[i, k] = ∂W_i/∂s_k over the measured pairs of a small random batch; other similarities are held.

    Raises:
        UnmeasurableLoss: the call fails, or returns no finite scalar.

    >>> weight_jacobian(lambda scores: (scores**3).sum() / 6, Inputs.SCORES).count_nonzero()
    tensor(9)
    """
    moved = _moved(inputs, seed, step)
    weights, _ = _weights(loss_fn, inputs, moved, dim)
    jacobian = ((weights[: len(weights) // 2] - weights[len(weights) // 2 :]) / (2 * step)).T
    return jacobian.masked_fill(jacobian.abs() < ROUNDING * weights.abs().max(), 0.0)


def _moved(inputs: Inputs, seed: int, step: float) -> Tensor:
    """The similarities of a batch, with one pair after the other moved up, then down."""
    arrangement = in_batch(inputs)
    first, second = arrangement.measured.nonzero(as_tuple=True)
    pairs = torch.arange(len(first))
    moved = batch_similarities(arrangement, seed).repeat(2 * len(pairs), 1, 1)
    for sign, block in ((1, pairs), (-1, pairs + len(pairs))):
        moved[block, first, second] += sign * step
        moved[block, second, first] += sign * step
    return moved


def _weights(loss_fn: LossFunction, inputs: Inputs, similarities: Tensor, dim: int | None) -> tuple[Tensor, float]:
    """By the measured pairs, and the precision of the loss."""
    arrangement = in_batch(inputs)
    found = pair_gradients(loss_fn, arrangement, similarities, dim)
    return found.gradients[:, arrangement.measured], found.precision


def non_integrability(
    loss_fn: LossFunction, inputs: Inputs, *, batches: int = 2, seed: int = 0, dim: int | None = None
) -> Turning:
    """The index of the module's formula, over several random batches, and how much of it is believed.

    Raises:
        UnmeasurableLoss: the call fails, or returns no finite scalar.

    >>> stopped = lambda scores: 100 * (scores.detach() ** 9 * scores.roll(1, 0)).sum()
    >>> non_integrability(stopped, Inputs.SCORES).believed > 0.3, non_integrability(torch.sum, Inputs.SCORES).share
    (True, 0.0)
    """
    seeds = range(seed, seed + batches)
    nearby = torch.stack([_nearby(inputs, s) for s in seeds])
    around, (precision, *_) = zip(*(_weights(loss_fn, inputs, nearby[:, i], dim) for i in range(5)), strict=True)
    at = around[2]
    noise = max(usual_noise(scatter(torch.stack(around))), precision / 2 * largest(at))

    def fields() -> Iterator[Field]:
        for step in STEPS:
            if inputs is not Inputs.SCORES and not all(reachable(_moved(inputs, s, step)).all() for s in seeds):
                return
            jacobians = torch.stack([weight_jacobian(loss_fn, inputs, seed=s, dim=dim, step=step) for s in seeds])
            yield Field(step, (jacobians - jacobians.mT) / 2, (jacobians.norm() + at.norm()).item())

    return turning(fields(), noise)


def _nearby(inputs: Inputs, seed: int) -> Tensor:
    """The similarities of a batch between four that are as good as equal to it."""
    at = batch_similarities(in_batch(inputs), seed)
    to = torch.randn(at.shape, generator=torch.Generator().manual_seed(seed), dtype=at.dtype).sign().triu(1)
    return torch.stack([at + sign * NEARBY * (to + to.T) for sign in range(-2, 3)])
