"""Contrastive preference optimisation: DPO without a reference model, plus the likelihood of the chosen completion.

    L = log(1 + exp(−beta·(s_p − s_n))) − alpha·s_p

Source: H. Xu, A. Sharaf, Y. Chen, W. Tan, L. Shen, B. Van Durme, K. Murray, Y. J. Kim, Contrastive Preference
Optimization: Pushing the Boundaries of LLM Performance in Machine Translation (ICML 2024),
https://arxiv.org/abs/2401.08417.

s is the logarithm of a completion's probability, which is below zero: hand these numbers over as scores, the prompts
as rows, the chosen completions as positives. Both defaults are those of TRL, whose second term is divided by the
length of the completion.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("beta", 0.1, positive, "steepness"),
    Hyperparameter("alpha", 1, nonnegative, "weight of learning the chosen completion"),
)
beta, alpha = (h.symbol for h in hyperparameters)

cpo_loss = Objective(
    name="cpo",
    title="Contrastive preference optimisation (CPO)",
    terms=(
        Term(outer=softplus(beta * gap), positives=EACH(s_p), negatives=EACH(s_n)),
        Term(outer=-alpha * x_p, positives=EACH(s_p)),
    ),
    hyperparameters=hyperparameters,
    reference=("xu2024cpo",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-probabilities of completions, not of embeddings",
)
