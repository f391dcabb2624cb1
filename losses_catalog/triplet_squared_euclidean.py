"""FaceNet's triplet loss, on squared distances.

    L = Σ_p Σ_n [d_p² − d_n² + margin]₊,  s = −d²

Source: F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and
Clustering (CVPR 2015), https://arxiv.org/abs/1503.03832.

A sum over triplets of unit vectors. The paper mines semi-hard negatives, those farther away than the positive
but within the margin; mining is not part of the formula. pytorch-metric-learning's TripletMarginLoss takes
unsquared distances, a margin of 0.05, and averages over the triplets with a loss above zero.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.2, nonnegative, "by how much the negative's squared distance has to be larger")

triplet_squared_euclidean_loss = Objective(
    name="triplet_squared_euclidean",
    title="FaceNet triplet loss",
    terms=(Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(margin,),
    reference=("schroff2015facenet",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
)
