"""Normalised softmax: classification by cosines.

    L = −log(exp(scale·s_p) / (exp(scale·s_p) + Σ_n exp(scale·s_n)))

Source: A. Zhai, H.-Y. Wu, Classification is a Strong Baseline for Deep Metric Learning (BMVC 2019),
https://arxiv.org/abs/1811.12649.

Embeddings query the classifier's weights, unit vectors without a bias: one proxy a class. scale is
1/temperature, 20 the paper's temperature of 0.05. `cos_face` and `arc_face` add a margin, and with several
proxies a class, pooled before they come here, it is the soft triple loss.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 20, positive, "1/temperature of the softmax")
scale = temperature.symbol

normalised_softmax_loss = Objective(
    name="normalised_softmax",
    title="Normalised softmax loss",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * s_p), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=(temperature,),
    reference=("zhai2019classification",),
    anchors=Anchors.ROWS,
    proxies=True,
)
