"""Features of pictures in the layout of VSE++, made in batches; an interrupted call goes on where it was."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.lib import format as npy
from PIL import Image
from torch import Tensor

from goal_analysis.declarations import read_file
from goal_analysis.files import json_value, name_for_good, names_file, write_json, write_through, write_whole
from goal_analysis.vse.data.pictures import StoredImages
from goal_analysis.vse.data.precomp import open_features
from goal_analysis.vse.data.split import ChosenImages, DataError, Images, Split, pieces
from goal_analysis.vse.models.encoders.networks import Network, Regions

RECORD = "features.json"


def extract_features(
    splits: Mapping[str, Split],
    network: Network,
    folder: Path,
    record: Mapping[str, Any],
    regions: Regions = None,
    batch: int = 64,
    report: Callable[[str, int, int], None] = lambda split, done, images: None,
) -> None:
    """Write ``{split}_ims.npy``, and ``_caps.txt``, ``_ids.txt`` and ``_keys.txt`` of every split, and the record, to a
    folder. What was begun there is gone on with; another record, or images that are no pictures, are a DataError.
    """
    whole = json_value({**record, "data": {name: split.fingerprint() for name, split in splits.items()}})
    path = folder / RECORD
    before = read_file(path) if path.exists() else whole
    for file in () if path.exists() else sorted(folder.glob("*_ims.npy")):
        raise DataError(f"{file}: got a file without {RECORD} beside it but expected another folder")
    if before != whole:
        key = next(key for key in (*whole, *before) if whole.get(key) != before.get(key))
        given = f"{path}: got {key} {str(whole.get(key))[:80]}"
        raise DataError(f"{given} but expected {str(before.get(key))[:80]}, as was begun; choose another folder")
    for name, split in splits.items():
        if len(split.images.shape) != 4:
            given = f"{name}: got images of shape {split.images.shape[1:]}"
            raise DataError(f"{given} but expected pictures, (3, height, width)")
    write_json(path, whole)
    with ThreadPoolExecutor() as pool:
        for name, split in splits.items():
            count, begun, final = len(split.images), folder / f".{name}_ims.npy", folder / f"{name}_ims.npy"
            done = 0
            with suppress(DataError):  # nothing is begun
                done = len(open_features(begun)[0])
            first = count if final.is_file() else max(0, (done // batch - 1) * batch)  # the last batch may be zeros
            for rows in pieces(np.arange(first, count), batch):
                prepared = pool.map(network.prepare, pool.map(partial(_picture, split.images), rows.tolist()))
                _append(begun, network.features(list(prepared), regions), int(rows[0]), count)
                report(name, int(rows[-1]) + 1, count)
            alike = np.unique(np.bincount(split.image_of)).tolist() in ([1], [5])
            names = split.names or tuple(str(row) for row in range(count))
            ids = names if alike else [names[row] for row in split.image_of.tolist()]
            for kind, lines in (("caps", split.captions), ("ids", ids), ("keys", split.keys)):
                if lines:
                    write_whole(folder / f"{name}_{kind}.txt", "\n".join(lines) + "\n")
            if begun.exists():
                name_for_good(begun, final)


def _append(path: Path, features: Float32[Tensor, "batch ..."], first: int, count: int) -> None:
    """Write rows behind the first ones of an array in a file, which is to have so many."""
    stored = features.numpy().astype("<f4")
    with names_file(path), path.open("r+b" if first else "wb") as file:
        shape = (count, *stored.shape[1:])
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.truncate(file.seek(first * stored[0].nbytes, os.SEEK_CUR))
        write_through(file, stored.tobytes())


def _picture(images: Images, row: int) -> Image.Image:
    """A picture as large as it is, where images are files or columns."""
    while isinstance(images, ChosenImages):
        images, row = images.images, int(images.rows[row])
    if isinstance(images, StoredImages):
        return images.open(row)
    pixels = images.batch(np.array([row]))[0].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
