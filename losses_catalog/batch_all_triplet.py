"""Batch-all triplet loss: every triplet of the batch, averaged over those that violate the margin.

    L = Σ_a Σ_p Σ_n [d_p − d_n + margin]₊ / #{[d_p − d_n + margin]₊ > 0},  s = −d

Source: A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person Re-Identification (2017),
https://arxiv.org/abs/1703.07737.

The paper's L_BA≠0. It is pytorch-metric-learning's TripletMarginLoss, whose margin of 0.05 this is, and
sentence-transformers' BatchAllTripletLoss with a margin of 5. The count is not differentiated, and jumps where
a triplet becomes easy: the weights of all others jump with it.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term

margin = Hyperparameter("margin", 0.05, nonnegative, "by how much closer the positive has to be")

batch_all_triplet_loss = Objective(
    name="batch_all_triplet",
    title="Batch-all triplet loss",
    terms=(Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(margin,),
    reference=("hermans2017defense",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    reduction=Reduction.MEAN_ACTIVE,
)
