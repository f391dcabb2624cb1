"""Robust InfoNCE (RINCE): between InfoNCE and a loss that noisy positives do not mislead.

    L = −exp(q·s_p/temperature)/q + (lam·(exp(s_p/temperature) + Σ_n exp(s_n/temperature)))^q/q

Source: C.-Y. Chuang, R. D. Hjelm, X. Wang, V. Vineet, N. Joshi, A. Torralba, S. Jegelka, Y. Song, Robust
Contrastive Learning against Noisy Views (CVPR 2022), https://arxiv.org/abs/2201.04309.

As q goes to 0 it becomes InfoNCE, up to a constant; with q = 1 the loss is symmetric, and a positive that is none
does not change where the minimum is. The defaults are those of the authors' MoCo v3 on ImageNet; their SimCLR has a
temperature of 0.1.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 1, positive, "of the softmax"),
    Hyperparameter("lam", 0.01, positive, "weight of the negatives"),
    Hyperparameter("q", 0.1, sp.Interval.Lopen(0, 1), "how robust: 0 is InfoNCE, 1 is symmetric"),
)
temperature, lam, q = (h.symbol for h in hyperparameters)

rince_loss = Objective(
    name="rince",
    title="Robust InfoNCE (RINCE)",
    terms=(
        Term(
            outer=(lam**q * sp.exp(q * (x_p + softplus(gap))) - sp.exp(q * x_p)) / q,
            positives=EACH(s_p / temperature),
            negatives=LOGSUMEXP(s_n / temperature),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("chuang2022rince",),
    anchors=Anchors.ROWS,
)
