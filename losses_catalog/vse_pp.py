"""VSE++, the max of hinges: triplet loss on the hardest negative of the batch, for image-text retrieval.

    L = [margin − s_p + max_n s_n]₊

Source: F. Faghri, D. J. Fleet, J. R. Kiros, S. Fidler, VSE++: Improving Visual-Semantic Embeddings with Hard
Negatives (BMVC 2018), https://arxiv.org/abs/1707.05612.

The paper sums over the batch and over both directions; the reduction here is the mean over all anchors. VSE∞
trains with the same loss, its first epoch on all negatives (`vse0`). The published code does not mask the other
captions of an image; those count as its negatives.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MAX
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

margin = Hyperparameter("margin", 0.2, nonnegative, "by how much the positive has to be more alike")

vse_pp_loss = Objective(
    name="vse_pp",
    title="VSE++, max of hinges",
    terms=(Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=MAX(s_n)),),
    hyperparameters=(margin,),
    reference=("faghri2018vsepp", "chen2021vseinfty"),
    anchors=Anchors.BOTH,
)
