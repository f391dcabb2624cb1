"""Hard-negative NCE: CLIP's loss with each negative weighted by a softmax of its similarity.

    L = −log(exp(s_p/temperature) / (alpha·exp(s_p/temperature) + N·E)),
    E = Σ_n exp((1 + beta)·s_n/temperature)/Σ_n exp(beta·s_n/temperature)

Source: F. Radenovic, A. Dubey, A. Kadian, T. Mihaylov, S. Vandenhende, Y. Patel, Y. Wen, V. Ramanathan, D. Mahajan,
Filtering, Distillation, and Hard Negatives for Vision-Language Pre-Training (CVPR 2023),
https://arxiv.org/abs/2301.02280.

N is the number of negatives. With alpha = 1 and beta = 0 it is InfoNCE, and with alpha = 1 `hard_negative_contrastive`
with tau_n = 1. The authors published no code of the loss. Public copies have beta from 0 to ½; 0.25 is between, and
0.07 is CLIP's first temperature. The weights are differentiated.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import count_n, s_n, s_p, softplus, x_p
from goal_analysis.symbolic.objective import Named, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.07, positive, "of the softmax"),
    Hyperparameter("alpha", 1, positive, "weight of the positive in the denominator"),
    Hyperparameter("beta", 0.25, nonnegative, "how much more the hard negatives weigh"),
)
temperature, alpha, beta = (h.symbol for h in hyperparameters)
weighted = Named("weighted", LOGSUMEXP((1 + beta) * s_n / temperature))
weights = Named("weights", LOGSUMEXP(beta * s_n / temperature))

hard_negative_nce_loss = Objective(
    name="hard_negative_nce",
    title="Hard-negative NCE",
    terms=(
        Term(
            outer=sp.log(alpha) + softplus(sp.log(count_n / alpha) + weighted.symbol - weights.symbol - x_p),
            positives=EACH(s_p / temperature),
            named=(weighted, weights),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("radenovic2023diht",),
)
