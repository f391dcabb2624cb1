"""Pictures varied for training: cut at random, and mirrored."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

RATIO = 4 / 3
"""The most that a cut is wider than high, or higher than wide."""


class Augmentation(nn.Module):
    """In training, every picture cut at random and scaled back, and mirrored; see `augmented`.

    Args:
        crop: the least share of a picture's area that a cut has, in (0, 1]; at 1 nothing is cut. A cut is no more
            elongated than 1/``crop``, nor than 4:3.
        flip: the probability to mirror left and right; 0 where captions tell left from right.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(self, crop: float | int, flip: float | int) -> None:
        super().__init__()
        if not 0 < crop <= 1:
            raise ValueError(f"crop: got {crop!r} but expected a number above 0, and 1 at most")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip: got {flip!r} but expected a probability")
        self.crop, self.flip = crop, flip

    def extra_repr(self) -> str:
        """Both numbers."""
        return f"crop={self.crop:g}, flip={self.flip:g}"

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The pictures, varied if they are to train on."""
        if not self.training or (self.crop == 1 and self.flip == 0):
            return images
        return augmented(images, None, (self.crop, 1.0), min(RATIO, 1 / self.crop), self.flip)


def augmented(
    images: Float[Tensor, "batch channels height width"],
    generator: torch.Generator | None = None,
    scale: tuple[float | int, float | int] = (0.5, 1.0),
    ratio: float | int = RATIO,
    flip: float | int = 0.5,
) -> Float[Tensor, "batch channels height width"]:
    """Every image cut at random and scaled back, and mirrored with a probability; for training only.

    A cut's area is uniform in ``scale``, its width over its height log-uniform in [1/ratio, ratio], its place uniform.

    Args:
        images: shape ``(batch, channels, height, width)``.
        generator: the source of randomness, on the device of the images; by default torch's own.
        scale: the least and the most of the area, in (0, 1].
        ratio: at least 1.
        flip: the probability to mirror left and right; 0 where captions tell left from right.

    Raises:
        ValueError: a number outside its range.
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"augmented: scale: got {scale} but expected two growing numbers in (0, 1]")
    if not 1 <= ratio < math.inf or not 0 <= flip <= 1:
        raise ValueError(f"augmented: got ratio {ratio} and flip {flip} but expected at least 1, and a probability")
    options = {"generator": generator, "device": images.device, "dtype": images.dtype}
    area, shape, across, down, mirror = torch.rand(5, len(images), **options)
    area = scale[0] + (scale[1] - scale[0]) * area
    root = torch.exp((shape - 0.5) * math.log(ratio))
    width, height = (area.sqrt() * root).clamp_max(1), (area.sqrt() / root).clamp_max(1)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = torch.where(mirror < flip, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * across - 1) * (1 - width)
    theta[:, 1, 2] = (2 * down - 1) * (1 - height)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
