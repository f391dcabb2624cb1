"""The ranks of right answers, and their metrics. An image's rank is that of its best-placed right caption. A wrong
answer stands before a right one of the same score, so that a model that gives every pair one score does not look
perfect.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from goal_analysis.extras import import_extra
from goal_analysis.vse.data.answers import Answers

TILE = 512  # images whose scores with all captions are in memory at a time
CUTOFFS = (1, 5, 10)  # the K of Recall@K
RECALLS = tuple(f"{way}_r{k}" for way in ("i2t", "t2i") for k in CUTOFFS)

DIGITS = 10  # decimals of a percentage: that of a count has fewer, and what a float adds is no measurement
COCO_IMAGES, COCO_CAPTIONS = 5000, 25_000
COCO_METRICS = ("eccv_map_at_r", "eccv_rprecision", "eccv_r1", "cxc_recalls")

Scores = Callable[[slice], Tensor]  # of a slice of the images (rows) with all captions (columns)


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks, from 1, of the best right caption of every image, and of the best right image of every caption."""

    of_captions: np.ndarray
    of_images: np.ndarray


Interval = tuple[float, float]


@dataclass(frozen=True)
class RetrievalMetrics:
    """Recall@1, 5 and 10 in percent, median and mean ranks, and the `query_intervals` where they were asked for."""

    i2t: tuple[float, ...]
    t2i: tuple[float, ...]
    median_ranks: tuple[float, float]
    mean_ranks: tuple[float, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def rsum(self) -> float:
        """RSUM, the sum of the six recalls, from 0 to 600."""
        return round(sum(self.i2t) + sum(self.t2i), DIGITS)

    def record(self) -> dict[str, float]:
        """The numbers by name: ``i2t_r1`` … ``t2i_r10``, ``rsum``, and ranks such as ``i2t_median_rank``."""
        found = dict(zip(RECALLS, (*self.i2t, *self.t2i), strict=True))
        of_ranks = {"median": self.median_ranks, "mean": self.mean_ranks}
        places = {f"{way}_{name}_rank": of[k] for name, of in of_ranks.items() for k, way in enumerate(("i2t", "t2i"))}
        return {**found, "rsum": self.rsum, **places}


def ranks(scores: Scores, image_of: np.ndarray, images: int, tile: int = TILE, answers: Answers | None = None) -> Ranks:
    """The ranks of all images and captions, from the scores of shape ``(strip, captions)`` of ``tile`` images at a
    time.

    Every strip is made twice: once for the scores of the right answers, and once to count the wrong ones that stand
    before the best of them. Right are an image's own captions, unless ``answers`` say more. A score that is NaN, or an
    image without a caption, is a ValueError.
    """
    described = np.bincount(image_of, minlength=images)
    if len(described) != images or (described == 0).any():
        missing = np.flatnonzero(described == 0)[:1]
        raise ValueError(f"ranks: got image {missing} without a caption but expected one at least for {images} images")
    answers = answers or Answers(image_of, np.arange(len(image_of)))
    of_image, of_caption = torch.full((images,), -torch.inf), torch.full((len(image_of),), -torch.inf)
    for rows in strips(images, tile):
        strip = _checked(scores(rows), rows, len(image_of))
        of_image, of_caption = of_image.to(strip.dtype), of_caption.to(strip.dtype)
        right = strip.masked_fill(~answers.right(rows), -torch.inf)
        of_image[rows] = right.amax(1)
        of_caption = torch.maximum(of_caption, right.amax(0))
    of_captions, of_images = torch.ones(images, dtype=torch.int64), torch.ones(len(image_of), dtype=torch.int64)
    for rows in strips(images, tile):
        strip, wrong = scores(rows).detach().cpu(), answers.wrong(rows)
        of_captions[rows] += ((strip >= of_image[rows, None]) & wrong).sum(1)
        of_images += ((strip >= of_caption) & wrong).sum(0)
    return Ranks(of_captions.numpy(), of_images.numpy())


def metrics(found: Ranks) -> RetrievalMetrics:
    """Recall@1, 5 and 10, median and mean ranks."""
    a, b = found.of_captions, found.of_images
    i2t, t2i = (tuple(round(100 * float((ranks <= k).mean()), DIGITS) for k in CUTOFFS) for ranks in (a, b))
    medians, means = (float(np.median(a)), float(np.median(b))), (float(np.mean(a)), float(np.mean(b)))
    return RetrievalMetrics(i2t, t2i, medians, means)


def mean_metrics(found: list[RetrievalMetrics]) -> RetrievalMetrics:
    """The mean of every number over folds, as in the COCO 1K protocol."""
    parts = zip(*((one.i2t, one.t2i, one.median_ranks, one.mean_ranks) for one in found), strict=True)
    i2t, t2i, medians, means = (tuple(np.mean(part, axis=0).tolist()) for part in parts)
    return RetrievalMetrics(i2t, t2i, medians, means)


def query_intervals(folds: Sequence[tuple[Ranks, np.ndarray]]) -> dict[str, Interval]:
    """95 % intervals of the recalls and of RSUM over other queries of the same kind, by the names of `record`.

    The unit is an image with all its captions, for captions of one image are found or missed together. What each image
    adds to a share p gives the variance of p; the interval is Wilson's (JASA 1927,
    https://doi.org/10.1080/01621459.1927.10502953) with n* = p(1 − p) / variance queries, after Korn and Graubard
    (Survey Methodology 1998), or the number of images where p is 0 or 1. Several folds, of ranks and every caption's
    image, stand for their mean.
    """
    shares, variance, images, queries = np.zeros(7), np.zeros(7), 0, 0
    for ranks, image_of in folds:
        counts = np.bincount(image_of)
        of_captions = np.stack([ranks.of_captions <= k for k in CUTOFFS], 1).astype(float)
        of_images = np.stack([np.bincount(image_of, ranks.of_images <= k) for k in CUTOFFS], 1)
        i2t, t2i = of_captions.mean(0), of_images.sum(0) / len(image_of)
        parts = np.hstack([(of_captions - i2t) / len(counts), (of_images - t2i * counts[:, None]) / len(image_of)])
        six = np.hstack([i2t, t2i])
        shares += np.append(six, six.mean()) / len(folds)
        variance += (np.column_stack([parts, parts.mean(1)]) ** 2).sum(0) / len(folds) ** 2
        images, queries = images + len(counts), queries + len(counts) + len(image_of)
    spread = shares * (1 - shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(spread > 0, np.minimum(spread / variance, queries), images)
    z = NormalDist().inv_cdf(0.975)
    middle = (shares + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(spread / effective + z**2 / (4 * effective**2))
    limits = np.clip([middle - half, middle + half], 0, 1) * np.array([100.0] * 6 + [600.0])
    return {name: (float(low), float(high)) for name, low, high in zip((*RECALLS, "rsum"), *limits, strict=True)}


def coco_positives(places: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, float]:
    """The metrics of ECCV Caption (Chun et al., ECCV 2022, https://arxiv.org/abs/2204.03359) and of CxC (Parekh et al.,
    EACL 2021, https://arxiv.org/abs/2004.15020) in percent, such as ``i2t_eccv_map_at_r``. They count more positives of
    COCO's 5,000 test images. The places are those of `first_places` in the order of Karpathy's split.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it could be a little quicker
        package = import_extra("eccv_caption", "eccv")
    counts = (len(places["i2t"]), len(places["t2i"]))
    if counts != (COCO_IMAGES, COCO_CAPTIONS):
        given = f"eccv: got {counts[0]} images and {counts[1]} captions"
        raise ValueError(f"{given} but expected {COCO_IMAGES} and {COCO_CAPTIONS}")
    metrics = package.Metrics()
    captions = metrics.coco_ids.tolist()
    images = [metrics.coco_gts["t2i"][caption][0] for caption in captions[:: COCO_CAPTIONS // COCO_IMAGES]]
    i2t = {images[row]: [captions[c] for c in found] for row, found in enumerate(places["i2t"])}
    t2i = {captions[row]: [images[i] for i in found] for row, found in enumerate(places["t2i"])}
    found = metrics.compute_all_metrics(i2t, t2i, target_metrics=COCO_METRICS, Ks=(1, 5, 10), verbose=False)
    return {f"{way}_{name}": 100 * float(value) for name, ways in found.items() for way, value in ways.items()}


def strips(images: int, tile: int) -> Iterator[slice]:
    """The images, ``tile`` at a time."""
    return (slice(start, min(start + tile, images)) for start in range(0, images, tile))


def _checked(strip: Tensor, rows: slice, captions: int) -> Tensor:
    strip = strip.detach().cpu()
    if strip.shape != (rows.stop - rows.start, captions):
        given = f"ranks: got scores of shape {tuple(strip.shape)} for images {rows.start} to {rows.stop}"
        raise ValueError(f"{given} but expected {(rows.stop - rows.start, captions)}")
    wrong = strip.isnan().any(1).nonzero()
    if len(wrong):
        raise ValueError(f"ranks: got NaN among the scores of image {rows.start + int(wrong[0])} but expected numbers")
    return strip
