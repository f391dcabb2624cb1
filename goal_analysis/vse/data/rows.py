"""Data sets that come as rows, each with the path of an image and captions of it; Karpathy's layout is one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from goal_analysis.vse.data.pictures import SIZE, PictureFiles, Side, find_undecodable, is_file, path_inside
from goal_analysis.vse.data.split import BadRow, DataError, DataWarning, RetrievalData, Split, make_split, read_bytes


@dataclass(frozen=True)
class Row:
    """An image with a caption of it, and the file and the row that have both."""

    split: str
    image: str
    caption: str
    where: str


def read_rows(
    source: Path,
    entries: Iterable[tuple[int, Any]],
    read: Callable[[Any], Iterator[tuple[str, str, str]]],
    skip_bad: bool,
) -> tuple[list[Row], list[BadRow]]:
    """The rows that the numbered entries of a file make, and what is wrong with entries that were left out.

    ``read`` gives splits, images and captions of an entry, or raises a `BadRow`; an entry may be one. With
    ``skip_bad`` such entries are left out, with a `DataWarning` that counts them, unless all are bad. Other DataErrors
    are always raised.
    """
    rows: list[Row] = []
    faults: list[BadRow] = []
    left = 0
    for number, entry in entries:
        where = f"{source}: row {number}"
        try:
            if isinstance(entry, BadRow):
                raise entry
            rows += [Row(*found, where) for found in read(entry)]
            left += 1
        except DataError as problem:
            located = type(problem)(f"{where}: {problem}")
            if not skip_bad or not isinstance(located, BadRow):
                raise located from problem
            faults.append(located)
    if faults and not left:
        raise faults[0]
    if faults:
        said = f"{source}: left out {len(faults)} of {len(faults) + left} rows; the first: {faults[0]}"
        warnings.warn(said, DataWarning, stacklevel=2)
    return rows, faults


def data_of_rows(
    name: str, folder: Path, rows: Iterable[Row], faults: Sequence[BadRow], size: int, skip_bad: bool
) -> RetrievalData:
    """The data set of these rows; those with one path are captions of one image, wherever they stand.

    ``skip_bad`` leaves out bad rows, and images without a file or that cannot be decoded: all are, once, for that. An
    image in two splits, or no rows of train or dev, is a DataError.
    """
    by_split: dict[str, dict[str, list[Row]]] = {}
    seen: dict[str, str] = {}
    for row in rows:
        if seen.setdefault(row.image, row.split) != row.split:
            given = f"got {row.image} in {row.split} and {seen[row.image]}"
            raise DataError(f"{row.where}: {given} but expected one split")
        by_split.setdefault(row.split, {}).setdefault(row.image, []).append(row)
    if not {"train", "dev"} <= by_split.keys():
        there = ", ".join(by_split) or "nothing"
        first = f"; the first fault: {faults[0]}" if faults else ""
        raise DataError(f"{name}: got rows of {there} but expected some of train and of dev{first}")
    splits = {split: _split(split, folder, found, size, skip_bad) for split, found in by_split.items()}
    return RetrievalData(name, splits["train"], splits["dev"], splits.get("test"))


def _split(name: str, folder: Path, by_image: dict[str, list[Row]], size: int, skip_bad: bool) -> Split:
    rows = [row for found in by_image.values() for row in found]
    firsts = [found[0] for found in by_image.values()]
    image_faults = {
        k: BadRow(f"{row.where}: got {row.image} but expected a file in {folder}")
        for k, row in enumerate(firsts)
        if not is_file(folder / row.image)
    }
    images = PictureFiles(str(folder), tuple(by_image), size, tuple(row.where for row in firsts))
    if skip_bad:
        image_faults |= find_undecodable(images.read, [k for k in range(len(images)) if k not in image_faults])
    captions = [" ".join(row.caption.split()) for row in rows]
    image_of = np.repeat(np.arange(len(firsts)), [len(found) for found in by_image.values()])
    return make_split(name, images, captions, image_of, [row.where for row in rows], image_faults, skip_bad)


SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def load_karpathy(
    source: str | Path, *, skip_bad: bool = False, images: str | Path | None = None, size: Side = SIZE
) -> RetrievalData:
    """Read the captions in a JSON file; the photographs in the folder ``images`` are decoded when they are needed,
    ``size`` wide.

    ``skip_bad`` leaves out, with a `DataWarning` that counts them, images of an unknown split or with a path that leads
    out of the folder, those without a path, a file or a caption or that cannot be decoded, and captions that are empty
    or not in UTF-8; each image is decoded once for that.
    """
    path = Path(source)
    folder = path.parent if images is None else Path(images)
    try:
        found = json.loads(read_bytes(path).decode("utf-8-sig", errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: got a file that is no JSON: {error}") from error
    entries = found.get("images") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: got JSON without a list "images" but expected Karpathy\'s layout')
    rows, faults = read_rows(path, enumerate(entries), lambda entry: _rows(folder, entry), skip_bad)
    return data_of_rows(path.stem, folder, rows, faults, size, skip_bad)


def _rows(folder: Path, entry: object) -> Iterator[tuple[str, str, str]]:
    if not isinstance(entry, dict):
        raise DataError(f"image: got {entry!r} but expected an object")
    split, name, place = entry.get("split"), entry.get("filename"), entry.get("filepath", "")
    sentences = entry.get("sentences")
    if not isinstance(split, str) or split not in SPLITS:
        raise BadRow(f"split: got {split!r} but expected one of {', '.join(SPLITS)}")
    if not isinstance(name, str) or not isinstance(place, str):
        raise DataError(f"filename: got {name if isinstance(place, str) else place!r} but expected a path in text")
    if not isinstance(sentences, list) or not sentences:
        kind = BadRow if sentences == [] else DataError
        raise kind(f"sentences: got {sentences!r} but expected a list of captions")
    image = path_inside(folder, f"{place}/{name}" if place and name else name)
    for sentence in sentences:
        if not isinstance(sentence, dict) or not isinstance(sentence.get("raw"), str):
            raise DataError(f'sentences: got {sentence!r} but expected objects with the caption in "raw"')
        yield SPLITS[split], image, sentence["raw"]
