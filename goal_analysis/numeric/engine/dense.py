"""The dense way: the weight matrix W and the loss of a batch, from the whole matrix of scores.

Anchors are rows here; where columns are anchors the matrices are turned. A side has a column per pair where pairs are
enumerated, and one where they are aggregated, so that T, too, is a matrix or one column.
"""

# A side that a term does not have is None; which ones it has is asked where the way is chosen.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportOptionalOperand=false
# pyright: reportOptionalCall=false, reportPossiblyUnboundVariable=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Relative, Side, Term


@dataclass(frozen=True)
class Handed:
    """What one side of a term hands over for every anchor."""

    x: Tensor  # x_p or x_n, shape ``(anchors, 1)`` or ``(anchors, pairs)``
    factor: Tensor  # what each of them counts for
    present: Tensor  # where there is one
    mining: Callable[[], Tensor] | None = None  # makes q over the gathered pairs; None where they are enumerated
    similarities: Tensor | None = None  # of these, shape ``(anchors, pairs)``; the middle where there is none
    members: Tensor | None = None  # which of these count
    carried: Tensor | None = None  # by enumerated pairs; zero where there is none
    more: tuple[Tensor, ...] = ()  # what Φ reads besides x_p and x_n


def weight_matrix(
    functions: Functions, scores: Tensor, positives: Tensor, negatives: Tensor, carried: Tensor | None = None
) -> Tensor:
    """W = ∂L/∂S, or what takes its place: negative where pairs are pulled together, positive where pushed apart.

    The scores S of shape ``(rows, columns)``, in float32 at least, have as many columns a class as ``positives`` has of
    it where columns are grouped; ``carried`` is None where no function reads it.
    """
    if functions.grouped is not None:
        with torch.enable_grad():
            of_centres = scores.detach().requires_grad_()
            of_classes = one_a_class(functions, of_centres, positives)
        scores = of_classes.detach()
    result = torch.zeros_like(scores)
    for term in functions.terms:
        if term.pull is None:
            with torch.enable_grad():
                s = scores.detach().requires_grad_()
                value = _value_of_terms(replace(functions, terms=(term,)), s, positives, negatives, carried)
            result = result + torch.autograd.grad(value, s)[0]
            continue
        parts, count = [], scores.new_zeros(())
        for turned, s, positive, negative, carries in axes(functions, scores, positives, negatives):
            w, present = torch.zeros_like(s), torch.zeros_like(positive[:, :1])
            for p, n, matrix in term.meet(term, s, positive, negative, functions.middle, carries):
                w = w + matrix(*weights_of(term, p, n, s, negative))
                there = p.present & n.present
                if functions.reduction == "mean":
                    present = present | there.any(1, keepdim=True)
                elif functions.reduction != "sum":
                    values = (term.outer or term.pull)(p.x, n.x)
                    count = count + (there & (values > 0) if functions.reduction == "mean_active" else there).sum()
            parts.append(w.T if turned else w)
            count = count + present.sum()
        result = result + sum(parts) / (1 if functions.reduction == "sum" else count.clamp(min=1))
    if functions.grouped is not None:
        return torch.autograd.grad(of_classes, of_centres, result)[0]
    return result


def loss(
    functions: Functions, scores: Tensor, positives: Tensor, negatives: Tensor, carried: Tensor | None = None
) -> Tensor:
    """The loss of the batch, differentiable: the sum of every term, or its mean over what its reduction counts."""
    if functions.grouped is not None:
        scores = one_a_class(functions, scores, positives)
    return _value_of_terms(functions, scores, positives, negatives, carried)


def _value_of_terms(
    functions: Functions, scores: Tensor, positives: Tensor, negatives: Tensor, carried: Tensor | None
) -> Tensor:
    result = 0 * scores.sum()
    for term in functions.terms:
        value, count = scores.new_zeros(()), scores.new_zeros(())
        for _, s, positive, negative, carries in axes(functions, scores, positives, negatives, carried):
            present, summed = torch.zeros_like(positive[:, :1]), s.new_zeros(len(s))
            for p, n, _ in term.meet(valued(term), s, positive, negative, functions.middle, carries):
                there = p.present & n.present
                given = ((p.factor * n.factor).detach(), p.x, n.x, *n.more)
                every = bool(there.all())  # then nothing is picked, which takes long in the backward pass
                factor, *read = (
                    e.expand(there.shape).flatten() if every else e.expand(there.shape)[there] for e in given
                )
                values = term.outer(*read)
                if term.whole is not None:
                    summed = summed.index_add(0, there.nonzero()[:, 0], factor * values)
                    present = present | there.any(1, keepdim=True)
                    continue
                value = value + (factor * values).sum()
                if functions.reduction == "mean":
                    present = present | there.any(1, keepdim=True)
                elif functions.reduction != "sum":
                    count = count + (values.detach() > 0 if functions.reduction == "mean_active" else there).sum()
            if term.whole is not None:
                totals = term.whole(summed[present[:, 0]])
                value = value + totals.sum()
                present = totals.detach() > 0 if functions.reduction == "mean_active" else present
            count = count + present.sum()
        result = result + value / (1 if functions.reduction == "sum" else count.clamp(min=1))
    return result


