"""APO-zero: chosen completions become likelier and rejected ones less likely, each by itself.

    L = 1 − σ(beta·s_p) + σ(beta·s_n)

Source: K. D'Oosterlinck, W. Xu, C. Develder, T. Demeester, A. Singh, C. Potts, D. Kiela, S. Mehri, Anchored Preference
Optimization and Contrastive Revisions: Addressing Underspecification in Alignment (TACL 2025),
https://arxiv.org/abs/2408.06266.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. beta = 0.1 is the default of
TRL's "apo_zero". Both weights fade far from zero, where the reference model and the policy agree.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

strength = Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference")
beta = strength.symbol

apo_zero_loss = Objective(
    name="apo_zero",
    title="Anchored preference optimisation, zero",
    terms=(
        Term(outer=1 - sigmoid(beta * x_p), positives=EACH(s_p)),
        Term(outer=sigmoid(beta * x_n), negatives=EACH(s_n)),
    ),
    hyperparameters=(strength,),
    reference=("doosterlinck2025apo",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
