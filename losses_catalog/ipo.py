"""Identity preference optimisation: the difference of two log-ratios is drawn to a fixed value.

    L = (s_p − s_n − 1/(2·beta))²

Source: M. G. Azar, M. Rowland, B. Piot, D. Guo, D. Calandriello, M. Valko, R. Munos, A General Theoretical Paradigm
to Understand Learning from Human Preferences (AISTATS 2024), https://arxiv.org/abs/2310.12036.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. beta is the
paper's τ, 0.1 the default of TRL, which averages over the tokens. A pair that is too far apart is drawn
together again.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

strength = Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference")
beta = strength.symbol

ipo_loss = Objective(
    name="ipo",
    title="Identity preference optimisation (IPO)",
    terms=(Term(outer=(gap + 1 / (2 * beta)) ** 2, positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(strength,),
    reference=("azar2024ipo",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
