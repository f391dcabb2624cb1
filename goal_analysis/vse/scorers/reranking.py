"""The first few that a dual encoder finds, put in a new order by a scorer that could not score them all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

PairScores = Callable[[Tensor, Tensor], Tensor]
"""The scores of image ``rows[k]`` with caption ``columns[k]``, shape ``(pairs,)``."""


def reranked(
    scores: Float[Tensor, "images captions"], score_pairs: PairScores, top: int
) -> tuple[Float[Tensor, "images captions"], Float[Tensor, "images captions"]]:
    """Scores by which the first ``top`` of every query stand in the scorer's order, and the others behind as before.

    Args:
        scores: of the dual encoder.
        score_pairs: the scorer, asked for the pairs of one direction at a time; finite.
        top: at least 1; the scorer reads ``top`` pairs for every image and every caption.

    Returns:
        The scores to rank captions by, image by image; and those to rank images by, caption by caption.

    Raises:
        ValueError: ``top`` below 1, or pair scores of another shape.

    >>> scores = torch.tensor([[0.3, 0.2, 0.1]])
    >>> of_captions, _ = reranked(scores, lambda rows, columns: columns.float(), 2)
    >>> of_captions.argsort(descending=True)
    tensor([[1, 0, 2]])
    """
    if top < 1:
        raise ValueError(f"top: got {top} but expected 1 or more")
    scores = scores.double()  # so that the step between the two parts costs no digits
    of_captions = _first_in_rows(scores, score_pairs, top)
    return of_captions, _first_in_rows(scores.T, lambda rows, columns: score_pairs(columns, rows), top).T


def _first_in_rows(scores: Tensor, score_pairs: PairScores, top: int) -> Tensor:
    top = min(top, scores.shape[1])
    columns = scores.topk(top, dim=1).indices
    rows = torch.arange(len(scores), device=scores.device)[:, None].expand_as(columns)
    fresh = score_pairs(rows.flatten(), columns.flatten())
    if fresh.shape != (columns.numel(),):
        raise ValueError(f"score_pairs: got shape {tuple(fresh.shape)} but expected ({columns.numel()},)")
    fresh = fresh.reshape(columns.shape).to(scores)
    above = scores.amax(1, keepdim=True) - fresh.amin(1, keepdim=True) + 1
    return scores.scatter(1, columns, fresh + above)
