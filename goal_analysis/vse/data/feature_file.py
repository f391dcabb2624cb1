"""Features in a NumPy file that stays on the disk: only the rows of a batch are read.

A small file is mapped into memory. Of one that does not fit into it the rows are read instead: a mapping faults page by
page there, which takes ten times as long, and what it has touched counts as the process's own memory.
"""

from __future__ import annotations

import itertools
import os
import warnings
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Bool, Float32, Integer, Shaped
from numpy.lib import format as npy
from torch import Tensor

from goal_analysis.vse.data.images import Rows, check_finite, digest_of_rows, pieces
from goal_analysis.vse.data.split import DataError

PIECE = 1 << 24
MAPPED = 1 << 30
"""Up to how many bytes a file is mapped."""


@dataclass(frozen=True)
class FeatureFile:
    """Features in an array file; this object is but the way to them.

    Args:
        path: the file.
        dtype: a floating type.
        shape: ``(images, dim)`` or ``(images, regions, dim)``; the images that the file has room for.
        offset: where the numbers begin, in bytes.
    """

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        """The bytes of one row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows; see `Images`."""
        numbers = np.asarray(rows)
        stored = self.stored(numbers)
        # PyTorch converts ten times as quickly as NumPy, but only what it knows.
        if not stored.dtype.isnative or stored.dtype.itemsize > np.dtype(np.float64).itemsize:
            # Numbers that are too large become infinities without a warning, and then a DataError.
            with np.errstate(over="ignore"):
                stored = stored.astype(np.float32)
        found = torch.from_numpy(stored).float()
        check_finite(found, numbers, self.path)
        return found

    def stored(self, rows: Integer[np.ndarray, " batch"]) -> Shaped[np.ndarray, "batch ..."]:
        """These rows as they are stored, shape ``(batch, *shape[1:])``.

        Raises:
            IndexError: a row that is not there.
            DataError: the file is gone, or has become shorter.
        """
        for row in rows[(rows < 0) | (rows >= len(self))]:
            raise IndexError(f"{self.path}: got row {row} but expected one from 0 to {len(self) - 1}")
        try:
            with open(self.path, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size < self.offset + len(self) * self.width:
                    raise DataError(f"{self.path}: got a file that has become shorter but expected {len(self)} rows")
                if len(self) * self.width <= MAPPED:
                    return np.asarray(np.memmap(file, self.dtype, "r", self.offset, self.shape)[rows])
                return self._read(file, rows)
        except OSError as error:
            raise DataError(f"{self.path}: got a file that cannot be read: {error.strerror}") from error

    def _read(self, file: FileIO, rows: Integer[np.ndarray, " batch"]) -> Shaped[np.ndarray, "batch ..."]:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        room = memoryview(found.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
        # Rows that follow one another are read at once.
        ends = [*np.flatnonzero(np.diff(rows) != 1) + 1, len(rows)] if len(rows) else []
        for start, end in itertools.pairwise([0, *ends]):
            file.seek(self.offset + int(rows[start]) * self.width)
            left = room[start * self.width : end * self.width]
            while len(left):
                count = file.readinto(left)
                if not count:
                    raise DataError(f"{self.path}: got a file that ends before its row {rows[start]}")
                left = left[count:]
        return found

    def fingerprint(self) -> str:
        """A hash of shape, type and content; of large files, of rows at even distances with the first and last."""
        return digest_of_rows(self.shape, self.dtype, self.stored)

    def finite_rows(self) -> Bool[np.ndarray, " images"]:
        """Which rows hold finite numbers only; all of the file is read, a piece at a time."""
        fine = np.empty(len(self), dtype=bool)
        for rows in pieces(np.arange(len(self)), max(1, PIECE // self.width)):
            with np.errstate(over="ignore"):
                piece = self.stored(rows).astype(np.float32)
            fine[rows] = np.isfinite(piece).reshape(len(rows), -1).all(1)
        return fine


def open_features(path: Path) -> tuple[FeatureFile, int]:
    """The features in a ``.npy`` file, and how many rows its header promises.

    There are fewer rows than promised where the file was cut off.

    Raises:
        DataError: the file cannot be read, is no array of floating numbers of shape ``(images, dim)`` or
            ``(images, regions, dim)``, or holds not one whole row, or more than its header says.
    """
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file)
            offset = file.tell()
        size = path.stat().st_size - offset
    except OSError as error:
        raise DataError(f"{path}: got a file that cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged header fails in whatever way its parser does
        raise DataError(f"{path}: got a file with a damaged header but expected an array saved by NumPy") from error
    if not np.issubdtype(dtype, np.floating) or dtype.itemsize > 8:
        raise DataError(f"{path}: got an array of {dtype} but expected float16, float32 or float64")
    if len(shape) not in (2, 3) or any(isinstance(n, bool) or n < 1 for n in shape):
        raise DataError(f"{path}: got an array of shape {shape} but expected (images, dim) or (images, regions, dim)")
    if fortran:
        raise DataError(
            f"{path}: got an array stored by columns (Fortran's order) but expected rows: "
            "np.save(path, np.ascontiguousarray(array))"
        )
    promised, width = shape[0], dtype.itemsize
    for n in shape[1:]:
        width *= n
    if size > promised * width:
        raise DataError(f"{path}: got {size} bytes of numbers but expected {promised * width} for shape {shape}")
    rows = size // width
    if not rows:
        raise DataError(f"{path}: got a file cut off after {size} bytes of numbers but expected {promised * width}")
    return FeatureFile(str(path), dtype, (rows, *shape[1:]), offset), promised


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers that Python 2 wrote, as the published features' are
        return readers[version](file)
