"""Features computed beforehand in the layout of VSE++ (Faghri et al., 2018, https://arxiv.org/abs/1707.05612) and SCAN
(Lee et al., 2018, https://arxiv.org/abs/1803.08024): ``{folder}/{split}_{ims.npy,caps.txt,ids.txt,keys.txt}``, the last
two, of images and of captions, optional.
"""

import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped
from numpy.lib import format as npy

from goal_analysis.files import regular
from goal_analysis.vse.data.split import (
    LONGEST,
    ArrayImages,
    BadRow,
    ChosenImages,
    DataError,
    Limit,
    Split,
    is_text,
    make_split,
    read_lines,
    spread,
)

LAYOUT = "features in the layout of VSE++"
FIVE = 5
SCANNED = 1 << 28  # up to how many bytes features are looked through for NaN on opening; of larger files each batch is
COMPARED = 20

SPLITS = ("train", "dev", "test", "testall", "all")  # how the names of the files of a split may begin


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file, of which the rows that are asked for are read, and no others."""

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def width(self) -> int:
        """The bytes of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def __getitem__(self, rows: Integer[np.ndarray, " batch"]) -> Shaped[np.ndarray, "batch ..."]:
        """These rows as they are stored, shape ``(batch, *shape[1:])``."""
        for row in rows[(rows < 0) | (rows >= self.shape[0])]:
            raise IndexError(f"{self.path}: got row {row} but expected one from 0 to {self.shape[0] - 1}")
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        # Rows that follow one another are read at once.
        ends = [*np.flatnonzero(np.diff(rows) != 1) + 1, len(rows)] if len(rows) else []
        try:
            with open(self.path, "rb") as file:
                for start, end in itertools.pairwise([0, *ends]):
                    file.seek(self.offset + int(rows[start]) * self.width)
                    if file.readinto(found[start:end]) != (end - start) * self.width:  # pyright: ignore[reportArgumentType]
                        given = f"{self.path}: got a file that has become shorter"
                        raise DataError(f"{given} but expected {self.shape[0]} rows")
        except OSError as error:
            raise DataError(f"{self.path}: got a file that cannot be read: {error.strerror}") from error
        return found


def open_features(path: Path) -> tuple[ArrayImages, int]:
    """The features of a ``.npy`` file, and how many rows its header promises; a file that was cut off has fewer."""
    try:
        with regular(path).open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote, as the published features' are
            version = npy.read_magic(file)
            readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            shape, fortran, dtype = readers[version](file)
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
    width = math.prod(shape[1:]) * dtype.itemsize
    rows, promised = size // width, shape[0] * width
    if size > promised:
        raise DataError(f"{path}: got {size} bytes of numbers but expected {promised} for shape {shape}")
    if not rows:
        raise DataError(f"{path}: got a file cut off after {size} bytes of numbers but expected {promised}")
    return ArrayImages(ArrayFile(str(path), dtype, (rows, *shape[1:]), offset), str(path)), shape[0]


def precomp_splits(
    source: str | Path, *, skip_bad: bool = False, test: str | None = None, longest: Limit = LONGEST
) -> dict[str, Callable[[], Split]]:
    """The splits of which a folder has the images, each as a function that opens it; ``test`` names one more.

    ``skip_bad`` leaves out, with a `DataWarning` that counts them, captions that are empty, not in UTF-8 or longer than
    ``longest``, and images that are not finite or that a cut-off file lacks; all features are then read once.
    """
    folder, names = Path(source), SPLITS if test is None or test in SPLITS else (*SPLITS, test)
    there = [name for name in names if name == test or (folder / f"{name}_ims.npy").exists()]
    if not there:
        files = ", ".join(sorted(path.name for path in folder.glob("*") if path.is_file())[:3]) or "no files"
        expected = f"{' or '.join(SPLITS)}_ims.npy in it, or the path of a file of captions"
        raise DataError(f"{folder}: got a folder with {files} but expected {expected}")
    return {name: partial(load_split, folder, name, skip_bad, longest) for name in there}


