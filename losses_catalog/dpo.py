"""Direct preference optimisation: a logistic loss on the difference of two log-ratios.

    L = log(1 + exp(−beta·(s_p − s_n)))

Source: R. Rafailov, A. Sharma, E. Mitchell, S. Ermon, C. D. Manning, C. Finn, Direct Preference Optimization: Your
Language Model is Secretly a Reward Model (NeurIPS 2023), https://arxiv.org/abs/2305.18290.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. beta = 0.1 is the
default of TRL. It is `info_nce` of one negative without the range.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

strength = Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference")
beta = strength.symbol

dpo_loss = Objective(
    name="dpo",
    title="Direct preference optimisation (DPO)",
    terms=(Term(outer=softplus(beta * gap), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(strength,),
    reference=("rafailov2023dpo",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
