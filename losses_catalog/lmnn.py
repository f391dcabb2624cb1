"""Large-margin nearest neighbours (LMNN).

    L = (1 − μ)·Σ_p d_p² + μ·Σ_p Σ_n [1 + d_p² − d_n²]₊,  s = −d²

Source: K. Q. Weinberger, L. K. Saul, Distance Metric Learning for Large Margin Nearest Neighbor
Classification (JMLR 2009), https://www.jmlr.org/papers/v10/weinberger09a.html.

The positives pull on their own and push in the hinge, so the weights do not separate. The paper learns a
linear map, without unit vectors, its margin of 1 is a unit of length, and the positives are three fixed
target neighbours; sums throughout.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, unit
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, x_p
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

balance = Hyperparameter("mu", 0.5, unit, "balance of pushing against pulling")
mu = balance.symbol

lmnn_loss = Objective(
    name="lmnn",
    title="Large-margin nearest neighbours (LMNN)",
    terms=(
        Term(outer=(1 - mu) * x_p, positives=EACH(-s_p)),
        Term(outer=mu * hinge(1 + gap), positives=EACH(s_p), negatives=EACH(s_n)),
    ),
    hyperparameters=(balance,),
    reference=("weinberger2009lmnn",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
)
