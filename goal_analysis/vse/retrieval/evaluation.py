"""What a model retrieves: ranks and metrics on a split, the first answers to every query, and scores of one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.vse.data.split import ChosenImages, Split
from goal_analysis.vse.loop.health import within_memory
from goal_analysis.vse.models.dual_encoder import RetrievalModel
from goal_analysis.vse.models.text import Tokenizer
from goal_analysis.vse.retrieval.metrics import (
    TILE,
    Ranks,
    RetrievalMetrics,
    mean_metrics,
    metrics,
    query_intervals,
    ranks,
    strips,
)
from goal_analysis.vse.retrieval.scoring import AT_A_TIME, Asked, Model, Ways, all_scores

FIRST = 50  # places that are written out for other evaluations


def evaluate(model: RetrievalModel, split: Split, tokenizer: Tokenizer) -> Ranks:
    """The ranks of a model on a split; it may be in any mode."""
    return _ranks(Ways([(model, tokenizer)], split), split)


def record_of(model: RetrievalModel, split: Split, tokenizer: Tokenizer) -> dict[str, float]:
    """The metrics on a split by name; where the model re-ranks, ``dual_rsum`` too, the RSUM without that."""
    record = metrics(evaluate(model, split, tokenizer)).record()
    if model.top:
        record["dual_rsum"] = metrics(evaluate(model.dual, split, tokenizer)).rsum
    return record


def evaluate_models(models: Sequence[Model], split: Split, fold: int | None = None) -> RetrievalMetrics:
    """The metrics of the models of `Ways` on a split, or their mean over consecutive folds of so many images.

    They have the intervals over queries.
    """
    images = len(split.images)
    if images % (fold or images):
        raise ValueError(f"{split.name}: got {images} images but expected a multiple of {fold} for folds")
    folds = [split.subset(range(top, top + fold)) for top in range(0, images, fold)] if fold else [split]
    found = [(_ranks(Ways(models, one), one), one.image_of) for one in folds]
    return replace(mean_metrics([metrics(ranks) for ranks, _ in found]), intervals=query_intervals(found))


def first_places(ways: Ways, split: Split, places: int = FIRST) -> dict[str, list[list[int]]]:
    """The rows of the first captions of every image, and of the first images of every caption, most similar first.

    They are ``i2t`` by image and ``t2i`` by caption, as evaluations with other positives read them.
    """
    rows = list(strips(len(split.images), AT_A_TIME))
    i2t = [ways.of_captions(some).topk(min(places, len(split)), dim=1).indices.cpu() for some in rows]
    best, t2i = torch.empty(len(split), 0), torch.empty(len(split), 0, dtype=torch.int64)
    for some in rows:
        fresh = ways.of_images(some).T.cpu()
        numbers = torch.arange(some.start, some.stop).expand(len(split), -1)
        best, t2i = torch.cat((best.to(fresh.dtype), fresh), 1), torch.cat((t2i, numbers), 1)
        best, order = best.topk(min(places, best.shape[1]), dim=1)
        t2i = t2i.gather(1, order)
    return {"i2t": torch.cat(i2t).tolist(), "t2i": t2i.tolist()}


def images_of_caption(
    model: RetrievalModel, tokenizer: Tokenizer, split: Split, caption: str
) -> Float[Tensor, " images"]:
    """The score of every image of the split with a caption, which has a word at least."""
    if not caption.strip():
        raise ValueError("caption: got no words but expected a caption")
    asked = Asked(split.name, split.images, (caption,))
    return all_scores(Ways([(model, tokenizer)], asked).of_images, asked)[:, 0].float()


def captions_of_image(
    model: RetrievalModel, tokenizer: Tokenizer, split: Split, image: int
) -> Float[Tensor, " captions"]:
    """The score of every caption of the split with the image of this row."""
    if not 0 <= image < len(split.images):
        raise ValueError(f"image: got {image} but expected a row from 0 to {len(split.images) - 1}")
    asked = Asked(split.name, ChosenImages(split.images, np.array([image])), split.captions)
    return all_scores(Ways([(model, tokenizer)], asked).of_captions, asked)[0].float()


def _ranks(ways: Ways, split: Split) -> Ranks:
    doing = f"ranking {len(split)} captions of {split.name} by {TILE} images at a time"
    with within_memory(doing, f"a tile of {TILE // 4} images (goal_analysis.vse.retrieval.metrics.TILE)"):
        found = ranks(ways.of_captions, split.image_of, len(split.images))
        if ways.of_images is ways.of_captions:
            return found
        return Ranks(found.of_captions, ranks(ways.of_images, split.image_of, len(split.images)).of_images)
