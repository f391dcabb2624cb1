"""Relative similarities: what the pair weights of a triplet read from other pairs of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Relative:
    """A mean over other pairs of the batch; zero over none.

    Args:
        contribution: what another pair adds, of (s_p, s_n, other positive, other negative, least positive).
        member: the other pair belongs to the mean where this is at least zero, of the same five.
        of_positives: whether the other pairs are those of the other anchors and their positives; otherwise the anchor's
            other negatives.
        counts: what the mean divides by: "all", "nonzero" or "positive" contributions.
    """

    contribution: Callable[..., Tensor]
    member: Callable[..., Tensor]
    of_positives: bool
    counts: str


def relative_similarities(
    declared: tuple[Relative, ...], x_p: Tensor, x_n: Tensor, there: Tensor, s: Tensor, negatives: Tensor
) -> tuple[Tensor, ...]:
    """One tensor a relative similarity, of the shape of ``there``.

    Args:
        declared: which.
        x_p: the similarities of the triplets' positives, which broadcasts to ``there``.
        x_n: those of their negatives.
        there: where there is a triplet, shape ``(anchors, negatives)``; a column where one negative is mined.
        s: the similarities, shape ``(anchors, candidates)``.
        negatives: which of them are negatives.
    """
    anchor = there.nonzero()[:, 0]
    of_positive, of_negative = (x.expand(there.shape)[there] for x in (x_p, x_n))
    least = of_positive.min() if len(anchor) else s.new_zeros(())
    found = []
    for one in declared:
        if one.of_positives:
            others = of_positive.expand(len(anchor), -1)
            candidates = anchor[:, None] != anchor[None, :]
        else:
            others, candidates = s[anchor], negatives[anchor] & ~own_negative(anchor, of_negative, s, there)
        read = (of_positive[:, None], of_negative[:, None], others, others, least)
        contribution = one.contribution(*read).expand_as(others)
        members = candidates & (one.member(*read) >= 0) & counted(one.counts, contribution)
        mean = contribution.masked_fill(~members, 0).sum(1) / members.sum(1).clamp_min(1)
        found.append(s.new_zeros(there.shape).masked_scatter(there, mean))
    return tuple(found)


def own_negative(anchor: Tensor, of_negative: Tensor, s: Tensor, there: Tensor) -> Tensor:
    """The pair of a triplet's negative: its own column, or the first of its row that is as similar."""
    if there.shape == s.shape:
        column = there.nonzero()[:, 1]
    else:
        column = (s[anchor] == of_negative[:, None]).to(torch.uint8).argmax(1)
    return torch.zeros_like(s[anchor], dtype=torch.bool).scatter(1, column[:, None], True)


def counted(counts: str, contribution: Tensor) -> Tensor:
    """Which contributions the mean divides by."""
    if counts == "all":
        return torch.ones_like(contribution, dtype=torch.bool)
    return contribution != 0 if counts == "nonzero" else contribution > 0
