"""Circle loss as it is implemented: the gradient is stopped through the self-paced factors.

    L = log(1 + Σ_n exp(γ·α_n·(s_n − m)) · Σ_p exp(−γ·α_p·(s_p − 1 + m)))
    α_p = [1 + m − s_p]₊ and α_n = [s_n + m]₊, their gradients stopped

Source: Y. Sun, C. Cheng, Y. Zhang, C. Zhang, L. Zheng, Z. Wang, Y. Wei, Circle Loss: A Unified Perspective of
Pair Similarity Optimization (CVPR 2020), https://arxiv.org/abs/2002.10857.

The pair weights are α_p and α_n, and no loss has these weights as its gradient (`circle_undetached` is one
that comes close). m = 0.25, γ = 256 are the paper's for faces; it has γ = 128 for person re-identification,
and m = 0.4, γ = 80 for fine-grained retrieval.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, SOFTMIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, unit
from goal_analysis.symbolic.language.primitives import detach, gap, hinge, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("gamma", 256, positive, "scale of the similarities"),
    Hyperparameter("m", 0.25, unit, "radius of the circle to which the similarities are drawn"),
)
gamma, m = (h.symbol for h in hyperparameters)
alpha_p, alpha_n = detach(hinge(1 + m - s_p)), detach(hinge(s_n + m))

circle_loss = Objective(
    name="circle",
    title="Circle loss",
    terms=(
        Term(
            outer=softplus(gap),
            positives=SOFTMIN(gamma * alpha_p * (s_p - 1 + m)),
            negatives=LOGSUMEXP(gamma * alpha_n * (s_n - m)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("sun2020circle",),
    anchors=Anchors.ROWS,
    note="the gradient is stopped through the self-paced factors",
)
