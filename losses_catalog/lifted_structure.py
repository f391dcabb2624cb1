"""Lifted structured feature embedding: every positive pair against the negatives of both of its ends.

    L = mean_p ½·[log(Σ_n exp(margin − d_an) + Σ_n′ exp(margin − d_pn′)) + d_p]₊²,  s = −d

Source: H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, Deep Metric Learning via Lifted Structured Feature
Embedding (CVPR 2016), https://arxiv.org/abs/1511.06452.

n are the negatives of the anchor, n′ those of the positive, in one logarithm. The paper averages over the
positive pairs of the batch, and does not normalise its embeddings.
"""

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, LOGSUMEXP, Pool
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 1, nonnegative, "by how much the negatives' distance has to be larger")

lifted_structure_loss = Objective(
    name="lifted_structure",
    title="Lifted structured loss",
    terms=(
        Term(
            outer=hinge(gap) ** 2 / 2,
            positives=EACH_MEAN(s_p),
            negatives=LOGSUMEXP(margin.symbol + s_n, Pool.BOTH_ENDS),
        ),
    ),
    hyperparameters=(margin,),
    reference=("ohsong2016lifted",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper does not normalise its embeddings",
)
