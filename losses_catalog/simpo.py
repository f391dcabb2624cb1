"""Simple preference optimisation: a logistic loss with a margin, and no reference model.

    L = log(1 + exp(−beta·(s_p − s_n − ratio)))

Source: Y. Meng, M. Xia, D. Chen, SimPO: Simple Preference Optimization with a Reference-Free Reward (NeurIPS 2024),
https://arxiv.org/abs/2405.14734.

s is the mean log-probability of a completion's tokens, which has no lower end: hand these numbers over as
scores, the prompts as rows, the chosen completions as positives. ratio is the paper's γ/β; beta = 2 and a
ratio of 0.25 are the defaults of its code, tuned for every model.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("beta", 2, positive, "scale of the rewards"),
    Hyperparameter("ratio", 0.25, nonnegative, "by how much the chosen one has to be more likely"),
)
beta, ratio = (h.symbol for h in hyperparameters)

simpo_loss = Objective(
    name="simpo",
    title="Simple preference optimisation (SimPO)",
    terms=(Term(outer=softplus(beta * (gap + ratio)), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=hyperparameters,
    reference=("meng2024simpo",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are mean log-probabilities of completions, not of embeddings",
)
