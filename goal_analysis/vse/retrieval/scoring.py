"""The scores of a split's images with its captions. Dual encoders are scored strip by strip, in the memory of their
embeddings and one strip; the scores of other models cost too much to be made twice, and are kept.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.data.split import ChosenImages, Images, Split, pieces
from goal_analysis.vse.loop.health import is_out_of_memory, within_memory
from goal_analysis.vse.models.dual_encoder import RetrievalModel, rank_first_anew
from goal_analysis.vse.models.text import Tokenizer, Tokens
from goal_analysis.vse.retrieval.metrics import (
    TILE,
    Ranks,
    RetrievalMetrics,
    Scores,
    mean_metrics,
    metrics,
    query_intervals,
    ranks,
    strips,
)

FIRST = 50  # places that are written out for other evaluations
AT_A_TIME = 256  # images or captions that are embedded or scored together
Model = tuple[RetrievalModel, Tokenizer]  # a model with the tokenizer of its captions


@dataclass(frozen=True, eq=False)
class Asked:
    """A split's images with one caption, or its captions with one image."""

    name: str
    images: Images
    captions: Sequence[str]


@dataclass(frozen=True, eq=False)
class Ways:
    """The scores by which captions are ranked for an image, and images for a caption: a model's, or the mean of several
    models', each before it re-ranks. They differ only where one model re-ranks the first of every query.
    """

    models: Sequence[Model]
    split: Split | Asked

    @cached_property
    def of_captions(self) -> Scores:
        """The scores of a slice of the images by which captions are ranked for an image."""
        return self._ranked(by_image=True)

    @cached_property
    def of_images(self) -> Scores:
        """The scores of a slice of the images by which images are ranked for a caption."""
        return self._ranked(by_image=False)

    @cached_property
    def _before(self) -> Scores:
        parts = [scores_of(model, self.split, tokenizer) for model, tokenizer in self.models]
        if len(parts) == 1:
            return parts[0]
        return lambda rows: torch.stack([scores(rows).float().cpu() for scores in parts]).mean(0)

    @torch.no_grad()
    def _ranked(self, by_image: bool) -> Scores:
        model, tokenizer = self.models[0]
        if len(self.models) > 1 or not model.top:
            return self._before
        read_images, read_captions = _readers(model, self.split, tokenizer)

        def score_pairs(rows: Tensor, columns: Tensor) -> Tensor:
            found = torch.zeros(len(rows), dtype=torch.float64)
            for images in pieces(np.arange(len(self.split.images)), AT_A_TIME):  # each of which is read once
                some = ((rows >= images[0]) & (rows <= images[-1])).nonzero()[:, 0]
                if len(some):
                    captions, of_captions = columns[some].unique(return_inverse=True)
                    features, words = read_images(images), read_captions(captions)
                    here = (pairs.to(features.device) for pairs in (rows[some] - images[0], of_captions))
                    found[some] = model.pair_scores(features, words)(*here).cpu().double()
            return found

        with evaluation_mode(model):
            scores = all_scores(self._before, self.split)
            if by_image:
                scores = rank_first_anew(scores, score_pairs, model.top)
            else:
                scores = rank_first_anew(scores.T, lambda columns, rows: score_pairs(rows, columns), model.top).T
        return lambda rows: scores[rows]


@torch.no_grad()
def scores_of(model: RetrievalModel, split: Split | Asked, tokenizer: Tokenizer) -> Scores:
    """The scores of a slice of the images with all captions, by the model in evaluation mode."""
    with evaluation_mode(model):
        if model.embeds:
            embedded, words = embeddings(model, split, tokenizer)
            return lambda rows: embedded[rows] @ words.T
        images, captions = _readers(model, split, tokenizer)

        def strip(some: np.ndarray) -> Tensor:
            here, columns = images(some), pieces(np.arange(len(split.captions)), AT_A_TIME)
            return torch.cat([model.score(here, captions(rows)).cpu() for rows in columns], 1)

        scores = _in_pieces(split, len(split.images), strip)
    return lambda rows: scores[rows]


