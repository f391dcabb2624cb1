"""The batches of an epoch: which pairs of image and caption, in an order that is a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from goal_analysis.vse.data import Split
from goal_analysis.vse.text import Tokens


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


def order(pairs: int, seed: int, epoch: int) -> np.ndarray:
    """The pairs of an epoch in their order.

    >>> order(5, seed=0, epoch=0), order(5, seed=0, epoch=1)
    (array([2, 4, 3, 0, 1]), array([1, 4, 3, 0, 2]))
    """
    return np.random.default_rng([seed, epoch]).permutation(pairs)


def epoch_batches(
    split: Split, tokens: Tokens, size: int, seed: int, epoch: int, first: int, share: Share, workers: int
) -> Iterator[Batch]:
    """The batches of an epoch from a given one on; the last incomplete one is left out.

    Args:
        split: the images and which caption is whose.
        tokens: of all captions of the split.
        size: pairs a batch over all processes.
        seed: of the order.
        epoch: counted from 0.
        first: how many batches are passed over.
        share: the part that this process has.
        workers: processes that read images.
    """
    pairs = order(len(split), seed, epoch)
    chosen = [share.of(pairs[i * size : (i + 1) * size]) for i in range(first, len(pairs) // size)]
    own = torch.Generator()  # without it, beginning to read would draw from the randomness of a step
    yield from DataLoader(
        _Batches(split, tokens),
        batch_size=None,
        sampler=chosen,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        generator=own,
    )


class _Batches(Dataset):
    """A batch by the pairs that are in it, so that a memory map is read once a batch."""

    def __init__(self, split: Split, tokens: Tokens) -> None:
        self.split, self.tokens = split, tokens

    def __getitem__(self, pairs: np.ndarray) -> Batch:
        rows, texts = self.split.image_of[pairs], self.tokens.rows(torch.as_tensor(pairs))
        return Batch(self.split.images.batch(rows), texts.ids, texts.lengths, torch.as_tensor(rows))
