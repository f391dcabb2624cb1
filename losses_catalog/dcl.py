"""Decoupled contrastive loss: InfoNCE with the positive taken out of the denominator.

    L = −scale·s_p + log Σ_n exp(scale·s_n)

Source: C.-H. Yeh, C.-Y. Hong, Y.-C. Hsu, T.-L. Liu, Y. Chen, Y. LeCun, Decoupled Contrastive Learning (ECCV
2022), https://arxiv.org/abs/2110.06848.

scale is 1/temperature, 10 the temperature of 0.1 of widely copied code. The triplet weight of `info_nce`
becomes constant: an easy positive is pulled as hard as any other. The anchors are all views of one set. The
weighted variant (DCLW) reads the other anchors' positives and is left out.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 10, positive, "1/temperature of the softmax")
scale = temperature.symbol

dcl_loss = Objective(
    name="dcl",
    title="Decoupled contrastive loss (DCL)",
    terms=(Term(outer=gap, positives=EACH(scale * s_p), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=(temperature,),
    reference=("yeh2022decoupled",),
    anchors=Anchors.ROWS,
)
