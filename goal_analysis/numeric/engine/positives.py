"""What the positives of every anchor hand over, and what they and the negatives then weigh."""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Side, Term
from goal_analysis.numeric.engine.looks import Look
from goal_analysis.numeric.engine.pairs import Block, Pairs

ALONE = frozenset(("each", "each_mean", "min", "max", "logsumexp", "softmin", "soft_max", "soft_min", "mean", "sum"))
"""Aggregators of which one value alone is the aggregate."""


def present(term: Term, pairs: Pairs, axis: int) -> Tensor | None:
    """Which anchors of an axis have what a term needs; None where all have."""
    own, opposite = term.negatives is not None and term.negatives.pool == "own", pairs.shape[1 - axis]
    if term.positives is None and not own:
        return None
    if pairs.counts is None:
        return None if opposite > 1 or not own else torch.zeros(1, dtype=torch.bool, device=pairs.device)
    counts = pairs.counts[axis]
    if term.positives is None:
        return counts < opposite
    return (counts > 0) & (counts < opposite) if own else counts > 0


def divisor(functions: Functions, term: Term, pairs: Pairs) -> Tensor | float:
    """What a term is divided by: how many anchors have what it needs."""
    if functions.reduction == "sum":
        return 1.0
    there, every = [], 0
    for axis in anchors(functions):
        found = present(term, pairs, axis)
        every += pairs.shape[axis] if found is None else 0
        there += [] if found is None else [found]
    if not there:
        return float(max(every, 1))
    count = (torch.cat(there).sum() + every).clamp(min=1)
    return count.to(torch.float32 if count.device.type == "mps" else torch.float64)  # mps has no float64


def anchors(functions: Functions) -> list[int]:
    """The axes of the anchors."""
    return [axis for axis, used in ((0, functions.rows), (1, functions.columns)) if used]


def handed_over(side: Side, s: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor | float, Tensor | None]:
    """x_p, what each of them counts for, and the mining weights; None where every pair has an x_p of its own.

    Args:
        side: of the positives.
        s: their scores, the last axis those of one anchor.
        members: which of them count; None where every anchor has one.
    """
    values, aggregator = side.inner(s), side.aggregator
    if aggregator.name == "each" or (members is None and aggregator.name in ALONE):
        return values, 1.0, None
    members = torch.ones_like(values, dtype=torch.bool) if members is None else members
    weights = aggregator.weights(values, members)
    if aggregator.enumerates:
        return values, weights, None
    return aggregator.value(values, members).unsqueeze(-1), 1.0, weights


def of_positives(side: Side, s: Tensor) -> Tensor | float:
    """P⁺."""
    return side.weight(s) if side.hints.constant is None else side.hints.constant