def one_a_class(functions: Functions, scores: Tensor, positives: Tensor) -> Tensor:
    """One score of the columns of a class, which stand side by side."""
    of_class = scores.unflatten(1, (positives.shape[1], -1))
    return functions.grouped.value(of_class, torch.ones_like(of_class, dtype=torch.bool))


def axes(
    functions: Functions, scores: Tensor, positives: Tensor, negatives: Tensor, carried: Tensor | None = None
) -> Iterator[tuple[bool, Tensor, Tensor, Tensor, Tensor]]:
    """Whether the columns are the anchors, and the matrices with the anchors as rows; pairs carry zero by default."""
    carried = scores.new_zeros(()).expand(scores.shape) if carried is None else carried.to(scores.dtype)
    if functions.rows and scores.numel():
        yield False, scores, positives, negatives, carried
    if functions.columns and scores.numel():
        yield True, scores.T, positives.T, negatives.T, carried.T


def weights_of(term: Term, p: Handed, n: Handed, s: Tensor, negatives: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What the pairs of either side get: −T⁺·q·P⁺ and T⁻·q·P⁻; None for a side that the term does not have."""
    there = p.present & n.present
    factor = (p.factor * n.factor).where(there, 0)
    read = () if term.relative is None else relative_similarities(term.relative, p.x, n.x, there, s, negatives)
    found = []
    for side, h, t in ((term.positives, p, -term.pull(p.x, n.x)), (term.negatives, n, term.push(p.x, n.x))):
        if side is None:
            found.append(None)
            continue
        received = (t * factor).where(there, 0)
        if read:  # the pair weights read the triplet, whose own similarity is what was handed over
            received = (received * side.weight(h.x, *read)).where(there, 0)
        received = received.sum_to_size(h.members.shape) if h.mining is None else received.sum(1, True) * h.mining()
        weights = received if read else received * side.weight(h.similarities)
        found.append(weights.where(h.members, 0))
    return found[0], found[1]


def relative_similarities(
    declared: tuple[Relative, ...], x_p: Tensor, x_n: Tensor, there: Tensor, s: Tensor, negatives: Tensor
) -> tuple[Tensor, ...]:
    """One tensor a relative similarity, of the shape of ``there``, to which x_p and x_n of the triplets broadcast.

    ``there`` says where there is a triplet, shape ``(anchors, negatives)``, a column where one negative is mined.
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
        mean = contribution.where(members, 0).sum(1) / members.sum(1).clamp_min(1)
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


def meetings(
    term: Term, s: Tensor, positives: Tensor, negatives: Tensor, middle: float, carried: Tensor
) -> Iterator[tuple[Handed, Handed, Callable[..., Tensor]]]:
    """What both sides hand over, and what makes one matrix of their weights; positive by positive where ``apart``."""
    weight = term.positives.aggregator.weights(s, positives) if term.apart else None
    columns = list(slots(positives)) if term.apart or term.ends else []
    for at in [[column] for column in columns] if term.apart else [columns]:
        if term.apart:
            p = own_positive(term.positives, s, *at[0], weight, middle, carried)
        else:
            p = handed(term.positives, s, positives, middle, carried=carried)
        gather = partial(gathered, term, p, at, s, positives, negatives, middle, carried)
        n = gather(term.negatives)
        if term.pull is None:
            named, present = [gather(side) for side in term.named], n.present
            for one in named:
                present = present & one.present
            counts = (pairs.sum(1, keepdim=True).to(s.dtype) for pairs in (positives, negatives))
            of_pairs = (torch.zeros_like(one.x) if one.carried is None else one.carried for one in (p, n))
            n = replace(n, present=present, more=(*(one.x for one in named), *counts, *of_pairs))
        yield p, n, partial(spread, term, at, s.shape[1])


def gathered(
    term: Term,
    p: Handed,
    at: list[tuple[Tensor, Tensor]],
    s: Tensor,
    positives: Tensor,
    negatives: Tensor,
    middle: float,
    carried: Tensor,
    side: Side | None,
) -> Handed:
    """What a side makes of its pool; of both ends, with the negatives of the positives in these columns."""
    pool = "own" if side is None else side.pool
    members = positives if pool == "positives" else negatives | positives if pool == "all" else negatives
    members = members & p.present if term.apart else members
    if term.ends and pool == "both ends":
        ends = [(column[:, 0], there) for column, there in at]
        members = torch.cat((members, *(negatives[:, end].T & there for end, there in ends)), 1)
        s, carried = (torch.cat((e, *(e[:, end].T for end, _ in ends)), 1) for e in (s, carried))
    return handed(side, s, members, middle, met(term, p), p if term.apart else None, carried)


def spread(term: Term, at: list[tuple[Tensor, Tensor]], width: int, pull: Tensor, push: Tensor) -> Tensor:
    """A matrix of so many columns with the weights of both sides."""
    if term.apart or term.ends:
        own, *of_ends = push.split((width, *[len(push)] * ((push.shape[1] - width) // len(push))), 1)
        if term.apart:
            own = own.scatter_add(1, at[0][0], pull)
        for (column, _), weights in zip(at, of_ends, strict=False):
            own = own.index_add(1, column[:, 0], weights.T)
        return own if term.apart else own + pull
    return push if pull is None else pull if push is None else pull + push


def handed(
    side: Side | None,
    s: Tensor,
    members: Tensor,
    middle: float,
    other: Tensor | None = None,
    own: Handed | None = None,
    carried: Tensor | None = None,
) -> Handed:
    """What a side makes of the members of every row; ``own`` is the positive that it may compare them with."""
    if side is None:
        return Handed(s.new_zeros((len(s), 1)), s.new_ones((len(s), 1)), members.new_ones((len(s), 1)))
    if side.selection is not None:
        members = side.selection(s, members, other) & members
    similarities = s.where(members, middle)
    if side.by_name:
        carried = carried.where(members, 0)
        values = side.inner(similarities, carried, *(() if own is None else (own.similarities, own.carried)))
    else:
        values = side.inner(similarities)
    weights = partial(side.aggregator.weights, values, members)
    if side.aggregator.enumerates:
        return Handed(values, weights(), members, None, similarities, members, carried)
    x = side.aggregator.value(values, members).unsqueeze(1)
    return Handed(x, torch.ones_like(x), members.any(1, keepdim=True), weights, similarities, members)


def met(term: Term, p: Handed) -> Tensor | None:
    """The positive that negatives are selected by: of several, their mean by the mining weights."""
    side = term.negatives
    if term.positives is not None and side is not None and side.selection is not None:
        if p.mining is None:
            return p.similarities
        mining = p.mining()
        total = mining.sum(1, keepdim=True)
        return (mining * p.similarities).sum(1, keepdim=True) / total.masked_fill(total == 0, 1)
    return None


def own_positive(
    side: Side, s: Tensor, column: Tensor, present: Tensor, weight: Tensor, middle: float, carried: Tensor | None = None
) -> Handed:
    """What the positives hand over that stand in one column of every anchor."""
    similarities = s.gather(1, column).where(present, middle)
    factor = weight.gather(1, column) * present
    if side.by_name:
        carried = carried.gather(1, column).where(present, 0)
        values = side.inner(similarities, carried)
    else:
        values = side.inner(similarities)
    return Handed(values, factor, present, None, similarities, present, carried)


def slots(positives: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The column of every anchor's first positive and whether it has one, then of its second, and so on."""
    most = int(positives.sum(1).max()) if positives.numel() else 0
    ones = positives.to(torch.uint8)  # the first one alone is quicker to find than their order
    columns = ones.argmax(1, True) if most == 1 else ones.argsort(dim=1, descending=True, stable=True)[:, :most]
    for column in columns.split(1, 1) if most else ():  # what is empty splits into one empty part
        yield column, positives.gather(1, column)


def valued(term: Term) -> Term:
    """The term with inner functions that autograd differentiates as they are meant."""
    positives, negatives, *named = (
        side and replace(side, inner=side.valued or side.inner)
        for side in (term.positives, term.negatives, *term.named)
    )
    return replace(term, positives=positives, negatives=negatives, named=tuple(named))
