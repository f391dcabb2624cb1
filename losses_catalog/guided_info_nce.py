"""Guided InfoNCE, of GISTEmbed: negatives that a teacher finds more similar than the positive are left out.

    L = −log(exp(scale·s_p) / (exp(scale·s_p) + Σ_n m_n·exp(scale·s_n))),  m_n = 1[y_n ≤ y_p − margin]

Source: A. V. Solatorio, GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning
(2024), https://arxiv.org/abs/2402.16829.

y is the teacher's score of a pair, which comes with the batch. The mask does not depend on the similarities, so the
weights are a gradient. scale = 100 and margin = 0 are the defaults of sentence-transformers' GISTEmbedLoss, whose sum
has the pairs of two anchors and of two positives too.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus, step, y_n, y_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term
from losses_catalog.false_negative_masked_info_nce import LEFT_OUT

TIE = sp.Rational(1, 10**6)
"""A negative that the teacher likes as well is kept."""

hyperparameters = (
    Hyperparameter("scale", 100, positive, "1/temperature of the softmax"),
    Hyperparameter("margin", 0, real, "by how much less than the positive the teacher has to like a negative"),
)
scale, margin = (h.symbol for h in hyperparameters)
kept = y_p - margin - y_n + TIE

guided_info_nce_loss = Objective(
    name="guided_info_nce",
    title="InfoNCE with a guide's mask, GISTEmbed",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH(scale * s_p),
            negatives=LOGSUMEXP(step(kept) * scale * s_n + step(-kept) * LEFT_OUT),
        ),
    ),
    hyperparameters=hyperparameters,
    reference=("solatorio2024gistembed",),
    anchors=Anchors.ROWS,
)
