"""Threshold-consistent margin: a hinge on pairs beyond a threshold, averaged apart for positives and negatives.

    L = lam_p·mean of [margin_p − s_p]₊ over the positives above zero
        + lam_n·mean of [s_n − margin_n]₊ over the negatives above zero

Source: Q. Zhang, L. Xu, Q. Tang, J. Fang, Y. N. Wu, J. Tighe, Y. Xing, Threshold-Consistent Margin Loss for
Open-World Deep Metric Learning (ICLR 2024), https://arxiv.org/abs/2307.04047.

The paper adds it to another loss. The defaults are those of pytorch-metric-learning's
ThresholdConsistentMarginLoss. The counts are not differentiated, and jump.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term

hyperparameters = (
    Hyperparameter("margin_p", 0.9, real, "similarity below which a positive is pulled"),
    Hyperparameter("margin_n", 0.5, real, "similarity above which a negative is pushed"),
    Hyperparameter("lam_p", 1, positive, "weight of the positives"),
    Hyperparameter("lam_n", 1, positive, "weight of the negatives"),
)
margin_p, margin_n, lam_p, lam_n = (h.symbol for h in hyperparameters)

threshold_consistent_margin_loss = Objective(
    name="threshold_consistent_margin",
    title="Threshold-consistent margin loss",
    terms=(
        Term(outer=lam_p * hinge(margin_p - x_p), positives=EACH(s_p)),
        Term(outer=lam_n * hinge(x_n - margin_n), negatives=EACH(s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("zhang2024tcm",),
    anchors=Anchors.ROWS,
    reduction=Reduction.MEAN_ACTIVE,
)
