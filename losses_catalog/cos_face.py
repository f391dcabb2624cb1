"""CosFace: normalised softmax with a margin on the cosine of the own class.

    L = −log(exp(scale·(s_p − margin)) / (exp(scale·(s_p − margin)) + Σ_n exp(scale·s_n)))

Source: H. Wang, Y. Wang, Z. Zhou, X. Ji, D. Gong, J. Zhou, Z. Li, W. Liu, CosFace: Large Margin Cosine Loss
for Deep Face Recognition (CVPR 2018), https://arxiv.org/abs/1801.09414.

Embeddings query the classifier's weights, one unit vector a class. The margin moves the triplet weight, σ of
the gap, and leaves both pair weights constant.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 64, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0.35, nonnegative, "by how much the own class has to be more alike"),
)
scale, margin = (h.symbol for h in hyperparameters)

cos_face_loss = Objective(
    name="cos_face",
    title="CosFace, large margin cosine loss (AM-Softmax)",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * (s_p - margin)), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=hyperparameters,
    reference=("wang2018cosface",),
    anchors=Anchors.ROWS,
    proxies=True,
)
