"""Features computed beforehand, in the layout that VSE++ and SCAN published.

``{folder}/{train,dev,test,testall}_{ims.npy,caps.txt,ids.txt}``: the images' features, pooled or of regions; the
captions, one a line; and optionally a number per image. There are either five captions of each image, on consecutive
lines, or as many captions as rows. In the latter case a row is an image of its own, unless the rows come in fives that
are equal (or have one number in ``ids.txt``): then each image stands there five times, as VSE++ published it.

"VSE++: Improving Visual-Semantic Embeddings with Hard Negatives" (Faghri, Fleet, Kiros and Fidler, 2018,
https://arxiv.org/abs/1707.05612); "Stacked Cross Attention for Image-Text Matching" (Lee, Chen, Hua, Hu and He, 2018,
https://arxiv.org/abs/1803.08024).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from goal_analysis.vse.data.faults import Fault, caption_lines, split_without_faults
from goal_analysis.vse.data.feature_file import FeatureFile, open_features
from goal_analysis.vse.data.images import spread
from goal_analysis.vse.data.split import ChosenImages, DataError, RetrievalData, Split

FIVE = 5
SCANNED = 1 << 28
"""Up to how many bytes features are looked through for NaN on opening; of larger files each batch is."""
COMPARED = 20

SPLITS = ("train", "dev", "test", "testall")
"""How the names of the files of a split may begin."""


def load_precomp(folder: Path, skip_bad: bool = False, test: str | None = None) -> RetrievalData:
    """Open the splits of a folder; nothing but captions is loaded.

    Args:
        folder: with ``train_ims.npy``, ``train_caps.txt``, ``dev_ims.npy``, ``dev_caps.txt`` and maybe a test split.
        skip_bad: leave out, with a `DataWarning` that counts them, captions that are empty or not in UTF-8, images with
            numbers that are not finite, and images that a cut-off file lacks. All features are then read once.
        test: which split to measure on; by default ``testall`` if there is one, else ``test`` if there is one.

    Raises:
        DataError: a file is missing, its counts disagree with those of another, or, unless ``skip_bad``, a row is bad.
    """
    if test is None:
        test = next((name for name in ("testall", "test") if name in split_names(folder)), None)
    last = None if test is None else load_split(folder, test, skip_bad)
    return RetrievalData(folder.name, load_split(folder, "train", skip_bad), load_split(folder, "dev", skip_bad), last)


def split_names(folder: Path, test: str | None = None) -> tuple[str, ...]:
    """The splits of which a folder has the images: of `SPLITS`, and of the one called ``test``."""
    names = SPLITS if test is None or test in SPLITS else (*SPLITS, test)
    return tuple(name for name in names if (folder / f"{name}_ims.npy").exists())


def load_split(folder: Path, name: str, skip_bad: bool = False) -> Split:
    """One split of a folder; see `load_precomp`.

    Args:
        folder: where its files are.
        name: how the names of its files begin.
        skip_bad: leave bad rows out.

    Raises:
        DataError: as for `load_precomp`.
    """
    path, text = folder / f"{name}_ims.npy", folder / f"{name}_caps.txt"
    features, promised = open_features(path)
    captions, caption_faults = caption_lines(text)
    ids = _ids(folder / f"{name}_ids.txt", promised, len(captions))
    if len(captions) not in (promised, FIVE * promised):
        raise DataError(
            f"{text}: got {len(captions)} captions but expected {promised} or {FIVE * promised}, "
            f"for {promised} images in {path.name}"
        )
    faults = _image_faults(features, promised, skip_bad)
    image_of = np.arange(len(captions)) // (len(captions) // promised)
    if ids is not None and len(ids) == promised and len(captions) != promised:
        _check_each_once(ids, folder / f"{name}_ids.txt")
    rows = np.arange(promised)
    if len(captions) == promised and _stand_five_times(features, promised, ids, faults):
        rows, image_of = rows[::FIVE], image_of // FIVE
        faults = {row // FIVE: fault for row, fault in sorted(faults.items(), reverse=True)}
    images = features if len(rows) == len(features) else ChosenImages(features, rows)
    return split_without_faults(name, images, captions, image_of, caption_faults, faults, skip_bad)


def _image_faults(features: FeatureFile, promised: int, skip_bad: bool) -> dict[int, Fault]:
    faults = {
        row: Fault(features.path, row, f"got a file that ends before it but expected {promised} rows")
        for row in range(len(features), promised)
    }
    if skip_bad or len(features) * features.width <= SCANNED:
        for row in np.flatnonzero(~features.finite_rows()).tolist():
            faults[row] = Fault(features.path, row, "got a number that is not finite but expected finite numbers")
    return faults


def _ids(path: Path, images: int, captions: int) -> list[str] | None:
    if not path.exists():
        return None
    ids, faults = caption_lines(path)
    for fault in faults.values():
        raise DataError(str(fault).replace("caption", "number"))
    if len(ids) not in (images, captions):
        raise DataError(f"{path}: got {len(ids)} numbers but expected {images}, one an image")
    return ids


def _check_each_once(ids: list[str], path: Path) -> None:
    seen: dict[str, int] = {}
    for row, number in enumerate(ids):
        if seen.setdefault(number, row) != row:
            raise DataError(f"{path}: row {row}: got {number} as in row {seen[number]} but expected every image once")


def _stand_five_times(features: FeatureFile, promised: int, ids: list[str] | None, faults: dict[int, Fault]) -> bool:
    """Whether rows come in fives of one image, by their numbers or, in some faultless fives, by their content."""
    faulty = {row // FIVE for row in faults}
    fives = np.array([k for k in spread(promised // FIVE, COMPARED).tolist() if k not in faulty], dtype=np.int64)
    if promised % FIVE or not len(fives):
        return False
    rows = (fives[:, None] * FIVE + np.arange(FIVE)).ravel()
    found = features.stored(rows).reshape(len(fives), FIVE, -1)
    differ = (found != found[:, :1]).any((1, 2))
    if ids is not None and ids == [ids[row - row % FIVE] for row in range(promised)]:
        for five in fives[differ].tolist():
            raise DataError(
                f"{features.path}: row {five * FIVE}: got five rows with one number in ids.txt that differ "
                "but expected one image five times"
            )
        return True
    # Equal rows everywhere say nothing: those are features that tell no image from another.
    return len(fives) > 1 and not differ.any() and bool((found[:, 0] != found[0, 0]).any())
