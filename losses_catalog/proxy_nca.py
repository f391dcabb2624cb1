"""Proxy-NCA: the proxy of the own class against those of all others.

    L = d_p² + log Σ_n exp(−d_n²),  s = −d²

Source: Y. Movshovitz-Attias, A. Toshev, T. K. Leung, S. Ioffe, S. Singh, No Fuss Distance Metric Learning
Using Proxies (ICCV 2017), https://arxiv.org/abs/1703.07464.

Embeddings query proxies, one learned unit vector a class, and the own proxy is not in the denominator, so
that the triplet weight is constant. pytorch-metric-learning's ProxyNCALoss has it there: it is `proxy_nca_pp`
with scale 1.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

proxy_nca_loss = Objective(
    name="proxy_nca",
    title="Proxy-NCA loss",
    terms=(Term(outer=gap, positives=EACH(s_p), negatives=LOGSUMEXP(s_n)),),
    reference=("movshovitzattias2017proxynca",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
    proxies=True,
)
