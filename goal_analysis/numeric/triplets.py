"""Triplets of a batch: what a miner returns, and how pairs of one anchor are joined to triplets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goal_analysis.numeric.matches import Matches


@dataclass(frozen=True, eq=False)
class Triplets:
    """Triplets of a batch, those of one anchor in a row.

    Args:
        anchor: shape ``(triplets,)``; rows of the score matrix.
        positive: shape ``(triplets,)``; columns.
        negative: shape ``(triplets,)``; columns.
        weight: shape ``(triplets,)``; how much the triplet counts.
    """

    anchor: Int[Tensor, " triplets"]
    positive: Int[Tensor, " triplets"]
    negative: Int[Tensor, " triplets"]
    weight: Float[Tensor, " triplets"]

    def __len__(self) -> int:
        return len(self.anchor)

    @classmethod
    def from_pml(cls, indices: Sequence[Int[Tensor, " _"]], matches: Matches) -> Triplets:
        """The triplets of one of pytorch-metric-learning's index tuples, each of weight 1.

        Args:
            indices: ``(anchor, positive, negative)``, or the pairs ``(anchor, positive, anchor, negative)``,
                where every positive of an anchor is joined with every negative of it.
            matches: of the same batch.

        Raises:
            ValueError: a tuple of another length; a pair that is none, or not of this kind, by ``matches``.

        >>> pairs = tuple(map(torch.tensor, ([0, 1], [0, 1], [0, 0, 1], [1, 2, 0])))
        >>> Triplets.from_pml(pairs, Matches.of_pairs(3)).to_pml()
        (tensor([0, 0, 1]), tensor([0, 0, 1]), tensor([1, 2, 0]))
        """
        if len(indices) not in (3, 4):
            raise ValueError(
                f"triplets: got a tuple of {len(indices)} but expected (anchor, positive, negative) "
                "or (anchor, positive, anchor, negative)"
            )
        positives = indices[:2]
        negatives = (indices[0], indices[2]) if len(indices) == 3 else indices[2:]
        for what, (anchor, candidate), mask in (
            ("positive", positives, matches.positives),
            ("negative", negatives, matches.negatives),
        ):
            _check_pairs(what, anchor, candidate, mask)
        if len(indices) == 4:
            return joined(PairList.sorted(*positives), PairList.sorted(*negatives), matches.shape[0])
        anchor, positive, negative = (part.long() for part in indices)
        return cls(anchor, positive, negative, torch.ones(len(anchor), device=anchor.device))

    def to_pml(self) -> tuple[Tensor, Tensor, Tensor]:
        """The tuple ``(anchor, positive, negative)`` of pytorch-metric-learning, which has no weights."""
        return self.anchor, self.positive, self.negative


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs of an anchor and a candidate, in the order of the anchors.

    Args:
        anchor: shape ``(pairs,)``; ascending.
        candidate: shape ``(pairs,)``.
        weight: shape ``(pairs,)``.
    """

    anchor: Int[Tensor, " pairs"]
    candidate: Int[Tensor, " pairs"]
    weight: Float[Tensor, " pairs"]

    @classmethod
    def where(cls, chosen: Tensor, weights: Tensor) -> PairList:
        """The pairs where the mask ``(anchors, candidates)`` holds, with their weights."""
        anchor, candidate = chosen.nonzero(as_tuple=True)
        return cls(anchor, candidate, weights[anchor, candidate])

    @classmethod
    def sorted(cls, anchor: Tensor, candidate: Tensor) -> PairList:
        """These pairs in the order of their anchors, of weight 1."""
        order = torch.sort(anchor, stable=True).indices
        one = torch.ones(len(order), device=anchor.device)
        return cls(anchor[order].long(), candidate[order].long(), one)


def joined(positives: PairList, negatives: PairList, anchors: int) -> Triplets:
    """Every positive pair with every negative pair of the same anchor; their weights multiply.

    Args:
        positives: in the order of the anchors.
        negatives: in the order of the anchors.
        anchors: how many there are.
    """
    partners = torch.bincount(negatives.anchor, minlength=anchors)
    first_partner = partners.cumsum(0) - partners
    times = partners[positives.anchor]
    p = torch.arange(len(times), device=times.device).repeat_interleave(times)
    turn = torch.arange(len(p), device=times.device) - (times.cumsum(0) - times)[p]
    anchor = positives.anchor[p]
    n = first_partner[anchor] + turn
    weight = positives.weight[p] * negatives.weight[n]
    return Triplets(anchor, positives.candidate[p], negatives.candidate[n], weight)


def _check_pairs(what: str, anchor: Tensor, candidate: Tensor, mask: Tensor) -> None:
    rows, columns = mask.shape
    outside = (anchor < 0) | (anchor >= rows) | (candidate < 0) | (candidate >= columns)
    wrong = outside | ~mask[anchor.clamp(0, max(rows - 1, 0)), candidate.clamp(0, max(columns - 1, 0))]
    if bool(wrong.any()):
        pair = int(anchor[wrong][0]), int(candidate[wrong][0])
        raise ValueError(f"triplets: got {pair} as a {what} pair but expected one that is so by the matches")
