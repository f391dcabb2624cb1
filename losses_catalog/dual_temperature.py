"""Dual temperature: InfoNCE whose anchors are weighted as by a softmax of another temperature.

    L = sg((1 − P_high)/(1 − P))·(−log P),  P = exp(s_p/temperature)/(exp(s_p/temperature) + Σ_n exp(s_n/temperature)),
    P_high the same with ratio·temperature

Source: C. Zhang, K. Zhang, T. X. Pham, A. Niu, Z. Qiao, C. D. Yoo, I. S. Kweon, Dual Temperature Helps Contrastive
Learning Without Many Negative Samples: Towards Understanding and Simplifying MoCo (CVPR 2022),
https://arxiv.org/abs/2203.17248.

sg stops the gradient. A low temperature says which negatives of an anchor weigh, a high one which anchors do.
The defaults are those of the authors' code. No loss has these weights as its gradient.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import detach, gap, s_n, s_p, sigmoid, softplus, x_p
from goal_analysis.symbolic.objective import Anchors, Named, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.1, positive, "of the softmax over an anchor's negatives"),
    Hyperparameter("ratio", 10, positive, "how many times higher the temperature among anchors is"),
)
temperature, ratio = (h.symbol for h in hyperparameters)
high = Named("high", LOGSUMEXP(s_n / (ratio * temperature)))

dual_temperature_loss = Objective(
    name="dual_temperature",
    title="Dual temperature",
    terms=(
        Term(
            outer=detach(sigmoid(high.symbol - x_p / ratio) / sigmoid(gap)) * softplus(gap),
            positives=EACH(s_p / temperature),
            negatives=LOGSUMEXP(s_n / temperature),
            named=(high,),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("zhang2022dual",),
    anchors=Anchors.ROWS,
)
