"""InfoNCE, alias NT-Xent: the positive against all negatives in one softmax.

    L = −log(exp(tau·s_p) / (exp(tau·s_p) + Σ_n exp(tau·s_n)))

Source: T. Chen, S. Kornblith, M. Norouzi, G. Hinton, A Simple Framework for Contrastive Learning of Visual
Representations (ICML 2020), https://arxiv.org/abs/2002.05709, or SimCLR; the name is that of A. van den Oord, Y.
Li, O. Vinyals, Representation Learning with Contrastive Predictive Coding (2018),
https://arxiv.org/abs/1807.03748.

tau is 1/temperature; 10 is SimCLR's temperature of 0.1 on ImageNet (0.5 on CIFAR-10). The mean
over the anchors of both directions is CLIP's; CLIP learns tau from 1/0.07 on and clips it at 100. An anchor
with several positives has a softmax for each, without the other positives in it (`sup_con` has them).
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("tau", 10, positive, "1/temperature of the softmax")
tau = temperature.symbol

info_nce_loss = Objective(
    name="info_nce",
    title="InfoNCE (NT-Xent)",
    terms=(Term(outer=softplus(gap), positives=EACH(tau * s_p), negatives=LOGSUMEXP(tau * s_n)),),
    hyperparameters=(temperature,),
    reference=("chen2020simclr", "vandenoord2018cpc", "radford2021clip"),
    anchors=Anchors.BOTH,
    note="the mean over both directions is CLIP's",
)
