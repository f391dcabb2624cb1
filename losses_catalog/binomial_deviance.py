"""Binomial deviance: a logistic loss on every pair.

    L = mean_p log(1 + exp(−α·(s_p − β))) + mean_n log(1 + exp(α·C·(s_n − β)))

Source: D. Yi, Z. Lei, S. Z. Li, Deep Metric Learning for Practical Person Re-Identification (2014),
https://arxiv.org/abs/1407.4979.

α = 2, β = ½ are the paper's; the cost C = 25 of negatives is that of E. Ustinova, V. Lempitsky, Learning Deep
Embeddings with Histogram Loss (NIPS 2016), https://arxiv.org/abs/1611.00822, who also use 10. The paper's
means run over the pairs of the batch, not of the anchor; widely copied code has a free exponent of 25 to 50
in place of α·C.
"""

from goal_analysis.symbolic.language.aggregators import EACH_MEAN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("alpha", 2, positive, "scale of the similarities"),
    Hyperparameter("beta", 0.5, real, "similarity that divides positives from negatives"),
    Hyperparameter("cost", 25, positive, "how much steeper negatives are"),
)
alpha, beta, cost = (h.symbol for h in hyperparameters)

binomial_deviance_loss = Objective(
    name="binomial_deviance",
    title="Binomial deviance loss",
    terms=(
        Term(outer=softplus(-alpha * (x_p - beta)), positives=EACH_MEAN(s_p)),
        Term(outer=softplus(alpha * cost * (x_n - beta)), negatives=EACH_MEAN(s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("yi2014binomial", "ustinova2016histogram"),
    anchors=Anchors.ROWS,
)
