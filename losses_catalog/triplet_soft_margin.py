"""Batch-hard triplet loss with a soft margin.

    L = log(1 + exp(max_p d_p − min_n d_n)),  s = −d

Source: A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person Re-Identification (2017),
https://arxiv.org/abs/1703.07737.

The hardest positive and the hardest negative of every anchor, with unsquared distances and neither margin nor
scale. The paper does not normalise its embeddings and writes a sum over the anchors, where its code takes the
mean. On unit vectors d stays below 2 and the loss between 0.13 and 2.13: it never vanishes.
"""

from goal_analysis.symbolic.language.aggregators import MAX, MIN
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

triplet_soft_margin_loss = Objective(
    name="triplet_soft_margin",
    title="Softmax-margin batch-hard triplet loss",
    terms=(Term(outer=softplus(gap), positives=MIN(s_p), negatives=MAX(s_n)),),
    reference=("hermans2017defense",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper does not normalise its embeddings",
)
