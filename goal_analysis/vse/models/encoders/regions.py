"""Images as vectors of their regions, standardised, mapped by a perceptron with a way past it, and pooled."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.dropout import Dropout
from goal_analysis.vse.models.encoders.linear import Standardise, Statistics, check_features
from goal_analysis.vse.models.encoders.pooling import Pooled, pooled


class Regions(nn.Module):
    """r ↦ A·x + b + C·relu(B·x + c), x = dropout(standardised r), for every region; A·x + b if ``hidden`` is 0.

    Features of a whole image are those of its one region.

    Args:
        shape: of one image, ``(regions, features)`` or ``(features,)``.
        statistics: see `Standardise`.
        dim: of what every region is mapped to.
        dropout: of the features, from 0 to below 1.
        hidden: the width of the perceptron; 0 for none.

    Raises:
        ValueError: pictures.
    """

    def __init__(
        self, shape: tuple[int, ...], statistics: Statistics | None, dim: int, dropout: float | int, hidden: int
    ) -> None:
        super().__init__()
        check_features("regions", shape)
        self.dim = dim
        self.given = nn.Sequential(Standardise(shape, statistics), Dropout(dropout))
        self.linear = nn.Linear(shape[-1], dim)
        layers = (nn.Linear(shape[-1], hidden), nn.ReLU(), nn.Linear(hidden, dim)) if hidden else ()
        self.perceptron = nn.Sequential(*layers)

    def forward(
        self, images: Float[Tensor, "images ..."]
    ) -> tuple[Float[Tensor, "images regions dim"], Bool[Tensor, "images regions"]]:
        """The elements, all of which are there."""
        x = self.given(images if images.ndim == 3 else images[:, None])
        elements = self.linear(x)
        if len(self.perceptron):
            elements = elements + self.perceptron(x)
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)


def region_encoder(
    shape: tuple[int, ...],
    statistics: Statistics | None = None,
    *,
    dim: int = 512,
    dropout: float | int = 0.0,
    hidden: int = 0,
    pooling: str = "gpo",
    drop: float | int = 0.2,
) -> Pooled:
    """The encoder of region features, as that of VSE∞ but for the normalisation of batches in its perceptron.

    See "Learning the Best Pooling Strategy for Visual Semantic Embedding" (Chen, Hu, Wu, Jiang and Wang, CVPR 2021,
    https://arxiv.org/abs/2011.04305).

    Args:
        shape: of one image, ``(regions, features)`` or ``(features,)``.
        statistics: see `Standardise`.
        dim: of the embedding.
        dropout: of the features, from 0 to below 1.
        hidden: the width of the perceptron; 0 for none.
        pooling: one of `goal_analysis.vse.models.encoders.pooling.POOLINGS`.
        drop: in training, the share of an image's regions that is left out at random.

    Raises:
        ValueError: pictures, an unknown pooling, or a share outside of [0, 1).
    """
    return pooled(Regions(shape, statistics, dim, dropout, hidden), pooling, dim, drop)
