"""SINCERE, supervised InfoNCE: each positive against the negatives alone, so that positives do not repel each other.

    L = −1/|P|·Σ_p log(exp(scale·s_p) / (exp(scale·s_p) + Σ_n exp(scale·s_n)))

Source: P. Feeney, M. C. Hughes, SINCERE: Supervised Information Noise-Contrastive Estimation REvisited (2023),
https://arxiv.org/abs/2309.14277.

In `sup_con` the denominator has the other positives too, which pushes them apart. With one positive it is
`info_nce` of the rows. The temperature of 0.07 is the default of the authors' code, whose mean is over the
positive pairs of the batch; with classes of equal size that is the same.
"""

from goal_analysis.symbolic.language.aggregators import EACH_MEAN, LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("temperature", 0.07, positive, "of the softmax")

sincere_loss = Objective(
    name="sincere",
    title="SINCERE, supervised InfoNCE",
    terms=(
        Term(
            outer=softplus(gap),
            positives=EACH_MEAN(s_p / temperature.symbol),
            negatives=LOGSUMEXP(s_n / temperature.symbol),
        ),
    ),
    hyperparameters=(temperature,),
    reference=("feeney2023sincere",),
    anchors=Anchors.ROWS,
)
