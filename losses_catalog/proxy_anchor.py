"""Proxy anchor loss: every proxy queries the embeddings of the batch.

    L = log(1 + Σ_p exp(−α·(s_p − δ))) + log(1 + Σ_n exp(α·(s_n + δ)))

Source: S. Kim, D. Kim, M. Cho, S. Kwak, Proxy Anchor Loss for Deep Metric Learning (CVPR 2020),
https://arxiv.org/abs/2003.13911.

The anchors are the columns, one learned unit vector a class. The first term is averaged over the proxies with
a positive in the batch, the second over all. It resembles multi-similarity, with two different boundaries δ
and −δ.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, SOFTMIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("alpha", 32, positive, "scale of the similarities"),
    Hyperparameter("delta", 0.1, nonnegative, "margin of either kind of pair"),
)
alpha, delta = (h.symbol for h in hyperparameters)

proxy_anchor_loss = Objective(
    name="proxy_anchor",
    title="Proxy anchor loss",
    terms=(
        Term(outer=softplus(-x_p), positives=SOFTMIN(alpha * (s_p - delta))),
        Term(outer=softplus(x_n), negatives=LOGSUMEXP(alpha * (s_n + delta))),
    ),
    hyperparameters=hyperparameters,
    reference=("kim2020proxyanchor",),
    anchors=Anchors.COLUMNS,
    proxies=True,
)
