"""P2SGrad: the squared error of the cosines to all classes, 1 for the own class and 0 for the others.

    L = (1 − s_p)² + Σ_n s_n²

Source: X. Zhang, R. Zhao, J. Yan, M. Gao, Y. Qiao, X. Wang, H. Li, P2SGrad: Refined Gradients for Optimizing
Deep Face Models (CVPR 2019), https://arxiv.org/abs/1905.02479.

Embeddings query the classifier's weights, one unit vector a class. The paper prescribes the gradients, with
neither scale nor margin; that they are those of this error is the remark of pytorch-metric-learning's
P2SGradLoss, whose mean runs over the classes too. A negative below zero is drawn up towards zero.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

p2s_grad_loss = Objective(
    name="p2s_grad",
    title="P2SGrad, squared error of the cosines",
    terms=(
        Term(outer=(1 - x_p) ** 2, positives=EACH(s_p)),
        Term(outer=x_n**2, negatives=EACH(s_n)),
    ),
    reference=("zhang2019p2sgrad",),
    anchors=Anchors.ROWS,
    proxies=True,
)
