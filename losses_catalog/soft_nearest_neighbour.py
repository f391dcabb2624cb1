"""Soft nearest neighbour loss: neighbourhood components with a temperature, and the mean over the anchors.

    L = −log(Σ_p exp(−d_p²/temperature) / (Σ_p exp(−d_p²/temperature) + Σ_n exp(−d_n²/temperature))),  s = −d²

Source: N. Frosst, N. Papernot, G. Hinton, Analyzing and Improving Representations with the Soft Nearest
Neighbor Loss (ICML 2019), https://arxiv.org/abs/1902.01889.

The paper does not normalise its embeddings and learns the temperature, from 100 on in its code; on unit
vectors that makes all weights alike, and 1 is what the loss has without one. The code adds 0.00001 to the
fraction, and has cosine distances as a choice.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

temperature = Hyperparameter("temperature", 1, positive, "squared distance over which a neighbour fades")
near_p, near_n = (s / temperature.symbol for s in (s_p, s_n))

soft_nearest_neighbour_loss = Objective(
    name="soft_nearest_neighbour",
    title="Soft nearest neighbour loss",
    terms=(Term(outer=softplus(gap), positives=LOGSUMEXP(near_p), negatives=LOGSUMEXP(near_n)),),
    hyperparameters=(temperature,),
    reference=("frosst2019softnn",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper also learns the temperature",
)
