"""MIL-NCE: a softmax over all positives together, against the negatives of both ends.

    L = −log(Σ_p exp(s_p) / (Σ_p exp(s_p) + Σ_n exp(s_n))),  n the negatives of the anchor and of its positives

Source: A. Miech, J.-B. Alayrac, L. Smaira, I. Laptev, J. Sivic, A. Zisserman, End-to-End Learning of Visual
Representations from Uncurated Instructional Videos (CVPR 2020), https://arxiv.org/abs/1912.06430.

The anchor is a video, its positives the captions near it in time, some of which may not describe it: one good
positive is enough. The scores are products of embeddings without a temperature. The denominator of the authors'
code has the positives twice, which adds to the loss what does not depend on the negatives alone.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, Pool
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

mil_nce_loss = Objective(
    name="mil_nce",
    title="MIL-NCE",
    terms=(Term(outer=softplus(gap), positives=LOGSUMEXP(s_p), negatives=LOGSUMEXP(s_n, Pool.BOTH_ENDS)),),
    reference=("miech2020milnce",),
    similarity=DOT,
    anchors=Anchors.ROWS,
)
