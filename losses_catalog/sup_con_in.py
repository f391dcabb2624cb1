"""Supervised contrastive loss, the mean over the positives inside of the logarithm.

    L = −log(Σ_p exp(scale·s_p) / (Σ_p exp(scale·s_p) + Σ_n exp(scale·s_n)))

Source: P. Khosla, P. Teterwak, C. Wang, A. Sarna, Y. Tian, P. Isola, A. Maschinot, C. Liu, D. Krishnan,
Supervised Contrastive Learning (NeurIPS 2020), https://arxiv.org/abs/2004.11362, L_in, the weaker of the
paper's two.

The paper's mean over the positives instead of a sum adds the constant log(count), which no gradient sees and
which is left out here. scale is 1/temperature, 10 the paper's temperature of 0.1. The positives share one
softmax: the closest is pulled the most, where `sup_con` pulls the farthest the most.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 10, positive, "1/temperature of the softmax")
scale = temperature.symbol

sup_con_in_loss = Objective(
    name="sup_con_in",
    title="Supervised contrastive loss (SupCon, in)",
    terms=(Term(outer=softplus(gap), positives=LOGSUMEXP(scale * s_p), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=(temperature,),
    reference=("khosla2020supcon",),
    anchors=Anchors.ROWS,
    note="without the paper's constant log(count of the positives)",
)
