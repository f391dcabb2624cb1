"""The batches of an epoch: which pairs of image and caption, in an order that is a function of the seed alone."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from goal_analysis.vse.data.reading import read
from goal_analysis.vse.data.split import Split
from goal_analysis.vse.models.text import Tokens

AWAITED = 1.0
"""Seconds within which a process that reads images is dead after it has stopped to answer."""


class WorkerError(RuntimeError):
    """A process that reads images has died."""


class Batch(NamedTuple):
    """Pairs of image and caption.

    Args:
        images: shape ``(pairs, …)``.
        tokens: of the captions, shape ``(pairs, longest)``.
        lengths: how many tokens every caption has, shape ``(pairs,)``.
        ids: shape ``(pairs,)``; the image of every pair, so that other captions of it are no negatives.
    """

    images: Tensor
    tokens: Tensor
    lengths: Tensor
    ids: Tensor


@dataclass(frozen=True)
class Share:
    """Which part of every batch a process has.

    Args:
        rank: of the process.
        ranks: how many there are.
    """

    rank: int = 0
    ranks: int = 1

    def of(self, pairs: np.ndarray) -> np.ndarray:
        """Its consecutive part of these."""
        return np.array_split(pairs, self.ranks)[self.rank]


def order(image_of: np.ndarray, seed: int, epoch: int, together: int = 1) -> np.ndarray:
    """The pairs of an epoch in their order.

    Args:
        image_of: shape ``(pairs,)``; the image of every pair.
        seed: of the order.
        epoch: counted from 0.
        together: pairs of one image that stand side by side; of an image with fewer left, those.

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
    size: int,
    seed: int,
    epoch: int,
    first: int,
    share: Share,
    workers: int,
    together: int = 1,
) -> Generator[Batch, None, None]:
    """The batches of an epoch from a given one on; the last incomplete one is left out.

    The processes that read images live until it is at its end or closed.

    Args:
        split: the images and which caption is whose.
        tokens: of all captions of the split.
        size: pairs a batch over all processes.
        seed: of the order.
        epoch: counted from 0.
        first: how many batches are passed over.
        share: the part that this process has.
        workers: processes that read images.
        together: see `order`.

    Raises:
        DataError: a row cannot be used.
    """
    pairs = order(split.image_of, seed, epoch, together)
    chosen = [share.of(pairs[i * size : (i + 1) * size]) for i in range(first, len(pairs) // size)]
    yield from read(_Batches(split, tokens), chosen, workers)


@contextmanager
def dead_workers_named(workers: int) -> Iterator[None]:
    """Say what died where a process that reads images has, which PyTorch tells wherever the program is.

    Args:
        workers: how many read.

    Raises:
        WorkerError: one of them has died.
    """
    try:
        yield
    except Exception as problem:
        chain = list(_chain(problem))
        told = [e for e in chain if isinstance(e, RuntimeError) and "DataLoader worker" in str(e)]
        lost = [e for e in chain if workers and isinstance(e, ConnectionError | EOFError)]
        if not told and not lost:
            raise
        if not told:  # what a dying one had sent could not be fetched; PyTorch's handler tells of it in a moment
            with suppress(RuntimeError):
                time.sleep(AWAITED)
        death = (told or lost)[0]
        for error in chain:  # with the reader that their frames hold goes what tells of the death again and again
            traceback.clear_frames(error.__traceback__)
        gc.collect()
        said = str(death).rstrip(". ") or type(death).__name__
        raise WorkerError(
            f"got a dead process of the {workers} that read images: {said}. The system ends them where memory is "
            f"short: try training.workers={workers // 2}, with which the run goes on too"
        ) from problem


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised while handling: PyTorch tells of a death in the midst of anything."""
    while problem is not None:
        yield problem
        problem = problem.__context__


class _Batches(Dataset):
    """A batch by the pairs that are in it, so that a memory map is read once a batch."""

    def __init__(self, split: Split, tokens: Tokens) -> None:
        self.split, self.tokens = split, tokens

    def __getitem__(self, pairs: np.ndarray) -> Batch:
        rows, texts = self.split.image_of[pairs], self.tokens.rows(torch.as_tensor(pairs))
        return Batch(self.split.images.batch(rows), texts.ids, texts.lengths, torch.as_tensor(rows))
