"""Pictures through a small convolutional network, for sizes about 64 × 64."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.augmentation import Augmentation
from goal_analysis.vse.models.encoders.linear import Standardise, Statistics
from goal_analysis.vse.models.encoders.pooling import Pooled, pooled

GROUPS = 8
"""Of channels, normalised together; so an image's embedding does not depend on the others of its batch."""


class Convolution(nn.Module):
    """Three convolutions, of strides 4, 2 and 1, that double the channels; every place left is an element.

    Two channels beside the colours say where in the picture a place is, as in "An intriguing failing of convolutional
    neural networks and the CoordConv solution" (Liu et al., NeurIPS 2018, https://arxiv.org/abs/1807.03247).

    Args:
        shape: of one picture, ``(channels, height, width)``, at least 16 high and wide.
        statistics: see `Standardise`.
        dim: of what every place is mapped to.
        width: channels after the first convolution, a multiple of 8.
        crop: see `goal_analysis.vse.models.encoders.augmentation.Augmentation`.
        flip: likewise.

    Raises:
        ValueError: images of another shape, a width that is no multiple of 8, or a number out of its range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None,
        dim: int,
        width: int,
        crop: float | int = 1.0,
        flip: float | int = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 16:
            raise ValueError(
                f"convolution: got images of shape {shape} but expected pictures, (channels, height, width), "
                "of 16 × 16 or more"
            )
        if width < GROUPS or width % GROUPS:
            raise ValueError(f"width: got {width} but expected a multiple of {GROUPS}")
        self.dim = dim
        self.given = nn.Sequential(Standardise(shape, statistics), Augmentation(crop, flip))
        channels = (shape[0] + 2, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for (before, after), (size, stride) in zip(pairwise(channels), ((6, 4), (3, 2), (3, 1)), strict=True):
            convolution = nn.Conv2d(before, after, size, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.GroupNorm(GROUPS, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(channels[-1], dim)

    def forward(
        self, images: Float[Tensor, "images channels height width"]
    ) -> tuple[Float[Tensor, "images places dim"], Bool[Tensor, "images places"]]:
        """The elements, all of which are there."""
        placed = with_places(self.given(images))
        elements = self.linear(self.layers(placed).flatten(2).transpose(1, 2))
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)


def with_places(
    images: Float[Tensor, "images channels height width"],
) -> Float[Tensor, "images more height width"]:
    """The pictures with two channels more, from −1 to 1 down and across.

    >>> with_places(torch.zeros(1, 1, 2, 3))[0, 2]
    tensor([[-1., 0., 1.],
            [-1., 0., 1.]])
    """
    down, across = (torch.linspace(-1, 1, n, dtype=images.dtype, device=images.device) for n in images.shape[2:])
    places = torch.stack(torch.meshgrid(down, across, indexing="ij"))
    return torch.cat((images, places.expand(len(images), -1, -1, -1)), 1)


def convolutional_encoder(
    shape: tuple[int, ...],
    statistics: Statistics | None = None,
    *,
    dim: int = 512,
    width: int = 32,
    pooling: str = "max",
    drop: float | int = 0.0,
    crop: float | int = 1.0,
    flip: float | int = 0.0,
) -> Pooled:
    """The encoder of small pictures.

    Args:
        shape: of one picture, ``(channels, height, width)``.
        statistics: of every channel; see `Standardise`.
        dim: of the embedding.
        width: channels after the first convolution, a multiple of 8.
        pooling: one of `goal_analysis.vse.models.encoders.pooling.POOLINGS`.
        drop: in training, the share of a picture's places that is left out at random.
        crop: in training, the least share of a picture that is cut at random; 1 for the whole.
        flip: in training, the probability to mirror; 0 where captions tell left from right.

    Raises:
        ValueError: images of another shape, an unknown pooling, or a number out of its range.
    """
    return pooled(Convolution(shape, statistics, dim, width, crop, flip), pooling, dim, drop)
