"""The loss of a batch in closed form, for objectives that are the gradient of one.

What was derived on one triplet is added up as the weights are: over the mined triplets with their mining weights, or,
with softmax mining, on the aggregates of every anchor. Autograd differentiates it to W, up to what mining never lets
gradients through: the choice.
"""

from __future__ import annotations

import sympy as sp
import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.formula import formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import All, SemiHard, Softmax
from goal_analysis.numeric.triplets import Triplets
from goal_analysis.recombination.batch_integrability import BatchIntegrability
from goal_analysis.recombination.weighting import Weighting, soft_extreme
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Reduction


def loss_of(owner: str, verdict: BatchIntegrability) -> sp.Expr:
    """The closed form of the loss; a ValueError that names ``owner`` and the reason where there is none."""
    if verdict.loss is not None:
        return verdict.loss
    expected = "but expected one that is the gradient of a loss with a closed form, as `describe` tells"
    if verdict.integrable:
        raise ValueError(f"{owner}: got an objective of whose loss no closed form was found {expected}")
    known = "not known to be" if verdict.integrable is None else "not"
    raise ValueError(f"{owner}: got an objective that is {known} the gradient of a loss ({verdict.reason}) {expected}")


def batch_loss(
    weighting: Weighting,
    loss: sp.Expr,
    reduction: Reduction,
    scores: Float[Tensor, "rows columns"],
    matches: Matches,
) -> Float[Tensor, ""]:
    """The loss of a batch whose gradient by the scores is the weight matrix; in float32 at least.

    Args:
        weighting: the objective's weights.
        loss: of one triplet, or of one anchor of softmax mining.
        reduction: the sum over the anchors, or the mean over those that have a triplet.
        scores: the similarities; gradients flow to them.
        matches: which pairs are positives and which negatives.
    """
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    total, anchors = 0 * wide.sum(), 0
    for axis, s, m in ((Anchors.COLUMNS, wide, matches), (Anchors.ROWS, wide.T, matches.transposed)):
        if weighting.anchors is not axis:
            value, count = _of_rows(weighting, loss, s, m)
            total, anchors = total + value, anchors + count
    return total / max(anchors, 1) if reduction is Reduction.MEAN else total


def _of_rows(weighting: Weighting, loss: sp.Expr, scores: Tensor, matches: Matches) -> tuple[Tensor, int]:
    mining = weighting.mining
    if isinstance(mining, Softmax):
        return _soft(weighting, mining, loss, scores, matches)
    # Semi-hard triplets that leave the margin keep their last value, which is a part of the sum.
    triplets = (All() if isinstance(mining, SemiHard) else mining)(scores, matches)
    each = _of_triplets(weighting, loss, triplets, scores)
    return (triplets.weight.to(scores.dtype) * each).sum(), int(torch.unique_consecutive(triplets.anchor).numel())


def _soft(weighting: Weighting, mining: Softmax, loss: sp.Expr, scores: Tensor, matches: Matches) -> tuple[Tensor, int]:
    present = matches.positives.any(1) & matches.negatives.any(1)
    aggregates = {
        x_p: soft_extreme(scores[present], matches.positives[present], -mining.positive_scale)[0],
        x_n: soft_extreme(scores[present], matches.negatives[present], mining.negative_scale)[0],
    }
    if not loss.has(s_p, s_n):
        each = formula(loss, tuple(aggregates), weighting.values)(*aggregates.values())
        return each.expand(int(present.sum())).sum(), int(present.sum())
    triplets = mining(scores, matches)  # where the loss reads the pairs, their weights are the shares in a mean
    place = present.cumsum(0)[triplets.anchor] - 1
    read = {symbol: aggregate[place] for symbol, aggregate in aggregates.items()}
    each = _of_triplets(weighting, loss, triplets, scores, read)
    return (triplets.weight.to(scores.dtype) * each).sum(), int(present.sum())


def _of_triplets(
    weighting: Weighting,
    loss: sp.Expr,
    triplets: Triplets,
    scores: Tensor,
    aggregates: dict[sp.Symbol, Tensor] | None = None,
) -> Tensor:
    read = {
        s_p: scores[triplets.anchor, triplets.positive],
        s_n: scores[triplets.anchor, triplets.negative],
        **(aggregates or {}),
    }
    return formula(loss, tuple(read), weighting.values)(*read.values())
