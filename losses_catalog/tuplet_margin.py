"""Tuplet margin loss: a softmax with a slack on the angle of the positive.

    L = mean_p log(1 + Σ_n exp(scale·(cos θ_n − cos(θ_p − slack)))),  s = cos θ

Source: B. Yu, D. Tao, Deep Metric Learning with Tuplet Margin Loss (ICCV 2019),
https://openaccess.thecvf.com/content_ICCV_2019/papers/Yu_Deep_Metric_Learning_With_Tuplet_Margin_Loss_ICCV_2019_paper.pdf.

Subtracting the slack makes the task easier, where the margins of faces make it harder. P⁺ changes its sign at
θ_p = slack, pushing closer positives away, and goes to −∞ as s_p goes to 1. The paper draws one negative from
every other class; its intra-pair variance loss is left out. pytorch-metric-learning takes the slack in
degrees, 5.73.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import cosine_of_shifted_angle, gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 64, positive, "1/temperature of the softmax"),
    Hyperparameter("slack", 0.1, sp.Interval(0, sp.pi), "angle in radians that the positive is granted"),
)
scale, slack = (h.symbol for h in hyperparameters)

tuplet_margin_loss = Objective(
    name="tuplet_margin",
    title="Tuplet margin loss",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH_MEAN(scale * cosine_of_shifted_angle(s_p, -slack)),
            negatives=LOGSUMEXP(scale * s_n),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("yu2019tuplet",),
    anchors=Anchors.ROWS,
)
