"""Circle loss as its formula says: the self-paced factors are differentiated too.

    L = log(1 + Σ_n exp(γ·α_n·(s_n − m)) · Σ_p exp(−γ·α_p·(s_p − 1 + m)))
    α_p = [1 + m − s_p]₊ and α_n = [s_n + m]₊

Source: Y. Sun, C. Cheng, Y. Zhang, C. Zhang, L. Zheng, Z. Wang, Y. Wei, Circle Loss: A Unified Perspective of
Pair Similarity Optimization (CVPR 2020), https://arxiv.org/abs/2002.10857.

Above s_n = −m the exponents are γ·(s_n² − m²) and γ·((1 − s_p)² − m²): the pair weights become 2·(1 − s_p,
s_n), those of a circle around (1, 0), and the weights are a gradient, unlike those of `circle`. A negative
below zero is drawn up towards zero.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, SOFTMIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, unit
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("gamma", 256, positive, "scale of the similarities"),
    Hyperparameter("m", 0.25, unit, "radius of the circle to which the similarities are drawn"),
)
gamma, m = (h.symbol for h in hyperparameters)

circle_undetached_loss = Objective(
    name="circle_undetached",
    title="Circle loss without stopped gradients",
    terms=(
        Term(
            outer=softplus(gap),
            positives=SOFTMIN(gamma * hinge(1 + m - s_p) * (s_p - 1 + m)),
            negatives=LOGSUMEXP(gamma * hinge(s_n + m) * (s_n - m)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("sun2020circle",),
    anchors=Anchors.ROWS,
)
