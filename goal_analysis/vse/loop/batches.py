"""The batches of an epoch: which pairs of image and caption, in an order that is a function of the seed alone."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from goal_analysis.vse.data.reading import read
from goal_analysis.vse.data.split import Split
from goal_analysis.vse.loop.experiment import TrainingOptions
from goal_analysis.vse.models.text import Tokens


class Batch(NamedTuple):
    """Pairs of image and caption; ``ids`` is the image of every pair, so that its other captions are no negatives.

    ``texts`` is the same, or the place of the caption in the split where the captions decide what matches.
    """

    images: Tensor
    tokens: Tensor
    lengths: Tensor
    ids: Tensor
    texts: Tensor


def order(image_of: np.ndarray, seed: int, epoch: int, together: int = 1) -> np.ndarray:
    """The pairs of an epoch, counted from 0, in their order, where ``image_of`` is the image of every pair.

    So many pairs of one image stand together; of an image with fewer left, those.

    >>> images = np.array([0, 0, 0, 1, 1, 1])
    >>> order(images, seed=0, epoch=0), order(images, seed=0, epoch=1)
    (array([3, 2, 5, 4, 0, 1]), array([1, 4, 3, 0, 2, 5]))
    >>> order(images, seed=0, epoch=0, together=2)
    array([3, 5, 2, 0, 4, 1])
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(image_of))
    if together == 1:
        return shuffled
    by_image = shuffled[np.argsort(image_of[shuffled], kind="stable")]
    _, first, times = np.unique(image_of[by_image], return_index=True, return_counts=True)
    place = np.arange(len(by_image)) - np.repeat(first, times)
    group = np.cumsum(place % together == 0) - 1
    return by_image[np.argsort(rng.permutation(group[-1] + 1)[group], kind="stable")]


def epoch_batches(
    split: Split,
    tokens: Tokens,
    options: TrainingOptions,
    seed: int,
    epoch: int,
    first: int = 0,
    rank: int = 0,
    ranks: int = 1,
) -> Generator[Batch, None, None]:
    """The batches of an epoch, counted from 0, after the ``first`` ones; the last incomplete one is left out.

    The process of a rank has its consecutive part of every batch. The processes that read images live until the
    generator is at its end or closed.
    """
    size = options.batch_size
    pairs = order(split.image_of, seed, epoch, options.captions_per_image)
    batches = (pairs[i * size : (i + 1) * size] for i in range(first, len(pairs) // size))
    chosen = [np.array_split(batch, ranks)[rank] for batch in batches]
    of_images = split.equal == "negatives" and not options.teacher
    yield from read(partial(_batch, split, tokens, of_images), chosen, options.workers)


def _batch(split: Split, tokens: Tokens, of_images: bool, pairs: np.ndarray) -> Batch:
    rows, texts = split.image_of[pairs], tokens.rows(torch.as_tensor(pairs))
    matched = rows if of_images else pairs
    return Batch(split.images.batch(rows), texts.ids, texts.lengths, *map(torch.as_tensor, (rows, matched)))
