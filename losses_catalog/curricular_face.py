"""CurricularFace: ArcFace whose hard classes weigh more as training goes on.

    L = log(1 + Σ_n exp(scale·(h(s_n) − cos(θ_p + margin)))),  s_p = cos θ_p,
    h(s_n) = s_n·(t + s_n) where s_n > cos(θ_p + margin), else s_n

Source: Y. Huang, Y. Wang, Y. Tai, X. Liu, P. Shen, S. Li, J. Li, F. Huang, CurricularFace: Adaptive Curriculum
Learning Loss for Deep Face Recognition (CVPR 2020), https://arxiv.org/abs/2004.00288.

Embeddings query the classifier's weights, one unit vector a class. In the paper t is a running mean of s_p over the
batches, from 0 on; here it is a number, at first 0. Implementations continue with s_p − margin·sin(margin) where
θ_p + margin exceeds π. The loss jumps where a class becomes hard.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import cosine_of_shifted_angle, gap, s_n, s_p, softplus, where
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 64, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0.5, sp.Interval(0, sp.pi), "angle in radians that is added to the positive's"),
    Hyperparameter("t", 0, real, "mean similarity of an embedding and its class so far"),
)
scale, margin, t = (h.symbol for h in hyperparameters)
own_class = cosine_of_shifted_angle(s_p, margin)
emphasised = where(s_n - own_class, s_n * (t + s_n), s_n)

curricular_face_loss = Objective(
    name="curricular_face",
    title="CurricularFace",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * own_class), negatives=LOGSUMEXP(scale * emphasised)),),
    hyperparameters=hyperparameters,
    reference=("huang2020curricularface",),
    anchors=Anchors.ROWS,
    proxies=True,
    note="t is a running mean in the paper",
)
