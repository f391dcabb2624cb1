"""MarginMSE: the differences of similarities are fitted to those of a teacher.

    L = ((s_p − s_n) − (y_p − y_n))²

Source: S. Hofstätter, S. Althammer, M. Schröder, M. Sertkan, A. Hanbury, Improving Efficient Neural Ranking Models
with Cross-Architecture Knowledge Distillation (2020), https://arxiv.org/abs/2010.02666.

y is the teacher's score of a pair, which comes with the batch. It is sentence-transformers' MarginMSELoss: a mean over
all triplets, and products of embeddings.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, y_n, y_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term

margin_mse_loss = Objective(
    name="margin_mse",
    title="MarginMSE, distillation of margins",
    terms=(Term(outer=gap**2, positives=EACH(s_p - y_p), negatives=EACH(s_n - y_n)),),
    reference=("hofstatter2020marginmse",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    reduction=Reduction.MEAN_EACH,
)
