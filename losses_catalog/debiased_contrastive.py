"""Debiased contrastive loss: InfoNCE without the positives that are expected among the negatives.

    L = log(1 + g·exp(−s_p/temperature)),
    g = max((Σ_n exp(s_n/temperature) − (1 − tau_n)·N·exp(s_p/temperature))/tau_n, N·exp(−1/temperature))

Source: C.-Y. Chuang, J. Robinson, Y.-C. Lin, A. Torralba, S. Jegelka, Debiased Contrastive Learning (NeurIPS
2020), https://arxiv.org/abs/2007.00224.

N is the number of negatives, tau_n the paper's τ⁻ = 1 − τ⁺. The defaults are those of the authors'
code. The lower bound of g is what N negatives opposite to the anchor would have.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, SUM
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import count_n, maximum, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("temperature", 0.5, positive, "of the softmax"),
    Hyperparameter("tau_n", 0.9, sp.Interval.Lopen(0, 1), "share of the negatives that are of another class"),
)
temperature, tau_n = (h.symbol for h in hyperparameters)
estimate = (x_n - (1 - tau_n) * count_n * sp.exp(x_p)) / tau_n

debiased_contrastive_loss = Objective(
    name="debiased_contrastive",
    title="Debiased contrastive loss",
    terms=(
        Term(
            outer=sp.log(1 + maximum(estimate, count_n * sp.exp(-1 / temperature)) * sp.exp(-x_p)),
            positives=EACH(s_p / temperature),
            negatives=SUM(sp.exp(s_n / temperature)),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("chuang2020debiased",),
    anchors=Anchors.ROWS,
)
