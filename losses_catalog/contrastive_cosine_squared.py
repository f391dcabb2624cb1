"""Contrastive loss with cosine distances in the place of Euclidean ones.

    L = Σ_p ½·(1 − s_p)² + Σ_n ½·[margin − (1 − s_n)]₊²

Source: N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks (EMNLP 2019),
https://arxiv.org/abs/1908.10084, whose library's ContrastiveLoss this is; after R. Hadsell, S. Chopra, Y.
LeCun (CVPR 2006).

The margin of ½ is the library's, and so is the cosine distance. The library averages over all pairs.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.5, positive, "cosine distance beyond which a negative is far enough")

contrastive_cosine_squared_loss = Objective(
    name="contrastive_cosine_squared",
    title="Contrastive loss on squared cosine distances",
    terms=(
        Term(outer=(1 - x_p) ** 2 / 2, positives=EACH(s_p)),
        Term(outer=hinge(margin.symbol - 1 + x_n) ** 2 / 2, negatives=EACH(s_n)),
    ),
    hyperparameters=(margin,),
    reference=("reimers2019sbert", "hadsell2006contrastive"),
    anchors=Anchors.ROWS,
)
