"""Aggregators of many sets of values at once, with their mining weights.

A set of values is the last axis of a tensor, with a boolean tensor of the same shape that says which of them
are members. An empty set aggregates to zero and its mining weights are zero, so that nothing in it is NaN.

At ties `max` and `min` split the mining weight evenly among the extreme members: the subgradient that
autograd takes of `torch.amax`. So do the formulas where two members tie; where more do, theirs, made of
maxima of two, is another subgradient. At a kink [x]₊ has the slope ½, as in the formulas.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.symbolic.language.aggregators import Aggregator


@dataclass(frozen=True)
class MaskedAggregator:
    """An aggregator of the last axis.

    Both functions take the values, the members and the aggregator's parameters.

    Args:
        value: A over the members, differentiable, of shape ``(…)``.
        weights: the mining weights ∂A/∂xᵢ, of shape ``(…, members)``, zero outside of the members.
    """

    value: Callable[..., Tensor]
    weights: Callable[..., Tensor]


def _filled(
    values: Float[Tensor, "*sets members"], members: Bool[Tensor, "*sets members"], absent: float
) -> Float[Tensor, "*sets members"]:
    """The values with ``absent`` outside of the members, and zeros where there are none."""
    return values.masked_fill(~members, absent).masked_fill(~members.any(-1, keepdim=True), 0.0)


def _max(values: Tensor, members: Tensor) -> Tensor:
    return _filled(values, members, -torch.inf).amax(-1)


def _one_hot_at_largest(values: Tensor, members: Tensor) -> Tensor:
    largest = (values == _max(values, members).unsqueeze(-1)) & members
    return largest / largest.sum(-1, keepdim=True).clamp(min=1).to(values.dtype)


def _min(values: Tensor, members: Tensor) -> Tensor:
    return _filled(values, members, torch.inf).amin(-1)


def _logsumexp(values: Tensor, members: Tensor) -> Tensor:
    total = torch.logsumexp(_filled(values, members, -torch.inf), -1)
    return total.masked_fill(~members.any(-1), 0.0)


def _softmax(values: Tensor, members: Tensor) -> Tensor:
    return torch.softmax(_filled(values, members, -torch.inf), -1).masked_fill(~members, 0.0)


def _sum(values: Tensor, members: Tensor) -> Tensor:
    return values.masked_fill(~members, 0.0).sum(-1)


def _ones(values: Tensor, members: Tensor) -> Tensor:
    return members.to(values.dtype)


def _mean(values: Tensor, members: Tensor) -> Tensor:
    return _sum(values, members) / _count(members)


def _uniform(values: Tensor, members: Tensor) -> Tensor:
    return members.to(values.dtype) / _count(members).unsqueeze(-1)


def _count(members: Tensor) -> Tensor:
    return members.sum(-1).clamp(min=1)


def _active(values: Tensor, members: Tensor) -> Tensor:
    """1[x > 0] of the members, ½ at the kink."""
    half = torch.full((), 0.5, dtype=values.dtype, device=values.device)
    return torch.heaviside(values.detach(), half).masked_fill(~members, 0.0)


def _positive_part(values: Tensor, members: Tensor) -> Tensor:
    return torch.maximum(values.masked_fill(~members, 0.0), values.new_zeros(()))


def _mean_active(values: Tensor, members: Tensor) -> Tensor:
    count = _active(values, members).sum(-1).clamp(min=1)
    return _positive_part(values, members).sum(-1) / count


def _uniform_over_active(values: Tensor, members: Tensor) -> Tensor:
    active = _active(values, members)
    return active / active.sum(-1, keepdim=True).clamp(min=1)


def _active_softmax(values: Tensor, members: Tensor, temperature: float) -> Tensor:
    """Softmax of temperature·x over the members above zero; one at the kink counts half for the others."""
    active = _active(values, members)
    scaled = _filled(temperature * values, active > 0, -torch.inf)
    relative = torch.exp(scaled - scaled.amax(-1, keepdim=True))
    mass = (active * relative).sum(-1, keepdim=True) + (1 - active) * relative
    return active * relative / torch.where(active > 0, mass, 1.0)


def _softmax_active(values: Tensor, members: Tensor, temperature: float) -> Tensor:
    return (_active_softmax(values.detach(), members, temperature) * _positive_part(values, members)).sum(-1)


def _softmax_active_weights(values: Tensor, members: Tensor, temperature: float) -> Tensor:
    return _active_softmax(values, members, temperature) * _active(values, members)


MASKED: Mapping[str, MaskedAggregator] = {
    "max": MaskedAggregator(_max, _one_hot_at_largest),
    "min": MaskedAggregator(_min, lambda values, members: _one_hot_at_largest(-values, members)),
    "logsumexp": MaskedAggregator(_logsumexp, _softmax),
    "softmin": MaskedAggregator(
        lambda values, members: -_logsumexp(-values, members),
        lambda values, members: _softmax(-values, members),
    ),
    "mean": MaskedAggregator(_mean, _uniform),
    "sum": MaskedAggregator(_sum, _ones),
    "mean_active": MaskedAggregator(_mean_active, _uniform_over_active),
    "softmax_active": MaskedAggregator(_softmax_active, _softmax_active_weights),
    "each": MaskedAggregator(_sum, _ones),
    "each_mean": MaskedAggregator(_mean, _uniform),
}
"""Every aggregator of the symbolic floor, by name."""


def masked(aggregator: Aggregator) -> MaskedAggregator:
    """The aggregator of many sets at once.

    Raises:
        ValueError: `MASKED` has none of this name; the text lists those there are.

    >>> from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, MAX
    >>> values, members = torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[True, False, True]])
    >>> masked(MAX).value(values, members), masked(MAX).weights(values, members)
    (tensor([2.]), tensor([[0., 0., 1.]]))
    >>> masked(LOGSUMEXP).weights(values, torch.zeros_like(members))
    tensor([[0., 0., 0.]])
    """
    if aggregator.name not in MASKED:
        raise ValueError(f"aggregator: got {aggregator.name!r} but expected one of {', '.join(MASKED)}")
    return MASKED[aggregator.name]
