"""Multi-class N-pair loss.

    L = log(1 + Σ_n exp(s_n − s_p)),  s = a·b

Source: K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective (NIPS 2016),
https://papers.nips.cc/paper/2016/hash/6b180037abbebea991d8b1232f8a8ca9-Abstract.html.

Dot products of embeddings without unit length; the paper keeps their norms small with a penalty of its own. A
batch holds one pair of each of N classes, and the negatives of an anchor are the other pairs' positives, in
one direction only. pytorch-metric-learning's NPairsLoss normalises by default, which leaves cosines without a
scale.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

n_pair_loss = Objective(
    name="n_pair",
    title="N-pair loss",
    terms=(Term(outer=softplus(gap), positives=EACH(s_p), negatives=LOGSUMEXP(s_n)),),
    reference=("sohn2016npair",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="without the paper's penalty on the norms of the embeddings",
)
