"""Relative similarities: what a weight reads from other pairs of the batch, for the triplets of a batch."""

from __future__ import annotations

import sympy as sp
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.formula import Values, formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.triplets import Triplets
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import (
    Counting,
    RelativeSimilarity,
    least_positive,
    other_negative,
    other_positive,
)

READ = (s_p, s_n, other_positive, other_negative, least_positive)
"""What contributions and memberships may read, in this order."""


def relative_similarities(
    relative: tuple[RelativeSimilarity, ...],
    scores: Float[Tensor, "anchors candidates"],
    matches: Matches,
    triplets: Triplets,
    values: Values,
) -> dict[sp.Symbol, Float[Tensor, " triplets"]]:
    """The mean over other pairs that each declared relative similarity is, for every triplet; 0 over none.

    Another positive is that of a triplet of another anchor; another negative is one that the triplet's anchor has
    besides the mined one.

    Args:
        relative: the declarations.
        scores: the similarities, anchors as rows.
        matches: which pairs are positives and negatives.
        triplets: the mined ones.
        values: of the hyperparameters.
    """
    of_positive = scores[triplets.anchor, triplets.positive]
    of_negative = scores[triplets.anchor, triplets.negative]
    least = of_positive.min() if len(triplets) else scores.new_zeros(())
    found = {}
    for one in relative:
        if one.other == other_positive:
            others = of_positive.expand(len(triplets), -1)
            candidates = triplets.anchor[:, None] != triplets.anchor[None, :]
        else:
            others = scores[triplets.anchor]
            candidates = matches.negatives[triplets.anchor].scatter(1, triplets.negative[:, None], False)
        read = (of_positive[:, None], of_negative[:, None], others, others, least)
        contribution = formula(one.contribution, READ, values)(*read).expand_as(others)
        members = candidates & (formula(one.member, READ, values)(*read) >= 0)
        found[one.symbol] = _mean(contribution, members & _counted(one.counting, contribution))
    return found


def _counted(counting: Counting, contribution: Tensor) -> Bool[Tensor, "triplets others"]:
    if counting is Counting.NONZERO:
        return contribution != 0
    return contribution > 0 if counting is Counting.POSITIVE else torch.ones_like(contribution, dtype=torch.bool)


def _mean(values: Tensor, members: Tensor) -> Float[Tensor, " triplets"]:
    return values.masked_fill(~members, 0).sum(1) / members.sum(1).clamp_min(1)
