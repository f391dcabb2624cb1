"""Negative sampling, as word2vec has it: a logistic loss on every inner product.

    L = Σ_p log(1 + exp(−s_p)) + Σ_n log(1 + exp(s_n))

Source: T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, Distributed Representations of Words and
Phrases and their Compositionality (NIPS 2013), https://arxiv.org/abs/1310.4546.

s is the inner product of vectors of any length, with neither temperature nor bias. The paper draws 2 to 20
negatives for every positive from the words' frequencies; here all negatives of the batch take part.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Term

negative_sampling_loss = Objective(
    name="negative_sampling",
    title="Negative sampling (word2vec)",
    terms=(
        Term(outer=softplus(-x_p), positives=EACH(s_p)),
        Term(outer=softplus(x_n), negatives=EACH(s_n)),
    ),
    reference=("mikolov2013word2vec",),
    similarity=DOT,
    anchors=Anchors.ROWS,
)
