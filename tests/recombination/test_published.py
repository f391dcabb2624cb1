"""The published family, written out as the loops that define it, against our objectives."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from losses_catalog.weights import pair_weights, triplet_weights

A, B, LAM, SLACK = 2.0, 10.0, 0.5, 0.1
TAU = 10.0
TRIPLETS = {t.name: t for t in triplet_weights if t.name in ("constant", "nca", "circular")}
PAIRS = {p.name: p for p in pair_weights if p.name != "polynomial"}


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def triplet_weight(name: str, p: float, n: float) -> float:
    if name == "constant":
        return 1.0
    if name == "nca":
        return 1 / (1 + math.exp(TAU * (p - n)))
    return 1 / (1 + math.exp(TAU * (p * (2 - p) - n * n - 0.5)))


def pair_weight(name: str, s: list[list[float]], i: int, hardest: int, slack: float) -> tuple[float, float]:
    """P⁺ and P⁻ of anchor i, of which `s` has the scores as row i."""
    p, n = s[i][i], s[i][hardest]
    anchors = [j for j in range(len(s)) if j != i and s[j][j] <= n + slack]
    least = min(s[j][j] for j in range(len(s)))
    negatives = [k for k in range(len(s)) if k not in (i, hardest) and s[i][k] >= least - slack]
    match name:
        case "constant":
            return 1.0, 1.0
        case "linear":
            return 1 - p, n
        case "sigmoid":
            return 1 / (1 + math.exp(A * (p - LAM))), 1 / (1 + math.exp(-B * (n - LAM)))
        case "relative_linear":
            of_p = mean([p - s[j][j] for j in anchors if p - s[j][j] != 0])
            of_n = mean([n - s[i][k] for k in negatives if n - s[i][k] > 0])
            return (1 - of_p) * (1 - p), (1 + of_n) * n
        case _:
            of_p = mean([math.exp(A * (p - s[j][j])) for j in anchors])
            of_n = mean([math.exp(-B * (n - s[i][k])) for k in negatives])
            return 1 / (math.exp(A * (p - LAM)) + of_p), 1 / (math.exp(-B * (n - LAM)) + of_n)


def by_loops(triplet: str, pair: str, scores: Tensor, slack: float = SLACK) -> Tensor:
    """W of one direction, anchor by anchor."""
    s, w = scores.tolist(), torch.zeros_like(scores)
    for i in range(len(s)):
        hardest = max((j for j in range(len(s)) if j != i), key=lambda j: s[i][j])
        t = triplet_weight(triplet, s[i][i], s[i][hardest])
        pull, push = pair_weight(pair, s, i, hardest, slack)
        w[i, i] -= t * pull
        w[i, hardest] += t * push
    return w


def both(triplet: str, pair: str, s: Tensor, slack: float = SLACK) -> Tensor:
    """The mean over the anchors of both directions."""
    return (by_loops(triplet, pair, s, slack) + by_loops(triplet, pair, s.T, slack).T) / (2 * len(s))


def embeddings(seed: int, n: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    return normalize(x, dim=1).requires_grad_(), normalize(x + noise, dim=1).requires_grad_()


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("triplet", TRIPLETS)
@pytest.mark.parametrize("seed", range(3))
def test_the_published_family(triplet: str, pair: str, seed: int) -> None:
    x, y = embeddings(seed)
    settings = {} if triplet == "constant" else {"tau": TAU}
    objective = GradientObjective(composed(TRIPLETS[triplet], PAIRS[pair]).with_settings(settings))
    w = both(triplet, pair, (x @ y.T).detach())
    got = torch.autograd.grad(objective(x, y), (x, y))
    for gradient, expected in zip(got, (w @ y, w.T @ x), strict=True):
        assert torch.allclose(gradient, expected, rtol=1e-12, atol=1e-12)
    through_scores = objective.weight_matrix((x @ y.T).detach(), Matches.of_pairs(len(x)))
    assert torch.allclose(through_scores, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pair", ["relative_linear", "relative_sigmoid"])
def test_another_slack_is_seen(pair: str) -> None:
    x, y = embeddings(0)
    objective = GradientObjective(composed(TRIPLETS["constant"], PAIRS[pair]))
    w = both("constant", pair, (x @ y.T).detach(), slack=0.2)
    got = objective.weight_matrix((x @ y.T).detach(), Matches.of_pairs(len(x)))
    assert not torch.allclose(got, w, atol=1e-6)


@pytest.mark.parametrize("pair", ["constant", "linear", "sigmoid"])
def test_another_triplet_weight_is_seen(pair: str) -> None:
    x, y = embeddings(0)
    got = torch.autograd.grad(GradientObjective(composed(TRIPLETS["nca"], PAIRS[pair]))(x, y), x)[0]
    assert not torch.allclose(got, both("circular", pair, (x @ y.T).detach()) @ y, atol=1e-6)
