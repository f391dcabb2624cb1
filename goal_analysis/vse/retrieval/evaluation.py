"""What a model retrieves on a split: the ranks by its scores, and what is measured of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from goal_analysis.vse.data.images import pieces
from goal_analysis.vse.data.split import Split
from goal_analysis.vse.loop.memory import within_memory
from goal_analysis.vse.models.dual_encoder import Reranking
from goal_analysis.vse.models.text import Tokenizer
from goal_analysis.vse.retrieval.metrics import TILE, Ranks, RetrievalMetrics, mean_metrics, metrics, ranks
from goal_analysis.vse.retrieval.scoring import AT_A_TIME, Model, Ways, ways_of

FIRST = 50
"""Places that are written out for other evaluations."""


def evaluate(model: nn.Module, split: Split, tokenizer: Tokenizer) -> Ranks:
    """The ranks on a split.

    Args:
        model: a dual encoder, one that gives the scores of images with texts, or a `Reranking` of the first few.
        split: what is retrieved from.
        tokenizer: of the captions.
    """
    return _ranks(ways_of([(model, tokenizer)], split), split)


def record_of(model: nn.Module, split: Split, tokenizer: Tokenizer) -> dict[str, float]:
    """The metrics on a split by name; of a `Reranking`, ``dual_rsum`` too, the RSUM of its dual encoder alone."""
    record = metrics(evaluate(model, split, tokenizer)).record()
    if isinstance(model, Reranking):
        record["dual_rsum"] = metrics(evaluate(model.dual, split, tokenizer)).rsum
    return record


def measured(models: Sequence[Model], split: Split, fold: int | None = None) -> RetrievalMetrics:
    """The metrics on a split, or their mean over consecutive folds of so many images.

    Args:
        models: as for `ways_of`.
        split: what is retrieved from.
        fold: how many images; None for the whole.

    Raises:
        ValueError: the split is no whole number of folds.
    """
    images = len(split.images)
    if fold is None:
        return metrics(_ranks(ways_of(models, split), split))
    if images % fold:
        raise ValueError(f"{split.name}: got {images} images but expected a multiple of {fold} for folds")
    return mean_metrics([measured(models, split.subset(range(top, top + fold))) for top in range(0, images, fold)])


def first_places(ways: Ways, split: Split, places: int = FIRST) -> dict[str, list[list[int]]]:
    """The rows of the first captions of every image, and of the first images of every caption, most similar first.

    Args:
        ways: of the split.
        split: what is retrieved from.
        places: how many.

    Returns:
        ``i2t`` by image and ``t2i`` by caption, as evaluations with other positives read them.
    """
    rows = [slice(int(r[0]), int(r[-1]) + 1) for r in pieces(np.arange(len(split.images)), AT_A_TIME)]
    i2t = [ways.of_captions(some).topk(min(places, len(split)), dim=1).indices.cpu() for some in rows]
    best, t2i = torch.empty(len(split), 0), torch.empty(len(split), 0, dtype=torch.int64)
    for some in rows:
        fresh = ways.of_images(some).T.cpu()
        numbers = torch.arange(some.start, some.stop).expand(len(split), -1)
        best, t2i = torch.cat((best.to(fresh.dtype), fresh), 1), torch.cat((t2i, numbers), 1)
        best, order = best.topk(min(places, best.shape[1]), dim=1)
        t2i = t2i.gather(1, order)
    return {"i2t": torch.cat(i2t).tolist(), "t2i": t2i.tolist()}


def _ranks(ways: Ways, split: Split) -> Ranks:
    doing = f"ranking {len(split)} captions of {split.name} by {TILE} images at a time"
    with within_memory(doing, f"a tile of {TILE // 4} images (goal_analysis.vse.retrieval.metrics.TILE)"):
        found = ranks(ways.of_captions, split.image_of, len(split.images))
        if ways.of_images is ways.of_captions:
            return found
        return Ranks(found.of_captions, ranks(ways.of_images, split.image_of, len(split.images)).of_images)