def all_scores(scores: Scores, split: Split | Asked) -> Float[Tensor, "images captions"]:
    """All the scores of a split at once."""
    return torch.cat([scores(rows).cpu() for rows in strips(len(split.images), AT_A_TIME)])


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode; at the end it is in its own mode again."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@torch.no_grad()
def embeddings(
    model: RetrievalModel, split: Split | Asked, tokenizer: Tokenizer
) -> tuple[Float[Tensor, "images dim"], Float[Tensor, "captions dim"]]:
    """All images and all captions of a split, embedded by the model in the mode that it is in."""
    images, captions = _readers(model, split, tokenizer)
    of_images = _in_pieces(split, len(split.images), lambda rows: model.embed_images(images(rows)))
    return of_images, _in_pieces(split, len(split.captions), lambda rows: model.embed_texts(captions(rows)))


def _readers(
    model: RetrievalModel, split: Split | Asked, tokenizer: Tokenizer
) -> tuple[Callable[[Any], Tensor], Callable[[Any], Tokens]]:
    """What reads rows of the images, and what reads rows of the captions, in the kind and place of the model."""
    parameter, tokens = next(model.parameters()), tokenizer(split.captions)
    return (
        lambda rows: split.images.batch(rows).to(parameter),
        lambda rows: tokens.rows(torch.as_tensor(rows)).to(parameter.device),
    )


def _in_pieces(split: Split | Asked, count: int, of: Callable[[np.ndarray], Tensor]) -> Tensor:
    """Handle all rows, `AT_A_TIME` at a time; where the memory is too small, half as many."""
    size, done, found = AT_A_TIME, 0, []
    while done < count:
        rows = np.arange(done, min(done + size, count))
        try:
            found.append(of(rows))
        except (RuntimeError, MemoryError) as problem:
            if len(rows) == 1 or not is_out_of_memory(problem):
                with within_memory(f"evaluating {split.name}, 1 at a time", "a smaller model, or smaller pictures"):
                    raise
            size = max(1, len(rows) // 2)
            continue
        done += len(rows)
    with within_memory(f"evaluating {split.name}: {count} rows", "a part of the split, or a smaller model.image.dim"):
        return torch.cat(found)


def record_of(model: RetrievalModel, split: Split, tokenizer: Tokenizer) -> dict[str, float]:
    """The metrics on a split by name; for a model that re-ranks also ``dual_rsum``, the RSUM without re-ranking."""
    record = metrics(_ranks([(model, tokenizer)], split)).record()
    return record | ({"dual_rsum": metrics(_ranks([(model.dual, tokenizer)], split)).rsum} if model.top else {})


def evaluate_models(models: Sequence[Model], split: Split, fold: int | None = None) -> RetrievalMetrics:
    """The metrics of models on a split with `query_intervals`, or their mean over folds of so many images in a row."""
    images = len(split.images)
    if images % (fold or images):
        raise ValueError(f"{split.name}: got {images} images but expected a multiple of {fold} for folds")
    folds = [split.subset(range(top, top + fold)) for top in range(0, images, fold)] if fold else [split]
    found = [(_ranks(models, one), one.image_of) for one in folds]
    return replace(mean_metrics([metrics(ranks) for ranks, _ in found]), intervals=query_intervals(found))


def first_places(ways: Ways, split: Split, places: int = FIRST) -> dict[str, list[list[int]]]:
    """The rows of the first captions of every image (``i2t``) and images of every caption (``t2i``), the best first."""
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


def _ranks(models: Sequence[Model], split: Split) -> Ranks:
    ways = Ways(models, split)
    doing = f"ranking {len(split)} captions of {split.name} by {TILE} images at a time"
    with within_memory(doing, f"a tile of {TILE // 4} images (goal_analysis.vse.retrieval.metrics.TILE)"):
        found = [
            ranks(scores, split.image_of, len(split.images), answers=split.answers)
            for scores in dict.fromkeys((ways.of_captions, ways.of_images))
        ]
    return Ranks(found[0].of_captions, found[-1].of_images)
