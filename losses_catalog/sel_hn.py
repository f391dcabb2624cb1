"""Triplet loss with selectively hard negatives (SelHN): all negatives where the hardest is as near as the positive.

    L = [margin + max_n s_n − s_p]₊ where |s_p − max_n s_n| ≥ epsilon, else 1/|N|·Σ_n [margin + s_n − s_p]₊

Source: Z. Li, C. Guo, X. Wang, Z. Feng, Z. Du, Selectively Hard Negative Mining for Alleviating Gradient Vanishing
in Image-Text Matching (TCSVT 2025), https://arxiv.org/abs/2303.00181.

VSE++'s gradient goes to zero where all embeddings are alike; there, at the beginning of a training, all negatives
are taken. The defaults are those of the authors' code. The loss jumps where one is exchanged for the other.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MAX, MEAN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, where
from goal_analysis.symbolic.objective import Named, Objective, Term

hyperparameters = (
    Hyperparameter("margin", 0.2, nonnegative, "by how much the positive has to be more alike"),
    Hyperparameter("epsilon", 0.01, positive, "difference to the hardest negative below which all are taken"),
)
margin, epsilon = (h.symbol for h in hyperparameters)
every = Named("every", MEAN(hinge(s_n - s_p + margin)))
difference = hinge(gap) + hinge(-gap)

sel_hn_loss = Objective(
    name="sel_hn",
    title="Triplet loss with selectively hard negatives (SelHN)",
    terms=(
        Term(
            outer=where(epsilon - difference, every.symbol, hinge(gap + margin)),
            positives=EACH(s_p),
            negatives=MAX(s_n),
            named=(every,),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("li2025selhn",),
)