def where(there: Tensor | None, values: Tensor) -> Tensor:
    """The values, and zero where there is nothing."""
    return values if there is None else values.masked_fill(~there, 0)


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Where both are; None stands for everywhere."""
    return second if first is None else first if second is None else first & second


def present_in(block: Block, there: Tensor | None, every: bool) -> Tensor | None:
    """Which pairs of a block have an anchor with what the term needs; or which rows, in one column."""
    members = block.members if every else block.members[:, :, :1]
    return both(members if block.filled else None, None if there is None else block.of_anchors(there))


def turned(block: Block, s: Tensor, axis: int) -> tuple[Block, Tensor]:
    """A block and its numbers with the anchors of this axis as rows."""
    return (block.transposed, s.mT) if axis else (block, s)


def settle(
    look: Look,
    functions: Functions,
    positives: list[tuple[Block, Tensor]],
    pulls: list[Tensor | None],
    share: Tensor | float,
) -> None:
    """From the aggregates to T: what W loses at the pairs, and what the mining of the negatives is multiplied with.

    Args:
        look: at all tiles; its axes get their weights.
        functions: of the objective.
        positives: the pairs that match, with their scores.
        pulls: of each block, what W loses; added to, and None before.
        share: what the term is divided by.
    """
    term, (p, n) = look.term, (look.term.positives, look.term.negatives)
    for axis in anchors(functions):
        own, other = look.axes[axis], look.axes[1 - axis]
        if look.kind == "each":
            begin_each(look, axis, positives, share, functions.middle)
            continue
        ends = n is not None and n.pool == "both ends"
        x_n = torch.zeros_like(own.total) if n is None or ends else where(own.there, own.of_negatives(n))
        if p is None:
            own.weight += where(own.there, term.push(torch.zeros_like(x_n), x_n)) / share
            continue
        for place, pair in enumerate(positives):
            block, s = turned(*pair, axis)
            x_p, factor, q = handed_over(p, s, block.several)
            there = present_in(block, own.there, q is None)
            if ends:
                here = block.of_anchors(own.logarithm)
                beyond = block.transposed.of_anchors(other.logarithm).mT
                x = torch.logaddexp(here, beyond) / n.aggregator.scale
                there = both(there, x.isfinite() | x.isnan())
                x = where(there, x)
            else:
                x = block.of_anchors(x_n)
            factor = factor / share
            pull, push = (where(there, t(x_p, x) * factor) for t in (term.pull, term.push))
            add_pull(pulls, place, axis, (pull if q is None else pull * q) * of_positives(p, s))
            if n is not None and not ends:
                block.add_to_anchors(own.weight, push)
            elif n is not None:
                for of, onto, part, axes in ((block, own, here, 0), (block.transposed, other, beyond, 1)):
                    found = where(there, push * (part - x * n.aggregator.scale).exp())
                    of.add_to_anchors(onto.weight, found.mT if axes else found)
    for of_axis in look.axes:
        if of_axis is not None and n is not None:
            found = of_axis.share(n)
            of_axis.weight *= found.unsqueeze(1) if look.kind == "each" and isinstance(found, Tensor) else found


def begin_each(
    look: Look, axis: int, positives: list[tuple[Block, Tensor]], share: Tensor | float, middle: float
) -> None:
    """Put x_p of every anchor, and what it counts for, into columns: one where it is aggregated or there is none."""
    own, p = look.axes[axis], look.term.positives
    if p is None:
        own.x, own.weight = torch.zeros_like(own.total)[:, None], where(own.there, torch.ones_like(own.total))[:, None]
        own.weight = own.weight / share
        return
    found = [(block, *handed_over(p, s, block.several)[:2]) for block, s in (turned(*pair, axis) for pair in positives)]
    most = max((x.shape[2] for _, x, _ in found), default=1)
    own.x, own.weight, own.pulled = (own.total.new_zeros((len(own.total), most)) for _ in range(3))
    for block, x, factor in found:
        there = present_in(block, own.there, x.shape[2] > 1)
        for columns, values in ((own.x, x), (own.weight, torch.ones_like(x) * (factor / share))):
            block.add_to_rows(columns[:, : x.shape[2]], where(there, values))
    own.x = torch.where(own.weight == 0, p.inner(torch.full_like(own.x, middle)), own.x)


def finish_each(
    look: Look, functions: Functions, positives: list[tuple[Block, Tensor]], pulls: list[Tensor | None]
) -> None:
    """Add what W loses at the pairs, once all negatives have met every x_p."""
    p = look.term.positives
    for axis in anchors(functions):
        own = look.axes[axis]
        pulled = own.pulled * own.weight
        for place, pair in enumerate(positives):
            block, s = turned(*pair, axis)
            x_p, _, q = handed_over(p, s, block.several)
            pull = block.of_rows(pulled)[:, :, : x_p.shape[2]]
            pull = (pull if q is None else pull * q) * of_positives(p, s)
            add_pull(pulls, place, axis, where(block.members if block.filled else None, pull))


def add_pull(pulls: list[Tensor | None], place: int, axis: int, pull: Tensor) -> None:
    """Add to what W loses at the pairs of a block."""
    pull, before = pull.mT if axis else pull, pulls[place]
    pulls[place] = pull if before is None else before + pull
