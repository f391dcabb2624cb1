"""Images as vectors of features: standardised, of regions their mean, and mapped linearly or by a perceptron."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.dropout import Dropout
from goal_analysis.vse.models.encoders.pooling import unit

LEAST = 1e-6
"""A feature with a lesser deviation does not vary, and is only centred."""

Statistics = tuple[Tensor, Tensor]
"""Mean and standard deviation of every feature of the training images, or of every channel of pictures."""


class Standardise(nn.Module):
    """(x − mean)/deviation, with numbers that are saved with the model but not trained.

    Args:
        shape: of one image: ``(dim,)``, ``(regions, dim)``, or ``(3, height, width)``, standardised by channel.
        statistics: mean and deviation, each of shape ``(dim,)`` or ``(3,)``; none where the model's state brings them.

    Raises:
        ValueError: statistics of another shape.

    >>> Standardise((2,), (torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0])))(torch.tensor([[5.0, 3.0]]))
    tensor([[2., 3.]])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], statistics: Statistics | None = None) -> None:
        super().__init__()
        features = shape[0] if len(shape) == 3 else shape[-1]
        mean, deviation = statistics or (torch.zeros(features), torch.ones(features))
        for name, given in (("mean", mean), ("deviation", deviation)):
            if given.shape != (features,):
                raise ValueError(
                    f"statistics: got the {name} of shape {tuple(given.shape)} for images of shape {shape} "
                    f"but expected {(features,)}"
                )
        behind = (1, 1) if len(shape) == 3 else ()
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", mean.to(dtype).reshape(features, *behind))
        varies = torch.where(deviation > LEAST, deviation, torch.ones_like(deviation))
        self.register_buffer("deviation", varies.to(dtype).reshape(features, *behind))

    def forward(self, images: Float[Tensor, "images ..."]) -> Float[Tensor, "images ..."]:
        """The standardised images."""
        return (images - self.mean) / self.deviation


class Linear(nn.Module):
    """x ↦ unit(A·dropout(standardised x) + b), or with ``hidden`` unit(A·dropout(relu(B·dropout(·) + c)) + b).

    Of an image's regions, x is the mean.

    Args:
        shape: of one image, ``(features,)`` or ``(regions, features)``.
        statistics: see `Standardise`.
        dim: of the embedding.
        dropout: of the features, and of the hidden layer, from 0 to below 1.
        hidden: the width of the hidden layer; 0 for none.

    Raises:
        ValueError: pictures.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        dropout: float | int = 0.0,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        check_features("linear", shape)
        layers: list[nn.Module] = [Standardise(shape, statistics), Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(shape[-1], hidden), nn.ReLU(), Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or shape[-1], dim))

    def forward(self, images: Float[Tensor, "images ..."]) -> Float[Tensor, "images dim"]:
        """Unit vectors of images."""
        return unit(self.layers(images.mean(1) if images.ndim == 3 else images))


def check_features(encoder: str, shape: tuple[int, ...]) -> None:
    """Raise a ValueError that names the encoder unless images of this shape are features."""
    if len(shape) not in (1, 2):
        raise ValueError(
            f"{encoder}: got images of shape {shape} but expected features, (features,) or (regions, features); "
            "pictures go through convolution, timm or torchvision"
        )
