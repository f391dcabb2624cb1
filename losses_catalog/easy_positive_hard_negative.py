"""Easy positive, hard negative: the closest positive against the closest negative.

    L = log(1 + exp((max_n s_n − max_p s_p)/temperature))

Source: H. Xuan, A. Stylianou, R. Pless, Improved Embeddings with Easy Positive Triplet Mining (WACV 2020),
https://arxiv.org/abs/1904.04370.

An anchor need not be close to all of its class. The temperature of 0.1 is that of the authors' code, which leaves
out anchors whose closest positive, or negative, has a cosine below zero.
"""

from goal_analysis.symbolic.language.aggregators import MAX
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("temperature", 0.1, positive, "of the softmax of two")

easy_positive_hard_negative_loss = Objective(
    name="easy_positive_hard_negative",
    title="Easy positive, hard negative",
    terms=(Term(outer=softplus(gap / temperature.symbol), positives=MAX(s_p), negatives=MAX(s_n)),),
    hyperparameters=(temperature,),
    reference=("xuan2020easy",),
    anchors=Anchors.ROWS,
)
