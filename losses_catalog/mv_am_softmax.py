"""MV-AM-Softmax: CosFace that emphasises the classes which an embedding is mistaken for.

    L = log(1 + Σ_n exp(scale·(h(s_n) − (s_p − margin)))),  h(s_n) = (1 + t)·s_n + t where s_n > s_p − margin, else s_n

Source: X. Wang, S. Zhang, S. Wang, T. Fu, H. Shi, T. Mei, Mis-classified Vector Guided Softmax Loss for Face
Recognition (AAAI 2020), https://arxiv.org/abs/1912.00833.

Embeddings query the classifier's weights, one unit vector a class. The defaults are those of the authors' code,
whose mask weight of 1.12 is 1 + t; it leaves the margin out where s_p is below it. The loss jumps where a class
becomes one that the embedding is mistaken for.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, where
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 32, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0.35, nonnegative, "by how much more alike the own class has to be"),
    Hyperparameter("t", 0.12, nonnegative, "how much more a confused class weighs"),
)
scale, margin, t = (h.symbol for h in hyperparameters)
emphasised = where(s_n - s_p + margin, (1 + t) * s_n + t, s_n)

mv_am_softmax_loss = Objective(
    name="mv_am_softmax",
    title="MV-AM-Softmax",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH(scale * (s_p - margin)),
            negatives=LOGSUMEXP(scale * emphasised),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("wang2020mvsoftmax",),
    anchors=Anchors.ROWS,
    proxies=True,
)
