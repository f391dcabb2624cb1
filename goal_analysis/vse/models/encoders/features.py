"""Encoders of images as features: standardised, mapped linearly or by a perceptron, and of regions pooled."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.pooling import Dropout, Images, Local, Share, unit

LEAST = 1e-6  # a feature with a lesser deviation does not vary, and is only centred

Statistics = tuple[Tensor, Tensor]  # mean and deviation of every feature, or of every channel of pictures


class Standardise(nn.Module):
    """(x − mean)/deviation by feature or by channel of pictures, with numbers that are saved with the model but not
    trained.

    >>> Standardise((2,), (torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0])))(torch.tensor([[5.0, 3.0]]))
    tensor([[2., 3.]])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], statistics: Statistics | None = None) -> None:
        super().__init__()
        features = shape[0] if len(shape) == 3 else shape[-1]
        mean, deviation = statistics or (torch.zeros(features), torch.ones(features))
        kept = {"mean": mean, "deviation": torch.where(deviation > LEAST, deviation, torch.ones_like(deviation))}
        for name, given in kept.items():
            if given.shape != (features,):
                got = f"statistics: got the {name} of shape {tuple(given.shape)} for images of shape {shape}"
                raise ValueError(f"{got} but expected {(features,)}")
            behind = (1, 1) if len(shape) == 3 else ()
            self.register_buffer(name, given.to(torch.get_default_dtype()).reshape(features, *behind))

    def forward(self, images: Images) -> Float[Tensor, "images ..."]:
        """The standardised images."""
        return (images - self.mean) / self.deviation


class Linear(nn.Module):
    """x ↦ unit(A·dropout(standardised x) + b), or with ``hidden`` unit(A·dropout(relu(B·dropout(·) + c)) + b).

    Of an image's regions, x is the mean. Pictures are a ValueError.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        dropout: Share = 0.0,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        _check_features("linear", shape)
        layers: list[nn.Module] = [Standardise(shape, statistics), Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(shape[-1], hidden), nn.ReLU(), Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or shape[-1], dim))

    def forward(self, images: Images) -> Float[Tensor, "images dim"]:
        """Unit vectors of images."""
        return unit(self.layers(images.mean(1) if images.ndim == 3 else images))


def _check_features(encoder: str, shape: tuple[int, ...]) -> None:
    if len(shape) not in (1, 2):
        expected = "features, (features,) or (regions, features); pictures go through convolution, timm or torchvision"
        raise ValueError(f"{encoder}: got images of shape {shape} but expected {expected}")


class Regions(nn.Module):
    """r ↦ A·x + b + C·relu(B·x + c), x = dropout(standardised r), for every region; A·x + b if ``hidden`` is 0.

    Features of a whole image are those of its one region; ``hidden`` is the width of the perceptron, whose batches of
    regions are normalised before the relu with ``batch_norm``.

    With both and GPO it is the encoder of VSE∞: "Learning the Best Pooling Strategy for Visual Semantic Embedding"
    (Chen, Hu, Wu, Jiang and Wang, CVPR 2021, https://arxiv.org/abs/2011.04305).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        dropout: Share = 0.0,
        hidden: int = 0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        _check_features("regions", shape)
        self.dim = dim
        self.given = nn.Sequential(Standardise(shape, statistics), Dropout(dropout))
        self.linear = nn.Linear(shape[-1], dim)
        normalised = (nn.BatchNorm1d(hidden),) if batch_norm and hidden else ()
        layers = (nn.Linear(shape[-1], hidden), *normalised, nn.ReLU(), nn.Linear(hidden, dim)) if hidden else ()
        self.perceptron = nn.Sequential(*layers)

    def forward(self, images: Images) -> Local:
        """The elements, all of which are there."""
        x = self.given(images if images.ndim == 3 else images[:, None])
        elements = self.linear(x)
        if len(self.perceptron):
            elements = elements + self.perceptron(x.flatten(0, 1)).view_as(elements)
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)
