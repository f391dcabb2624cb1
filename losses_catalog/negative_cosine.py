"""Negative cosine: positives alone are drawn closer.

    L = −Σ_p s_p

Source: X. Chen, K. He, Exploring Simple Siamese Representation Learning (CVPR 2021),
https://arxiv.org/abs/2011.10566.

SimSiam's and, doubled and with 2 added, BYOL's. Nothing pushes: what keeps the embeddings from becoming one is
elsewhere, in a predictor on one side and a gradient stopped on the other. Here both sides move. It is lightly's
NegativeCosineSimilarity.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import s_p, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

negative_cosine_loss = Objective(
    name="negative_cosine",
    title="Negative cosine similarity",
    terms=(Term(outer=-x_p, positives=EACH(s_p)),),
    reference=("chen2021simsiam",),
    anchors=Anchors.ROWS,
    note="the paper stops the gradient of one side",
)
