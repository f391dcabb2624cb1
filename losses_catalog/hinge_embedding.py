"""Contrastive loss without squares: positives are pulled at full strength at any distance.

    L = Σ_p d_p + Σ_n [margin − d_n]₊,  s = −d

Source: K. Musgrave, S. Belongie, S.-N. Lim, PyTorch Metric Learning (2020), https://arxiv.org/abs/2008.09164,
whose ContrastiveLoss this is by default; it is torch's HingeEmbeddingLoss of the distances.

The margin of 1 is that of both. The library averages the pairs of the batch that are above zero, the positive
and the negative ones apart, torch all pairs.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 1, positive, "distance beyond which a negative is far enough")

hinge_embedding_loss = Objective(
    name="hinge_embedding",
    title="Hinge embedding loss",
    terms=(
        Term(outer=-x_p, positives=EACH(s_p)),
        Term(outer=hinge(margin.symbol + x_n), negatives=EACH(s_n)),
    ),
    hyperparameters=(margin,),
    reference=("musgrave2020pml", "hadsell2006contrastive"),
    similarity=NEGATIVE_EUCLIDEAN,
    anchors=Anchors.ROWS,
)
