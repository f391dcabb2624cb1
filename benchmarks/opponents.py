"""What objectives are measured against: the same losses as a good engineer writes them, and as libraries have them.

Each takes unit embeddings, row i matching row i, and with ids masks the other captions of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

SCALE = 12.0


def max_violation(x: Tensor, y: Tensor, ids: Tensor | None = None, margin: float = 0.2) -> Tensor:
    """VSE++: Σᵢ [m + maxⱼ sᵢⱼ − sᵢᵢ]₊ + Σⱼ [m + maxᵢ sᵢⱼ − sⱼⱼ]₊ over the negatives, with one mask and no index."""
    s = x @ y.T
    positive = s.diagonal()
    n = len(s)
    matching = torch.eye(n, dtype=torch.bool, device=s.device) if ids is None else ids[:, None] == ids[None]
    negatives = s.masked_fill(matching, -9.0)
    of_rows = (margin + negatives.amax(1) - positive).clamp(min=0)
    return of_rows.sum() + (margin + negatives.amax(0) - positive).clamp(min=0).sum()


def info_nce(x: Tensor, y: Tensor, ids: Tensor | None = None) -> Tensor:
    """The symmetric cross-entropy from one product of the embeddings."""
    logits = SCALE * (x @ y.T)
    target = torch.arange(len(logits), device=x.device)
    if ids is not None:
        logits = logits.masked_fill((ids[:, None] == ids[None]).fill_diagonal_(False), -1e4)
    return cross_entropy(logits, target) + cross_entropy(logits.T, target)


def open_clip(x: Tensor, y: Tensor) -> Tensor:
    """The symmetric cross-entropy as open_clip has it, from two products."""
    target = torch.arange(len(x), device=x.device)
    return (cross_entropy(SCALE * x @ y.T, target) + cross_entropy(SCALE * y @ x.T, target)) / 2


def metric_learning(x: Tensor, y: Tensor) -> Tensor:
    """The triplet loss of pytorch-metric-learning on its hardest triplets, both ways."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner

    distance = CosineSimilarity()
    loss, mine = TripletMarginLoss(margin=0.2, distance=distance), BatchHardMiner(distance=distance)
    # Two tensors: of one and the same it takes an embedding's partner for the embedding itself, and leaves it out.
    first, second = (torch.arange(len(x), device=x.device) for _ in range(2))
    both = ((x, y), (y, x))
    return torch.stack([loss(a, first, mine(a, first, b, second), b, second) for a, b in both]).sum()
