"""Focal InfoNCE: every logit is multiplied by a similarity, so that hard negatives weigh more.

    L = −log(exp(s_p²/temperature) / (exp(s_p²/temperature) + Σ_n exp(s_n·(s_n + m)/temperature)))

Source: P. Hou, X. Li, Improving Contrastive Learning of Sentence Embeddings with Focal-InfoNCE (Findings of
EMNLP 2023), https://arxiv.org/abs/2310.06918.

The defaults are those of the example in the authors' code. All is differentiated: a negative below −m/2 is drawn
closer, and a positive below zero is pushed away.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.05, positive, "of the softmax"),
    Hyperparameter("m", 0.3, real, "added to the similarity that multiplies a negative's"),
)
temperature, m = (h.symbol for h in hyperparameters)

focal_info_nce_loss = Objective(
    name="focal_info_nce",
    title="Focal InfoNCE",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH(s_p**2 / temperature),
            negatives=LOGSUMEXP(s_n * (s_n + m) / temperature),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("hou2023focal",),
    anchors=Anchors.ROWS,
)
