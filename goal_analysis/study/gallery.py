"""Queries with what a trained model retrieves for them, right ones marked, with the pictures where there are any."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from PIL import Image

from goal_analysis.vse.data.split import RetrievalData, Split
from goal_analysis.vse.folder.run import check_data, load_model
from goal_analysis.vse.loop.experiment import Experiment
from goal_analysis.vse.retrieval.scoring import all_scores, scores_of

if TYPE_CHECKING:
    from goal_analysis.study.report.runs import Run

TOP = 5  # places that are shown of every query
OTHERS = 100  # how many images a model retrieves from that is no dual encoder: its scores take a forward pass a pair

LoadData = Callable[[Experiment], RetrievalData]


@dataclass(frozen=True, eq=False)
class Shown:
    """An image, known by its first caption, or a caption."""

    words: str
    row: int = 0  # of the image
    picture: np.ndarray | None = None  # pixels of shape (height, width, 3) from 0 to 255, if there are any to show
    place: int = 0  # among what is found, from 1
    right: bool = False  # whether it belongs to the query
    score: float = 0.0  # with the query
    why: str = ""  # of a wrong one that is before every right one: by how much, and what they have in common

    @property
    def address(self) -> str:
        """The picture as a data URI; empty where there is none."""
        if self.picture is None:
            return ""
        content = io.BytesIO()
        Image.fromarray(self.picture).save(content, "JPEG", quality=90)
        return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


@dataclass(frozen=True, eq=False)
class Query:
    """An image with captions, or a caption with images, most similar first; and the first right one, if behind."""

    asked: Shown
    found: tuple[Shown, ...]
    rank: int | None  # the best place of a right one, from 1
    among: int  # how many there are


@dataclass(frozen=True, eq=False)
class Gallery:
    """What one run retrieves: captions for images, and images for captions."""

    seed: int
    split: str
    images: int
    queries: tuple[int, int]  # images and captions of the whole split, which the results are of
    of_images: tuple[Query, ...]
    of_captions: tuple[Query, ...]


def gallery(run: Run, load: LoadData, queries: int) -> Gallery:
    """The gallery of a run's best model on dev, for images at even distances and the first caption of each."""
    model, data = load_model(run.folder), load(run.experiment)
    check_data(run.folder, data)
    split = data.dev if model.model.embeds else data.dev.subset(range(min(OTHERS, len(data.dev.images))))
    with torch.no_grad():
        scores = all_scores(scores_of(model.model, split, model.tokenizer), split).float()
    counts = len(data.dev.images), len(data.dev.captions)
    return Gallery(run.experiment.seed, split.name, len(split.images), counts, *queries_of(split, scores, queries))


def shown_image(split: Split, row: int) -> Shown:
    """The image in this row."""
    return Shown(split.captions[int(split.image_of.searchsorted(row))], row, pixels(split, row))


def shown_caption(split: Split, number: int) -> Shown:
    """The caption of this number."""
    return Shown(split.captions[number], int(split.image_of[number]))


def query_of(
    asked: Shown, scores: torch.Tensor, right: np.ndarray, shown: Callable[[int], Shown], top: int = TOP
) -> Query:
    """What is asked, with its first answers by their scores; ties count against the right ones, as in the measures."""
    order = np.lexsort((right, -scores.double().numpy())).tolist()
    rank = next((place for place, i in enumerate(order, start=1) if right[i]), None)
    best, found = None if rank is None else shown(order[rank - 1]).words, []
    for place in sorted({*range(1, top + 1), rank or 1} & {*range(1, len(order) + 1)}):
        i = order[place - 1]
        one = replace(shown(i), place=place, right=bool(right[i]), score=float(scores[i]))
        if best is not None and rank is not None and place < rank:
            one = replace(one, why=near_miss(one.words, best, one.score - float(scores[order[rank - 1]])))
        found.append(one)
    return Query(asked, tuple(found), rank, len(order))


def queries_of(split: Split, scores: torch.Tensor, queries: int) -> tuple[tuple[Query, ...], tuple[Query, ...]]:
    """Captions retrieved for images at even distances, and images retrieved for the first caption of each."""
    rows = np.unique(np.linspace(0, len(split.images) - 1, queries).round().astype(int)).tolist()
    image, caption, every = partial(shown_image, split), partial(shown_caption, split), np.arange(len(split.images))
    first = [int(split.image_of.searchsorted(row)) for row in rows]
    return (
        tuple(query_of(image(row), scores[row], split.image_of == row, caption) for row in rows),
        tuple(query_of(caption(c), scores[:, c], every == row, image) for row, c in zip(rows, first, strict=True)),
    )


def gallery_frame(of_images: Sequence[Query], of_captions: Sequence[Query], top: int = TOP) -> pd.DataFrame:
    """Queries as `goal_analysis.pictures.run_figures.gallery_figure` reads them."""
    rows = []
    for number, query in enumerate((*of_images, *of_captions)):
        of_image = number < len(of_images)
        rows.append((number, 0, _item(query.asked, of_image), False, np.nan))
        rows += [(number, one.place, _item(one, not of_image), one.right, one.score) for one in query.found[:top]]
    return pd.DataFrame(rows, columns=["query", "place", "item", "right", "score"])


def _item(one: Shown, image: bool) -> str | np.ndarray:
    """A caption, or the picture of an image, or where there are features alone a caption to know it by."""
    if one.picture is not None:
        return one.picture / 255
    return f"[image {one.row}] {one.words}" if image else one.words


def near_miss(words: str, right: str, lead: float) -> str:
    """The words on a wrong answer before the right one: by how much, and with how many of the right one's words."""
    its_own, wanted = ({word.strip(".,").lower() for word in text.split()} for text in (words, right))
    return f"{lead:.2f} above the right one, with {len(its_own & wanted)} of its {len(wanted)} words"


def pixels(split: Split, row: int) -> np.ndarray | None:
    """A picture's pixels, shape ``(height, width, 3)`` from 0 to 255; None of features, or of a broken picture."""
    shape = split.images.shape
    if len(shape) != 4 or shape[1] != 3:
        return None
    pixels = split.images.batch(np.array([row]))[0].clamp(0, 1) * 255
    return pixels.round().byte().permute(1, 2, 0).numpy()
