"""Photographs with the split and the captions that Karpathy's JSON files give them.

``{"images": [{"filename", "filepath", "split", "sentences": [{"raw"}]}]}``; the splits are train, restval (which joins
train), val and test.

"Deep Visual-Semantic Alignments for Generating Image Descriptions" (Karpathy and Fei-Fei, 2015,
https://arxiv.org/abs/1412.2306).
"""

from __future__ import annotations

import json
from pathlib import Path

from goal_analysis.vse.data.faults import Fault, whole_file
from goal_analysis.vse.data.pictures import SIZE
from goal_analysis.vse.data.rows import Row, data_of_rows, named_image, without_faults
from goal_analysis.vse.data.split import DataError, RetrievalData

SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def load_karpathy(
    path: Path, skip_bad: bool = False, images: str | Path | None = None, size: int = SIZE
) -> RetrievalData:
    """Read the captions; the photographs are decoded when they are needed.

    Args:
        path: of the JSON file.
        skip_bad: leave out, with a `DataWarning` that counts them, images of an unknown split or with a path that
            leads out of the folder, those without a path, a file or a caption or that cannot be decoded, and captions
            that are empty or not in UTF-8; each image is decoded once for that.
        images: the folder of the photographs; by default the one of the JSON file.
        size: the side of the pictures in pixels.

    Raises:
        DataError: no JSON of this kind, an image in two splits, none in train or dev, or, unless ``skip_bad``, a bad
            row.
    """
    folder = path.parent if images is None else Path(images)
    try:
        found = json.loads(whole_file(path).decode("utf-8-sig", errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: got a file that is no JSON: {error}") from error
    entries = found.get("images") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: got JSON without a list "images" but expected Karpathy\'s layout')
    found = (_rows(path, folder, number, entry) for number, entry in enumerate(entries))
    fine, faults = without_faults(str(path), found, skip_bad)
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
    image = named_image(folder, f"{place}/{name}" if place else name, str(path), number)
    if isinstance(image, Fault):
        return image
    found = []
    for sentence in sentences:
        raw = sentence.get("raw") if isinstance(sentence, dict) else None
        if not isinstance(raw, str):
            raise wrong("sentences", 'objects with the caption in "raw"', sentence)
        found.append(Row(SPLITS[split], image, raw, str(path), number))
    return found
