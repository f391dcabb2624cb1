"""Contrastive loss.

    L = Σ_p ½·d_p² + Σ_n ½·[margin − d_n]₊²,  s = −d

Source: R. Hadsell, S. Chopra, Y. LeCun, Dimensionality Reduction by Learning an Invariant Mapping (CVPR
2006), https://doi.org/10.1109/CVPR.2006.100.

A sum over pairs. The paper does not normalise its embeddings and has no universal margin; 1 is the usual one.
pytorch-metric-learning's ContrastiveLoss squares nothing: d_p and [margin − d_n]₊.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 1, positive, "distance beyond which a negative is far enough")

contrastive_loss = Objective(
    name="contrastive",
    title="Contrastive loss",
    terms=(
        Term(outer=x_p**2 / 2, positives=EACH(s_p)),
        Term(outer=hinge(margin.symbol + x_n) ** 2 / 2, negatives=EACH(s_n)),
    ),
    hyperparameters=(margin,),
    reference=("hadsell2006contrastive",),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper does not normalise its embeddings and names no default margin",
)
