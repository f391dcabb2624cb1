"""Spectral contrastive loss: positives are pulled at a constant strength, negatives towards a right angle.

    L = −2·s_p + mean_n s_n²

Source: J. Z. HaoChen, C. Wei, A. Gaidon, T. Ma, Provable Guarantees for Self-Supervised Deep Learning with
Spectral Contrastive Loss (NeurIPS 2021), https://arxiv.org/abs/2106.04156.

s is the inner product; the authors' code shortens embeddings that are longer than 1 to that length first. A
negative below zero is drawn up towards zero.
"""

from goal_analysis.symbolic.language.aggregators import EACH, MEAN
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

spectral_contrastive_loss = Objective(
    name="spectral_contrastive",
    title="Spectral contrastive loss",
    terms=(
        Term(outer=-2 * x_p, positives=EACH(s_p)),
        Term(outer=x_n, negatives=MEAN(s_n**2)),
    ),
    reference=("haochen2021spectral",),
    similarity=DOT,
    anchors=Anchors.ROWS,
)
