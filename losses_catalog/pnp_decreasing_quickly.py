"""PNP-Dq: a power of how many negatives come before a positive, so that a far positive weighs next to nothing.

    L = 1/|P|·Σ_p (1 − 1/(1 + R_p)^alpha),  R_p = Σ_n σ((s_n − s_p)/temperature)

Source: Z. Li, W. Min, J. Song, Y. Zhu, L. Kang, X. Wei, X. Wei, S. Jiang, Rethinking the Optimization of Average
Precision: Only Penalizing Negative Instances before Positive Ones is Enough (AAAI 2022),
https://arxiv.org/abs/2102.04640.

The paper's best: the gradient of a positive decreases quickly with the number of negatives before it. The variant
"Dq" of pytorch-metric-learning's PNPLoss, with its alpha of 1. Smooth-AP is this one with the positives before
added to both sides of the fraction.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, SUM
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, x_n
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.01, positive, "width of the sigmoid in the place of a comparison"),
    Hyperparameter("alpha", 1, sp.Interval(1, sp.oo), "how quickly a far positive loses its weight"),
)
temperature, alpha = (h.symbol for h in hyperparameters)

pnp_decreasing_quickly_loss = Objective(
    name="pnp_decreasing_quickly",
    title="PNP-Dq",
    terms=(
        Term(
            outer=1 - (1 + x_n) ** -alpha,
            positives=EACH_MEAN(s_p),
            negatives=SUM(sigmoid((s_n - s_p) / temperature)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("li2022pnp",),
    anchors=Anchors.ROWS,
)
