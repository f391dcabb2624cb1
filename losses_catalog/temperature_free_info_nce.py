"""Temperature-free InfoNCE: a softmax of log-odds, which are unbounded, in the place of scaled cosines.

    L = −log(exp(l(s_p)) / (exp(l(s_p)) + Σ_n exp(l(s_n)))),  l(s) = log((1 + s)/(1 − s)) = 2·artanh(s)

Source: B. J. Kim, S. W. Kim, Temperature-Free Loss Function for Contrastive Learning (2025),
https://arxiv.org/abs/2501.17683.

The logits of embeddings that are the same, or opposite, are infinite.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Objective, Term

temperature_free_info_nce_loss = Objective(
    name="temperature_free_info_nce",
    title="Temperature-free InfoNCE",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH(sp.log(1 + s_p) - sp.log(1 - s_p)),
            negatives=LOGSUMEXP(sp.log(1 + s_n) - sp.log(1 - s_n)),
        ),
    ),
    reference=("kim2025temperaturefree",),
)
