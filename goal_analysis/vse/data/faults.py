"""What is wrong with single rows of a data set: raised, or left out and counted.

A reader gives every caption with its image and says which captions and images are faulty; what is left becomes a split.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from goal_analysis.vse.data.split import ChosenImages, DataError, DataWarning, Images, Split


@dataclass(frozen=True)
class Fault:
    """Something wrong with a row of a file.

    >>> print(Fault("dev_caps.txt", 3, "got an empty line but expected words"))
    dev_caps.txt: row 3: got an empty line but expected words

    Args:
        source: the file.
        row: counted from 0.
        what: what was got and what was expected.
    """

    source: str
    row: int
    what: str

    def __str__(self) -> str:
        return f"{self.source}: row {self.row}: {self.what}"


def split_without_faults(
    name: str,
    images: Images,
    captions: Sequence[str],
    image_of: Int64[np.ndarray, " captions"],
    caption_faults: dict[int, Fault],
    image_faults: dict[int, Fault],
    skip_bad: bool,
) -> Split:
    """The split; with ``skip_bad``, what is left of it after the faults.

    Args:
        name: of the split.
        images: all images.
        captions: all captions.
        image_of: shape ``(captions,)``; the image of each, never decreasing.
        caption_faults: by the caption's number.
        image_faults: by the image's row.
        skip_bad: leave faulty captions and images out, and images without captions; a `DataWarning` counts them.

    Raises:
        DataError: the first fault, unless ``skip_bad``; or nothing is left.
    """
    faults = [found[row] for found in (image_faults, caption_faults) for row in sorted(found)]
    if faults and not skip_bad:
        raise DataError(str(faults[0]))
    fine = np.ones(len(captions), dtype=bool)
    fine[list(caption_faults)] = False
    fine[np.isin(image_of, list(image_faults))] = False
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


def caption_lines(path: Path) -> tuple[list[str], dict[int, Fault]]:
    """The lines of a text file in UTF-8, and those that are faulty: not in UTF-8, or empty.

    A line ends with a line feed, with or without a carriage return before it, and with nothing else.

    Raises:
        DataError: the file cannot be read.
    """
    lines = whole_file(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        lines.pop()
    captions, faults = [], {}
    for row, line in enumerate(lines):
        caption = line.decode("utf-8", errors="replace").strip()
        captions.append(caption)
        if not caption:
            faults[row] = Fault(str(path), row, "got an empty line but expected a caption")
        elif not _is_utf8(line):
            faults[row] = Fault(str(path), row, f"got the bytes {line[:40]!r} but expected a caption in UTF-8")
    return captions, faults


def whole_file(path: Path) -> bytes:
    """What a file holds.

    Raises:
        DataError: it cannot be read, with the reason.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: got a file that cannot be read: {error.strerror}") from error


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
