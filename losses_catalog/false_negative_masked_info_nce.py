"""InfoNCE without likely false negatives: those that are more alike than the positive by a margin are left out.

    L = −log(exp(scale·s_p) / (exp(scale·s_p) + Σ_n m_n·exp(scale·s_n))),  m_n = 1[s_n ≤ s_p + margin]

Source: Y. Zhang, M. Li, D. Long, X. Zhang, H. Lin, B. Yang, P. Xie, A. Yang, D. Liu, J. Lin, F. Huang, J. Zhou,
Qwen3 Embedding: Advancing Text Embedding and Reranking Through Foundation Models (2025),
https://arxiv.org/abs/2506.05176.

The margin of 0.1 is the report's; its sum has pairs of queries and pairs of documents too, and it gives no scale:
20 is that of `hardness_weighted_info_nce`. The loss jumps where a negative is left out, and its weights with it.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, step
from goal_analysis.symbolic.objective import Anchors, Objective, Term

LEFT_OUT = -10_000
"""The logit of a negative that is left out: its exponential is zero."""

hyperparameters = (
    Hyperparameter("scale", 20, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0.1, real, "by how much more alike than the positive a negative may be"),
)
scale, margin = (h.symbol for h in hyperparameters)
kept = s_p + margin - s_n

false_negative_masked_info_nce_loss = Objective(
    name="false_negative_masked_info_nce",
    title="InfoNCE with false negatives masked",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH(scale * s_p),
            negatives=LOGSUMEXP(step(kept) * scale * s_n + step(-kept) * LEFT_OUT),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("zhang2025qwen3embedding",),
    anchors=Anchors.ROWS,
)
