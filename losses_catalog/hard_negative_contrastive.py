"""Contrastive learning with hard negative samples: the debiased loss with negatives weighted by similarity.

    L = log(1 + g·exp(−s_p/temperature)),
    g = max((N·E − (1 − tau_n)·N·exp(s_p/temperature))/tau_n, N·exp(−1/temperature)),
    E = Σ_n exp((1 + beta)·s_n/temperature)/Σ_n exp(beta·s_n/temperature)

Source: J. Robinson, C.-Y. Chuang, S. Sra, S. Jegelka, Contrastive Learning with Hard Negative Samples (ICLR
2021), https://arxiv.org/abs/2010.04592.

N is the number of negatives, tau_n the paper's τ⁻ = 1 − τ⁺. The defaults are those of the authors'
code, whose beta multiplies the logits. With beta = 0 it is `debiased_contrastive`. The weights of the negatives
are differentiated, so that there is a loss.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import count_n, maximum, s_n, s_p, x_p
from goal_analysis.symbolic.objective import Anchors, Named, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.5, positive, "of the softmax"),
    Hyperparameter("tau_n", 0.9, sp.Interval.Lopen(0, 1), "share of the negatives that are of another class"),
    Hyperparameter("beta", 1, nonnegative, "how much more the hard negatives weigh"),
)
temperature, tau_n, beta = (h.symbol for h in hyperparameters)
weighted = Named("weighted", LOGSUMEXP((1 + beta) * s_n / temperature))
weights = Named("weights", LOGSUMEXP(beta * s_n / temperature))
estimate = count_n * (sp.exp(weighted.symbol - weights.symbol) - (1 - tau_n) * sp.exp(x_p)) / tau_n

hard_negative_contrastive_loss = Objective(
    name="hard_negative_contrastive",
    title="Contrastive loss with hard negative samples",
    terms=(
        Term(
            outer=sp.log(1 + maximum(estimate, count_n * sp.exp(-1 / temperature)) * sp.exp(-x_p)),
            positives=EACH(s_p / temperature),
            named=(weighted, weights),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("robinson2021hard",),
    anchors=Anchors.ROWS,
)
