"""What the positives of every anchor hand over, and what they then lose, for both axes at once."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false, reportOptionalCall=false

from __future__ import annotations

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Side, Term
from goal_analysis.numeric.engine.pairs import Pairs

SOFT = frozenset(("logsumexp", "softmin", "soft_max", "soft_min"))
ALONE = SOFT | {"each", "each_mean", "min", "max", "mean", "sum"}
"""Aggregators of which one value alone is the aggregate."""


def alone(side: Side) -> bool:
    """Whether one value alone is its own aggregate."""
    return side.aggregator.name in ALONE


def divisor(functions: Functions, pairs: Pairs, there: Tensor | None) -> Tensor | float:
    """What a term is divided by: how many anchors have what it needs."""
    if functions.reduction == "sum":
        return 1.0
    if there is None:
        return float(max(pairs.anchors, 1))
    count = there.sum().clamp(min=1)
    return count.to(torch.float32 if count.device.type == "mps" else torch.float64)  # mps has no float64


def handed_over(
    term: Term, s: Tensor, pairs: Pairs, there: Tensor | None, share: Tensor | float
) -> tuple[Tensor, Tensor | float, Tensor | None, Tensor | None]:
    """x_p, of no positives zero, what each counts for, the mining weights, and where there is one.

    The mining weights are None where every pair has an x_p of its own, and places are None for everywhere; ``s``, the
    scores of the positives, has the shape ``(anchors, slots)``, or ``(anchors,)`` of one that is `alone`.
    """
    there = None if there is None else there[:, None]
    if term.positives is None:
        return (s if s.ndim == 1 else s[:, :1]) * 0, 1 / share, None, there
    aggregator, values, members = term.positives.aggregator, of_side(term.positives, s), pairs.several
    if aggregator.name == "each" or (members is None and alone(term.positives)):
        return values, 1 / share, None, both(pairs.members, there)
    if aggregator.name in SOFT or aggregator.name in ("min", "max"):
        low = aggregator.name == "min"
        scaled = times(values, aggregator.scale)
        scaled = scaled if pairs.members is None else scaled.where(pairs.members, torch.inf if low else -torch.inf)
        if aggregator.name in SOFT:
            logits = torch.log_softmax(scaled, 1)  # one kernel, where a logsumexp takes a dozen
            total = scaled[:, :1] - logits[:, :1]  # an anchor with positives has one in its first slot
            return only(there, total / aggregator.scale), 1 / share, only(there, logits.exp_()), there
        x_p, at = scaled.min(1, keepdim=True) if low else scaled.max(1, keepdim=True)
        return only(there, x_p), 1 / share, torch.zeros_like(values).scatter_(1, at, 1), there
    members = torch.ones_like(values, dtype=torch.bool) if members is None else members
    weights = aggregator.weights(values, members)
    if aggregator.enumerates:
        return values, weights / share, None, both(pairs.members, there)
    return aggregator.value(values, members)[:, None], 1 / share, weights, there


def triplet_weights(
    term: Term, x_p: Tensor, x_n: Tensor, factor: Tensor | float, there: Tensor | None
) -> tuple[Tensor, Tensor]:
    """T⁻ and T⁺, times what they count for."""
    push = only(there, times(term.push(x_p, x_n), factor))
    return push, push if term.pull is term.push else only(there, times(term.pull(x_p, x_n), factor))


def lost(side: Side, s: Tensor, pull: Tensor, mining: Tensor | None) -> Tensor:
    """What W loses at the positives: T·q·P⁺."""
    return weighted(side, pull if mining is None else pull * mining, s)


def of_side(side: Side, s: Tensor) -> Tensor:
    """k or h."""
    return s if side.hints.line == (1, 0) else side.inner(s)


def weighted(side: Side, values: Tensor, s: Tensor) -> Tensor:
    """The values times P."""
    return times(values, side.weight(s) if side.hints.constant is None else side.hints.constant)


def times(values: Tensor, factor: Tensor | float) -> Tensor:
    """The product."""
    return values if isinstance(factor, float) and factor == 1 else values * factor


def over(values: Tensor, divisor: Tensor | float) -> Tensor:
    """The quotient."""
    return values if isinstance(divisor, float) and divisor == 1 else values / divisor


def only(there: Tensor | None, values: Tensor) -> Tensor:
    """The values, and zero where there is nothing."""
    return values if there is None else values.where(there, 0)


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Where both are; None stands for everywhere."""
    return second if first is None else first if second is None else first & second
