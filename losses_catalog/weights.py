"""Weights that come from no loss: triplet weights T and pair weights (P⁺, P⁻), those of GOAL first.

Source: H. Xuan, X. S. Chen, Dissecting Deep Metric Learning Losses for Image-Text Retrieval (WACV 2023),
https://arxiv.org/abs/2210.13188, on the hardest negative of every image and of every text.

Any T may go with any (P⁺, P⁻); whether their product is the gradient of a loss is a question for
`integrability`.
"""

import sympy as sp

from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive, real
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, step
from goal_analysis.symbolic.language.similarity import (
    Counting,
    RelativeSimilarity,
    least_positive,
    other_negative,
    other_positive,
)
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog.universal_weighting import a_1, a_2, b_1, b_2

goal = ("xuan2023goal",)

# --- triplet weights ------------------------------------------------------------------------------

margin = Hyperparameter("margin", 0.2, nonnegative, "by how much the positive has to be more alike")
tau = Hyperparameter("tau", 10, positive, "steepness; the published class has 1, its functions 10")

constant_triplet = TripletWeight(name="constant", expression=sp.S.One, reference=goal)

hinge_triplet = TripletWeight(
    name="hinge",
    expression=step(s_n - s_p + margin.symbol),
    hyperparameters=(margin,),
    reference=("faghri2018vsepp",),
    note="with constant pair weights the gradient of VSE++",
)

nca_triplet = TripletWeight(
    name="nca",
    expression=sigmoid(tau.symbol * (s_n - s_p)),
    hyperparameters=(tau,),
    reference=goal,
)

circular_triplet = TripletWeight(
    name="circular",
    expression=sigmoid(tau.symbol * ((1 - s_p) ** 2 + s_n**2 - sp.Rational(1, 2))),
    hyperparameters=(tau,),
    reference=goal,
)

# --- pair weights ---------------------------------------------------------------------------------

alpha = Hyperparameter("alpha", 2, positive, "steepness of the positive weight")
beta = Hyperparameter("beta", 10, positive, "steepness of the negative weight")
lam = Hyperparameter("lam", 0.5, real, "similarity that divides positives from negatives")
slack = Hyperparameter("slack", 0.1, real, "how far beyond the boundary a pair is still compared with")

constant_pair = PairWeights(name="constant", positive=sp.S.One, negative=sp.S.One, reference=goal)

linear_pair = PairWeights(name="linear", positive=1 - s_p, negative=s_n, reference=goal)

sigmoid_pair = PairWeights(
    name="sigmoid",
    positive=sigmoid(-alpha.symbol * (s_p - lam.symbol)),
    negative=sigmoid(beta.symbol * (s_n - lam.symbol)),
    hyperparameters=(alpha, beta, lam),
    reference=(*goal, "wang2019multisimilarity"),
    note="those of multi-similarity on one triplet",
)


def other_anchors(symbol: sp.Symbol, contribution: sp.Expr, counting: Counting) -> RelativeSimilarity:
    """A mean over the other anchors whose positive is at most `slack` above the anchor's hardest negative."""
    member = s_n + slack.symbol - other_positive
    return RelativeSimilarity(
        symbol=symbol, contribution=contribution, other=other_positive, member=member, counting=counting
    )


def other_negatives(symbol: sp.Symbol, contribution: sp.Expr, counting: Counting) -> RelativeSimilarity:
    """A mean over the anchor's other negatives at most `slack` below the batch's least similar positive."""
    member = other_negative - least_positive + slack.symbol
    return RelativeSimilarity(
        symbol=symbol, contribution=contribution, other=other_negative, member=member, counting=counting
    )


R_p, R_n = sp.symbols("R_p R_n", real=True)
relative_linear_pair = PairWeights(
    name="relative_linear",
    positive=(1 - R_p) * (1 - s_p),
    negative=(1 + R_n) * s_n,
    hyperparameters=(slack,),
    relative=(
        other_anchors(R_p, s_p - other_positive, Counting.NONZERO),
        other_negatives(R_n, s_n - other_negative, Counting.POSITIVE),
    ),
    reference=goal,
    note="R_p and R_n are the mean distances to the compared pairs, in similarity",
)

E_p, E_n = sp.symbols("R_p R_n", nonnegative=True)
relative_sigmoid_pair = PairWeights(
    name="relative_sigmoid",
    positive=1 / (sp.exp(alpha.symbol * (s_p - lam.symbol)) + E_p),
    negative=1 / (sp.exp(-beta.symbol * (s_n - lam.symbol)) + E_n),
    hyperparameters=(alpha, beta, lam, slack),
    relative=(
        other_anchors(E_p, sp.exp(alpha.symbol * (s_p - other_positive)), Counting.ALL),
        other_negatives(E_n, sp.exp(-beta.symbol * (s_n - other_negative)), Counting.ALL),
    ),
    reference=(*goal, "wang2019multisimilarity"),
    note="without a compared pair R is 0 and the weight an exponential, where the sigmoid has a 1",
)

polynomial_pair = PairWeights(
    name="polynomial",
    positive=-a_1.symbol - 2 * a_2.symbol * s_p,
    negative=b_1.symbol + 2 * b_2.symbol * s_n,
    hyperparameters=(a_1, a_2, b_1, b_2),
    reference=("wei2020universal",),
    note="0.7 − 0.4·s_p and 1.8·s_n − 0.4: the derivatives of `universal_weighting`'s polynomials without "
    "its hinges, so that below s_n = 0.22 P⁻ is negative and draws the negative closer",
)

triplet_weights = (constant_triplet, hinge_triplet, nca_triplet, circular_triplet)
"""Every triplet weight of the catalog."""

pair_weights = (
    constant_pair,
    linear_pair,
    sigmoid_pair,
    relative_linear_pair,
    relative_sigmoid_pair,
    polynomial_pair,
)
"""Every pair of pair weights of the catalog."""
