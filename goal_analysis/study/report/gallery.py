"""Queries with what a trained model retrieves for them, right ones marked, with the pictures where there are any."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from goal_analysis.study.report.runs import Run
from goal_analysis.vse.data.split import RetrievalData, Split
from goal_analysis.vse.folder.run import check_data, load_model
from goal_analysis.vse.loop.experiment import Experiment
from goal_analysis.vse.retrieval.scoring import scores_of

TOP = 5
"""Places that are shown of every query."""

OTHERS = 100
"""Images that a model which is no dual encoder retrieves from: its scores take a forward pass a pair."""

LoadData = Callable[[Experiment], RetrievalData]


@dataclass(frozen=True)
class Shown:
    """An image or a caption on the page.

    Args:
        words: the caption; an image's first.
        row: of the image.
        picture: a data URI; empty where there is none to show.
        right: whether it belongs to the query; of no meaning for queries.
        score: with the query; of no meaning for queries.
    """

    words: str
    row: int
    picture: str = ""
    right: bool = False
    score: float = 0.0


@dataclass(frozen=True)
class Query:
    """An image with its first captions, or a caption with its first images.

    Args:
        asked: the image or caption.
        found: most similar first.
        rank: the best place of a right one, from 1.
    """

    asked: Shown
    found: tuple[Shown, ...]
    rank: int


@dataclass(frozen=True)
class Gallery:
    """What one run retrieves.

    Args:
        seed: of the run.
        split: what is retrieved from.
        images: how many there are.
        of_images: captions retrieved for images.
        of_captions: images retrieved for captions.
    """

    seed: int
    split: str
    images: int
    of_images: tuple[Query, ...]
    of_captions: tuple[Query, ...]


def gallery(run: Run, load: LoadData, queries: int) -> Gallery:
    """The gallery of a run's best model on dev, for images at even distances and the first caption of each.

    Args:
        run: which has a checkpoint.
        load: the data that an experiment names.
        queries: images, and captions, at most.

    Raises:
        RunError: there is no checkpoint, or the data is not what the run was trained on.
        CheckpointError: it is damaged.
        DataError: the data cannot be used.
        OSError: something cannot be read.
    """
    model = load_model(run.folder)
    data = load(run.experiment)
    check_data(run.folder, data)
    split = data.dev
    if not model.model.embeds:
        split = split.subset(range(min(OTHERS, len(split.images))))
    images = len(split.images)
    with torch.no_grad():
        strips = scores_of(model.model, split, model.tokenizer)
        scores = torch.cat([strips(slice(i, min(i + 256, images))).float().cpu() for i in range(0, images, 256)])
    rows = np.unique(np.linspace(0, images - 1, queries).round().astype(int)).tolist()
    first = [int(split.image_of.searchsorted(row)) for row in rows]
    belongs = torch.from_numpy(split.image_of)
    return Gallery(
        seed=run.experiment.seed,
        split=split.name,
        images=images,
        of_images=tuple(
            _query(_image(split, row), scores[row], belongs == row, lambda c: _caption(split, c)) for row in rows
        ),
        of_captions=tuple(
            _query(_caption(split, c), scores[:, c], torch.arange(images) == row, lambda i: _image(split, i))
            for row, c in zip(rows, first, strict=True)
        ),
    )


def _query(asked: Shown, scores: Tensor, right: Tensor, shown: Callable[[int], Shown]) -> Query:
    """Ties count against the right ones, as in the measures."""
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), bool(right[i])))
    found = [
        Shown(one.words, one.row, one.picture, bool(right[i]), float(scores[i]))
        for i in order[:TOP]
        for one in [shown(i)]
    ]
    rank = next(place for place, i in enumerate(order, start=1) if right[i])
    return Query(asked, tuple(found), rank)


def _caption(split: Split, caption: int) -> Shown:
    return Shown(split.captions[caption], int(split.image_of[caption]))


def _image(split: Split, row: int) -> Shown:
    words = split.captions[int(split.image_of.searchsorted(row))]
    shape = split.images.shape
    return Shown(words, row, _picture(split, row) if len(shape) == 4 and shape[1] == 3 else "")


def _picture(split: Split, row: int) -> str:
    pixels = (split.images.batch(np.array([row]))[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    content = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(content, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
