"""Noise contrastive alignment: the chosen completion is told from noise, and both are held back.

    L = −log σ(beta·s_p) − ½·log σ(−beta·s_p) − ½·log σ(−beta·s_n)

Source: H. Chen, G. He, L. Yuan, G. Cui, H. Su, J. Zhu, Noise Contrastive Alignment of Language Models with Explicit
Rewards (NeurIPS 2024), https://arxiv.org/abs/2402.05369.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. beta = 0.1 is the default of
TRL's "nca_pair". Unlike DPO it does not let the chosen completion become less likely along with the rejected.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

strength = Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference")
beta = strength.symbol

nca_pair_loss = Objective(
    name="nca_pair",
    title="Noise contrastive alignment of pairs",
    terms=(
        Term(outer=softplus(-beta * x_p) + softplus(beta * x_p) / 2, positives=EACH(s_p)),
        Term(outer=softplus(beta * x_n) / 2, negatives=EACH(s_n)),
    ),
    hyperparameters=(strength,),
    reference=("chen2024nca",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
