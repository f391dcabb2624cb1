"""Selectively contrastive triplet loss: a triplet too hard to order only pushes its negative away.

    L = λ·s_n                            where s_n > s_p
        log(1 + exp(scale·(s_n − s_p)))  elsewhere

Source: H. Xuan, A. Stylianou, X. Liu, R. Pless, Hard Negative Examples Are Hard, but Useful (ECCV 2020),
https://arxiv.org/abs/2007.12749.

One triplet per anchor, the easiest positive with the hardest negative; scale is 1/T, and T = 0.1, λ = 1 are
those of the authors' code, which also counts every negative above 0.8 as hard. L jumps at s_n = s_p, from log
2 to λ·s_n, so the weights are its gradient on either side and nowhere the gradient of a continuous loss.
"""

from goal_analysis.symbolic.language.aggregators import MAX
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, where, x_n
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("lam", 1, nonnegative, "weight of a negative that is harder than the positive"),
    Hyperparameter("scale", 10, positive, "1/temperature of the other triplets"),
)
lam, scale = (h.symbol for h in hyperparameters)

selectively_hard_triplet_loss = Objective(
    name="selectively_hard_triplet",
    title="Selectively contrastive triplet loss (SCT)",
    terms=(Term(outer=where(gap, lam * x_n, softplus(scale * gap)), positives=MAX(s_p), negatives=MAX(s_n)),),
    hyperparameters=hyperparameters,
    reference=("xuan2020hard",),
    anchors=Anchors.ROWS,
    note="the authors' code also counts every negative above 0.8 as hard",
)
