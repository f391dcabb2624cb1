"""Margin loss: a boundary β between positives and negatives, and a margin α on either side of it.

    L = Σ_p [α + d_p − β]₊ + Σ_n [α + β − d_n]₊,  s = −d

Source: C.-Y. Wu, R. Manmatha, A. J. Smola, P. Krähenbühl, Sampling Matters in Deep Embedding Learning (ICCV
2017), https://arxiv.org/abs/1706.07567.

The paper learns β, per class or image, from β = 1.2; here it is a hyperparameter. It divides the sum over the
batch by the number of pairs above zero, and draws the negatives with probability inverse to the density of
their distance; neither is part of the formula. pytorch-metric-learning runs over triplets, so that a pair
counts several times.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("alpha", 0.2, nonnegative, "half the width of the gap between positives and negatives"),
    Hyperparameter("beta", 1.2, positive, "distance at which the gap is centred"),
)
alpha, beta = (h.symbol for h in hyperparameters)

margin_loss = Objective(
    name="margin",
    title="Margin loss",
    terms=(
        Term(outer=hinge(alpha - beta - x_p), positives=EACH(s_p)),
        Term(outer=hinge(alpha + beta + x_n), negatives=EACH(s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("wu2017sampling",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper also learns beta",
)
