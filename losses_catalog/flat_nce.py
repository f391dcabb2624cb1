"""FlatNCE: InfoNCE's comparison divided by its own value, so that the weights never vanish.

    L = exp(g − sg(g)),  g = log Σ_n exp(scale·(s_n − s_p))

Source: J. Chen, Z. Gan, X. Li, Q. Guo, L. Chen, S. Gao, T. Chung, Y. Xu, B. Zeng, W. Lu, F. Li, L. Carin, C. Tao,
Simpler, Faster, Stronger: Breaking The log-K Curse On Contrastive Learners With FlatNCE (2021),
https://arxiv.org/abs/2107.01152.

sg stops the gradient. The value is always 1; the weights are those of `dcl`, which is the loss that they are the
gradient of. scale = 10 is the temperature of 0.1 of the authors' code, which shows InfoNCE's value in place of the 1.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import detach, gap, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 10, positive, "1/temperature of the softmax")
scale = temperature.symbol

flat_nce_loss = Objective(
    name="flat_nce",
    title="FlatNCE",
    terms=(
        Term(
            outer=sp.exp(gap - detach(gap)),
            positives=EACH(scale * s_p),
            negatives=LOGSUMEXP(scale * s_n),
        ),
    ),
    hyperparameters=(temperature,),
    reference=("chen2021flatnce",),
    anchors=Anchors.ROWS,
    note="the value is 1 whatever the scores",
)
