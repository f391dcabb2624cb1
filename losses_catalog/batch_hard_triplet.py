"""Batch-hard triplet loss: the farthest positive against the closest negative of every anchor.

    L = [margin + max_p d_p − min_n d_n]₊,  s = −d

Source: A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person Re-Identification (2017),
https://arxiv.org/abs/1703.07737.

Unsquared distances, and the mean over the anchors. The margin of 0.05 is that of pytorch-metric-learning's
TripletMarginLoss. sentence-transformers' BatchHardTripletLoss has 5, for embeddings of any length: on unit
vectors, which are at most 2 apart, no triplet would ever be inactive.
"""

from goal_analysis.symbolic.language.aggregators import MAX, MIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.05, nonnegative, "how much farther the negative has to be")

batch_hard_triplet_loss = Objective(
    name="batch_hard_triplet",
    title="Batch-hard triplet loss",
    terms=(Term(outer=hinge(gap + margin.symbol), positives=MIN(s_p), negatives=MAX(s_n)),),
    hyperparameters=(margin,),
    reference=("hermans2017defense",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper does not normalise its embeddings",
)
