"""The weight matrix W(S) of a composed objective: triplet weight × mining weight × pair weight, on a batch of scores.

For every mined triplet (a, p, n) of weight m, W_ap −= m·T(s_p, s_n)·P⁺(s_p) and W_an += m·T(s_p, s_n)·P⁻(s_n). Soft
mining aggregates first, as a loss does: with x_n = log Σ exp(β⁻·s_n)/β⁻ and x_p = −log Σ exp(−β⁺·s_p)/β⁺,

    W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)

where q are the softmaxes that these aggregates have as gradients. So nca at the scale of the mining, with constant pair
weights, is InfoNCE over its scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.formula import Values, formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import Miner, Soft
from goal_analysis.recombination.relative import relative_similarities
from goal_analysis.symbolic.loss import Anchors
from goal_analysis.symbolic.primitives import s_n, s_p
from goal_analysis.symbolic.weight import PairWeights, TripletWeight


@dataclass(frozen=True)
class Weighting:
    """What an objective puts on the scores of a batch.

    Args:
        triplet_weight: T.
        pair_weights: P⁺ and P⁻.
        mining: which triplets, or how softly.
        anchors: which axes are queries; their weights are summed.
        values: of the hyperparameters.
    """

    triplet_weight: TripletWeight
    pair_weights: PairWeights
    mining: Miner
    anchors: Anchors
    values: Values

    def matrix(
        self, scores: Float[Tensor, "rows columns"], matches: Matches
    ) -> tuple[Float[Tensor, "rows columns"], int]:
        """W summed over the anchors, in float32 at least, and how many anchors had a triplet."""
        wide = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
        total, anchors = torch.zeros_like(wide), 0
        if self.anchors is not Anchors.COLUMNS:
            of_rows, count = self._of_rows(wide, matches)
            total, anchors = total + of_rows, anchors + count
        if self.anchors is not Anchors.ROWS:
            of_columns, count = self._of_rows(wide.T, matches.transposed)
            total, anchors = total + of_columns.T, anchors + count
        return total, anchors

    def _of_rows(self, scores: Tensor, matches: Matches) -> tuple[Tensor, int]:
        if isinstance(self.mining, Soft):
            return self._soft(scores, matches, self.mining)
        return self._mined(scores, matches)

    def _mined(self, scores: Tensor, matches: Matches) -> tuple[Tensor, int]:
        triplets = self.mining(scores, matches)
        anchor, positive, negative = triplets.to_pml()
        of_p, of_n = scores[anchor, positive], scores[anchor, negative]
        pairs = self.pair_weights
        read = relative_similarities(pairs.relative, scores, matches, triplets, self.values)
        symbols, numbers = tuple(read), tuple(read.values())
        t = triplets.weight.to(scores.dtype) * formula(self.triplet_weight.expression, (s_p, s_n), self.values)(
            of_p, of_n
        )
        pull = t * formula(pairs.positive, (s_p, *symbols), self.values)(of_p, *numbers)
        push = t * formula(pairs.negative, (s_n, *symbols), self.values)(of_n, *numbers)
        w = torch.zeros_like(scores)
        w.index_put_((anchor, positive), -pull, accumulate=True)
        w.index_put_((anchor, negative), push, accumulate=True)
        return w, int(torch.unique_consecutive(anchor).numel())

    def _soft(self, scores: Tensor, matches: Matches, mining: Soft) -> tuple[Tensor, int]:
        x_p, q_p = _soft_extreme(scores, matches.positives, -mining.positive_scale)
        x_n, q_n = _soft_extreme(scores, matches.negatives, mining.negative_scale)
        present = matches.positives.any(1) & matches.negatives.any(1)
        t = formula(self.triplet_weight.expression, (s_p, s_n), self.values)(x_p, x_n).masked_fill(~present, 0)
        pull = formula(self.pair_weights.positive, (s_p,), self.values)(scores).masked_fill(~matches.positives, 0)
        push = formula(self.pair_weights.negative, (s_n,), self.values)(scores).masked_fill(~matches.negatives, 0)
        return t[:, None] * (q_n * push - q_p * pull), int(present.sum())


def _soft_extreme(scores: Tensor, members: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """log Σ exp(scale·s)/scale over the members of every row, and its gradient; 0 where there are none."""
    empty = ~members.any(1, keepdim=True)
    logits = (scale * scores).masked_fill(~members, -torch.inf).masked_fill(empty, 0)
    aggregate = torch.logsumexp(logits, 1)
    return aggregate / scale, torch.softmax(logits, 1).masked_fill(~members, 0)
