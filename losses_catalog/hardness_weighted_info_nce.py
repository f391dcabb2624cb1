"""InfoNCE that weighs hard negatives: strength·s_n is added to the logit of each, with the gradient of that stopped.

    L = −log(exp(scale·s_p) / (exp(scale·s_p) + Σ_n exp(scale·s_n + strength·sg(s_n))))

Source: Z. Lan, L. Niu, F. Meng, J. Zhou, J. Su, LLaVE: Large Language and Vision Embedding Models with
Hardness-Weighted Contrastive Learning (Findings of EMNLP 2025), https://arxiv.org/abs/2503.04812.

sg stops the gradient. The strength of 9 is the paper's, scale = 20 sentence-transformers' default, whose
MultipleNegativesRankingLoss this is with hardness_mode "in_batch_negatives". EmbeddingGemma
(https://arxiv.org/abs/2509.20354) has a strength of 5, on hard negatives alone. No loss has these weights
as its gradient.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import detach, gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 20, positive, "1/temperature of the softmax"),
    Hyperparameter("strength", 9, nonnegative, "how much more the hard negatives weigh"),
)
scale, strength = (h.symbol for h in hyperparameters)

hardness_weighted_info_nce_loss = Objective(
    name="hardness_weighted_info_nce",
    title="Hardness-weighted InfoNCE (LLaVE)",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH(scale * s_p),
            negatives=LOGSUMEXP(scale * s_n + strength * detach(s_n)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("lan2025llave", "vera2025embeddinggemma"),
    anchors=Anchors.ROWS,
    note="the gradient is stopped through what hardness adds",
)
