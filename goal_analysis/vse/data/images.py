"""Where images are kept until a batch asks for some of them, and the statistics that standardise them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer
from torch import Tensor

__all__ = ["DataError", "DataWarning", "Images", "ArrayImages", "ChosenImages", "Rows"]

Rows = Integer[np.ndarray, " batch"] | Integer[Tensor, " batch"]
HASHED_WHOLE = 1 << 26  # up to how many bytes content is hashed whole; from there on every so many rows
SAMPLED_ROWS = 256


class DataError(ValueError):
    """Data that cannot be used; the message names the file and the row."""


class BadRow(DataError):
    """A row that cannot be used, and that may be left out."""


class DataWarning(UserWarning):
    """Data of which a part was left out; the message counts it."""


@runtime_checkable
class Images(Protocol):
    """Where images are kept, and the only way to them; an implementation can be pickled without their content."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, dim)``, ``(images, regions, dim)`` or ``(images, 3, height, width)``."""
        ...

    def __len__(self) -> int:
        return self.shape[0]

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows, finite, shape ``(batch, *shape[1:])``; no others are read.

        Raises:
            DataError: a row holds a number that is not finite, or cannot be read.
        """
        ...

    def fingerprint(self) -> str:
        """Sixteen digits that change with the content."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayImages(Images):
    """Images in an array.

    >>> images = ArrayImages(np.array([[0, 51], [255, 0]], np.uint8))
    >>> images.batch(np.array([1, 0]))
    tensor([[1.0000, 0.0000],
            [0.0000, 0.2000]])

    Args:
        array: one image a row; floating numbers, or uint8 from 0 to 255, which becomes 0 to 1.
        source: what the array was read from, for messages.

    Raises:
        DataError: an array of another kind.
    """

    array: np.ndarray
    source: str = "images"

    def __post_init__(self) -> None:
        kind, dims = self.array.dtype, self.array.ndim
        if kind != np.uint8 and not np.issubdtype(kind, np.floating):
            raise DataError(f"{self.source}: got an array of {kind} but expected floating numbers or uint8")
        if dims not in (2, 3, 4) or 0 in self.array.shape[1:]:
            expected = "(images, dim), (images, regions, dim) or (images, 3, height, width)"
            raise DataError(f"{self.source}: got an array of shape {self.array.shape} but expected {expected}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows; see `Images`."""
        numbers = np.asarray(rows)
        # Numbers that are too large become infinities without a warning, and then a DataError.
        with np.errstate(over="ignore"):
            found = torch.from_numpy(np.asarray(self.array[numbers]).astype(np.float32))
        if self.array.dtype == np.uint8:
            return found.div_(255)
        check_finite(found, numbers, self.source)
        return found

    def fingerprint(self) -> str:
        """A hash of shape, type and content; of large arrays, of rows at even distances with the first and last."""
        return digest_of_rows(self.shape, self.array.dtype, self.array.__getitem__)


@dataclass(frozen=True, eq=False)
class ChosenImages(Images):
    """The images of these rows, in a given order."""

    images: Images
    rows: Int64[np.ndarray, " chosen"]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(chosen, …)``."""
        return (len(self.rows), *self.images.shape[1:])

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows of the chosen; see `Images`."""
        return self.images.batch(self.rows[np.asarray(rows)])

    def fingerprint(self) -> str:
        """A hash of all the images and of the choice."""
        return digest(self.images.fingerprint(), self.rows.tobytes())


def spread(count: int, most: int) -> Int64[np.ndarray, " rows"]:
    """Row numbers below the count, ``most`` of them at even distances, with the first and the last."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def pieces(rows: Int64[np.ndarray, " rows"], size: int = 256) -> Iterator[Int64[np.ndarray, " piece"]]:
    """The rows in pieces of this size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def digest_of_rows(
    shape: tuple[int, ...], dtype: np.dtype, stored: Callable[[Int64[np.ndarray, " rows"]], np.ndarray]
) -> str:
    """A hash of shape, type and content; of much content, of rows at even distances with the first and the last."""
    large = math.prod(shape) * dtype.itemsize > HASHED_WHOLE
    rows = spread(shape[0], SAMPLED_ROWS) if large else np.arange(shape[0])
    return digest(str(shape), str(dtype), np.ascontiguousarray(stored(rows)).tobytes())


def check_finite(values: Float[Tensor, "batch ..."], rows: Integer[np.ndarray, " batch"], source: str) -> None:
    """Raise a DataError that names the row of the source with the first number that is NaN or infinite."""
    # One sum is quicker than a look at every number; only where it is not finite do the numbers decide.
    if bool(values.sum().isfinite()):
        return
    wrong = (~values.isfinite()).flatten(1).any(1).nonzero()
    if len(wrong):
        row = int(rows[int(wrong[0])])
        raise DataError(f"{source}: row {row}: got a number that is not finite but expected finite numbers")


def digest(*parts: str | bytes) -> str:
    """Sixteen hexadecimal digits that depend on every part and on where it ends."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(len(content).to_bytes(8, "big"))
        found.update(content)
    return found.hexdigest()[:16]


def statistics(images: Images, most: int = 20_000) -> tuple[Float32[Tensor, " features"], Float32[Tensor, " features"]]:
    """Mean and standard deviation of every feature over images and regions, of every channel over pictures.

    Read in pieces, and summed in float64; of more images than ``most``, this many at even distances are read. A feature
    that does not vary has the deviation 1, so that one can divide.

    >>> import numpy as np
    >>> from goal_analysis.vse.data.images import ArrayImages
    >>> statistics(ArrayImages(np.array([[1.0, 5.0], [3.0, 5.0]])))
    (tensor([2., 5.]), tensor([1., 1.]))
    """
    count, mean, spread_out = 0, torch.zeros(()), torch.zeros(())
    for rows in pieces(spread(len(images), most)):
        values = images.batch(rows).double()
        values = values.movedim(1 if values.ndim == 4 else -1, -1).flatten(0, -2)
        local = values.mean(0)
        total = count + len(values)
        shift = local - mean
        spread_out = spread_out + (values - local).square().sum(0) + shift.square() * (count * len(values) / total)
        mean = mean + shift * (len(values) / total)
        count = total
    deviation = (spread_out / count).sqrt().float()
    return mean.float(), torch.where(deviation > 0, deviation, torch.ones_like(deviation))
