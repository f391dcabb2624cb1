"""Aggregators of the last axis, of which the boolean ``members`` are meant, with their mining weights.

An empty set aggregates to zero with weights of zero, so that nothing in it is NaN. Among equal values the first is the
largest, or the smallest. At a kink [x]₊ has the slope ½, as in the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor


@dataclass(frozen=True)
class Aggregator:
    """An aggregator of the last axis."""

    name: str
    value: Callable[[Tensor, Tensor], Tensor]  # A of (values, members), differentiable, of shape (…)
    weights: Callable[[Tensor, Tensor], Tensor]  # ∂A/∂xᵢ of the same, of shape (…, members), 0 outside of the members
    enumerates: bool = False  # whether every pair gets a term of its own; the weights are then what it counts for
    scale: float = 1.0  # β where A[x] = log Σ exp(β·x)/β


def filled(values: Tensor, members: Tensor, absent: float) -> Tensor:
    """The values with ``absent`` outside of the members, and zeros where there are none."""
    return values.where(members, absent).where(members.any(-1, keepdim=True), 0.0)


def maximum(values: Tensor, members: Tensor) -> Tensor:
    """The largest member."""
    return filled(values, members, -torch.inf).max(-1).values


def at_largest(values: Tensor, members: Tensor) -> Tensor:
    """One-hot at the first largest member."""
    at = filled(values, members, -torch.inf).argmax(-1, keepdim=True)
    return torch.zeros_like(values).scatter(-1, at, 1.0).where(members, 0.0)


def minimum(values: Tensor, members: Tensor) -> Tensor:
    """The smallest member."""
    return -maximum(-values, members)


def at_smallest(values: Tensor, members: Tensor) -> Tensor:
    """One-hot at the first smallest member."""
    return at_largest(-values, members)


def scaled_logsumexp(values: Tensor, members: Tensor, scale: float) -> Tensor:
    """log Σ exp(scale·x)/scale: a soft maximum for a positive scale, a soft minimum for a negative one."""
    total = torch.logsumexp(filled(values if scale == 1 else scale * values, members, -torch.inf), -1)
    return (total if scale == 1 else total / scale).where(members.any(-1), 0.0)


def softmax(values: Tensor, members: Tensor, scale: float) -> Tensor:
    """The derivative of `scaled_logsumexp`."""
    logits = filled(values if scale == 1 else scale * values, members, -torch.inf)
    return torch.softmax(logits, -1).where(members, 0.0)


def total(values: Tensor, members: Tensor) -> Tensor:
    """The sum of the members."""
    return values.where(members, 0.0).sum(-1)


def ones(values: Tensor, members: Tensor) -> Tensor:
    """One for every member."""
    return members.to(values.dtype)


def mean(values: Tensor, members: Tensor) -> Tensor:
    """The mean of the members."""
    return total(values, members) / members.sum(-1).clamp(min=1)


def uniform(values: Tensor, members: Tensor) -> Tensor:
    """One over the count of the members."""
    return members.to(values.dtype) / members.sum(-1, keepdim=True).clamp(min=1)


def active(values: Tensor, members: Tensor) -> Tensor:
    """1[x > 0] of the members, ½ at the kink."""
    half = torch.full((), 0.5, dtype=values.dtype, device=values.device)
    return torch.heaviside(values.detach(), half).where(members, 0.0)


def positive_part(values: Tensor, members: Tensor) -> Tensor:
    """[x]₊ of the members, zero elsewhere."""
    return torch.maximum(values.where(members, 0.0), values.new_zeros(()))


def mean_active(values: Tensor, members: Tensor) -> Tensor:
    """The mean of the members above zero."""
    return positive_part(values, members).sum(-1) / active(values, members).sum(-1).clamp(min=1)


def uniform_over_active(values: Tensor, members: Tensor) -> Tensor:
    """The derivative of `mean_active`."""
    is_active = active(values, members)
    return is_active / is_active.sum(-1, keepdim=True).clamp(min=1)


def active_softmax(values: Tensor, members: Tensor, temperature: float) -> Tensor:
    """Softmax of temperature·x over the members above zero; one at the kink counts half for the others."""
    is_active = active(values, members)
    scaled = filled(temperature * values, is_active > 0, -torch.inf)
    relative = torch.exp(scaled - scaled.amax(-1, keepdim=True))
    mass = (is_active * relative).sum(-1, keepdim=True) + (1 - is_active) * relative
    return is_active * relative / torch.where(is_active > 0, mass, 1.0)


def softmax_active_value(values: Tensor, members: Tensor, temperature: float) -> Tensor:
    """Σ wᵢ·[xᵢ]₊ with w the `active_softmax`, its gradient stopped."""
    return (active_softmax(values.detach(), members, temperature) * positive_part(values, members)).sum(-1)


def softmax_active_weights(values: Tensor, members: Tensor, temperature: float) -> Tensor:
    """The derivative of `softmax_active_value`."""
    return active_softmax(values, members, temperature) * active(values, members)


def soft(name: str, scale: float) -> Aggregator:
    """A[x] = log Σ exp(scale·x)/scale."""
    value, weights = partial(scaled_logsumexp, scale=scale), partial(softmax, scale=scale)
    return Aggregator(name, value, weights, scale=scale)


def softmax_mean_value(values: Tensor, members: Tensor, scale: float) -> Tensor:
    """Σ wᵢ·xᵢ with w the softmax of scale·x."""
    return (softmax(values, members, scale) * values.where(members, 0)).sum(-1)


def softmax_mean_weights(values: Tensor, members: Tensor, scale: float) -> Tensor:
    """The derivative of `softmax_mean_value`."""
    shares, values = softmax(values, members, scale), values.where(members, 0)
    return shares * (1 + scale * (values - (shares * values).sum(-1, keepdim=True)))


AGGREGATORS: dict[str, Callable[..., Aggregator]] = {
    "max": lambda: Aggregator("max", maximum, at_largest),
    "min": lambda: Aggregator("min", minimum, at_smallest),
    "logsumexp": lambda: soft("logsumexp", 1.0),
    "softmin": lambda: soft("softmin", -1.0),
    "soft_max": lambda scale: soft("soft_max", scale),
    "soft_min": lambda scale: soft("soft_min", -scale),
    "mean": lambda: Aggregator("mean", mean, uniform),
    "sum": lambda: Aggregator("sum", total, ones),
    "mean_active": lambda: Aggregator("mean_active", mean_active, uniform_over_active),
    "softmax_active": lambda temperature: Aggregator(
        "softmax_active",
        partial(softmax_active_value, temperature=temperature),
        partial(softmax_active_weights, temperature=temperature),
    ),
    "softmax_mean": lambda scale: Aggregator(
        "softmax_mean", partial(softmax_mean_value, scale=scale), partial(softmax_mean_weights, scale=scale)
    ),
    "each": lambda: Aggregator("each", total, ones, enumerates=True),
    "each_mean": lambda: Aggregator("each_mean", mean, uniform, enumerates=True),
}
"""Every aggregator of the language by its name, from its parameters."""
