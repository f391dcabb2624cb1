"""PNP: how many negatives come before a positive, with a sigmoid in the place of every comparison.

    L = 1/|P|·Σ_p R_p,  R_p = Σ_n σ((s_n − s_p)/temperature)

Source: Z. Li, W. Min, J. Song, Y. Zhu, L. Kang, X. Wei, X. Wei, S. Jiang, Rethinking the Optimization of Average
Precision: Only Penalizing Negative Instances before Positive Ones is Enough (AAAI 2022),
https://arxiv.org/abs/2102.04640.

The paper's PNP-O, the default of pytorch-metric-learning's PNPLoss. There, and in the authors' code, the anchor is
a positive of itself. Unlike average precision it does not ask how many positives come before.
"""

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, SUM
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, x_n
from goal_analysis.symbolic.objective import Anchors, Objective, Term

blur = Hyperparameter("temperature", 0.01, positive, "width of the sigmoid in the place of a comparison")

pnp_loss = Objective(
    name="pnp",
    title="PNP, negatives before positives",
    terms=(
        Term(
            outer=x_n,
            positives=EACH_MEAN(s_p),
            negatives=SUM(sigmoid((s_n - s_p) / blur.symbol)),
        ),
    ),
    hyperparameters=(blur,),
    reference=("li2022pnp",),
    anchors=Anchors.ROWS,
)
