"""Images with their captions: a split, and the splits of a data set."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer

from goal_analysis.vse.data.images import (
    ArrayImages,
    BadRow,
    ChosenImages,
    DataError,
    DataWarning,
    Images,
    digest,
    statistics,
)

__all__ = [
    "BadRow",
    "DataError",
    "DataWarning",
    "Images",
    "ArrayImages",
    "ChosenImages",
    "Split",
    "RetrievalData",
    "statistics",
]


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their captions, none of them empty, in the order of the images.

    ``image_of`` is the row of the image that each caption describes, never decreasing. A DataError names the first row
    that does not fit.
    """

    name: str
    images: Images
    captions: tuple[str, ...]
    image_of: Int64[np.ndarray, " captions"]

    def __post_init__(self) -> None:
        if len(self.captions) != len(self.image_of):
            raise DataError(f"{self.name}: got {len(self.captions)} captions of {len(self.image_of)} images' rows")
        if not self.captions:
            raise DataError(f"{self.name}: got no captions but expected at least one")
        for row, caption in enumerate(self.captions):
            if not caption.strip():
                raise DataError(f"{self.name}: caption {row}: got an empty line but expected words")
        # The first image first, then the same or the next one up to the last: all of them, and in order.
        steps = np.diff(self.image_of, prepend=-1)
        wrong = [*np.flatnonzero((steps < 0) | (steps > 1)), *np.flatnonzero(steps[:1] != 1)]
        if wrong:
            row = int(wrong[0])
            given = f"got image {self.image_of[row]} after image {self.image_of[row] - steps[row]}"
            expected = "the same or the next one, beginning at image 0"
            raise DataError(f"{self.name}: caption {row}: {given} but expected {expected}")
        if self.image_of[-1] != len(self.images) - 1:
            given = f"{self.name}: got captions of {self.image_of[-1] + 1} images"
            raise DataError(f"{given} but expected captions of all {len(self.images)} images")

    def __len__(self) -> int:
        """How many captions there are, which is how many pairs."""
        return len(self.captions)

    def subset(self, images: Sequence[int] | Integer[np.ndarray, " chosen"], captions: int | None = None) -> Split:
        """These images, in this order, with all their captions or the first so many of each."""
        rows = np.asarray(images, dtype=np.int64)
        for row in rows[(rows < 0) | (rows >= len(self.images))]:
            raise DataError(f"{self.name}: got image {row} but expected a row below {len(self.images)}")
        if len(np.unique(rows)) != len(rows):
            raise DataError(f"{self.name}: got an image twice but expected every image once")
        first = np.searchsorted(self.image_of, rows, side="left")
        last = np.searchsorted(self.image_of, rows, side="right")
        if captions is not None:
            last = np.minimum(last, first + captions)
        kept = tuple(self.captions[i] for a, b in zip(first, last, strict=True) for i in range(a, b))
        image_of = np.repeat(np.arange(len(rows)), last - first)
        return Split(self.name, ChosenImages(self.images, rows), kept, image_of)

    def fingerprint(self) -> str:
        """A hash of images and captions."""
        captions = "\n".join(self.captions).encode("utf-8", "surrogatepass")
        return digest(self.name, self.images.fingerprint(), captions, self.image_of.tobytes())


@dataclass(frozen=True, eq=False)
class RetrievalData:
    """What a model is trained on, chosen by, and measured on; all images have one shape."""

    name: str
    train: Split
    dev: Split
    test: Split | None = None

    def __post_init__(self) -> None:
        for split in self.splits()[1:]:
            if split.images.shape[1:] != self.train.images.shape[1:]:
                given = f"{self.name}: got {split.name} images of shape {split.images.shape[1:]}"
                raise DataError(f"{given} but expected {self.train.images.shape[1:]} as in train")

    def splits(self) -> tuple[Split, ...]:
        """Those that are there."""
        return tuple(split for split in (self.train, self.dev, self.test) if split is not None)

    def fingerprint(self) -> str:
        """A hash of the images and captions of all splits."""
        return digest(*(split.fingerprint() for split in self.splits()))


def make_split(
    name: str,
    images: Images,
    captions: Sequence[str],
    image_of: Int64[np.ndarray, " captions"],
    where: Sequence[str],
    image_faults: Mapping[int, BadRow],
    skip_bad: bool,
) -> Split:
    """The split; with ``skip_bad``, what is left of it without the images with faults and the captions that are empty
    or not in UTF-8, with a `DataWarning` that counts them.

    ``where`` has the file and the row of every caption. Images without captions are left out too. Unless ``skip_bad``,
    the first fault is raised.
    """
    wrong = {k: _wrong_with(caption) for k, caption in enumerate(captions) if not caption or not is_text(caption)}
    faults = [image_faults[row] for row in sorted(image_faults)]
    faults += [BadRow(f"{where[k]}: got {what} but expected words") for k, what in wrong.items()]
    if faults and not skip_bad:
        raise faults[0]
    fine = ~np.isin(image_of, list(image_faults))
    fine[list(wrong)] = False
    rows, compact = np.unique(image_of[fine], return_inverse=True)
    if not len(rows):
        raise DataError(f"{name}: got no image with a caption" + (f"; the first fault: {faults[0]}" if faults else ""))
    missing = len(images) - len(rows)
    if faults or (missing and skip_bad):
        first = f"; the first: {faults[0]}" if faults else ""
        warnings.warn(
            f"{name}: left out {missing} of {len(images)} images and {len(captions) - int(fine.sum())} "
            f"of {len(captions)} captions{first}",
            DataWarning,
            stacklevel=2,
        )
    left = tuple(caption for caption, keep in zip(captions, fine, strict=True) if keep)
    if missing and skip_bad:
        return Split(name, ChosenImages(images, rows.astype(np.int64)), left, compact.astype(np.int64))
    return Split(name, images, left, image_of[fine])


def _wrong_with(caption: str) -> str:
    return f"{caption[:40]!r}, which is not in UTF-8," if caption else "an empty caption"


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; bytes that are not UTF-8 become lone surrogates.

    A line ends with a line feed, with or without a carriage return before it, and with nothing else.
    """
    lines = read_bytes(path).decode("utf-8-sig", errors="surrogateescape").split("\n")
    return [line.strip() for line in (lines if lines[-1] else lines[:-1])]


def read_bytes(path: Path) -> bytes:
    """What a file holds; a DataError says why it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: got a file that cannot be read: {error.strerror}") from error


def is_text(words: str) -> bool:
    """Whether these are characters only: no lone surrogates, which stand for bytes that are not UTF-8."""
    return words == words.encode("utf-8", "replace").decode("utf-8")
