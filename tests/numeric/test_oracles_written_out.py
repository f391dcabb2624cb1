"""Losses that no library here has are their formulas, written out in torch: value and weights."""

from collections.abc import Callable

import pytest
import torch
from coverage_rows import SHIPPED
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, mse_loss, normalize

from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.language.similarity import DOT
from losses_catalog import catalog

LOSSES = {loss.name: loss for loss in catalog}
OF_SETS = Matches.of_labels(torch.arange(4).repeat_interleave(3))
OF_CLASSES = Matches.of_classes(torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 2, 1]), 4)
Written = Callable[[Tensor, Matches], Tensor]


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros(()))


def by_anchor(of_anchor: Callable[[Tensor, Tensor], Tensor]) -> Written:
    """The mean over the rows of a loss of an anchor's positives and negatives."""

    def mean(s: Tensor, m: Matches) -> Tensor:
        every = [of_anchor(s[i][m.positives[i]], s[i][m.negatives[i]]) for i in range(len(s))]
        return torch.stack(every).mean()

    return mean


def by_positive(of_positive: Callable[[Tensor, Tensor], Tensor]) -> Written:
    """The mean over the rows of the sum over an anchor's positives."""
    return by_anchor(lambda p, n: torch.stack([of_positive(own, n) for own in p]).sum())


def by_triplet(of_difference: Callable[[Tensor], Tensor]) -> Written:
    """The mean over the rows of the sum over their triplets of a loss of s_p − s_n."""
    return by_anchor(lambda p, n: of_difference(p[:, None] - n).sum())


def by_triplet_of(of_pair: Callable[[Tensor, Tensor], Tensor]) -> Written:
    """The mean over the rows of the sum over their triplets of a loss of s_p and s_n."""
    return by_anchor(lambda p, n: of_pair(p[:, None], n).sum())


def both_axes(of_rows: Written) -> Written:
    return lambda s, m: (of_rows(s, m) + of_rows(s.T, m.transposed)) / 2


# --- triplets and pairs ---------------------------------------------------------------------------


def large_margin(p: Tensor, n: Tensor) -> Tensor:
    return (-p / 2).sum() + (torch.relu(1 - p[:, None] + n) / 2).sum()


def selectively_hard(p: Tensor, n: Tensor) -> Tensor:
    return n.max() if n.max() > p.max() else softplus(10 * (n.max() - p.max()))


def deviance(p: Tensor, n: Tensor) -> Tensor:
    return softplus(-2 * (p - 0.5)).mean() + softplus(50 * (n - 0.5)).mean()


def polynomial(p: Tensor, n: Tensor) -> Tensor:
    of_positives = torch.relu(0.5 - 0.7 * p + 0.2 * p**2).sum()
    return of_positives + torch.relu(0.03 - 0.4 * n.max() + 0.9 * n.max() ** 2)


def selected(p: Tensor, n: Tensor) -> Tensor:
    """The authors' choice, of one positive at a time."""
    every = torch.relu(0.2 + n - p[:, None])
    alike = (p - n.max()).abs() < 0.01
    return torch.where(alike, every.mean(1), every.amax(1)).sum()


# --- softmax --------------------------------------------------------------------------------------


def masked(own: Tensor, n: Tensor) -> Tensor:
    kept = n[n <= own + 0.1]
    return -torch.log((20 * own).exp() / ((20 * own).exp() + (20 * kept).exp().sum()))


def focal(own: Tensor, n: Tensor) -> Tensor:
    numerator = (own**2 / 0.05).exp()
    return -torch.log(numerator / (numerator + (n * (n + 0.3) / 0.05).exp().sum()))


def of_log_odds(own: Tensor, n: Tensor) -> Tensor:
    logits = 2 * torch.atanh(torch.cat((own[None], n)))
    return -torch.log_softmax(logits, 0)[0]


