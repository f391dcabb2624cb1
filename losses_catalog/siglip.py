"""SigLIP, the sigmoid loss for language-image pre-training: a logistic loss on every pair.

    L = Σ_p log(1 + exp(−scale·s_p − bias)) + Σ_n log(1 + exp(scale·s_n + bias))

Source: X. Zhai, B. Mustafa, A. Kolesnikov, L. Beyer, Sigmoid Loss for Language Image Pre-Training (ICCV
2023), https://arxiv.org/abs/2303.15343.

One sum over all pairs, divided by the number of images: the rows alone, as every pair counts once. Scale and
bias are learned in the paper, from 10 and −10 on; here they are hyperparameters.
"""

from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 10, positive, "1/temperature"),
    Hyperparameter("bias", -10, real, "logit of a pair with similarity zero"),
)
scale, bias = (h.symbol for h in hyperparameters)

siglip_loss = Objective(
    name="siglip",
    title="Sigmoid loss (SigLIP)",
    terms=(
        Term(outer=softplus(-x_p), positives=EACH(scale * s_p + bias)),
        Term(outer=softplus(x_n), negatives=EACH(scale * s_n + bias)),
    ),
    hyperparameters=hyperparameters,
    reference=("zhai2023siglip",),
    anchors=Anchors.ROWS,
    note="the paper also learns scale and bias",
)
