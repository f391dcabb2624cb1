"""Online contrastive loss: squared cosine distances of those pairs alone that are in the wrong order.

    L = Σ_p (1 − s_p)² where s_p < max_n s_n, plus Σ_n [margin − (1 − s_n)]₊² where s_n > min_p s_p

Source: N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks (EMNLP 2019),
https://arxiv.org/abs/1908.10084, whose library's OnlineContrastiveLoss this is; after R. Hadsell, S. Chopra, Y. LeCun
(CVPR 2006).

The margin of ½ is the library's. Its hardest pairs are those of the whole batch, here they are the anchor's. Unlike
`contrastive_cosine_squared` it halves nothing. The choice of pairs is not differentiated, and the loss jumps where it
changes.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MAX, MIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, where, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.5, positive, "cosine distance beyond which a negative is far enough")

online_contrastive_loss = Objective(
    name="online_contrastive",
    title="Online contrastive loss",
    terms=(
        Term(outer=where(gap, (1 - x_p) ** 2, 0), positives=EACH(s_p), negatives=MAX(s_n)),
        Term(outer=where(gap, hinge(margin.symbol - 1 + x_n) ** 2, 0), positives=MIN(s_p), negatives=EACH(s_n)),
    ),
    hyperparameters=(margin,),
    reference=("reimers2019sbert", "hadsell2006contrastive"),
    anchors=Anchors.ROWS,
)
