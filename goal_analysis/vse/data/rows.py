"""Data sets that come as rows, each with the path of an image and a caption of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from goal_analysis.vse.data.pictures import SIZE, PictureFiles, find_undecodable, path_inside
from goal_analysis.vse.data.split import (
    DataError,
    DataWarning,
    Fault,
    RetrievalData,
    Split,
    is_text,
    make_split,
    read_bytes,
)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Row:
    """An image, and a caption of it."""

    split: str
    image: str
    caption: str
    source: str
    number: int


def find_image(folder: Path, name: str, source: str, number: int) -> str | Fault:
    """The path of an image inside of its folder, or what is wrong with a name that no file has or that leads out."""
    if not name or "\0" in name or not is_text(name):
        return Fault(source, number, f"got the path {name!r} but expected that of an image, in UTF-8")
    try:
        return path_inside(folder, name)
    except DataError as problem:
        return Fault(source, number, str(problem))


def drop_faults(source: str, rows: Iterable[Found | Fault], skip_bad: bool) -> tuple[list[Found], list[Fault]]:
    """The rows that are not faulty, and what is wrong with those that ``skip_bad`` leaves out, with a `DataWarning`
    that counts them.

    Unless ``skip_bad``, the first fault is a DataError, as it is where every row is faulty.
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

    ``skip_bad`` leaves out bad rows, and images without a file or that cannot be decoded: all are, once, for that. An
    image in two splits, or no rows of train or dev, is a DataError.
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
        image_faults |= find_undecodable(images.read, [k for k in range(len(images)) if k not in image_faults])
    return make_split(name, images, captions, image_of, caption_faults, image_faults, skip_bad)


def _wrong_with(caption: str) -> str | None:
    if not caption:
        return "an empty caption"
    return None if is_text(caption) else f"{caption[:40]!r}, which is not in UTF-8,"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def load_karpathy(
    source: str | Path, *, skip_bad: bool = False, images: str | Path | None = None, size: int = SIZE
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
    found = (_rows(path, folder, number, entry) for number, entry in enumerate(entries))
    fine, faults = drop_faults(str(path), found, skip_bad)
    return data_of_rows(path.stem, folder, [row for of_entry in fine for row in of_entry], faults, size, skip_bad)


def _rows(path: Path, folder: Path, number: int, entry: object) -> list[Row] | Fault:
    def fault(field: str, expected: str, got: object) -> Fault:
        return Fault(str(path), number, f"{field}: got {got!r} but expected {expected}")

    def wrong(field: str, expected: str, got: object) -> DataError:
        return DataError(str(fault(field, expected, got)))

    if not isinstance(entry, dict):
        raise wrong("image", "an object", entry)
    split = entry.get("split")
    if not isinstance(split, str) or split not in SPLITS:
        return fault("split", f"one of {', '.join(SPLITS)}", split)
    name, place = entry.get("filename"), entry.get("filepath", "")
    if not isinstance(name, str) or not isinstance(place, str):
        raise wrong("filename", "a path in text", name if isinstance(place, str) else place)
    sentences = entry.get("sentences")
    if not isinstance(sentences, list):
        raise wrong("sentences", "a list of captions", sentences)
    if not sentences:
        return fault("sentences", "a list of captions", sentences)
    if not name:
        return fault("filename", "a path in text", name)
    image = find_image(folder, f"{place}/{name}" if place else name, str(path), number)
    if isinstance(image, Fault):
        return image
    found = []
    for sentence in sentences:
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        if not isinstance(raw, str):
            raise wrong("sentences", 'objects with the caption in "raw"', sentence)
        found.append(Row(SPLITS[split], image, raw, str(path), number))
    return found
