"""ArcFace: normalised softmax with a margin on the angle to the own class.

    L = log(1 + Σ_n exp(scale·(cos θ_n − cos(θ_p + margin)))),  s = cos θ

Source: J. Deng, J. Guo, N. Xue, S. Zafeiriou, ArcFace: Additive Angular Margin Loss for Deep Face Recognition
(CVPR 2019), https://arxiv.org/abs/1801.07698.

Embeddings query the classifier's weights, one unit vector a class. P⁺ = cos(margin) + s_p·sin(margin)/√(1 −
s_p²) goes to ∞ as s_p goes to 1, and below zero where θ_p + margin exceeds π; implementations continue there
with s_p − margin·sin(margin). pytorch-metric-learning takes the margin in degrees, 28.6.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import cosine_of_shifted_angle, gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 64, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0.5, sp.Interval(0, sp.pi), "angle in radians that is added to the positive's"),
)
scale, margin = (h.symbol for h in hyperparameters)
own_class = scale * cosine_of_shifted_angle(s_p, margin)

arc_face_loss = Objective(
    name="arc_face",
    title="ArcFace, additive angular margin loss",
    terms=(Term(outer=softplus(gap), positives=EACH(own_class), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=hyperparameters,
    reference=("deng2019arcface",),
    anchors=Anchors.ROWS,
    proxies=True,
)
