"""MV-Arc-Softmax: ArcFace that emphasises the classes which an embedding is mistaken for.

    L = log(1 + Σ_n exp(scale·(h(s_n) − cos(θ_p + margin)))),  s_p = cos θ_p,
    h(s_n) = (1 + t)·s_n + t where s_n > cos(θ_p + margin), else s_n

Source: X. Wang, S. Zhang, S. Wang, T. Fu, H. Shi, T. Mei, Mis-classified Vector Guided Softmax Loss for Face
Recognition (AAAI 2020), https://arxiv.org/abs/1912.00833.

Embeddings query the classifier's weights, one unit vector a class. The defaults are those of the authors' code,
whose mask weight of 1.12 is 1 + t; it leaves the margin out where s_p is below zero. The loss jumps where a class
becomes one that the embedding is mistaken for.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import cosine_of_shifted_angle, gap, s_n, s_p, softplus, where
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 32, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0.35, sp.Interval(0, sp.pi), "angle in radians that is added to the positive's"),
    Hyperparameter("t", 0.12, nonnegative, "how much more a confused class weighs"),
)
scale, margin, t = (h.symbol for h in hyperparameters)
own_class = cosine_of_shifted_angle(s_p, margin)
emphasised = where(s_n - own_class, (1 + t) * s_n + t, s_n)

mv_arc_softmax_loss = Objective(
    name="mv_arc_softmax",
    title="MV-Arc-Softmax",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * own_class), negatives=LOGSUMEXP(scale * emphasised)),),
    hyperparameters=hyperparameters,
    reference=("wang2020mvsoftmax",),
    anchors=Anchors.ROWS,
    proxies=True,
)
