"""Mega-batch margin loss: the positive above one margin, the hardest negative below another.

    L = [pos_margin − s_p]₊ + [max_n s_n − neg_margin]₊

Source: N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks (EMNLP 2019),
https://arxiv.org/abs/1908.10084, whose library's MegaBatchMarginLoss this is; after J. Wieting, K. Gimpel,
ParaNMT-50M (ACL 2018).

The margins of 0.8 and 0.3 are the library's. Its rows are the queries, and its value the mean over them.
ParaNMT's own loss is a triplet loss on the hardest negative of many batches at once.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, MAX
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

cosines = sp.Interval(-1, 1)
hyperparameters = (
    Hyperparameter("pos_margin", 0.8, cosines, "similarity from which on a positive is close enough"),
    Hyperparameter("neg_margin", 0.3, cosines, "similarity up to which a negative is far enough"),
)
pos_margin, neg_margin = (h.symbol for h in hyperparameters)

mega_batch_margin_loss = Objective(
    name="mega_batch_margin",
    title="Mega-batch margin loss",
    terms=(
        Term(outer=hinge(pos_margin - x_p), positives=EACH(s_p)),
        Term(outer=hinge(x_n - neg_margin), negatives=MAX(s_n)),
    ),
    hyperparameters=hyperparameters,
    reference=("reimers2019sbert", "wieting2018paranmt"),
    anchors=Anchors.ROWS,
)
