"""W from the matrix of scores."""

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.formulas import (
    negative_weight,
    positive_weight,
    relative_similarities,
    triplet_weight,
)
from goal_analysis.recombination.export.fragments.mining import hardest_triplets as unweighted_triplets
from goal_analysis.recombination.export.fragments.mining import top_k_triplets as weighted_triplets
from goal_analysis.recombination.export.fragments.settled import (
    BOTH_ASK,
    IMAGES_ASK,
    MEAN,
    NEGATIVE_SCALE,
    POSITIVE_SCALE,
    RELATIVE,
    UNIFORM,
    WEIGHTED,
)


def matching(n: int, image_ids: Tensor | None, text_ids: Tensor | None, device: torch.device) -> Tensor:
    """Which texts match which images, shape (images, texts): those of equal ids, or without ids text i image i."""
    if image_ids is None:
        return torch.eye(n, dtype=torch.bool, device=device)
    text_ids = image_ids if text_ids is None else text_ids
    return image_ids[:, None] == text_ids[None, :]


def weight_matrix(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """W, which takes the place of a loss's gradient by the scores; in float32 at least."""
    s = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
    if MEAN:
        if BOTH_ASK:
            of_images, images = weights_of_rows(s, positives, negatives)
            of_texts, texts = weights_of_rows(s.T, positives.T, negatives.T)
            return (of_images + of_texts.T) / max(images + texts, 1)
        elif IMAGES_ASK:
            weights, anchors = weights_of_rows(s, positives, negatives)
            return weights / max(anchors, 1)
        else:
            weights, anchors = weights_of_rows(s.T, positives.T, negatives.T)
            return weights.T.contiguous() / max(anchors, 1)
    elif BOTH_ASK:
        of_images, _ = weights_of_rows(s, positives, negatives)
        of_texts, _ = weights_of_rows(s.T, positives.T, negatives.T)
        return of_images + of_texts.T
    elif IMAGES_ASK:
        weights, _ = weights_of_rows(s, positives, negatives)
        return weights
    else:
        weights, _ = weights_of_rows(s.T, positives.T, negatives.T)
        return weights.T.contiguous()


def mined_weights_of_rows(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, int]:
    """The weights with rows as anchors, and how many of those have a triplet."""
    weights = torch.zeros_like(scores)
    if not scores.numel():
        return weights, 0
    if WEIGHTED:
        anchor, positive, negative, weight = weighted_triplets(scores, positives, negatives)
        s_p, s_n = scores[anchor, positive], scores[anchor, negative]
        t = weight * triplet_weight(s_p, s_n)
    else:
        anchor, positive, negative = unweighted_triplets(scores, positives, negatives)
        s_p, s_n = scores[anchor, positive], scores[anchor, negative]
        t = triplet_weight(s_p, s_n)
    if RELATIVE:
        others = relative_similarities(scores, negatives, anchor, positive, negative)
        weights.index_put_((anchor, positive), -(t * positive_weight(s_p, *others)), accumulate=True)
        weights.index_put_((anchor, negative), t * negative_weight(s_n, *others), accumulate=True)
    else:
        weights.index_put_((anchor, positive), -(t * positive_weight(s_p)), accumulate=True)
        weights.index_put_((anchor, negative), t * negative_weight(s_n), accumulate=True)
    return weights, torch.unique_consecutive(anchor).numel()


def softmax_weights_of_rows(scores: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, int]:
    """The weights with rows as anchors, and how many of those have positives and negatives."""
    if not scores.numel():
        return torch.zeros_like(scores), 0
    x_p, q_p = soft_extreme(scores, positives, -POSITIVE_SCALE)
    x_n, q_n = soft_extreme(scores, negatives, NEGATIVE_SCALE)
    present = positives.any(1) & negatives.any(1)
    t = triplet_weight(x_p, x_n).masked_fill(~present, 0)
    pull = positive_weight(scores).masked_fill(~positives, 0)
    push = negative_weight(scores).masked_fill(~negatives, 0)
    return t[:, None] * (q_n * push - q_p * pull), int(present.sum())


def soft_extreme(scores: Tensor, members: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """log Σ exp(scale·s)/scale over the members of every row, and its gradient."""
    empty = ~members.any(1, keepdim=True)
    logits = (scale * scores).masked_fill(~members, -torch.inf).masked_fill(empty, 0)
    q = torch.softmax(logits, 1).masked_fill(~members, 0)
    if UNIFORM:
        if scale == 0:  # the limit: the mean
            return scores.masked_fill(~members, 0).sum(1) / members.sum(1).clamp_min(1), q
    return torch.logsumexp(logits, 1) / scale, q


weights_of_rows = mined_weights_of_rows
