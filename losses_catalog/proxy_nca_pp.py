"""ProxyNCA++: a softmax over all proxies, with a temperature.

    L = −log(exp(−scale·d_p²) / (exp(−scale·d_p²) + Σ_n exp(−scale·d_n²))),  s = −d²

Source: E. W. Teh, T. DeVries, G. W. Taylor, ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood
Component Analysis (ECCV 2020), https://arxiv.org/abs/2004.01113.

Embeddings query proxies, one learned unit vector a class. scale is 1/temperature, 9 the paper's temperature
of 1/9. Unlike in `proxy_nca` the own proxy is in the denominator, and an embedding that is close to it is
left alone.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 9, positive, "1/temperature of the softmax")
scale = temperature.symbol

proxy_nca_pp_loss = Objective(
    name="proxy_nca_pp",
    title="ProxyNCA++ loss",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * s_p), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=(temperature,),
    reference=("teh2020proxyncapp",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
    proxies=True,
)
