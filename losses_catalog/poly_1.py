"""Poly-1: a normalised softmax with more, or less, weight on the first power of the error.

    L = −log P + epsilon·(1 − P),  P = exp(scale·s_p) / (exp(scale·s_p) + Σ_n exp(scale·s_n))

Source: Z. Leng, M. Tan, C. Liu, E. D. Cubuk, X. Shi, S. Cheng, D. Anguelov, PolyLoss: A Polynomial Expansion
Perspective of Classification Loss Functions (ICLR 2022), https://arxiv.org/abs/2204.12511.

The paper's logits are not normalised; here they are those of `normalised_softmax`, with its scale of 20.
epsilon = 1 is the default of widely copied code; it may go down to −1.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, sigmoid, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 20, positive, "1/temperature of the softmax"),
    Hyperparameter("epsilon", 1, sp.Interval(-1, sp.oo), "added to the coefficient of the first power"),
)
scale, epsilon = (h.symbol for h in hyperparameters)

poly_1_loss = Objective(
    name="poly_1",
    title="Poly-1 loss",
    terms=(
        Term(
            outer=softplus(gap) + epsilon * sigmoid(gap),
            positives=EACH(scale * s_p),
            negatives=LOGSUMEXP(scale * s_n),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("leng2022polyloss",),
    anchors=Anchors.ROWS,
    proxies=True,
)
