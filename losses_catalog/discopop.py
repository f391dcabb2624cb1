"""DiscoPOP: a blend of a logistic and an exponential loss, which a language model found.

    L = (1 − σ(d/tau))·log(1 + exp(−d)) + σ(d/tau)·exp(−d),  d = beta·(s_p − s_n)

Source: C. Lu, S. Holt, C. Fanconi, A. J. Chan, J. Foerster, M. van der Schaar, R. T. Lange, Discovering Preference
Optimization Algorithms with and for Large Language Models (NeurIPS 2024), https://arxiv.org/abs/2406.08414.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. tau = 0.05 is the paper's,
beta = 0.1 the default of TRL. In a narrow band where both completions are nearly alike the weights are below zero,
and push them together.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, sigmoid, softplus
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference"),
    Hyperparameter("tau", 0.05, positive, "difference over which one loss becomes the other"),
)
beta, tau = (h.symbol for h in hyperparameters)
difference = beta * gap

discopop_loss = Objective(
    name="discopop",
    title="DiscoPOP, log-ratio modulated loss",
    terms=(
        Term(
            outer=sigmoid(difference / tau) * softplus(difference) + sp.exp(difference - softplus(difference / tau)),
            positives=EACH(s_p),
            negatives=EACH(s_n),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("lu2024discopop",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
