"""Triplet loss on cosines.

    L = Σ_p Σ_n [s_n − s_p + margin]₊

Source: F. Schroff, D. Kalenichenko, J. Philbin, FaceNet: A Unified Embedding for Face Recognition and
Clustering (CVPR 2015), https://arxiv.org/abs/1503.03832.

The paper writes squared distances of unit vectors, d² = 2 − 2s, so that this loss with margin m is half of
the paper's with α = 2m (`triplet_squared_euclidean`). The default is the usual one on cosines, that of VSE++;
the paper's α = 0.2 would be 0.1 here. Every triplet counts; which triplets are mined is not part of the
formula.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.2, nonnegative, "by how much the positive has to be more alike")

triplet_loss = Objective(
    name="triplet",
    title="Triplet loss",
    terms=(Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(margin,),
    reference=("schroff2015facenet", "faghri2018vsepp"),
    anchors=Anchors.ROWS,
)
