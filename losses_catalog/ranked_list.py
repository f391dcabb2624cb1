"""Ranked list loss: positives within one radius, negatives beyond another, the worst negatives weighted most.

    L = mean of d_p − (α − margin) over the positives above zero
        + λ·(mean of α − d_n over the negatives above zero, weighted by exp(temperature·(α − d_n))),  s = −d

Source: X. Wang, Y. Hua, E. Kodirov, G. Hu, R. Garnier, N. M. Robertson, Ranked List Loss for Deep Metric
Learning (CVPR 2019), https://arxiv.org/abs/1903.03238.

As in the authors' layer the weights scale the gradients and have none themselves; pytorch-metric-learning and
other ports differentiate through them. The balance of positives to negatives is 1 to λ; pytorch-metric-learning's is
1 − λ to λ, with λ = ½.
"""

from goal_analysis.symbolic.language.aggregators import MEAN_ACTIVE, softmax_active
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("alpha", 1.2, positive, "distance beyond which a negative is far enough"),
    Hyperparameter("margin", 0.4, nonnegative, "by how much closer than alpha a positive has to be"),
    Hyperparameter("temperature", 10, nonnegative, "how much more the worst negatives weigh"),
    Hyperparameter("lam", 1, nonnegative, "balance of the negatives against the positives"),
)
alpha, margin, temperature, lam = (h.symbol for h in hyperparameters)

ranked_list_loss = Objective(
    name="ranked_list",
    title="Ranked list loss",
    terms=(
        Term(outer=x_p, positives=MEAN_ACTIVE(-s_p - (alpha - margin))),
        Term(outer=lam * x_n, negatives=softmax_active(temperature)(alpha + s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("wang2019rankedlist",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the gradient is stopped through the weights of the negatives",
)
