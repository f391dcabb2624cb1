"""Universal weighting metric learning: a polynomial of either similarity, on the hardest negative.

    L = [Σ_i a_i·s_p^i]₊ + [Σ_j b_j·s_n^j]₊,  s_n the hardest negative

Source: J. Wei, X. Xu, Y. Yang, Y. Ji, Z. Wang, H. T. Shen, Universal Weighting Metric Learning for
Cross-Modal Matching (CVPR 2020), https://arxiv.org/abs/2010.03403.

Degree and coefficients are those of the authors' code, which divides the sum of both directions by the size
of the batch, and skips an anchor whose hardest negative is not within 0.2 of its positive. So w⁺ = 0.7 −
0.4·s_p, which is not yet zero at s_p = 1, and w⁻ = 1.8·s_n − 0.4 where the polynomial is positive: above s_n = 0.349,
and below 0.096 too, where w⁻ is negative and an easy negative is attracted.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MAX
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, real
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

a_0, a_1, a_2 = a = tuple(
    Hyperparameter(f"a_{i}", value, real, f"coefficient of s_p to the power of {i}")
    for i, value in enumerate((0.5, -0.7, 0.2))
)
b_0, b_1, b_2 = b = tuple(
    Hyperparameter(f"b_{j}", value, real, f"coefficient of s_n to the power of {j}")
    for j, value in enumerate((0.03, -0.4, 0.9))
)

universal_weighting_loss = Objective(
    name="universal_weighting",
    title="Polynomial loss of universal weighting",
    terms=(
        Term(outer=hinge(sum(h.symbol * x_p**i for i, h in enumerate(a))), positives=EACH(s_p)),
        Term(outer=hinge(sum(h.symbol * x_n**j for j, h in enumerate(b))), negatives=MAX(s_n)),
    ),
    hyperparameters=(*a, *b),
    reference=("wei2020universal",),
    anchors=Anchors.BOTH,
    note="the authors' code skips anchors whose hardest negative is not within 0.2 of the positive",
)
