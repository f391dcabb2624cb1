"""Pictures through a small convolutional network, for sizes about 64 × 64."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.encoders.linear import Standardise, Statistics
from goal_analysis.vse.encoders.pooling import Pooled, pooled

GROUPS = 8
"""Of channels, normalised together; so an image's embedding does not depend on the others of its batch."""


class Convolution(nn.Module):
    """Four convolutions, each halving height and width and doubling the channels; every place left is an element.

    Args:
        shape: of one picture, ``(channels, height, width)``, at least 16 high and wide.
        statistics: see `Standardise`.
        dim: of what every place is mapped to.
        width: channels after the first convolution, a multiple of 8.

    Raises:
        ValueError: images of another shape, or a width that is no multiple of 8.
    """

    def __init__(self, shape: tuple[int, ...], statistics: Statistics | None, dim: int, width: int) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 16:
            raise ValueError(
                f"convolution: got images of shape {shape} but expected pictures, (channels, height, width), "
                "of 16 × 16 or more"
            )
        if width < GROUPS or width % GROUPS:
            raise ValueError(f"width: got {width} but expected a multiple of {GROUPS}")
        self.dim = dim
        channels = (shape[0], *(width * 2**k for k in range(4)))
        layers: list[nn.Module] = [Standardise(shape, statistics)]
        for before, after in pairwise(channels):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.GroupNorm(GROUPS, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(channels[-1], dim)

    def forward(
        self, images: Float[Tensor, "images channels height width"]
    ) -> tuple[Float[Tensor, "images places dim"], Bool[Tensor, "images places"]]:
        """The elements, all of which are there."""
        elements = self.linear(self.layers(images).flatten(2).transpose(1, 2))
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)


def convolutional_encoder(
    shape: tuple[int, ...],
    statistics: Statistics | None = None,
    *,
    dim: int = 512,
    width: int = 32,
    pooling: str = "mean",
    drop: float | int = 0.0,
) -> Pooled:
    """The encoder of small pictures.

    Args:
        shape: of one picture, ``(channels, height, width)``.
        statistics: of every channel; see `Standardise`.
        dim: of the embedding.
        width: channels after the first convolution, a multiple of 8.
        pooling: one of `goal_analysis.vse.encoders.pooling.POOLINGS`.
        drop: in training, the share of a picture's places that is left out at random.

    Raises:
        ValueError: images of another shape, an unknown pooling, or a number out of its range.
    """
    return pooled(Convolution(shape, statistics, dim, width), pooling, dim, drop)
