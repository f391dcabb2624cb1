"""Which triplets count. Among equal scores the first candidate wins."""

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.settled import CUTOFF, DIM, EPSILON, MARGIN, REACH, K


def hardest_triplets(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(anchor, positive, negative): the least similar positive and the most similar negative of every row."""
    (anchor,) = (positives.any(1) & negatives.any(1)).nonzero(as_tuple=True)
    positive = scores.masked_fill(~positives, torch.inf).argmin(1)
    negative = scores.masked_fill(~negatives, -torch.inf).argmax(1)
    return anchor, positive[anchor], negative[anchor]


def all_triplets(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(anchor, positive, negative): every positive of a row with every negative of it."""
    anchor, positive = positives.nonzero(as_tuple=True)
    candidates = negatives.nonzero(as_tuple=True)[1]
    count = negatives.sum(1)
    times, first = count[anchor], (count.cumsum(0) - count)[anchor]
    pair = torch.arange(len(anchor), device=scores.device).repeat_interleave(times)
    turn = torch.arange(len(pair), device=scores.device) - (times.cumsum(0) - times)[pair]
    return anchor[pair], positive[pair], candidates[first[pair] + turn]


def semi_hard_triplets(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(anchor, positive, negative) with 0 < s_p − s_n ≤ MARGIN: in the right order, but too close."""
    anchor, positive, negative = all_triplets(scores, positives, negatives)
    ahead = scores[anchor, positive] - scores[anchor, negative]
    kept = (ahead > 0) & (ahead <= MARGIN)
    return anchor[kept], positive[kept], negative[kept]


def top_k_triplets(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(anchor, positive, negative, weight): the least similar positive with each of the K most similar negatives."""
    order = torch.sort(scores.masked_fill(~negatives, -torch.inf), dim=1, descending=True, stable=True).indices
    chosen = torch.zeros_like(negatives).scatter(1, order[:, :K], True) & negatives
    return with_hardest_positive(scores, positives, chosen)


def selectively_hard_triplets(
    scores: Tensor, positives: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(anchor, positive, negative, weight): the hardest negative, or all where it is as similar as the positive."""
    least = scores.masked_fill(~positives, torch.inf).amin(1)
    most, hardest = scores.masked_fill(~negatives, -torch.inf).max(1)
    chosen = torch.zeros_like(negatives).scatter(1, hardest[:, None], True)
    chosen |= ((least - most).abs() < EPSILON)[:, None]
    return with_hardest_positive(scores, positives, chosen & negatives)


def with_hardest_positive(scores: Tensor, positives: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(anchor, positive, negative, weight) of the chosen negatives, whose weights sum to 1 an anchor."""
    positive = scores.masked_fill(~positives, torch.inf).argmin(1)
    anchor, negative = (chosen & positives.any(1, keepdim=True)).nonzero(as_tuple=True)
    share = 1 / chosen.sum(1).clamp_min(1).to(scores.dtype)
    return anchor, positive[anchor], negative, share[anchor]


def distance_weighted_triplets(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(anchor, positive, negative): for every positive pair one negative, drawn from torch's random numbers."""
    chance = chances(scores, negatives)
    anchor, positive = (positives & chance.any(1, keepdim=True)).nonzero(as_tuple=True)
    if not len(anchor):
        return anchor, positive, positive
    return anchor, positive, torch.multinomial(chance[anchor], 1)[:, 0]


def chances(scores: Tensor, negatives: Tensor) -> Tensor:
    """P(n | a) ∝ 1/q(d) within REACH, q the density of distances on the unit sphere in DIM dimensions."""
    distance = (2 - 2 * scores).clamp_min(0).sqrt()
    d = distance.clamp_min(CUTOFF)
    log_q = (DIM - 2) * d.log() + (DIM - 3) / 2 * torch.log1p(-d * d / 4)
    drawable = negatives & (distance < REACH)
    logits = (-log_q).masked_fill(~drawable, -torch.inf).masked_fill(~drawable.any(1, keepdim=True), 0)
    return torch.softmax(logits, 1).masked_fill(~drawable, 0)
