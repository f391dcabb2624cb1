"""Recall@k surrogate: recall at several k, with a sigmoid in the place of every comparison and of the cut at k.

    L = 1 − mean over k = 1, 2, 4, 8, 16 of Σ_p σ((k − R_p)/k)/min(k, |P|),
    R_p = 1 + Σ_j σ((s_j − s_p)/temperature) over all others j, positives and negatives

Source: Y. Patel, G. Tolias, J. Matas, Recall@k Surrogate Loss with Large Batches and Similarity Mixup (CVPR
2022), https://arxiv.org/abs/2108.11179.

The sum over all positives has the own one too, whose comparison with itself is ½. In the authors' code the anchor
is compared with the others too, and the sum over the positives of an anchor is cut at k, which a few positives do
not reach. Mixing similarities is not part of the formula.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, SUM, Pool
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import count_p, maximum, s_n, s_p, sigmoid, x_n
from goal_analysis.symbolic.objective import Anchors, Named, Objective, Term

temperature = Hyperparameter("temperature", 0.01, positive, "width of the sigmoid in the place of a comparison")
before = sigmoid((s_n - s_p) / temperature.symbol)
positives_before = Named("positives_before", SUM(before, Pool.POSITIVES))
rank = sp.Rational(1, 2) + positives_before.symbol + x_n
cuts = (1, 2, 4, 8, 16)
found = sp.Add(*(maximum(count_p / k, sp.S.One) * sigmoid((k - rank) / k) for k in cuts))

recall_at_k_loss = Objective(
    name="recall_at_k",
    title="Recall@k surrogate",
    terms=(
        Term(
            outer=1 - found / len(cuts),
            positives=EACH_MEAN(s_p),
            negatives=SUM(before),
            named=(positives_before,),
        ),
    ),
    hyperparameters=(temperature,),
    reference=("patel2022recall",),
    anchors=Anchors.ROWS,
)
