"""Trains on a sparse ``.npy`` of 33 GB, the size of COCO's published region features, and measures the memory.

    python benchmarks/large_features.py [FOLDER]

The file takes no room on the disk, for its zeros are not stored: only its first rows are written. It prints a line of
JSON with the most memory that the process had, in bytes, and ends with 1 if that is above the limit of 2 GB.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from numpy.lib import format as npy

from goal_analysis.api.objectives import objective as trained_objective
from goal_analysis.declarations import with_settings
from goal_analysis.vse.data import load
from goal_analysis.vse.folder.run import run_experiment
from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset

IMAGES, REGIONS, FEATURES = 113_287, 36, 2048
"""As COCO's training split has them, in float32."""

LIMIT = 2 * 10**9
BATCH = 128
# Images of zeros are all alike, which training would stop at.
SETTINGS = (
    "training.on_trouble=continue",
    "model.image.dim=64",
    "training.epochs=1",
    f"training.batch_size={BATCH}",
    "training.log_steps=1",
)


def sparse(path: Path, images: int) -> None:
    """An array file of zeros that takes no room, but for its first and its last rows."""
    with path.open("wb") as file:
        shape = (images, REGIONS, FEATURES)
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        start, width = file.tell(), REGIONS * FEATURES * 4
        rng = np.random.default_rng(0)
        for row in (0, images - 1):
            file.seek(start + row * width)
            file.write(rng.random((REGIONS, FEATURES), dtype=np.float32).tobytes())


def folder_of(where: Path) -> Path:
    """The VSE++ layout with so large a training split, and one caption an image."""
    folder = where / "large_precomp"
    folder.mkdir()
    for split, images in (("train", IMAGES), ("dev", 100)):
        sparse(folder / f"{split}_ims.npy", images)
        lines = (
            f"a {color} dog {row % 7}\n" for row, color in zip(range(images), ["red", "blue"] * images, strict=False)
        )
        (folder / f"{split}_caps.txt").write_text("".join(lines), encoding="utf-8")
    return folder


class Enough(Exception):
    """So many steps are enough."""


def main(where: Path, steps: int = 20) -> int:
    """Train so many steps, and print what was measured; 1 if it is too much."""
    folder = folder_of(where)
    size = (folder / "train_ims.npy").stat().st_size
    stored = (folder / "train_ims.npy").stat().st_blocks * 512
    begun = time.perf_counter()
    data = load(folder)
    experiment = experiment_from_mapping(with_settings({**preset("vse_pp"), "data": {"name": str(folder)}}, SETTINGS))

    def report(record: Mapping[str, object]) -> None:
        nonlocal steps
        steps -= record["kind"] == "step"
        if not steps:
            raise Enough

    try:
        fabric = Fabric(accelerator="cpu", devices=1)
        run_experiment(experiment, trained_objective("nca/constant"), data, where / "run", fabric, report=report)
    except Enough:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {
        "file_bytes": size,
        "bytes_on_disk": stored,
        "most_memory_bytes": most,
        "limit_bytes": LIMIT,
        "seconds": round(time.perf_counter() - begun, 1),
    }
    print(json.dumps(found))
    return int(most > LIMIT)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        raise SystemExit(main(Path(made)))
