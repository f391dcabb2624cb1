"""PNP-Ds: the logarithm of how many negatives come before a positive, so that a far positive weighs less.

    L = 1/|P|·Σ_p log(1 + R_p),  R_p = Σ_n σ((s_n − s_p)/temperature)

Source: Z. Li, W. Min, J. Song, Y. Zhu, L. Kang, X. Wei, X. Wei, S. Jiang, Rethinking the Optimization of Average
Precision: Only Penalizing Negative Instances before Positive Ones is Enough (AAAI 2022),
https://arxiv.org/abs/2102.04640.

The gradient of a positive decreases with the number of negatives before it: such a positive may be an outlier.
The variant "Ds" of pytorch-metric-learning's PNPLoss.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, SUM
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, x_n
from goal_analysis.symbolic.objective import Anchors, Objective, Term

blur = Hyperparameter("temperature", 0.01, positive, "width of the sigmoid in the place of a comparison")

pnp_decreasing_loss = Objective(
    name="pnp_decreasing",
    title="PNP-Ds",
    terms=(
        Term(
            outer=sp.log(1 + x_n),
            positives=EACH_MEAN(s_p),
            negatives=SUM(sigmoid((s_n - s_p) / blur.symbol)),
        ),
    ),
    hyperparameters=(blur,),
    reference=("li2022pnp",),
    anchors=Anchors.ROWS,
)
