"""CoSENT: every positive is compared with every negative inside one logarithm.

    L = log(1 + Σ_p Σ_n exp(scale·(s_n − s_p)))

Source: X. Huang, H. Peng, D. Zou, Z. Liu, J. Li, K. Liu, J. Wu, J. Su, P. S. Yu, CoSENT: Consistent Sentence
Embedding via Similarity Ranking (TASLP 2024), https://doi.org/10.1109/TASLP.2024.3402087.

The pairs of one anchor are labelled positive or negative; the paper compares all pairs of a batch whose
labels differ, whatever their anchors and however fine the labels. scale = 20 is the default of
sentence-transformers' CoSENTLoss.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP, SOFTMIN
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("scale", 20, positive, "1/temperature")
scale = temperature.symbol

cosent_loss = Objective(
    name="cosent",
    title="CoSENT loss",
    terms=(Term(outer=softplus(gap), positives=SOFTMIN(scale * s_p), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=(temperature,),
    reference=("huang2024cosent",),
    anchors=Anchors.ROWS,
    note="the paper compares the pairs of different anchors too",
)
