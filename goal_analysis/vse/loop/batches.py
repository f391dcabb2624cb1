"""The batches of an epoch, in an order that is a function of the seed alone; and reading in other processes."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.utils.data import DataLoader

from goal_analysis.vse.data.split import DataError, Images, Rows, Split, pieces
from goal_analysis.vse.loop.experiment import TrainingOptions
from goal_analysis.vse.models.text import Tokens


def order(image_of: np.ndarray, seed: int, epoch: int, together: int = 1) -> np.ndarray:
    """The pairs of an epoch, counted from 0, in their order; so many pairs of an image, or those left, stand together.

    >>> images = np.array([0, 0, 0, 1, 1, 1])
    >>> order(images, seed=0, epoch=0), order(images, seed=0, epoch=1)
    (array([3, 2, 5, 4, 0, 1]), array([1, 4, 3, 0, 2, 5]))
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
) -> Generator[tuple[Tensor, ...], None, None]:
    """The batches of an epoch after the ``first`` ones; the last incomplete one is left out. A batch is images, tokens,
    their lengths, the image of every pair, and the same again, or the caption's place where captions decide what
    matches. A rank has its consecutive part of every batch. Readers live until the generator ends or is closed.
    """
    size = options.batch_size
    pairs = order(split.image_of, seed, epoch, options.captions_per_image)
    batches = (pairs[i * size : (i + 1) * size] for i in range(first, len(pairs) // size))
    chosen = [np.array_split(batch, ranks)[rank] for batch in batches]
    of_images = split.equal == "negatives" and not options.teacher
    yield from read(partial(_batch, split, tokens, of_images), chosen, options.workers)


def _batch(split: Split, tokens: Tokens, of_images: bool, pairs: np.ndarray) -> tuple[Tensor, ...]:
    rows, texts = split.image_of[pairs], tokens.rows(torch.as_tensor(pairs))
    matched = rows if of_images else pairs
    return split.images.batch(rows), texts.ids, texts.lengths, torch.as_tensor(rows), torch.as_tensor(matched)


PIECE = 32  # pictures that a process reads together


def read(get: Callable[[Any], Any], keys: Sequence[Any], workers: int) -> Iterator[Any]:
    """Call a function on every key, in order, in ``workers`` processes; 0 calls it in this one."""
    own = torch.Generator()  # without it, beginning to read would draw from the randomness of a step
    of: Any = keys
    loader = DataLoader(of, batch_size=None, collate_fn=get, num_workers=workers, generator=own)
    try:
        yield from loader
    except DataError as problem:  # one of a worker comes with all that it was called by
        raise DataError(str(problem).strip().rpartition("DataError: ")[2]) from problem


@dataclass(frozen=True, eq=False)
class ReadByWorkers(Images):
    """The same images, which several processes read where a batch is large."""

    images: Images
    workers: int

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the images."""
        return self.images.shape

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows; see `Images`."""
        asked = list(pieces(np.asarray(rows), PIECE))
        if len(asked) < 2:
            return self.images.batch(rows)
        return torch.cat(list(read(self.images.batch, asked, min(self.workers, len(asked)))))

    def fingerprint(self) -> str:
        """That of the images."""
        return self.images.fingerprint()


def pictures_by_workers(split: Split, workers: int) -> Split:
    """The split, with its pictures read by ``workers`` processes; features stay as they are."""
    if not workers or len(split.images.shape) < 4:
        return split
    return replace(split, images=ReadByWorkers(split.images, workers))
