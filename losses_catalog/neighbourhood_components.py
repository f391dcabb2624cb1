"""Neighbourhood components analysis (NCA): the odds that a random neighbour is of the anchor's class.

    L = −log(Σ_p exp(−d_p²) / (Σ_p exp(−d_p²) + Σ_n exp(−d_n²))),  s = −d²

Source: J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov, Neighbourhood Components Analysis (NIPS 2004),
https://papers.nips.cc/paper/2004/hash/42fe880812925e520249e808937738d2-Abstract.html.

The paper maximises the sum of these probabilities, or, as here, of their logarithms. It learns a linear map,
without unit vectors and hence without a scale; on unit vectors −d² = 2s − 2, a temperature of ½ on cosines.
"""

from goal_analysis.symbolic.language.aggregators import LOGSUMEXP
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.language.similarity import NEGATIVE_SQUARED_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective, Term

neighbourhood_components_loss = Objective(
    name="neighbourhood_components",
    title="Neighbourhood components analysis (NCA)",
    terms=(Term(outer=softplus(gap), positives=LOGSUMEXP(s_p), negatives=LOGSUMEXP(s_n)),),
    reference=("goldberger2004nca",),
    similarity=NEGATIVE_SQUARED_EUCLIDEAN,
    anchors=Anchors.ROWS,
    note="the paper does not normalise its embeddings",
)