def load_split(folder: Path, name: str, skip_bad: bool = False, longest: Limit = LONGEST) -> Split:
    """One split of a folder. Each image has five captions, or any number where each caption's number tells; or there is
    one caption a row, where rows that come in equal fives are one image each.
    """
    path, text, numbered = (folder / f"{name}_{end}" for end in ("ims.npy", "caps.txt", "ids.txt"))
    images, promised = open_features(path)
    captions = read_lines(text)
    count = len(captions)
    ids, keys = _names(numbered, "an image", promised, count), _names(folder / f"{name}_keys.txt", "a caption", count)
    faults = _image_faults(images, promised, skip_bad)
    rows, image_of = np.arange(promised), np.arange(count) // max(1, count // promised)
    runs = [k > 0 and ids[k] != ids[k - 1] for k in range(len(ids))] if ids and len(ids) == count != promised else []
    if sum(runs) + 1 == promised and runs:  # any number of captions an image, whose number stands beside each
        image_of = np.cumsum(runs)
        ids = [ids[k] for k in np.searchsorted(image_of, rows)]
    elif count not in (promised, FIVE * promised):
        expected = f"{promised} or {FIVE * promised}, for {promised} images in {path.name}"
        raise DataError(
            f"{text}: got {count} captions but expected {expected}, or a number for each in {numbered.name}"
        )
    names = ids if len(ids) == promised else list(map(str, rows))
    seen: dict[str, int] = {}
    for row, number in enumerate(names if count != promised else ()):
        if seen.setdefault(number, row) != row:
            given = f"{numbered}: row {row}: got {number} as in row {seen[number]}"
            raise DataError(f"{given} but expected every image once")
    if count == promised and _stand_five_times(images, promised, ids, faults):
        rows, names, image_of = rows[::FIVE], names[::FIVE], image_of // FIVE
        faults = {row // FIVE: fault for row, fault in sorted(faults.items(), reverse=True)}
    where = [f"{text}: row {row}" for row in range(count)]
    first = np.searchsorted(image_of, image_of)
    keys = keys or [f"{names[image]}#{k - first[k]}" for k, image in enumerate(image_of.tolist())]
    chosen = images if len(rows) == len(images) else ChosenImages(images, rows)
    return make_split(name, chosen, captions, image_of, names, keys, LAYOUT, where, faults, skip_bad, longest)


def _image_faults(images: ArrayImages, promised: int, skip_bad: bool) -> dict[int, BadRow]:
    short = f"got a file that ends before it but expected {promised} rows"
    wrong = dict.fromkeys(range(len(images), promised), short)
    if skip_bad or len(images) * images.array.width <= SCANNED:
        wrong |= dict.fromkeys(images.not_finite(), "got a number that is not finite but expected finite numbers")
    return {row: BadRow(f"{images.source}: row {row}: {what}") for row, what in wrong.items()}


def _names(path: Path, each: str, *counts: int) -> list[str]:
    """What images or captions are called, where there is a file that says it."""
    names = read_lines(path) if path.exists() else []
    for row, number in enumerate(names):
        if not number or not is_text(number):
            raise DataError(f"{path}: row {row}: got {number[:40]!r} but expected a number")
    if path.exists() and len(names) not in counts:
        raise DataError(f"{path}: got {len(names)} numbers but expected {counts[0]}, one {each}")
    return names


def _stand_five_times(images: ArrayImages, promised: int, ids: list[str], faults: dict[int, BadRow]) -> bool:
    """Whether rows come in fives of one image, by their numbers or, in some faultless fives, by their content."""
    faulty = {row // FIVE for row in faults}
    fives = np.array([k for k in spread(promised // FIVE, COMPARED).tolist() if k not in faulty], dtype=np.int64)
    if promised % FIVE or not len(fives):
        return False
    rows = (fives[:, None] * FIVE + np.arange(FIVE)).ravel()
    found = images.array[rows].reshape(len(fives), FIVE, -1)
    differ = (found != found[:, :1]).any((1, 2))
    if ids and ids == [ids[row - row % FIVE] for row in range(promised)]:
        for five in fives[differ].tolist():
            given = f"{images.source}: row {five * FIVE}: got five rows with one number in ids.txt that differ"
            raise DataError(f"{given} but expected one image five times")
        return True
    # Equal rows everywhere say nothing: those are features that tell no image from another.
    return len(fives) > 1 and not differ.any() and bool((found[:, 0] != found[0, 0]).any())
