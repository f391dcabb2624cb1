"""Sequence likelihood calibration: a hinge on the difference of two log-ratios.

    L = [1 − beta·(s_p − s_n)]₊

Source: Y. Zhao, R. Joshi, T. Liu, M. Khalman, M. Saleh, P. J. Liu, SLiC-HF: Sequence Likelihood Calibration with
Human Feedback (2023), https://arxiv.org/abs/2305.10425.

s is the logarithm of a completion's probability over its reference model's, which has no range: hand these
numbers over as scores, the prompts as rows, the chosen completions as positives. This is the hinge
as TRL has it, with beta = 0.1; the paper's margin is on the log-probabilities themselves, and it adds a
cross-entropy that keeps the policy near its start.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

strength = Hyperparameter("beta", 0.1, positive, "how closely the policy stays to the reference")
beta = strength.symbol

slic_loss = Objective(
    name="slic",
    title="Sequence likelihood calibration (SLiC)",
    terms=(Term(outer=hinge(1 + beta * gap), positives=EACH(s_p), negatives=EACH(s_n)),),
    hyperparameters=(strength,),
    reference=("zhao2023slic",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    note="scores are log-ratios of completions, not of embeddings",
)
