"""How far the weights of a loss on a batch are from being the gradient of anything.

W(S), the weights by all measured similarities of a batch, is the gradient of a function if and only if its
Jacobian ∂W/∂S is symmetric. The *non-integrability index* is

    ‖(J − Jᵀ)/2‖ / ‖J‖        (Frobenius; 0 for a gradient, 1 for a field that only turns)

with J the Jacobian over random batches together, by central differences of W. Differences of W, not the
second derivative of the loss: where a loss stops a gradient, W is what trains, and the loss knows nothing of
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.measurement.black_box import LossFunction, pair_gradients
from goal_analysis.numeric.measurement.constructed_embeddings import Inputs, batch_similarities, in_batch

STEP = 1e-5
"""Of a central difference: in float64 its rounding and its truncation are then both near 1e-10."""

ROUNDING = 1e-8
"""Slopes below this share of the largest weight are rounding: the weights are constant."""


def weight_jacobian(
    loss_fn: LossFunction, inputs: Inputs, *, seed: int = 0, dim: int | None = None
) -> Float[Tensor, "pairs pairs"]:
    """J[i, k] = ∂W_i/∂s_k over the measured pairs of a small random batch; other similarities are held.

    Raises:
        UnmeasurableLoss: the call fails, or returns no finite scalar.

    >>> weight_jacobian(lambda scores: (scores**3).sum() / 6, Inputs.SCORES).count_nonzero()
    tensor(9)
    """
    arrangement = in_batch(inputs)
    similarities = batch_similarities(arrangement, seed)
    first, second = arrangement.measured.nonzero(as_tuple=True)
    pairs = torch.arange(len(first))
    moved = similarities.repeat(2 * len(pairs), 1, 1)
    for sign, block in ((1, pairs), (-1, pairs + len(pairs))):
        moved[block, first, second] += sign * STEP
        moved[block, second, first] += sign * STEP
    weights = pair_gradients(loss_fn, arrangement, moved, dim).gradients[:, first, second]
    jacobian = ((weights[: len(pairs)] - weights[len(pairs) :]) / (2 * STEP)).T
    return jacobian.masked_fill(jacobian.abs() < ROUNDING * weights.abs().max(), 0.0)


def asymmetry(jacobians: Sequence[Float[Tensor, "pairs pairs"]]) -> float:
    """‖(J − Jᵀ)/2‖/‖J‖ of one or several Jacobians together; 0 if they vanish.

    >>> turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    >>> asymmetry([turn]), asymmetry([turn @ turn]), asymmetry([turn + turn @ turn])
    (1.0, 0.0, 0.7071)
    """
    whole = sum(float(j.square().sum()) for j in jacobians)
    turning = sum(float(((j - j.mT) / 2).square().sum()) for j in jacobians)
    return (turning / whole) ** 0.5 if whole > 0 else 0.0


def non_integrability(
    loss_fn: LossFunction, inputs: Inputs, *, batches: int = 2, seed: int = 0, dim: int | None = None
) -> float:
    """The index of the module's formula, over several random batches.

    Raises:
        UnmeasurableLoss: the call fails, or returns no finite scalar.

    >>> stopped = lambda scores: (scores.detach() * scores.roll(1, 0)).sum()
    >>> round(non_integrability(stopped, Inputs.SCORES), 3), non_integrability(torch.sum, Inputs.SCORES)
    (0.707, 0.0)
    """
    seeds = range(seed, seed + batches)
    return asymmetry([weight_jacobian(loss_fn, inputs, seed=s, dim=dim) for s in seeds])
