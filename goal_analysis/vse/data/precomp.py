"""Features computed beforehand, in the layout that VSE++ and SCAN published.

``{folder}/{train,dev,test,testall}_{ims.npy,caps.txt,ids.txt}``: the images' features, pooled or of regions; the
captions, one a line; and optionally a number per image. There are either five captions of each image, on consecutive
lines, or as many captions as rows. In the latter case a row is an image of its own, unless the rows come in fives that
are equal (or have one number in ``ids.txt``): then each image stands there five times, as VSE++ published it.

"VSE++: Improving Visual-Semantic Embeddings with Hard Negatives" (Faghri, Fleet, Kiros and Fidler, 2018,
https://arxiv.org/abs/1707.05612); "Stacked Cross Attention for Image-Text Matching" (Lee, Chen, Hua, Hu and He, 2018,
https://arxiv.org/abs/1803.08024).
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Bool, Float32, Integer, Shaped
from numpy.lib import format as npy
from torch import Tensor

from goal_analysis.vse.data.split import (
    BadRow,
    ChosenImages,
    DataError,
    Limit,
    Rows,
    Split,
    check_finite,
    digest_of_rows,
    is_text,
    make_split,
    pieces,
    read_lines,
    spread,
)

PIECE = 1 << 24  # bytes
LAYOUT = "features in the layout of VSE++"


@dataclass(frozen=True)
class FeatureFile:
    """The way to features in an array file, of shape ``(images, dim)`` or ``(images, regions, dim)``."""

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
        found = _floats(self.stored(numbers))
        check_finite(found, numbers, self.path)
        return found

    def stored(self, rows: Integer[np.ndarray, " batch"]) -> Shaped[np.ndarray, "batch ..."]:
        """These rows as they are stored, shape ``(batch, *shape[1:])``."""
        for row in rows[(rows < 0) | (rows >= len(self))]:
            raise IndexError(f"{self.path}: got row {row} but expected one from 0 to {len(self) - 1}")
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        room = memoryview(found.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
        # Rows that follow one another are read at once.
        ends = [*np.flatnonzero(np.diff(rows) != 1) + 1, len(rows)] if len(rows) else []
        try:
            with open(self.path, "rb") as file:
                whole = os.fstat(file.fileno()).st_size >= self.offset + len(self) * self.width
                for start, end in itertools.pairwise([0, *ends]):
                    file.seek(self.offset + int(rows[start]) * self.width)
                    whole &= file.readinto(room[start * self.width : end * self.width]) == (end - start) * self.width
        except OSError as error:
            raise DataError(f"{self.path}: got a file that cannot be read: {error.strerror}") from error
        if not whole:
            raise DataError(f"{self.path}: got a file that has become shorter but expected {len(self)} rows")
        return found

    def fingerprint(self) -> str:
        """A hash of shape, type and content; of large files, of rows at even distances with the first and last."""
        return digest_of_rows(self.shape, self.dtype, self.stored)

    def finite_rows(self) -> Bool[np.ndarray, " images"]:
        """Which rows hold finite numbers only; all of the file is read, a piece at a time."""
        parts = pieces(np.arange(len(self)), max(1, PIECE // self.width))
        return np.concatenate([_floats(self.stored(rows)).isfinite().flatten(1).all(1).numpy() for rows in parts])


def _floats(stored: Shaped[np.ndarray, "batch ..."]) -> Float32[Tensor, "batch ..."]:
    # PyTorch converts ten times as quickly as NumPy, but only what it knows.
    if not stored.dtype.isnative or stored.dtype.itemsize > np.dtype(np.float64).itemsize:
        # Numbers that are too large become infinities without a warning, and then a DataError.
        with np.errstate(over="ignore"):
            stored = stored.astype(np.float32)
    return torch.from_numpy(stored).float()


def open_features(path: Path) -> tuple[FeatureFile, int]:
    """The features in a ``.npy`` file, and how many rows its header promises; a file that was cut off has fewer."""
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
        expected = "rows: np.save(path, np.ascontiguousarray(array))"
        raise DataError(f"{path}: got an array stored by columns (Fortran's order) but expected {expected}")
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


FIVE = 5
SCANNED = 1 << 28  # up to how many bytes features are looked through for NaN on opening; of larger files each batch is
COMPARED = 20

SPLITS = ("train", "dev", "test", "testall")  # how the names of the files of a split may begin


def precomp_splits(
    source: str | Path, *, skip_bad: bool = False, test: str | None = None, longest: Limit | None = None
) -> dict[str, Callable[[], Split]]:
    """The splits of which a folder has the images, each as a function that opens it; nothing but captions is loaded.

    ``skip_bad`` leaves out, with a `DataWarning` that counts them, captions that are empty, not in UTF-8 or longer than
    ``longest`` allows, images with numbers that are not finite, and images that a cut-off file lacks; all features are
    then read once. ``test`` is the split to measure on; by default ``testall`` if there is one, else ``test``.
    """
    folder, names = Path(source), SPLITS if test is None or test in SPLITS else (*SPLITS, test)
    there = [name for name in names if name == test or (folder / f"{name}_ims.npy").exists()]
    return {name: partial(load_split, folder, name, skip_bad, longest) for name in there}


def load_split(folder: Path, name: str, skip_bad: bool = False, longest: Limit | None = None) -> Split:
    """One split of a folder; see `precomp_splits`."""
    path, text = folder / f"{name}_ims.npy", folder / f"{name}_caps.txt"
    features, promised = open_features(path)
    captions = read_lines(text)
    ids = _ids(folder / f"{name}_ids.txt", promised, len(captions))
    faults = _image_faults(features, promised, skip_bad)
    rows = np.arange(promised)
    by_caption = len(captions) != promised and ids is not None and len(ids) == len(captions)
    runs = np.cumsum([k > 0 and ids[k] != ids[k - 1] for k in range(len(ids))]) if by_caption and ids else np.array([0])
    if by_caption and int(runs[-1]) + 1 == promised:  # any number of captions an image, which its number stands beside
        image_of, ids = runs, [ids[k] for k in np.flatnonzero(np.diff(runs, prepend=-1))] if ids else ids
    elif len(captions) not in (promised, FIVE * promised):
        expected = f"{promised} or {FIVE * promised}, for {promised} images in {path.name}"
        others = f", or a number for each in {name}_ids.txt"
        raise DataError(f"{text}: got {len(captions)} captions but expected {expected}{others}")
    else:
        image_of = np.arange(len(captions)) // (len(captions) // promised)
    if ids is not None and len(ids) == promised and len(captions) != promised:
        _check_each_once(ids, folder / f"{name}_ids.txt")
    if len(captions) == promised and _stand_five_times(features, promised, ids, faults):
        rows, image_of = rows[::FIVE], image_of // FIVE
        faults = {row // FIVE: fault for row, fault in sorted(faults.items(), reverse=True)}
    images = features if len(rows) == len(features) else ChosenImages(features, rows)
    where = [f"{text}: row {row}" for row in range(len(captions))]
    names = [ids[row] for row in rows] if ids is not None and len(ids) == promised else [str(row) for row in rows]
    keys = [
        f"{names[image]}#{k - first}"
        for k, (image, first) in enumerate(zip(image_of, np.searchsorted(image_of, image_of), strict=True))
    ]
    return make_split(name, images, captions, image_of, where, faults, skip_bad, (names, keys, LAYOUT), longest)


def _image_faults(features: FeatureFile, promised: int, skip_bad: bool) -> dict[int, BadRow]:
    wrong = dict.fromkeys(
        range(len(features), promised), f"got a file that ends before it but expected {promised} rows"
    )
    if skip_bad or len(features) * features.width <= SCANNED:
        not_finite = "got a number that is not finite but expected finite numbers"
        wrong |= dict.fromkeys(np.flatnonzero(~features.finite_rows()).tolist(), not_finite)
    return {row: BadRow(f"{features.path}: row {row}: {what}") for row, what in wrong.items()}


def _ids(path: Path, images: int, captions: int) -> list[str] | None:
    if not path.exists():
        return None
    ids = read_lines(path)
    for row, number in enumerate(ids):
        if not number or not is_text(number):
            raise DataError(f"{path}: row {row}: got {number[:40]!r} but expected a number")
    if len(ids) not in (images, captions):
        raise DataError(f"{path}: got {len(ids)} numbers but expected {images}, one an image")
    return ids


def _check_each_once(ids: list[str], path: Path) -> None:
    seen: dict[str, int] = {}
    for row, number in enumerate(ids):
        if seen.setdefault(number, row) != row:
            raise DataError(f"{path}: row {row}: got {number} as in row {seen[number]} but expected every image once")


def _stand_five_times(features: FeatureFile, promised: int, ids: list[str] | None, faults: dict[int, BadRow]) -> bool:
    """Whether rows come in fives of one image, by their numbers or, in some faultless fives, by their content."""
    faulty = {row // FIVE for row in faults}
    fives = np.array([k for k in spread(promised // FIVE, COMPARED).tolist() if k not in faulty], dtype=np.int64)
    if promised % FIVE or not len(fives):
        return False
    rows = (fives[:, None] * FIVE + np.arange(FIVE)).ravel()
    found = features.stored(rows).reshape(len(fives), FIVE, -1)
    differ = (found != found[:, :1]).any((1, 2))
    if ids is not None and ids == [ids[row - row % FIVE] for row in range(promised)]:
        for five in fives[differ].tolist():
            given = f"{features.path}: row {five * FIVE}: got five rows with one number in ids.txt that differ"
            raise DataError(f"{given} but expected one image five times")
        return True
    # Equal rows everywhere say nothing: those are features that tell no image from another.
    return len(fives) > 1 and not differ.any() and bool((found[:, 0] != found[0, 0]).any())
