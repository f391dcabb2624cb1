"""The weight matrix W(S) of a composed objective: triplet weight × mining weight × pair weight, on a batch of scores.

For every mined triplet (a, p, n) of weight m, W_ap −= m·T(s_p, s_n)·P⁺(s_p) and W_an += m·T(s_p, s_n)·P⁻(s_n). Softmax
mining aggregates first, as a loss does: with x_n = log Σ exp(β⁻·s_n)/β⁻ and x_p = −log Σ exp(−β⁺·s_p)/β⁺,

    W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)

where q are the softmaxes that these aggregates have as gradients. So nca at the scale of the mining, with constant pair
weights, is InfoNCE over its scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import sympy as sp
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.formula import Values, formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import MINERS, Miner, Softmax
from goal_analysis.recombination.relative import relative_similarities
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Anchors
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

INSIDE = (0.05, 0.3, 0.5, 0.7, 0.95)
"""Where in the range of the similarity a weight is tried."""

BEYOND = (0.01, 0.1, 1.0)
"""How far beyond the range of the similarity a soft aggregate is tried."""


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
        if isinstance(self.mining, Softmax):
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

    def _soft(self, scores: Tensor, matches: Matches, mining: Softmax) -> tuple[Tensor, int]:
        x_p, q_p = soft_extreme(scores, matches.positives, -mining.positive_scale)
        x_n, q_n = soft_extreme(scores, matches.negatives, mining.negative_scale)
        present = matches.positives.any(1) & matches.negatives.any(1)
        t = formula(self.triplet_weight.expression, (s_p, s_n), self.values)(x_p, x_n).masked_fill(~present, 0)
        pull = formula(self.pair_weights.positive, (s_p,), self.values)(scores).masked_fill(~matches.positives, 0)
        push = formula(self.pair_weights.negative, (s_n,), self.values)(scores).masked_fill(~matches.negatives, 0)
        return t[:, None] * (q_n * push - q_p * pull), int(present.sum())


def soft_extreme(
    scores: Float[Tensor, "anchors candidates"], members: Bool[Tensor, "anchors candidates"], scale: float | int
) -> tuple[Float[Tensor, " anchors"], Float[Tensor, "anchors candidates"]]:
    """log Σ exp(scale·s)/scale over the members of every row, at scale 0 their mean, and its gradient.

    Args:
        scores: the similarities.
        members: of which at least one a row; the aggregate of a row without members means nothing.
        scale: above 0 for a soft maximum, below for a soft minimum.
    """
    empty = ~members.any(1, keepdim=True)
    logits = (scale * scores).masked_fill(~members, -torch.inf).masked_fill(empty, 0)
    q = torch.softmax(logits, 1).masked_fill(~members, 0)
    if scale == 0:
        return scores.masked_fill(~members, 0).sum(1) / members.sum(1).clamp_min(1), q
    return torch.logsumexp(logits, 1) / scale, q


def refusal(
    triplet_weight: TripletWeight, pair_weights: PairWeights, mining: Miner, similarity: Similarity, values: Values
) -> str | None:
    """Why these parts make no objective, or None if they do.

    A weight has to be real over the similarity's range: √s_n would be NaN for every negative with a score below 0.
    Softmax mining reads aggregates, of which x_n exceeds the largest similarity and x_p falls below the smallest: T has
    to be real there. And it mines no triplets, which relative similarities would compare.

    Args:
        triplet_weight: T.
        pair_weights: P⁺ and P⁻.
        mining: which triplets count.
        similarity: what the scores are.
        values: of the hyperparameters.
    """
    unreal = _unreal_inside(triplet_weight, pair_weights, similarity, values)
    if unreal or not isinstance(mining, Softmax):
        return unreal
    others = "one of the minings " + ", ".join(m.name for m in MINERS if m.name != mining.name)
    if pair_weights.relative:
        return (
            f"pair weights {pair_weights.name}: got mining softmax, which has no triplets to compare, "
            f"but expected {others}"
        )
    place = _unreal(triplet_weight.expression.subs(values), mining, similarity)
    if place is None:
        return None
    return (
        f"triplet weight {triplet_weight.name}: got mining softmax, whose aggregates leave the range of the "
        f"similarity, but this weight is not real at {place}; expected {others}"
    )


def _unreal_inside(
    triplet_weight: TripletWeight, pair_weights: PairWeights, similarity: Similarity, values: Values
) -> str | None:
    """What is wrong with a weight that is no number somewhere in the range of the similarity."""
    low, high = float(similarity.opposite), float(similarity.identical)
    inside = [low + (high - low) * share for share in INSIDE]
    named = (
        (f"triplet weight {triplet_weight.name}", triplet_weight.expression),
        (f"pair weights {pair_weights.name}: positive", pair_weights.positive),
        (f"pair weights {pair_weights.name}: negative", pair_weights.negative),
    )
    for where, expression in named:
        weight = sp.sympify(expression).subs(values)
        if not _may_be_unreal(weight) or weight.free_symbols - {s_p, s_n}:
            continue
        compiled = program([weight], (s_p, s_n))
        for p, n in product(inside, inside):
            if math.isnan(compiled.run(FLOAT, p, n)[0]):
                place = ", ".join(f"{s} = {x:.4g}" for s, x in ((s_p, p), (s_n, n)) if s in weight.free_symbols)
                return (
                    f"{where}: got {expression}, which is not real at {place}; "
                    f"expected what is real from {low:g} to {high:g}, the range of the similarity {similarity.name}"
                )
    return None


def _may_be_unreal(weight: sp.Expr) -> bool:
    return weight.has(sp.log) or any(e.is_Pow and not e.exp.is_integer for e in sp.preorder_traversal(weight))


def _unreal(t: sp.Expr, mining: Softmax, similarity: Similarity) -> str | None:
    """Where soft aggregates take T to what is no number, such as the root of a negative number."""
    if not _may_be_unreal(t):
        return None
    compiled = program([t], (s_p, s_n))
    low, high = float(similarity.opposite), float(similarity.identical)
    inside = [low + (high - low) * share for share in INSIDE]
    below = [low - d * (mining.positive_scale > 0) for d in BEYOND]
    above = [high + d * (mining.negative_scale > 0) for d in BEYOND]
    for p, n in (*product(below, inside), *product(inside, above), *product(below, above)):
        if math.isnan(compiled.run(FLOAT, p, n)[0]):
            return f"x_p = {p:.4g}, x_n = {n:.4g}"
    return None
