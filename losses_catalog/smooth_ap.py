"""Smooth-AP: one minus the average precision, with a sigmoid in the place of every comparison of two ranks.

    L = 1 − 1/|P|·Σ_p R_P(p)/(R_P(p) + Σ_n g(n, p)),  R_P(p) = 1 + Σ_q g(q, p) over the other positives q,
    g(q, p) = σ((s_q − s_p)/temperature)

Source: A. Brown, W. Xie, V. Kalogeiton, A. Zisserman, Smooth-AP: Smoothing the Path Towards Large-Scale Image
Retrieval (ECCV 2020), https://arxiv.org/abs/2007.12163.

The sum over all positives has the own one too, whose comparison with itself is ½. In the authors' code, and in
pytorch-metric-learning's SmoothAPLoss, the anchor is a positive of itself.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, SUM, Pool
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, x_n
from goal_analysis.symbolic.objective import Anchors, Named, Objective, Term

temperature = Hyperparameter("temperature", 0.01, positive, "width of the sigmoid in the place of a comparison")
before = sigmoid((s_n - s_p) / temperature.symbol)
positives_before = Named("positives_before", SUM(before, Pool.POSITIVES))

smooth_ap_loss = Objective(
    name="smooth_ap",
    title="Smooth-AP",
    terms=(
        Term(
            outer=x_n / (sp.Rational(1, 2) + positives_before.symbol + x_n),
            positives=EACH_MEAN(s_p),
            negatives=SUM(before),
            named=(positives_before,),
        ),
    ),
    hyperparameters=(temperature,),
    reference=("brown2020smoothap",),
    anchors=Anchors.ROWS,
)
