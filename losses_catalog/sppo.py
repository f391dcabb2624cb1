"""SPPO: each of the two log-ratios is drawn to a number of its own.

    L = (s_p − 1/(2·beta))² + (s_n + 1/(2·beta))²

Source: Y. Wu, Z. Sun, H. Yuan, K. Ji, Y. Yang, Q. Gu, Self-Play Preference Optimization for Language Model
Alignment (ICLR 2025), https://arxiv.org/abs/2405.00675.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. beta = 0.1 is the default of
TRL's "sppo_hard", in which the chosen completion wins with certainty; the paper estimates with which
probability.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

strength = Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference")
beta = strength.symbol

sppo_loss = Objective(
    name="sppo",
    title="Self-play preference optimisation (SPPO)",
    terms=(
        Term(outer=(x_p - 1 / (2 * beta)) ** 2, positives=EACH(s_p)),
        Term(outer=(x_n + 1 / (2 * beta)) ** 2, negatives=EACH(s_n)),
    ),
    hyperparameters=(strength,),
    reference=("wu2025sppo",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
