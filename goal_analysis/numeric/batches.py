"""Batches that verification runs on: random ones, real ones, and the corners where losses break."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches

DIM, DIM_OF_VIEWS = 8, 32  # of the made-up embeddings, and of those of features


@dataclass(frozen=True, eq=False)
class Batch:
    """Two sets of unit embeddings and which of them match."""

    name: str
    rows: Float[Tensor, "rows dim"]
    columns: Float[Tensor, "columns dim"]
    matches: Matches
    one_set: bool = False  # rows and columns are the same embeddings; never with proxies


def _random(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, DIM, generator=generator, dtype=torch.float64))


def _six_pairs_but_the_first(matches_all: bool, seed: int) -> Batch:
    positives = torch.eye(6, dtype=torch.bool)
    positives[0] = matches_all
    name = f"anchor without {'negatives' if matches_all else 'positives'}"
    return Batch(name, _random(6, seed), _random(6, seed + 1), Matches(positives, ~positives))


_set, _one = _random(12, 7), torch.eye(DIM, dtype=torch.float64)[0]
_alternating = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[:, None] * _one
_near, _nearer = (normalize(_random(1, 8) + 1e-2 * _random(8, seed)) for seed in (9, 10))
_first_twice, _last_twice = [0, 0, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 6]
_some_images_again = Matches.of_image_ids(torch.tensor([0, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7]))
_one_proxy_of_nobody = Matches.of_classes(torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 4, 4, 4]), 5)
_two_alone_in_their_class = Matches.of_labels(torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4]))

RANDOM_PAIRS = Batch("random pairs", _random(12, 1), _random(12, 2), Matches.of_pairs(12))
SEVERAL_CAPTIONS = Batch("several captions", _random(12, 3), _random(12, 4), _some_images_again)
CLASSES = Batch("classes", _random(12, 5), _random(5, 6), _one_proxy_of_nobody)
ONE_SET_WITH_LABELS = Batch("one set with labels", _set, _set, _two_alone_in_their_class, one_set=True)
IDENTICAL_AND_OPPOSITE = Batch(
    "identical and opposite", _alternating, _alternating.flip(0)[[1, 1, 2, 3, 4, 5]], Matches.of_pairs(6)
)
BATCHES = (
    RANDOM_PAIRS,
    SEVERAL_CAPTIONS,
    CLASSES,
    ONE_SET_WITH_LABELS,
    Batch("nearly equal", _near, _nearer, Matches.of_pairs(8)),
    Batch("all equal", _one.expand(6, DIM), _one.expand(6, DIM), Matches.of_pairs(6)),  # a collapsed model
    Batch("duplicates", _random(8, 11)[_first_twice], _random(8, 12)[_last_twice], Matches.of_pairs(8)),
    Batch("one pair", _random(1, 13), _random(1, 14), Matches.of_pairs(1)),
    _six_pairs_but_the_first(matches_all=True, seed=15),
    _six_pairs_but_the_first(matches_all=False, seed=17),
    IDENTICAL_AND_OPPOSITE,
)
"""The made-up batches of verification."""


def features_batches(directory: str | Path, split: str, batches: int = 3, images: int = 12) -> list[Batch]:
    """Two views of the features of some images as unit embeddings, one row a caption where captions exist.

    A view of a row is the mean of its regions, or its features, with random weights, through one random linear map of
    features standardised over the batch. ``directory`` has the VSE++ layout; errors name the file and the row. At most
    ``batches`` of at least two ``images`` are spread over the split.
    """
    file = Path(directory) / f"{split}_ims.npy"
    if not file.is_file():
        raise FileNotFoundError(f"features: got no file {file} but expected the features of split {split!r}")
    stored = _stored(file)
    if min(images, len(stored)) < 2:
        raise ValueError(f"{file}: got {min(images, len(stored))} images but expected at least 2, which have a mean")
    each = _captions_per_image(file.with_name(f"{split}_caps.txt"), len(stored))
    found = []
    for first in sorted({int(start) for start in np.linspace(0, max(len(stored) - images, 0), batches)}):
        standardised = _standardised(stored[first : first + images], file, first)
        ids = torch.arange(len(standardised)).repeat_interleave(each)
        name = f"{Path(directory).name} {split}" + (f" from row {first}" if first else "")
        rows, columns = _two_views(standardised[ids])
        found.append(Batch(name, rows, columns, Matches.of_image_ids(ids)))
    return found


def _stored(file: Path) -> np.ndarray:
    # The file may be larger than the memory: only the rows that are taken are read.
    try:
        stored = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file}: got no NumPy array but expected one: {error}") from error
    if stored.ndim not in (2, 3) or stored.dtype.kind != "f" or not stored[:1].size:
        raise ValueError(
            f"{file}: got {stored.dtype} of shape {stored.shape} but expected floats of shape "
            "(images, features) or (images, regions, features)"
        )
    return stored


def _captions_per_image(file: Path, images: int) -> int:
    if not file.is_file():
        return 1
    with file.open("rb") as lines:
        captions = list(lines)
    for row, line in enumerate(captions):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: row {row}: got {error} but expected captions in UTF-8") from error
    if not captions or len(captions) % images:
        raise ValueError(f"{file}: got {len(captions)} captions but expected a multiple of the {images} images")
    return len(captions) // images


def _standardised(stored: np.ndarray, file: Path, first: int) -> Tensor:
    features = torch.from_numpy(stored.astype(np.float32)).double()
    spread, mean = torch.std_mean(features.flatten(0, -2), 0, correction=0)
    # What does not vary differs from its mean by rounding alone, which is no direction.
    varies = spread > 1e-9 * features.abs().max()
    standardised = torch.where(varies, (features - mean) / spread.clamp(min=1e-6), 0.0)
    unlike = "the mean of the images taken but expected features that differ"
    not_finite = "a value that is not finite but expected finite features"
    for fine, said in ((features.isfinite().flatten(1).all(1), not_finite), (standardised.flatten(1).any(1), unlike)):
        if not fine.all():
            raise ValueError(f"{file}: row {first + int(fine.int().argmin())}: got {said}")
    return standardised


def _two_views(features: Tensor) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    through = torch.randn(features.shape[-1], DIM_OF_VIEWS, generator=generator, dtype=features.dtype)
    for _ in range(2):
        weights = torch.rand(features.shape[:2], generator=generator, dtype=features.dtype)
        weighted = features * weights if features.ndim == 2 else (features * weights.unsqueeze(-1)).mean(1)
        yield normalize(weighted @ through)
