"""SphereFace: softmax with the angle to the own class multiplied by four.

    L = log(1 + Σ_n exp(scale·(s_n − ψ(s_p)))),  ψ(cos θ) = (−1)^k·cos 4θ − 2k for θ from kπ/4 to (k + 1)π/4

Source: W. Liu, Y. Wen, Z. Yu, M. Li, B. Raj, L. Song, SphereFace: Deep Hypersphere Embedding for Face
Recognition (CVPR 2017), https://arxiv.org/abs/1704.08063.

Embeddings query the classifier's weights, one unit vector a class. The paper's factor is the norm of the
embedding; on unit vectors it is 1, the scale here, as in pytorch-metric-learning's SphereFaceLoss, and the large-margin
softmax (Liu et al., ICML 2016, https://arxiv.org/abs/1612.02295) is the same loss.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, where
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 1, positive, "norm of the embeddings, or 1/temperature of the softmax")
scale = temperature.symbol
half = sp.sqrt(2) / 2
four = 8 * s_p**4 - 8 * s_p**2 + 1
psi = where(s_p - half, four, where(s_p, -four - 2, where(s_p + half, four - 4, -four - 6)))

sphere_face_loss = Objective(
    name="sphere_face",
    title="SphereFace, multiplicative angular margin loss",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * psi), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=(temperature,),
    reference=("liu2017sphereface", "liu2016large"),
    anchors=Anchors.ROWS,
    proxies=True,
)
