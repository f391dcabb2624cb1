"""Multi-similarity loss.

    L = log(1 + Σ_p exp(−α·(s_p − λ)))/α + log(1 + Σ_n exp(β·(s_n − λ)))/β

Source: X. Wang, X. Han, W. Huang, D. Dong, M. R. Scott, Multi-Similarity Loss with General Pair Weighting for
Deep Metric Learning (CVPR 2019), https://arxiv.org/abs/1904.06627.

λ = ½ is that of the authors' code; the paper's text has λ = 1, which would leave the negatives next to no
weight. The code also has β = 40 for the paper's 50. The pair mining that goes with it (negatives within 0.1
of the least alike positive or above it, and positives likewise) is not part of the formula.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, SOFTMIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("alpha", 2, positive, "scale of the positives"),
    Hyperparameter("beta", 50, positive, "scale of the negatives"),
    Hyperparameter("lam", 0.5, real, "similarity that divides positives from negatives"),
)
alpha, beta, lam = (h.symbol for h in hyperparameters)

multi_similarity_loss = Objective(
    name="multi_similarity",
    title="Multi-similarity loss (MS loss)",
    terms=(
        Term(outer=softplus(-x_p) / alpha, positives=SOFTMIN(alpha * (s_p - lam))),
        Term(outer=softplus(x_n) / beta, negatives=LOGSUMEXP(beta * (s_n - lam))),
    ),
    hyperparameters=hyperparameters,
    reference=("wang2019multisimilarity",),
    anchors=Anchors.ROWS,
)
