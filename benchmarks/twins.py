"""The integrable twins of hardness-weighted InfoNCE, as objectives that the command line reads.

    goal-analyze show benchmarks/twins.py:hardness_twin
    goal-analyze show benchmarks/twins.py:hardness_undetached

Both have its two numbers. Hardness weighting pulls with T and pushes with T·q, where q is the softmax of the negatives
at scale + strength and T = σ((scale + strength)·x_n − scale·x_p). The *tangent twin* has these pair weights and this
mining, and of T the same profile as a function of their potential x_n − x_p, which agrees at s_p = s_n = ½ in value
and slope. The *undetached* one differentiates what hardness adds to a logit too; so it pushes with
(1 + strength/scale)·T·q.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, soft_max
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, undetach
from goal_analysis.symbolic.objective import Anchors, Objective, Term
from losses_catalog.hardness_weighted_info_nce import hardness_weighted_info_nce_loss as hardness

scale, strength = (h.symbol for h in hardness.hyperparameters)
(own,) = hardness.terms

hardness_twin = Objective(
    name="hardness_twin",
    title="Hardness-weighted InfoNCE, tangent twin",
    terms=(
        Term(
            outer=softplus((scale + strength / 2) * gap + strength / 2),
            positives=EACH(s_p),
            negatives=soft_max(scale + strength)(s_n),
        ),
    ),
    hyperparameters=hardness.hyperparameters,
    anchors=Anchors.BOTH,
)

hardness_undetached = Objective(
    name="hardness_undetached",
    title="Hardness-weighted InfoNCE, differentiated",
    terms=(Term(outer=own.outer, positives=own.positives, negatives=LOGSUMEXP(undetach(own.negatives.inner))),),
    hyperparameters=hardness.hyperparameters,
    anchors=Anchors.BOTH,
)
