"""Semi-hard triplet loss: each positive against the closest negative that is farther than it.

    L = [d_p − d_n + margin]₊,  n the closest of the negatives with d_n > d_p, or the farthest of all
    where there is none;  s = −d

Source: F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering
(CVPR 2015), https://arxiv.org/abs/1503.03832.

The fallback is that of TensorFlow's triplet_semihard_loss and of sentence-transformers' BatchSemiHardTripletLoss,
which is this loss with distances that are not squared and a margin of 5. As there, the mean is over all pairs of
an anchor and a positive. The loss jumps where a negative becomes closer than the positive: the choice is made
by comparing, and differentiated as if it were fixed.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MAX, MIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, where, x_n, x_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Named, Objective, Reduction, Term

NONE = -9
"""What a negative counts that is closer than the positive: less than any similarity."""

margin = Hyperparameter("margin", 0.2, nonnegative, "by how much closer the positive has to be")
farthest = Named("farthest", MIN(s_n))
chosen = where(x_n - NONE - 1, x_n, farthest.symbol)

semi_hard_triplet_loss = Objective(
    name="semi_hard_triplet",
    title="Semi-hard triplet loss",
    terms=(
        Term(
            outer=hinge(chosen - x_p + margin.symbol),
            positives=EACH(s_p),
            negatives=MAX(where(s_p - s_n, s_n, NONE)),
            named=(farthest,),
        ),
    ),
    hyperparameters=(margin,),
    reference=("schroff2015facenet",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
    reduction=Reduction.MEAN_EACH,
)
