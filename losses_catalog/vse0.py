"""VSE0, the sum of hinges: triplet loss over all negatives of the batch, for image-text retrieval.

    L = Σ_n [margin − s_p + s_n]₊

Source: F. Faghri, D. J. Fleet, J. R. Kiros, S. Fidler, VSE++: Improving Visual-Semantic Embeddings with Hard
Negatives (BMVC 2018), https://arxiv.org/abs/1707.05612, which names the loss of its predecessors so.

Images query texts along the rows of the scores, texts query images along the columns. The paper sums over the
batch and over both directions; the reduction here is the mean over all anchors. The published code does not mask
the other captions of an image; those count as its negatives.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.2, nonnegative, "by how much the positive has to be more alike")

vse0_loss = Objective(
    name="vse0",
    title="VSE0, sum of hinges",
    terms=(Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(margin,),
    reference=("faghri2018vsepp",),
    anchors=Anchors.BOTH,
)
