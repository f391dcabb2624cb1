"""Generalised lifted structure loss: all positives of the anchor against all of its negatives.

    L = [log Σ_p exp(d_p) + log Σ_n exp(margin − d_n)]₊,  s = −d

Source: A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person Re-Identification (2017),
https://arxiv.org/abs/1703.07737, after the lifted structured loss of H. Oh Song et al. (CVPR 2016).

Unlike `lifted_structure` it squares nothing and stays with one anchor. The paper tries margins from 0.1 to 1
and does not normalise its embeddings; it writes a sum over the anchors. pytorch-metric-learning also counts
anchors without a positive, for which log Σ_p reads as zero.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, SOFTMIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 1, nonnegative, "by how much the negatives' distance has to be larger")

generalised_lifted_structure_loss = Objective(
    name="generalised_lifted_structure",
    title="Generalised lifted structure loss",
    terms=(Term(outer=hinge(gap), positives=SOFTMIN(s_p), negatives=LOGSUMEXP(margin.symbol + s_n)),),
    hyperparameters=(margin,),
    reference=("hermans2017defense", "ohsong2016lifted"),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper does not normalise its embeddings",
)
