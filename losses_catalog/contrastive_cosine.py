"""Contrastive loss on cosines, with a margin for either kind of pair.

    L = Σ_p [pos_margin − s_p]₊ + Σ_n [s_n − neg_margin]₊

Source: K. Musgrave, S. Belongie, S.-N. Lim, PyTorch Metric Learning (2020), https://arxiv.org/abs/2008.09164,
whose ContrastiveLoss becomes this one with cosine similarity; after R. Hadsell, S. Chopra, Y. LeCun (CVPR
2006).

Neither squares nor halves, unlike the original (`contrastive`). The library averages the positive pairs of
the batch that are above zero, and the negative ones, apart.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

cosines = sp.Interval(-1, 1)
hyperparameters = (
    Hyperparameter("pos_margin", 1, cosines, "similarity from which on a positive is close enough"),
    Hyperparameter("neg_margin", 0, cosines, "similarity up to which a negative is far enough"),
)
pos_margin, neg_margin = (h.symbol for h in hyperparameters)

contrastive_cosine_loss = Objective(
    name="contrastive_cosine",
    title="Contrastive loss on cosines",
    terms=(
        Term(outer=hinge(pos_margin - x_p), positives=EACH(s_p)),
        Term(outer=hinge(x_n - neg_margin), negatives=EACH(s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("musgrave2020pml", "hadsell2006contrastive"),
    anchors=Anchors.ROWS,
)
