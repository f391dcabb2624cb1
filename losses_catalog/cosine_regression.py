"""Cosine regression: the similarity of every pair is fitted to the number that the pair carries.

    L = (s_p − y_p)² + (s_n − y_n)²

Source: N. Reimers, I. Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks (EMNLP 2019),
https://arxiv.org/abs/1908.10084.

y is the grade of a pair, which comes with the batch: a person's judgement from 0 to 1, or a teacher's cosine. It is
sentence-transformers' CosineSimilarityLoss, over all pairs of the batch. Positives and negatives are treated alike.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p, y_n, y_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

cosine_regression_loss = Objective(
    name="cosine_regression",
    title="Regression of cosines",
    terms=(
        Term(outer=x_p**2, positives=EACH(s_p - y_p)),
        Term(outer=x_n**2, negatives=EACH(s_n - y_n)),
    ),
    reference=("reimers2019sbert",),
    anchors=Anchors.ROWS,
)
