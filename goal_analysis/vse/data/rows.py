"""Data sets that come as rows, each with the path of an image and a caption of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from goal_analysis.vse.data.faults import Fault, split_without_faults
from goal_analysis.vse.data.pictures import PictureFiles, is_text, path_inside, undecodable
from goal_analysis.vse.data.split import DataError, DataWarning, RetrievalData, Split

Found = TypeVar("Found")


@dataclass(frozen=True)
class Row:
    """An image and a caption of it.

    Args:
        split: ``train``, ``dev`` or ``test``.
        image: the path inside of the folder.
        caption: any text; of white space, single spaces remain.
        source: the file where it was read.
        number: the row there, from 0.
    """

    split: str
    image: str
    caption: str
    source: str
    number: int


def named_image(folder: Path, name: str, source: str, number: int) -> str | Fault:
    """The path of an image inside of its folder, or what is wrong with a name that no file has or that leads out.

    Args:
        folder: of the images.
        name: as the row has it.
        source: the file where it was read.
        number: the row there, from 0.
    """
    if not name or "\0" in name or not is_text(name):
        return Fault(source, number, f"got the path {name!r} but expected that of an image, in UTF-8")
    try:
        return path_inside(folder, name)
    except DataError as problem:
        return Fault(source, number, str(problem))


def without_faults(source: str, rows: Iterable[Found | Fault], skip_bad: bool) -> tuple[list[Found], list[Fault]]:
    """The rows that are not faulty, and what is wrong with those that are left out.

    Args:
        source: the file where they were read.
        rows: all of its rows, or what is wrong with them.
        skip_bad: leave the faulty ones out; a `DataWarning` counts them.

    Raises:
        DataError: the first fault, unless ``skip_bad``; or every row is faulty.
    """
    fine: list[Found] = []
    faults: list[Fault] = []
    for row in rows:
        if not isinstance(row, Fault):
            fine.append(row)
        elif skip_bad:
            faults.append(row)
        else:
            raise DataError(str(row))
    if faults and not fine:
        raise DataError(str(faults[0]))
    if faults:
        left_out = f"left out {len(faults)} of {len(faults) + len(fine)} rows; the first: {faults[0]}"
        warnings.warn(f"{source}: {left_out}", DataWarning, stacklevel=2)
    return fine, faults


def data_of_rows(
    name: str, folder: Path, rows: Iterable[Row], faults: Sequence[Fault], size: int, skip_bad: bool
) -> RetrievalData:
    """The data set of these rows; those with one path are captions of one image, wherever they stand.

    Args:
        name: of the data set.
        folder: of the images.
        rows: of all splits.
        faults: of the rows that were left out before.
        size: the side of the pictures in pixels.
        skip_bad: leave out bad rows, and images without a file or that cannot be decoded: all are, once, for
            that.

    Raises:
        DataError: no rows of train or dev; an image in two splits; or, unless ``skip_bad``, a bad row.
    """
    by_split: dict[str, list[Row]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    for needed in ("train", "dev"):
        if needed not in by_split:
            there = ", ".join(by_split) or "nothing"
            first = f"; the first fault: {faults[0]}" if faults else ""
            raise DataError(f"{name}: got rows of {there} but expected some of train and of dev{first}")
    seen: dict[str, str] = {}
    for split, found in by_split.items():
        for row in found:
            if seen.setdefault(row.image, split) != split:
                where = f"{row.source}: row {row.number}"
                raise DataError(f"{where}: got {row.image} in {split} and {seen[row.image]} but expected one split")
    splits = {split: _split(split, folder, found, size, skip_bad) for split, found in by_split.items()}
    return RetrievalData(name, splits["train"], splits["dev"], splits.get("test"))


def _split(name: str, folder: Path, rows: list[Row], size: int, skip_bad: bool) -> Split:
    firsts: dict[str, Row] = {}
    for row in rows:
        firsts.setdefault(row.image, row)
    numbers = {image: number for number, image in enumerate(firsts)}
    ordered = sorted(rows, key=lambda row: numbers[row.image])
    captions = [" ".join(row.caption.split()) for row in ordered]
    image_of = np.array([numbers[row.image] for row in ordered], dtype=np.int64)
    caption_faults = {
        k: Fault(row.source, row.number, f"got {what} but expected words")
        for k, row in enumerate(ordered)
        if (what := _wrong_with(captions[k])) is not None
    }
    image_faults = {
        k: Fault(row.source, row.number, f"got {row.image} but expected a file in {folder}")
        for k, row in enumerate(firsts.values())
        if not _is_file(folder / row.image)
    }
    sources = tuple((row.source, row.number) for row in firsts.values())
    images = PictureFiles(str(folder), tuple(firsts), size, sources)
    if skip_bad:
        image_faults |= undecodable(images.read, [k for k in range(len(images)) if k not in image_faults])
    return split_without_faults(name, images, captions, image_of, caption_faults, image_faults, skip_bad)


def _wrong_with(caption: str) -> str | None:
    if not caption:
        return "an empty caption"
    return None if is_text(caption) else f"{caption[:40]!r}, which is not in UTF-8,"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
