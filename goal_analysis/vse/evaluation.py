"""What a model retrieves on a split: its embeddings or scores, and the ranks by them.

Dual encoders are scored strip by strip, so that 5,000 images with 25,000 captions take the memory of their embeddings
and of one strip. The scores of other models cost too much to be made twice, and are kept whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.data import Split
from goal_analysis.vse.images import pieces
from goal_analysis.vse.metrics import Ranks, RetrievalMetrics, Scores, mean_metrics, metrics, ranks
from goal_analysis.vse.model import DualEncoder
from goal_analysis.vse.text import Tokenizer

AT_A_TIME = 256
"""Images or captions that are embedded or scored together."""

FIRST = 50
"""Places that are written out for other evaluations."""


def evaluate(model: nn.Module, split: Split, tokenizer: Tokenizer) -> Ranks:
    """The ranks on a split.

    Args:
        model: a dual encoder, or one that gives the scores of images with texts.
        split: what is retrieved from.
        tokenizer: of the captions.
    """
    return ranks(scores_of(model, split, tokenizer), split.image_of, len(split.images))


def scores_of(model: nn.Module, split: Split, tokenizer: Tokenizer) -> Scores:
    """The scores of a slice of the images with all captions, by the model in evaluation mode.

    Args:
        model: left in the mode that it was in.
        split: what is retrieved from.
        tokenizer: of the captions.
    """
    training = model.training
    model.eval()
    try:
        if isinstance(model, DualEncoder):
            images, captions = embeddings(model, split, tokenizer)
            return lambda rows: images[rows] @ captions.T
        scores = cross_modal_scores(model, split, tokenizer)
        return lambda rows: scores[rows]
    finally:
        model.train(training)


def ensemble_scores(models: Sequence[tuple[nn.Module, Tokenizer]], split: Split) -> Scores:
    """The mean of several models' scores.

    Args:
        models: each with the tokenizer of its captions.
        split: what is retrieved from.
    """
    parts = [scores_of(model, split, tokenizer) for model, tokenizer in models]
    return lambda rows: torch.stack([scores(rows).float().cpu() for scores in parts]).mean(0)


def measured(scores: Scores, split: Split, fold: int | None = None) -> RetrievalMetrics:
    """The metrics on a split, or their mean over consecutive folds of so many images.

    Raises:
        ValueError: the split is no whole number of folds.
    """
    images = len(split.images)
    if fold is None:
        return metrics(ranks(scores, split.image_of, images))
    if images % fold:
        raise ValueError(f"{split.name}: got {images} images but expected a multiple of {fold} for folds")
    found = []
    for top in range(0, images, fold):
        columns = np.flatnonzero((split.image_of >= top) & (split.image_of < top + fold))
        strip = scores(slice(top, top + fold))[:, columns]
        found.append(metrics(ranks(lambda rows, strip=strip: strip[rows], split.image_of[columns] - top, fold)))
    return mean_metrics(found)


def first_places(scores: Scores, split: Split, places: int = FIRST) -> dict[str, list[list[int]]]:
    """The rows of the first captions of every image, and of the first images of every caption, most similar first.

    Args:
        scores: of the split.
        split: what is retrieved from.
        places: how many.

    Returns:
        ``i2t`` by image and ``t2i`` by caption, as evaluations with other positives read them.
    """
    whole = torch.cat([scores(slice(int(r[0]), int(r[-1]) + 1)) for r in pieces(np.arange(len(split.images)))])
    return {
        "i2t": whole.topk(min(places, whole.shape[1]), dim=1).indices.tolist(),
        "t2i": whole.T.topk(min(places, whole.shape[0]), dim=1).indices.tolist(),
    }


@torch.no_grad()
def embeddings(
    model: DualEncoder, split: Split, tokenizer: Tokenizer
) -> tuple[Float[Tensor, "images dim"], Float[Tensor, "captions dim"]]:
    """All images and all captions of a split, embedded by the model in the mode that it is in."""
    parameter, tokens = next(model.parameters()), tokenizer(split.captions)
    of_images = [
        model.embed_images(split.images.batch(rows).to(parameter)) for rows in pieces(np.arange(len(split.images)))
    ]
    of_captions = [
        model.embed_texts(tokens.rows(torch.as_tensor(rows)).to(parameter.device))
        for rows in pieces(np.arange(len(split)), AT_A_TIME)
    ]
    return torch.cat(of_images), torch.cat(of_captions)


@torch.no_grad()
def cross_modal_scores(model: nn.Module, split: Split, tokenizer: Tokenizer) -> Float[Tensor, "images captions"]:
    """The scores of every image with every caption, by a model whose score is no dot product."""
    parameter, tokens = next(model.parameters()), tokenizer(split.captions)
    rows = []
    for some in pieces(np.arange(len(split.images)), AT_A_TIME):
        images = split.images.batch(some).to(parameter)
        columns = [
            model(images, tokens.rows(torch.as_tensor(captions)).to(parameter.device)).cpu()
            for captions in pieces(np.arange(len(split)), AT_A_TIME)
        ]
        rows.append(torch.cat(columns, 1))
    return torch.cat(rows)