def reweighted(beta: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The authors' estimator of the sum over the negatives, with their numbers."""

    def of_positive(own: Tensor, n: Tensor) -> Tensor:
        pos, neg = (own / 0.5).exp(), (n / 0.5).exp()
        importance = neg**beta
        estimate = (-0.1 * len(n) * pos + (importance * neg).sum() / importance.mean()) / 0.9
        return -torch.log(pos / (pos + estimate.clamp_min(len(n) * torch.tensor(-2.0).exp())))

    return of_positive


def weighted_by_softmax(own: Tensor, n: Tensor) -> Tensor:
    pos, neg = (own / 0.07).exp(), (n / 0.07).exp()
    return -torch.log(pos / (pos + (neg * len(n) * neg**0.25 / (neg**0.25).sum()).sum()))


def dual(own: Tensor, n: Tensor) -> Tensor:
    logits = torch.cat((own[None], n)) / 0.1
    low, high = (torch.softmax(logits / ratio, 0)[0] for ratio in (1, 10))
    return ((1 - high) / (1 - low)).detach() * -torch.log_softmax(logits, 0)[0]


def flat(own: Tensor, n: Tensor) -> Tensor:
    compared = torch.logsumexp(10 * (n - own), 0)
    return (compared - compared.detach()).exp()


def robust(own: Tensor, n: Tensor) -> Tensor:
    pos, neg = own.exp(), n.exp().sum()
    return -(pos**0.1) / 0.1 + (0.01 * (pos + neg)) ** 0.1 / 0.1


def of_both_ends(s: Tensor, m: Matches) -> Tensor:
    found = []
    for i in range(len(s)):
        p = s[i][m.positives[i]].exp().sum()
        n = s[i][m.negatives[i]].exp().sum()
        for j in m.positives[i].nonzero().flatten():
            n = n + s[:, j][m.negatives[:, j]].exp().sum()
        found.append(-torch.log(p / (p + n)))
    return torch.stack(found).mean()


def supervised(p: Tensor, n: Tensor) -> Tensor:
    every = [-torch.log_softmax(torch.cat((own[None], n)) / 0.07, 0)[0] for own in p]
    return torch.stack(every).mean()


def circle_of_squares(p: Tensor, n: Tensor) -> Tensor:
    over_positives = torch.logsumexp(-256 * torch.relu(1.25 - p) * (p - 0.75), 0)
    return softplus(over_positives + torch.logsumexp(256 * torch.relu(n + 0.25) * (n - 0.25), 0))


# --- ranks ----------------------------------------------------------------------------------------


def surrogate(p: Tensor, n: Tensor) -> Tensor:
    """Every rank counts the others, and itself once."""
    others = [torch.cat((p[torch.arange(len(p)) != j], n)) for j in range(len(p))]
    ranks = [1 + torch.sigmoid((of - own) / 0.01).sum() for own, of in zip(p, others, strict=True)]
    every = [torch.sigmoid((k - torch.stack(ranks)) / k).sum() / min(k, len(p)) for k in (1, 2, 4, 8, 16)]
    return 1 - torch.stack(every).mean()


# --- proxies --------------------------------------------------------------------------------------


def poly_1(s: Tensor, m: Matches) -> Tensor:
    own = m.positives.int().argmax(1)
    probability = torch.softmax(20 * s, 1)[torch.arange(len(s)), own]
    return (cross_entropy(20 * s, own, reduction="none") + 1 - probability).mean()


def of_hard_classes(
    scale: float, with_margin: Callable[[Tensor], Tensor], when_hard: Callable[[Tensor], Tensor]
) -> Written:
    """The cross entropy of an own class with a margin and of others, changed where they come before it."""

    def mean(s: Tensor, m: Matches) -> Tensor:
        own = with_margin(s[m.positives])[:, None]
        logits = torch.where(m.positives, own, torch.where(s > own, when_hard(s), s))
        return cross_entropy(scale * logits, m.positives.int().argmax(1))

    return mean


def of_shifted_angle(s: Tensor, margin: float) -> Tensor:
    return (s.acos() + margin).cos()


def blended(d: Tensor) -> Tensor:
    """The loss of DPO and an exponential one, of beta·(s_p − s_n)."""
    share = torch.sigmoid(d / 0.05)
    return -logsigmoid(d) * (1 - share) + torch.exp(-d) * share


def rescaled(p: Tensor, n: Tensor) -> Tensor:
    of_p, of_n = torch.sigmoid(80 * (p.acos() - 0.87)), torch.sigmoid(80 * (1.2 - n.acos()))
    return -(of_p.detach() * 64 * p).sum() + (of_n.detach() * 64 * n).sum()


WRITTEN_OUT: dict[str, Written] = {
    "lmnn": by_anchor(large_margin),
    "selectively_hard_triplet": by_anchor(selectively_hard),
    "sel_hn": both_axes(by_anchor(selected)),
    "easy_positive_hard_negative": by_anchor(lambda p, n: softplus((n.max() - p.max()) / 0.1)),
    "binomial_deviance": by_anchor(deviance),
    "universal_weighting": both_axes(by_anchor(polynomial)),
    "cosine_contrastive": by_anchor(lambda p, n: torch.relu(1 - p).sum() + torch.relu(n).mean()),
    "spectral_contrastive": by_anchor(lambda p, n: -2 * p.sum() + (n**2).mean()),
    "false_negative_masked_info_nce": by_positive(masked),
    "focal_info_nce": by_positive(focal),
    "temperature_free_info_nce": both_axes(by_positive(of_log_odds)),
    "debiased_contrastive": by_positive(reweighted(0)),
    "hard_negative_contrastive": by_positive(reweighted(1)),
    "hard_negative_nce": both_axes(by_positive(weighted_by_softmax)),
    "dual_temperature": by_positive(dual),
    "flat_nce": by_positive(flat),
    "rince": by_positive(robust),
    "mil_nce": of_both_ends,
    "sincere": by_anchor(supervised),
    "circle_undetached": by_anchor(circle_of_squares),
    "recall_at_k": by_anchor(surrogate),
    "proxy_nca": by_anchor(lambda p, n: (torch.logsumexp(n, 0) - p).sum()),
    "poly_1": poly_1,
    "mv_am_softmax": of_hard_classes(32, lambda own: own - 0.35, lambda s: 1.12 * s + 0.12),
    "mv_arc_softmax": of_hard_classes(32, lambda own: of_shifted_angle(own, 0.35), lambda s: 1.12 * s + 0.12),
    "curricular_face": of_hard_classes(64, lambda own: of_shifted_angle(own, 0.5), lambda s: s * s),
    "s_face": by_anchor(rescaled),
    "p2s_grad": lambda s, m: mse_loss(s, 1.0 * m.positives, reduction="sum") / len(s),
    "dpo": by_triplet(lambda d: -logsigmoid(0.1 * d)),
    "discopop": by_triplet(lambda d: blended(0.1 * d)),
    "ipo": by_triplet(lambda d: (d - 1 / (2 * 0.1)) ** 2),
    "simpo": by_triplet(lambda d: -logsigmoid(2 * (d - 0.25))),
    "cpo": by_anchor(lambda p, n: -logsigmoid(0.1 * (p[:, None] - n)).sum() - p.sum()),
    "sppo": by_anchor(lambda p, n: ((p - 5) ** 2).sum() + ((n + 5) ** 2).sum()),
    "nca_pair": by_anchor(
        lambda p, n: (-logsigmoid(0.1 * p) - logsigmoid(-0.1 * p) / 2).sum() - logsigmoid(-0.1 * n).sum() / 2
    ),
    "apo_down": by_triplet_of(lambda p, n: torch.sigmoid(0.1 * p) + 1 - torch.sigmoid(0.1 * (p - n))),
    "apo_zero": by_anchor(lambda p, n: (1 - torch.sigmoid(0.1 * p)).sum() + torch.sigmoid(0.1 * n).sum()),
}


def same(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-9 * expected.abs().max())


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_loss_is_its_formula(name: str) -> None:
    loss = LOSSES[name]
    generator = torch.Generator().manual_seed(5)
    rows = 2 * torch.randn(12, 6, generator=generator)
    columns = 2 * torch.randn(4, 6, generator=generator) if loss.proxies else rows
    if loss.similarity is not DOT:
        rows, columns = normalize(rows), normalize(columns)
    elif name == "mil_nce":
        rows, columns = rows / 2, columns / 2
    s, matches = scores(loss.similarity, rows, columns).requires_grad_(), OF_CLASSES if loss.proxies else OF_SETS
    value = WRITTEN_OUT[name](s, matches)
    (gradient,) = torch.autograd.grad(value, s)
    w = weights_of_scores(loss, s.detach(), matches)
    assert same(loss_value(loss, s, matches).detach(), value.detach())
    assert same(w, gradient)
    assert not same(1.001 * w, gradient)


WITH_SETTINGS = {
    "contrastive",
    "soft_nearest_neighbour",
    "sup_con_in",
    "triplet",
    "triplet_squared_euclidean",
    "unified",
    "vse0",
    "vse_pp",
}
"""Those that test_oracles.py compares with a library's class and a miner, or other settings."""


def test_every_loss_is_compared_with_something() -> None:
    shipped = {row.objective.name for row in SHIPPED if row.value is not None}
    assert {loss.name for loss in catalog} == shipped | set(WRITTEN_OUT) | WITH_SETTINGS
