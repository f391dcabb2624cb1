"""Discovered preference optimisation: between a logistic and an exponential loss, blended by the log-ratio.

    L = (1 − σ(r/tau))·log(1 + exp(−r)) + σ(r/tau)·exp(−r),  r = beta·(s_p − s_n)

Source: C. Lu, S. Holt, C. Fanconi, A. J. Chan, J. Foerster, M. van der Schaar, R. T. Lange, Discovering Preference
Optimization Algorithms with and for Large Language Models (2024), https://arxiv.org/abs/2406.08414.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. tau = 0.05 is the
paper's, beta = 0.1 the default of TRL. A language model found the loss; it is not convex, and rises around
r = 0.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, sigmoid, softplus
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference"),
    Hyperparameter("tau", 0.05, positive, "over how much of a log-ratio the two are blended"),
)
beta, tau = (h.symbol for h in hyperparameters)
r = -beta * gap

discopop_loss = Objective(
    name="discopop",
    title="Discovered preference optimisation (DiscoPOP)",
    terms=(
        Term(
            outer=sigmoid(-r / tau) * softplus(-r) + sigmoid(r / tau) * sp.exp(-r),
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
