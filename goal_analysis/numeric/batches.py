"""Batches that verification runs on: random ones, real ones, and the corners where losses break."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.matches import Matches

DIM = 8  # of the made-up embeddings


@dataclass(frozen=True, eq=False)
class Batch:
    """Two sets of embeddings and which of them match.

    Args:
        name: how tables call it.
        rows: unit embeddings of the rows of the score matrix, shape ``(rows, dim)``, float64.
        columns: unit embeddings of its columns, shape ``(columns, dim)``, float64.
        matches: which pairs are positives and which negatives.
        one_set: whether rows and columns are the same embeddings, which never happens with proxies.
    """

    name: str
    rows: Float[Tensor, "rows dim"]
    columns: Float[Tensor, "columns dim"]
    matches: Matches
    one_set: bool = False


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


def _random(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return _unit(torch.randn(n, DIM, generator=generator, dtype=torch.float64))


def _six_pairs_but_the_first(matches_all: bool, seed: int) -> Batch:
    positives = torch.eye(6, dtype=torch.bool)
    positives[0] = matches_all
    name = f"anchor without {'negatives' if matches_all else 'positives'}"
    return Batch(name, _random(6, seed), _random(6, seed + 1), Matches(positives, ~positives))


def _twice(x: Tensor, place: int, other: int) -> Tensor:
    x[place] = x[other]
    return x


_set, _one = _random(12, 7), torch.eye(DIM, dtype=torch.float64)[0]
_signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:, None]
_near, _nearer = (_unit(_random(1, 8) + 1e-2 * _random(8, seed)) for seed in (9, 10))

RANDOM_PAIRS = Batch("random pairs", _random(12, 1), _random(12, 2), Matches.of_pairs(12))
SEVERAL_CAPTIONS = Batch(
    "several captions",  # some images occur more than once
    _random(12, 3),
    _random(12, 4),
    Matches.of_image_ids(torch.tensor([0, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7])),
)
CLASSES = Batch(
    "classes",  # five proxies, one of which is of no embedding's class
    _random(12, 5),
    _random(5, 6),
    Matches.of_classes(torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 4, 4, 4]), 5),
)
ONE_SET_WITH_LABELS = Batch(
    "one set with labels",  # the classes of two have no other member
    _set,
    _set,
    Matches.of_labels(torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4])),
    one_set=True,
)
IDENTICAL_AND_OPPOSITE = Batch(
    "identical and opposite", _signs * _one, _twice(_signs.flip(0) * _one, 0, 1), Matches.of_pairs(6)
)
BATCHES = (
    RANDOM_PAIRS,
    SEVERAL_CAPTIONS,
    CLASSES,
    ONE_SET_WITH_LABELS,
    Batch("nearly equal", _near, _nearer, Matches.of_pairs(8)),
    Batch("all equal", _one.expand(6, DIM), _one.expand(6, DIM), Matches.of_pairs(6)),  # a collapsed model
    Batch("duplicates", _twice(_random(8, 11), 1, 0), _twice(_random(8, 12), -1, -2), Matches.of_pairs(8)),
    Batch("one pair", _random(1, 13), _random(1, 14), Matches.of_pairs(1)),
    _six_pairs_but_the_first(matches_all=True, seed=15),
    _six_pairs_but_the_first(matches_all=False, seed=17),
    IDENTICAL_AND_OPPOSITE,
)
"""The made-up batches of verification."""


def features_batches(directory: str | Path, split: str, batches: int = 3, images: int = 12) -> list[Batch]:
    """Up to ``batches`` batches of ``images`` images from places spread over a split; `features_batch` makes each."""
    every = len(_stored(_features_file(directory, split), 2))
    images = min(images, every)
    starts = sorted({int(start) for start in np.linspace(0, every - images, batches)})
    return [features_batch(directory, split, images, first=start) for start in starts]


def features_batch(
    directory: str | Path, split: str, images: int = 6, dim: int = 32, seed: int = 0, first: int = 0
) -> Batch:
    """Two views of the features of some images as unit embeddings, one row a caption where captions exist.

    A view of a row is the mean of the image's regions with random weights, or its features times random weights,
    through one random linear map. The features are standardised over the rows that are taken.

    Args:
        directory: holds ``{split}_ims.npy`` of shape ``(images, features)`` or ``(images, regions, features)``, and,
            where captions exist, ``{split}_caps.txt`` with as many lines for one image as for another.
        split: such as ``"dev"``.
        images: how many are taken, at least two, from ``first`` on.
        dim: dimensions of the embeddings.
        seed: of the weights and the map.
        first: the first image.

    Raises:
        FileNotFoundError, ValueError: naming the file, and the row where there is one.
    """
    file = _features_file(directory, split)
    if images < 2:
        raise ValueError(
            f"{file}: images: got {images} but expected at least 2: one alone does not differ from the mean"
        )
    stored = _stored(file, first + images)
    taken = stored[first : first + images].astype(np.float32)
    for row, of_image in enumerate(taken, first):
        if not np.isfinite(of_image).all():
            raise ValueError(f"{file}: row {row}: got a value that is not finite but expected finite features")
    every = _captions_per_image(file.with_name(f"{split}_caps.txt"), stored.shape[0])
    ids = torch.arange(images).repeat_interleave(every)
    features = torch.from_numpy(taken).double()
    spread, mean = torch.std_mean(features.flatten(0, -2), 0, correction=0)
    # What does not vary differs from its mean by rounding alone, which is no direction.
    varies = spread > 1e-9 * features.abs().max()
    standardised = torch.where(varies, (features - mean) / spread.clamp(min=1e-6), 0.0)
    for row, of_image in enumerate(standardised, first):
        if not of_image.any():
            raise ValueError(f"{file}: row {row}: got the mean of the images taken but expected features that differ")
    generator = torch.Generator().manual_seed(seed)
    through = torch.randn(standardised.shape[-1], dim, generator=generator, dtype=torch.float64)
    rows, columns = (_unit(_weighted(standardised[ids], generator) @ through) for _ in range(2))
    name = f"{Path(directory).name} {split}" + (f" from row {first}" if first else "")
    return Batch(name, rows, columns, Matches.of_image_ids(ids))


def _features_file(directory: str | Path, split: str) -> Path:
    file = Path(directory) / f"{split}_ims.npy"
    if not file.is_file():
        raise FileNotFoundError(f"features: got no file {file} but expected the features of split {split!r}")
    return file


def _stored(file: Path, images: int) -> np.ndarray:
    with file.open("rb") as opened:
        beginning = opened.read(len(np.lib.format.MAGIC_PREFIX))
    if beginning != np.lib.format.MAGIC_PREFIX:
        raise ValueError(f"{file}: got a file that begins with {beginning!r} but expected one NumPy array")
    # The file may be larger than the memory: only the rows that are taken are read.
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file}: {error}") from error
    if stored.ndim not in (2, 3) or stored.shape[0] < images or stored.dtype.kind != "f" or not stored[0].size:
        raise ValueError(
            f"{file}: got {stored.dtype} of shape {stored.shape} but expected floats of shape "
            f"(images, features) or (images, regions, features) with at least {images} images"
        )
    return stored


def _captions_per_image(file: Path, images: int) -> int:
    if not file.is_file():
        return 1
    captions = 0
    with file.open("rb") as lines:
        for row, line in enumerate(lines):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"{file}: row {row}: got {error} but expected captions in UTF-8") from error
            captions += 1
    if not captions or captions % images:
        raise ValueError(f"{file}: got {captions} captions but expected a multiple of the {images} images")
    return captions // images


def _weighted(features: Tensor, generator: torch.Generator) -> Tensor:
    weights = torch.rand(features.shape[:2], generator=generator, dtype=features.dtype)
    return features * weights if features.ndim == 2 else (features * weights.unsqueeze(-1)).mean(1)
