"""Supervised contrastive loss, the mean over the positives outside of the logarithm.

    L = mean_p −log(exp(scale·s_p) / (Σ_p exp(scale·s_p) + Σ_n exp(scale·s_n)))

Source: P. Khosla, P. Teterwak, C. Wang, A. Sarna, Y. Tian, P. Isola, A. Maschinot, C. Liu, D. Krishnan,
Supervised Contrastive Learning (NeurIPS 2020), https://arxiv.org/abs/2004.11362, L_out, which the paper
recommends.

scale is 1/temperature, 10 the paper's temperature of 0.1; the reference code has 0.07 and multiplies the loss
by temperature/0.07. The denominator holds all positives, so that −∂L/∂s_p = scale·(1/count − softmax) is
negative for a positive far closer than the others. The paper sums over the anchors, its code takes the mean.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, MEAN, Pool
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 10, positive, "1/temperature of the softmax")
scale = temperature.symbol

sup_con_loss = Objective(
    name="sup_con",
    title="Supervised contrastive loss (SupCon, out)",
    terms=(Term(outer=gap, positives=MEAN(scale * s_p), negatives=LOGSUMEXP(scale * s_n, Pool.ALL)),),
    hyperparameters=(temperature,),
    reference=("khosla2020supcon",),
    anchors=Anchors.ROWS,
)
