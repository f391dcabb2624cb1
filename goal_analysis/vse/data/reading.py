"""Reading in other processes: batches, and pictures to evaluate, in the order in which they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.utils.data import DataLoader

from goal_analysis.vse.data.split import DataError, Images, Rows, Split, pieces

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
