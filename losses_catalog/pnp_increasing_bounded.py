"""PNP-Ib: a far positive weighs more, up to a bound.

    L = 1/|P|·Σ_p (b·R_p − log(1 + b·R_p))/b²,  R_p = Σ_n σ((s_n − s_p)/temperature)

Source: Z. Li, W. Min, J. Song, Y. Zhu, L. Kang, X. Wei, X. Wei, S. Jiang, Rethinking the Optimization of Average
Precision: Only Penalizing Negative Instances before Positive Ones is Enough (AAAI 2022),
https://arxiv.org/abs/2102.04640.

The gradient of a positive increases with the number of negatives before it, to at most 1/b. The variant "Ib" of
pytorch-metric-learning's PNPLoss, with its b of 2.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, SUM
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, x_n
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.01, positive, "width of the sigmoid in the place of a comparison"),
    Hyperparameter("b", 2, positive, "1/bound of the weight"),
)
temperature, b = (h.symbol for h in hyperparameters)

pnp_increasing_bounded_loss = Objective(
    name="pnp_increasing_bounded",
    title="PNP-Ib",
    terms=(
        Term(
            outer=(x_n - sp.log(1 + x_n)) / b**2,
            positives=EACH_MEAN(s_p),
            negatives=SUM(b * sigmoid((s_n - s_p) / temperature)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("li2022pnp",),
    anchors=Anchors.ROWS,
)
