"""Cosine contrastive loss (CCL): every positive pulled, and the mean of the negatives above a margin pushed.

    L = Σ_p (1 − s_p) + weight·1/|N|·Σ_n [s_n − margin]₊

Source: K. Mao, J. Zhu, J. Wang, Q. Dai, Z. Dong, X. Xiao, X. He, SimpleX: A Simple and Strong Baseline for
Collaborative Filtering (CIKM 2021), https://arxiv.org/abs/2109.12613.

A user is the anchor, with one item that was liked. Margin and weight are chosen for every data set: 0 is the
default of the authors' code, and its default of the weight, the number of negatives, a sum over them.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MEAN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("margin", 0, real, "similarity above which a negative is pushed"),
    Hyperparameter("weight", 1, positive, "of the negatives"),
)
margin, weight = (h.symbol for h in hyperparameters)

cosine_contrastive_loss = Objective(
    name="cosine_contrastive",
    title="Cosine contrastive loss (CCL)",
    terms=(
        Term(outer=1 - x_p, positives=EACH(s_p)),
        Term(outer=weight * x_n, negatives=MEAN(hinge(s_n - margin))),
    ),
    hyperparameters=hyperparameters,
    reference=("mao2021simplex",),
    anchors=Anchors.ROWS,
)
