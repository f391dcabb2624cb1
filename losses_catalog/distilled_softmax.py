"""Distilled softmax: the distribution over an anchor's candidates is fitted to a teacher's.

    L = temperature²·Σ_j t_j·(log t_j − log q_j),  t = softmax(y/temperature),  q = softmax(s/temperature)

Source: S.-C. Lin, J.-H. Yang, J. Lin, Distilling Dense Representations for Ranking using Tightly-Coupled Teachers
(2020), https://arxiv.org/abs/2010.11386.

y is the teacher's score of a pair, which comes with the batch; both softmaxes are over the positive and all negatives.
It is sentence-transformers' DistillKLDivLoss, with its temperature of 1 and products of embeddings. The teacher's
exponentials are taken relative to the positive's, and so stay finite.
"""

import sympy as sp

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, SUM, Pool
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, y_n, y_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Named, Objective, Reduction, Term

of_both = Hyperparameter("temperature", 1, positive, "of both softmaxes")
temperature = of_both.symbol
of_teacher = (y_n - y_p) / temperature
total = Named("total_of_teacher", SUM(sp.exp(of_teacher), Pool.ALL))
apart = Named("apart", SUM(sp.exp(of_teacher) * (of_teacher - s_n / temperature), Pool.ALL))

distilled_softmax_loss = Objective(
    name="distilled_softmax",
    title="Distillation of a softmax over candidates",
    terms=(
        Term(
            outer=temperature**2 * (x_n - sp.log(total.symbol) + apart.symbol / total.symbol),
            positives=EACH(s_p),
            negatives=LOGSUMEXP(s_n / temperature, Pool.ALL),
            named=(total, apart),
        ),
    ),
    hyperparameters=(of_both,),
    reference=("lin2020tctcolbert",),
    similarity=DOT,
    anchors=Anchors.ROWS,
    reduction=Reduction.MEAN_EACH,
)
