"""Pictures to features in the layout of VSE++, in batches; what is interrupted goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from goal_analysis.files import json_value, write_json, write_whole
from goal_analysis.vse.data.pictures import StoredImages
from goal_analysis.vse.data.split import DataError, Images, Split, pieces
from goal_analysis.vse.models.encoders.networks import Network, Regions

RECORD = "features.json"
DONE = "done"  # of a split that is being made, how many rows are


def extract_features(
    splits: Mapping[str, Split],
    network: Network,
    folder: Path,
    record: Mapping[str, Any],
    regions: Regions = None,
    batch: int = 64,
    report: Callable[[str, int, int], None] = lambda split, done, images: None,
) -> None:
    """Write ``{split}_ims.npy``, ``_caps.txt`` and ``_ids.txt`` of every split, and the record, to a folder.

    The ids are the names of the images, one an image; or one a caption where images do not have five captions or one
    each. A folder in which the same was begun is gone on with; one of another record, or images that are no pictures,
    are a DataError.
    """
    whole = json_value({**record, "data": {name: split.fingerprint() for name, split in splits.items()}})
    path = folder / RECORD
    before = json.loads(path.read_text("utf-8")) if path.exists() else whole
    if before != whole:
        key = next(key for key in (*whole, *before) if whole.get(key) != before.get(key))
        given = f"{path}: got {key} {str(whole.get(key))[:80]}"
        raise DataError(f"{given} but expected {str(before.get(key))[:80]}, as was begun; choose another folder")
    for name, split in splits.items():
        if len(split.images.shape) != 4:
            given = f"{name}: got images of shape {split.images.shape[1:]}"
            raise DataError(f"{given} but expected pictures, (3, height, width)")
    write_json(path, whole)
    for name, split in splits.items():
        _extract(split, network, folder, name, regions, batch, lambda done, of, name=name: report(name, done, of))


def _extract(
    split: Split,
    network: Network,
    folder: Path,
    name: str,
    regions: Regions,
    batch: int,
    report: Callable[[int, int], None],
) -> None:
    final, begun, done_file = (folder / f"{name}_ims.npy", folder / f".{name}_ims.npy", folder / f".{name}_{DONE}.json")
    count = len(split.images)
    done = json.loads(done_file.read_text("utf-8"))[DONE] if begun.exists() and done_file.exists() else 0
    with ThreadPoolExecutor() as pool:
        for rows in pieces(np.arange(count if final.exists() else done, count), batch):
            made = network.features(
                list(pool.map(lambda r: network.prepare(_picture(split.images, r)), rows.tolist())), regions
            )
            shape = (count, *made.shape[1:])
            mode = "r+" if rows[0] else "w+"
            kept = np.lib.format.open_memmap(begun, mode=mode, dtype=np.float32, shape=shape if mode == "w+" else None)
            kept[rows] = made.numpy()
            kept.flush()
            write_json(done_file, {DONE: int(rows[-1]) + 1})
            report(int(rows[-1]) + 1, count)
    each = np.bincount(split.image_of)
    alike = len(set(each.tolist())) == 1 and each[0] in (1, 5)
    names = split.names or tuple(str(row) for row in range(count))
    ids = names if alike else [names[row] for row in split.image_of.tolist()]
    for kind, lines in (("caps", split.captions), ("ids", ids)):
        write_whole(folder / f"{name}_{kind}.txt", "\n".join(lines) + "\n")
    if begun.exists():
        os.replace(begun, final)
    done_file.unlink(missing_ok=True)


def _picture(images: Images, row: int) -> Image.Image:
    """A picture as large as it is, where images are files or columns."""
    inner, place = getattr(images, "images", images), int(getattr(images, "rows", {row: row})[row])
    if isinstance(inner, StoredImages):
        return inner.open(place)
    pixels = images.batch(np.array([row]))[0].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
