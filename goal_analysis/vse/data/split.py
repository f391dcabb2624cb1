"""Images with their captions: a split, and the splits of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from goal_analysis.vse.data.images import ArrayImages, ChosenImages, DataError, DataWarning, Images, digest
from goal_analysis.vse.data.standardization import statistics

__all__ = ["DataError", "DataWarning", "Images", "ArrayImages", "ChosenImages", "Split", "RetrievalData", "statistics"]


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their captions.

    Args:
        name: ``train``, ``dev``, ``test`` or ``testall``.
        images: all images.
        captions: those of all images, in the order of the images; none is empty.
        image_of: shape ``(captions,)``; the row of the image that each caption describes, never decreasing.

    Raises:
        DataError: captions and images do not fit together, with the first row that does not.
    """

    name: str
    images: Images
    captions: tuple[str, ...]
    image_of: Int64[np.ndarray, " captions"]

    def __post_init__(self) -> None:
        if len(self.captions) != len(self.image_of):
            raise DataError(f"{self.name}: got {len(self.captions)} captions of {len(self.image_of)} images' rows")
        if not self.captions:
            raise DataError(f"{self.name}: got no captions but expected at least one")
        for row, caption in enumerate(self.captions):
            if not caption.strip():
                raise DataError(f"{self.name}: caption {row}: got an empty line but expected words")
        # The first image first, then the same or the next one up to the last: all of them, and in order.
        steps = np.diff(self.image_of, prepend=-1)
        wrong = [*np.flatnonzero((steps < 0) | (steps > 1)), *np.flatnonzero(steps[:1] != 1)]
        if wrong:
            row = int(wrong[0])
            raise DataError(
                f"{self.name}: caption {row}: got image {self.image_of[row]} "
                f"after image {self.image_of[row] - steps[row]} "
                "but expected the same or the next one, beginning at image 0"
            )
        if self.image_of[-1] != len(self.images) - 1:
            raise DataError(
                f"{self.name}: got captions of {self.image_of[-1] + 1} images "
                f"but expected captions of all {len(self.images)} images"
            )

    def __len__(self) -> int:
        """How many captions there are, which is how many pairs."""
        return len(self.captions)

    def subset(self, images: Sequence[int] | Integer[np.ndarray, " chosen"], captions: int | None = None) -> Split:
        """These images, in this order, with all their captions or the first of them.

        Args:
            images: their rows.
            captions: so many of each at most, 1 or more.

        Raises:
            DataError: a row that is not there, or the same row twice.
        """
        rows = np.asarray(images, dtype=np.int64)
        for row in rows[(rows < 0) | (rows >= len(self.images))]:
            raise DataError(f"{self.name}: got image {row} but expected a row below {len(self.images)}")
        if len(np.unique(rows)) != len(rows):
            raise DataError(f"{self.name}: got an image twice but expected every image once")
        first = np.searchsorted(self.image_of, rows, side="left")
        last = np.searchsorted(self.image_of, rows, side="right")
        if captions is not None:
            last = np.minimum(last, first + captions)
        kept = tuple(self.captions[i] for a, b in zip(first, last, strict=True) for i in range(a, b))
        image_of = np.repeat(np.arange(len(rows)), last - first)
        return Split(self.name, ChosenImages(self.images, rows), kept, image_of)

    def fingerprint(self) -> str:
        """A hash of images and captions."""
        captions = "\n".join(self.captions).encode("utf-8", "surrogatepass")
        return digest(self.name, self.images.fingerprint(), captions, self.image_of.tobytes())


@dataclass(frozen=True, eq=False)
class RetrievalData:
    """What a model is trained on, chosen by, and measured on.

    Args:
        name: what the data set is called.
        train: to learn from.
        dev: to choose by.
        test: to measure on; None where there is none.

    Raises:
        DataError: the images of the splits differ in shape.
    """

    name: str
    train: Split
    dev: Split
    test: Split | None = None

    def __post_init__(self) -> None:
        for split in self.splits()[1:]:
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(
                    f"{self.name}: got {split.name} images of shape {split.images.shape[1:]} "
                    f"but expected {self.train.images.shape[1:]} as in train"
                )

    def splits(self) -> tuple[Split, ...]:
        """Those that are there."""
        return tuple(split for split in (self.train, self.dev, self.test) if split is not None)

    def fingerprint(self) -> str:
        """A hash of the images and captions of all splits."""
        return digest(*(split.fingerprint() for split in self.splits()))
