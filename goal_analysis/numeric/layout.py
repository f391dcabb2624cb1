"""A term on every anchor of a batch: which pairs its sides gather, and what they hand to Φ.

What the sides hand to Φ broadcasts over the axes (anchors, positives, negatives). An axis has length one
where its side is aggregated, and Φ is evaluated only where both sides exist. At a pair that is no member the
similarity is replaced by the middle of the range: the zero gradient there times an infinite slope, as that of
√(1 − s²) at s = 1, would be NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from goal_analysis.numeric.aggregation import masked
from goal_analysis.numeric.matches import Matches
from goal_analysis.symbolic.language.aggregators import Aggregator, Pool
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Reduction


@dataclass(frozen=True)
class Pairs:
    """The pairs that a side of a term gathers, as places in the score matrix.

    Args:
        places: the pair (i, j) is at ``i * candidates + j``. The middle axis has length one, or the number of
            positives where every positive of an anchor has pairs of its own.
        members: which of the places count.
    """

    places: Int[Tensor, "anchors own members"]
    members: Bool[Tensor, "anchors own members"]


def positive_pairs(matches: Matches) -> Pairs:
    """The positives of every anchor, padded to the largest number of them; the middle axis is one long."""
    most = max(1, int(matches.positives.sum(1).max()))
    columns = matches.positives.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    rows = torch.arange(columns.shape[0], device=columns.device).unsqueeze(1)
    places = rows * matches.positives.shape[1] + columns
    return Pairs(places.unsqueeze(1), matches.positives.gather(1, columns).unsqueeze(1))


def negative_pairs(pool: Pool, matches: Matches, each_positive: bool) -> Pairs:
    """The pairs that the side of the negatives gathers.

    Args:
        pool: which of an anchor's pairs.
        matches: which pairs are positives, and which negatives.
        each_positive: whether the positives are enumerated, so that with `Pool.BOTH_ENDS` each of them has
            a set of its own; otherwise an anchor gathers the negatives of all its positives.
    """
    negatives = matches.negatives
    anchors, candidates = negatives.shape
    every_place = torch.arange(anchors * candidates, device=negatives.device).view(anchors, candidates)
    of_anchor = Pairs(every_place.unsqueeze(1), negatives.unsqueeze(1))
    if pool is Pool.OWN:
        return of_anchor
    if pool is Pool.ALL:
        return Pairs(of_anchor.places, (matches.positives | negatives).unsqueeze(1))
    positives = positive_pairs(matches)
    columns = positives.places.squeeze(1) % candidates
    places, members = every_place.T[columns], negatives.T[columns] & positives.members.transpose(1, 2)
    if each_positive:
        most = columns.shape[1]
        first = (of_anchor.places.expand(-1, most, -1), of_anchor.members.expand(-1, most, -1))
    else:
        places, members = places.flatten(1).unsqueeze(1), members.flatten(1).unsqueeze(1)
        first = (of_anchor.places, of_anchor.members)
    return Pairs(torch.cat((first[0], places), -1), torch.cat((first[1], members), -1))


@dataclass(frozen=True)
class SideLayout:
    """One side of a term on every anchor.

    Args:
        aggregator: how the side aggregates.
        parameters: the numbers that the aggregator reads.
        pairs: what the side gathers.
        similarities: those of the pairs; in the middle of the range where there is no member.
        values: the inner function of the similarities.
        handed: what Φ is applied to.
        factors: what Φ is multiplied with.
        present: where there is something to hand to Φ.
        turned: whether the members lie along the axis of the positives.
    """

    aggregator: Aggregator
    parameters: tuple[float, ...]
    pairs: Pairs
    similarities: Float[Tensor, "anchors own members"]
    values: Float[Tensor, "anchors own members"]
    handed: Float[Tensor, "anchors positives negatives"]
    factors: Float[Tensor, "anchors positives negatives"]
    present: Bool[Tensor, "anchors positives negatives"]
    turned: bool

    def gradient(
        self,
        of_handed: Float[Tensor, "anchors every_positive every_negative"],
        slopes: Float[Tensor, "anchors own members"],
        shape: torch.Size,
    ) -> Float[Tensor, "rows columns"]:
        """What arrives at the scores: the gradient of what is handed to Φ × mining weight × inner derivative.

        Args:
            of_handed: the gradient of the loss by x_p, or by x_n, wherever the term is evaluated.
            slopes: k′ or h′ at the similarities.
            shape: that of the scores.
        """
        received = of_handed.sum_to_size(self.handed.shape)
        received = received.transpose(1, 2) if self.turned else received
        if not self.aggregator.enumerates:
            weights = masked(self.aggregator).weights(self.values, self.pairs.members, *self.parameters)
            received = received * weights
        shares = (received * slopes).masked_fill(~self.pairs.members, 0.0)
        gradient = shares.new_zeros(shape.numel())
        return gradient.index_add(0, self.pairs.places.flatten(), shares.flatten()).view(shape)


def lay_out(
    aggregator: Aggregator,
    parameters: tuple[float, ...],
    pairs: Pairs,
    scores: Float[Tensor, "anchors candidates"],
    inner: Callable[[Tensor], Tensor],
    similarity: Similarity,
    turned: bool,
) -> SideLayout:
    """One side of a term on every anchor.

    Args:
        aggregator: how the side aggregates.
        parameters: the numbers that the aggregator reads.
        pairs: what the side gathers.
        scores: the similarities.
        inner: its inner function.
        similarity: what the scores measure.
        turned: whether this is the side of the positives, whose members lie along the axis of the positives
            when they are enumerated.
    """
    middle = float(similarity.opposite + similarity.identical) / 2
    similarities = scores.flatten()[pairs.places].masked_fill(~pairs.members, middle)
    values = inner(similarities)
    compute = masked(aggregator)
    if aggregator.enumerates:
        factors = compute.weights(values, pairs.members, *parameters)
        handed, factors, present = values, factors, pairs.members
        if turned:
            handed, factors, present = (t.transpose(1, 2) for t in (handed, factors, present))
    else:
        handed = compute.value(values, pairs.members, *parameters).unsqueeze(-1)
        factors, present = torch.ones_like(handed), pairs.members.any(-1, keepdim=True)
    turned = turned and aggregator.enumerates
    return SideLayout(aggregator, parameters, pairs, similarities, values, handed, factors.detach(), present, turned)


@dataclass(frozen=True)
class TermLayout:
    """A term on every anchor: its sides, and where both of them exist."""

    positives: SideLayout | None
    negatives: SideLayout | None
    present: Bool[Tensor, "anchors positives negatives"]

    def arguments(self) -> tuple[Float[Tensor, " places"], Float[Tensor, " places"]]:
        """x_p and x_n wherever the term exists; zero for a side that the term does not have."""
        sides = (self.positives, self.negatives)
        like = next(side for side in sides if side is not None).handed
        handed = (like.new_zeros((1, 1, 1)) if side is None else side.handed for side in sides)
        x_p, x_n = (h.expand(self.present.shape)[self.present] for h in handed)
        return x_p, x_n

    def factors(self, reduction: Reduction) -> Float[Tensor, " places"]:
        """What every evaluation of Φ counts for in the batch's loss."""
        sides = [side for side in (self.positives, self.negatives) if side is not None]
        total = sides[0].factors if len(sides) == 1 else sides[0].factors * sides[1].factors
        anchors = self.present.flatten(1).any(1).sum().clamp(min=1) if reduction is Reduction.MEAN else 1
        return total.expand(self.present.shape)[self.present] / anchors

    def spread(self, at_places: Float[Tensor, " places"]) -> Float[Tensor, "anchors positives negatives"]:
        """The values where the term exists, and zero elsewhere."""
        return at_places.new_zeros(self.present.shape).masked_scatter(self.present, at_places)
