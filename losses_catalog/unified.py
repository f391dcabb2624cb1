"""Unified loss of pair similarity optimization: a softmax with a margin, of triplet and contrastive losses.

    L = log(1 + Σ_n exp(γ·(s_n − s_p + margin))) / γ

Source: Z. Li, C. Guo, X. Wang, Z. Feng, J.-N. Hwang, Z. Du, Unified Loss of Pair Similarity Optimization for
Vision-Language Retrieval (2022), https://arxiv.org/abs/2209.13869.

The formula follows the paper's abstract: the mining of the contrastive loss, the margin of the triplet loss,
and both as special cases. Indeed γ → ∞ is `vse_pp`, and margin = 0 is `info_nce`/γ at scale γ. The defaults
are this catalog's: the margin of VSE++, and γ = 20, which wants tuning.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("gamma", 20, positive, "1/temperature of the softmax over the negatives"),
    Hyperparameter("margin", 0.2, nonnegative, "by how much the positive has to be more alike"),
)
gamma, margin = (h.symbol for h in hyperparameters)

unified_loss = Objective(
    name="unified",
    title="Unified loss of pair similarity optimization",
    terms=(
        Term(
            outer=softplus(gap) / gamma,
            positives=EACH(gamma * s_p),
            negatives=LOGSUMEXP(gamma * (s_n + margin)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("li2022unified",),
    anchors=Anchors.BOTH,
    note="formula after the abstract, defaults of this catalog",
)
