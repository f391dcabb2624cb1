"""What standardises features: their mean and their deviation over the images to train on."""

from __future__ import annotations

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from goal_analysis.vse.data.images import Images, pieces, spread


def statistics(images: Images, most: int = 20_000) -> tuple[Float32[Tensor, " features"], Float32[Tensor, " features"]]:
    """Mean and standard deviation of every feature over images and regions, of every channel over pictures.

    Read in pieces, and summed in float64. A feature that does not vary has the deviation 1, so that one can divide.

    >>> import numpy as np
    >>> from goal_analysis.vse.data.images import ArrayImages
    >>> statistics(ArrayImages(np.array([[1.0, 5.0], [3.0, 5.0]])))
    (tensor([2., 5.]), tensor([1., 1.]))

    Args:
        images: those to train on.
        most: of more images, this many at even distances are read.

    Returns:
        mean and deviation, shape ``(dim,)`` of features and ``(3,)`` of pictures.
    """
    count, mean, spread_out = 0, torch.zeros(()), torch.zeros(())
    for rows in pieces(spread(len(images), most)):
        values = _by_feature(images.batch(rows).double())
        local = values.mean(0)
        total = count + len(values)
        shift = local - mean
        spread_out = spread_out + (values - local).square().sum(0) + shift.square() * (count * len(values) / total)
        mean = mean + shift * (len(values) / total)
        count = total
    deviation = (spread_out / count).sqrt().float()
    return mean.float(), torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _by_feature(values: Float64[Tensor, "batch ..."]) -> Float64[Tensor, "values features"]:
    channel = 1 if values.ndim == 4 else -1
    return values.movedim(channel, -1).flatten(0, -2)
