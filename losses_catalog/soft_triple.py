"""SoftTriple: normalised softmax with a margin over classes that have several centres each.

    L = −log(exp(scale·(S_p − margin)) / (exp(scale·(S_p − margin)) + Σ_n exp(scale·S_n))),
    S_c = Σ_k w_k·s_ck,  w = softmax of s_ck/temperature over the centres k of a class c

Source: Q. Qian, L. Shang, B. Sun, J. Hu, H. Li, R. Jin, SoftTriple Loss: Deep Metric Learning Without Triplet Sampling
(ICCV 2019), https://arxiv.org/abs/1909.05235.

Embeddings query the centres, unit vectors of which those of a class stand side by side; the paper has ten a class. Its
regulariser, which merges centres, is not here. s_p and s_n are S of the own class and of another.
"""

from goal_analysis.symbolic.language.aggregators import EACH, LOGSUMEXP, softmax_mean
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive, real
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Anchors, Objective, Term

hyperparameters = (
    Hyperparameter("scale", 20, positive, "1/temperature of the softmax over classes"),
    Hyperparameter("margin", 0.01, real, "how much more similar the own class has to be"),
    Hyperparameter("temperature", 0.1, positive, "of the softmax over the centres of a class"),
)
scale, margin, temperature = (h.symbol for h in hyperparameters)

soft_triple_loss = Objective(
    name="soft_triple",
    title="SoftTriple loss",
    terms=(Term(outer=softplus(gap), positives=EACH(scale * (s_p - margin)), negatives=LOGSUMEXP(scale * s_n)),),
    hyperparameters=hyperparameters,
    reference=("qian2019softtriple",),
    anchors=Anchors.ROWS,
    proxies=True,
    grouped=softmax_mean(1 / temperature),
)
