"""SFace: cosines whose gradients are rescaled by sigmoids of the angles.

    L = −sg(r(θ_p))·scale·s_p + Σ_n sg(q(θ_n))·scale·s_n,  s = cos θ,
    r(θ) = σ(k·(θ − a)),  q(θ) = σ(k·(b − θ))

Source: Y. Zhong, W. Deng, J. Hu, D. Zhao, X. Li, D. Wen, SFace: Sigmoid-Constrained Hypersphere Loss for Robust
Face Recognition (TIP 2021), https://arxiv.org/abs/2205.12010.

sg stops the gradient. Embeddings query the classifier's weights, one unit vector a class. An embedding is no longer
pulled once it is within the angle a, nor pushed beyond b. a = 0.87 and b = 1.2 are those of the authors' script
for CASIA-WebFace; they depend on how clean the labels are.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import detach, s_n, s_p, sigmoid, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 64, positive, "of the gradient"),
    Hyperparameter("k", 80, positive, "steepness of the sigmoids"),
    Hyperparameter("a", 0.87, sp.Interval(0, sp.pi), "angle in radians within which the own class pulls no more"),
    Hyperparameter("b", 1.2, sp.Interval(0, sp.pi), "angle in radians beyond which another class pushes no more"),
)
scale, k, a, b = (h.symbol for h in hyperparameters)

s_face_loss = Objective(
    name="s_face",
    title="SFace, sigmoid-constrained hypersphere loss",
    terms=(
        Term(outer=-x_p, positives=EACH(detach(sigmoid(k * (sp.acos(s_p) - a))) * scale * s_p)),
        Term(outer=x_n, negatives=EACH(detach(sigmoid(k * (b - sp.acos(s_n)))) * scale * s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("zhong2021sface",),
    anchors=Anchors.ROWS,
    proxies=True,
    note="the gradient is stopped through the factors",
)
