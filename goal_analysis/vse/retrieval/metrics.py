"""Retrieval measured: the ranks of what is right, and Recall@K, median and mean rank of them.

Both ways are measured: of every image the captions are ranked, and of every caption the images. An image's rank is that
of its best-placed caption, so that Recall@K from images is the hit rate "any of the image's captions among the first
K", as the literature has it. Ties count against the model: what is wrong and as similar as what is right stands before
it, so a model that gives every pair one score does not look perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TILE = 512
"""Images whose scores with all captions are in memory at a time."""

CUTOFFS = (1, 5, 10)
"""The K of Recall@K."""

DIGITS = 10
"""Decimals that a percentage keeps: a count's has fewer, and what a float adds to them is no measurement."""

Scores = Callable[[slice], Tensor]
"""The scores of these images (rows) with all captions (columns); the same numbers whenever it is asked."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where what is right stands, the first place being 1.

    Args:
        of_captions: shape ``(images,)``; queries are images: the place of the best-placed of its captions among all.
        of_images: shape ``(captions,)``; queries are captions: the place of its image among all images.
    """

    of_captions: np.ndarray
    of_images: np.ndarray


@dataclass(frozen=True)
class RetrievalMetrics:
    """Recall@K in percent both ways, their sum, and median and mean ranks.

    Args:
        i2t: Recall@1, 5 and 10 with images as queries.
        t2i: Recall@1, 5 and 10 with captions as queries.
        median_ranks: with images, then with captions as queries.
        mean_ranks: likewise.
    """

    i2t: tuple[float, ...]
    t2i: tuple[float, ...]
    median_ranks: tuple[float, float]
    mean_ranks: tuple[float, float]

    @property
    def rsum(self) -> float:
        """RSUM, the sum of the six recalls, from 0 to 600."""
        return round(sum(self.i2t) + sum(self.t2i), DIGITS)

    def record(self) -> dict[str, float]:
        """The numbers by name: ``i2t_r1`` … ``t2i_r10``, ``rsum``, and ranks such as ``i2t_median_rank``."""
        found = {f"{way}_r{k}": r for way in ("i2t", "t2i") for k, r in zip(CUTOFFS, getattr(self, way), strict=True)}
        found["rsum"] = self.rsum
        for name in ("median", "mean"):
            for way, rank in zip(("i2t", "t2i"), getattr(self, f"{name}_ranks"), strict=True):
                found[f"{way}_{name}_rank"] = rank
        return found


def ranks(scores: Scores, image_of: np.ndarray, images: int, tile: int = TILE) -> Ranks:
    """The ranks of all images and captions, from scores that are made in strips and never held together.

    Every strip is asked for twice: for the scores of what is right, and to count what stands before it.

    Args:
        scores: gives the scores of a slice of the images with all captions, shape ``(strip, captions)``.
        image_of: the image of every caption, shape ``(captions,)``.
        images: how many there are.
        tile: how many images a strip has.

    Raises:
        ValueError: a score that is NaN, or an image without a caption.

    >>> found = ranks(lambda rows: torch.eye(2)[rows], np.array([0, 1]), 2)
    >>> found.of_captions, found.of_images
    (array([1, 1]), array([1, 1]))
    """
    described = np.bincount(image_of, minlength=images)
    if len(described) != images or (described == 0).any():
        missing = np.flatnonzero(described == 0)[:1]
        raise ValueError(f"ranks: got image {missing} without a caption but expected one at least for {images} images")
    of = torch.as_tensor(image_of)
    captions = torch.arange(len(of))
    right = torch.empty(len(of))
    best = torch.full((images,), -torch.inf)
    for rows in _strips(images, tile):
        strip = _checked(scores(rows), rows, len(of))
        here = (of >= rows.start) & (of < rows.stop)
        right = right.to(strip.dtype)
        right[here] = strip[of[here] - rows.start, captions[here]]
    best = best.to(right.dtype).scatter_reduce(0, of, right, "amax")
    of_captions, of_images = torch.ones(images, dtype=torch.int64), torch.ones(len(of), dtype=torch.int64)
    for rows in _strips(images, tile):
        strip = scores(rows).detach().cpu()
        wrong = of[None, :] != torch.arange(rows.start, rows.stop)[:, None]
        of_captions[rows] += ((strip >= best[rows, None]) & wrong).sum(1)
        of_images += ((strip >= right[None, :]) & wrong).sum(0)
    return Ranks(of_captions.numpy(), of_images.numpy())


def ranks_of_embeddings(
    images: Float[Tensor, "images dim"], captions: Float[Tensor, "captions dim"], image_of: np.ndarray, tile: int = TILE
) -> Ranks:
    """The ranks by dot products, in memory of one strip of ``tile`` images."""
    return ranks(lambda rows: images[rows] @ captions.T, image_of, len(images), tile)


def ranks_of_scores(scores: Float[Tensor, "images captions"], image_of: np.ndarray) -> Ranks:
    """The ranks by a matrix of scores."""
    return ranks(lambda rows: scores[rows], image_of, len(scores))


def metrics(found: Ranks) -> RetrievalMetrics:
    """Recall@1, 5 and 10, median and mean ranks.

    >>> metrics(Ranks(np.array([1, 2]), np.array([1, 6]))).rsum
    450.0
    """
    both = (found.of_captions, found.of_images)
    i2t, t2i = (tuple(round(100 * float((ranks <= k).mean()), DIGITS) for k in CUTOFFS) for ranks in both)
    medians, means = ([float(f(ranks)) for ranks in both] for f in (np.median, np.mean))
    return RetrievalMetrics(i2t, t2i, (medians[0], medians[1]), (means[0], means[1]))


def mean_metrics(found: list[RetrievalMetrics]) -> RetrievalMetrics:
    """The mean of every number over folds, as the COCO 1K protocol has it."""

    def mean(name: str) -> tuple[float, ...]:
        return tuple(float(x) for x in np.mean([getattr(one, name) for one in found], axis=0))

    medians, means = mean("median_ranks"), mean("mean_ranks")
    return RetrievalMetrics(mean("i2t"), mean("t2i"), (medians[0], medians[1]), (means[0], means[1]))


def _strips(images: int, tile: int) -> Iterator[slice]:
    return (slice(start, min(start + tile, images)) for start in range(0, images, tile))


def _checked(strip: Tensor, rows: slice, captions: int) -> Tensor:
    strip = strip.detach().cpu()
    if strip.shape != (rows.stop - rows.start, captions):
        raise ValueError(
            f"ranks: got scores of shape {tuple(strip.shape)} for images {rows.start} to {rows.stop} "
            f"but expected {(rows.stop - rows.start, captions)}"
        )
    wrong = strip.isnan().any(1).nonzero()
    if len(wrong):
        raise ValueError(f"ranks: got NaN among the scores of image {rows.start + int(wrong[0])} but expected numbers")
    return strip
