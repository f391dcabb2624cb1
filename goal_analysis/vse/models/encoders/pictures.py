"""Encoders of pictures: a small convolutional network, and any network of timm or torchvision."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from goal_analysis.declarations import Words
from goal_analysis.vse.models.encoders.features import Standardise, Statistics
from goal_analysis.vse.models.encoders.pooling import Local, Pictures
from goal_analysis.vse.models.text import import_extra

RATIO = 4 / 3  # the most that a cut is wider than high, or higher than wide


Crop = Annotated[float | int, Gt(0), Le(1), Words("a number above 0, and 1 at most")]
Flip = Annotated[float | int, Ge(0), Le(1), Words("a probability")]


class Augmentation(nn.Module):
    """In training, every picture cut at random and scaled back, and mirrored with the probability ``flip``.

    A cut's area is uniform from the share ``crop`` to all of the picture, its place uniform, its width over its height
    log-uniform; it is no more elongated than 1/``crop``, nor than 4:3.
    """

    def __init__(self, crop: Crop, flip: Flip) -> None:
        super().__init__()
        self.crop, self.flip = crop, flip

    def extra_repr(self) -> str:
        """Both numbers."""
        return f"crop={self.crop:g}, flip={self.flip:g}"

    def forward(self, images: Pictures) -> Pictures:
        """The pictures, which are cut and mirrored in training alone."""
        if not self.training or (self.crop == 1 and self.flip == 0):
            return images
        area, shape, across, down, mirror = torch.rand(5, len(images), device=images.device, dtype=images.dtype)
        area = self.crop + (1 - self.crop) * area
        root = torch.exp((shape - 0.5) * math.log(min(RATIO, 1 / self.crop)))
        width, height = (area.sqrt() * root).clamp_max(1), (area.sqrt() / root).clamp_max(1)
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0] = torch.where(mirror < self.flip, -width, width)
        theta[:, 1, 1] = height
        theta[:, 0, 2] = (2 * across - 1) * (1 - width)
        theta[:, 1, 2] = (2 * down - 1) * (1 - height)
        grid = affine_grid(theta, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


GROUPS = 8  # of channels, normalised together; so an image's embedding does not depend on the others of its batch


class Convolution(nn.Module):
    """Three convolutions, of strides 4, 2 and 1, that double the channels; every place left is an element.

    Pictures, ``(channels, height, width)``, are of 16 × 16 or more. ``width`` is the channels after the first
    convolution, a multiple of 8; in training, ``crop`` is the least share of a picture that is cut, and ``flip`` the
    probability to mirror, 0 where captions tell left from right.

    Two channels beside the colours say where in the picture a place is, as in "An intriguing failing of convolutional
    neural networks and the CoordConv solution" (Liu et al., NeurIPS 2018, https://arxiv.org/abs/1807.03247).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        width: int = 32,
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 16:
            expected = "pictures, (channels, height, width), of 16 × 16 or more"
            raise ValueError(f"convolution: got images of shape {shape} but expected {expected}")
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

    def forward(self, images: Pictures) -> Local:
        """The elements, all of which are there."""
        placed = _with_places(self.given(images))
        elements = self.linear(self.layers(placed).flatten(2).transpose(1, 2))
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)


def _with_places(images: Pictures) -> Float[Tensor, "images more height width"]:
    down, across = (torch.linspace(-1, 1, n, dtype=images.dtype, device=images.device) for n in images.shape[2:])
    places = torch.stack(torch.meshgrid(down, across, indexing="ij"))
    return torch.cat((images, places.expand(len(images), -1, -1, -1)), 1)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of nearly every pretrained network
HEADS = ("fc", "classifier", "heads", "head")  # what torchvision calls the layers that classify


class Backbone(nn.Module):
    """A network's features, mapped linearly: every place of a map or every token is an element, or the whole is one.

    The trunk gives ``(images, channels)``, ``(images, tokens, channels)`` or ``(images, channels, height, width)``; the
    last also with its channels last, if it says with ``num_features`` how many they are.
    """

    def __init__(
        self,
        trunk: nn.Module,
        shape: tuple[int, ...],
        statistics: Statistics | None,
        dim: int,
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"backbone: got images of shape {shape} but expected pictures, (3, height, width)")
        self.dim = dim
        self.given = nn.Sequential(Standardise(shape, statistics), Augmentation(crop, flip))
        self.trunk = trunk
        training = trunk.training
        with torch.no_grad():
            width = self._features(torch.zeros(1, *shape), trunk.eval()).shape[2]
        trunk.train(training)
        self.linear = nn.Linear(width, dim)

    def portable(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that build the same network, with random weights."""
        return {name: False if name == "pretrained" else value for name, value in options.items()}

    def _features(self, images: Tensor, trunk: nn.Module) -> Float[Tensor, "images elements channels"]:
        features = trunk(images)
        if features.ndim == 2:
            return features[:, None]
        if features.ndim == 3:
            return features
        if features.ndim != 4:
            raise ValueError(f"backbone: got features of shape {tuple(features.shape)} but expected 2 to 4 axes")
        if features.shape[1] != getattr(trunk, "num_features", features.shape[1]):
            return features.flatten(1, 2)
        return features.flatten(2).transpose(1, 2)

    def forward(self, images: Pictures) -> Local:
        """The elements, all of which are there."""
        elements = self.linear(self._features(self.given(images), self.trunk))
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)


def network_of(package: str) -> Callable[..., Backbone]:
    """What builds an encoder of pictures from any network of ``timm`` or any classifier of ``torchvision``.

    Its option ``model`` is the network's name there, such as ``resnet50``. If it is ``pretrained``, the package fetches
    the weights, and the statistics are those of the network; ``frozen`` leaves it as it is. The others are as for
    `Convolution`. See https://github.com/huggingface/pytorch-image-models for timm; classifiers of torchvision lose
    their last layers, and give one element.
    """

    def encoder(
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        model: str,
        dim: int = 512,
        pretrained: bool = False,
        frozen: bool = False,
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> Backbone:
        trunk, own = TRUNKS[package](import_extra(package), model, pretrained)
        trunk.requires_grad_(not frozen)
        if pretrained:
            mean, deviation = (torch.tensor(tuple(numbers)) for numbers in own)
            statistics = mean, deviation
        return Backbone(trunk, shape, statistics, dim, crop, flip)

    return encoder


def _trunk_of_timm(timm: Any, model: str, pretrained: bool) -> tuple[nn.Module, Any]:
    _check_known(model, timm.list_models(), "timm")
    trunk = timm.create_model(model, pretrained=pretrained, num_classes=0, global_pool="")
    own = getattr(trunk, "pretrained_cfg", {})
    return trunk, (own.get("mean", IMAGENET[0]), own.get("std", IMAGENET[1]))


def _trunk_of_torchvision(torchvision: Any, model: str, pretrained: bool) -> tuple[nn.Module, Any]:
    models = torchvision.models
    _check_known(model, models.list_models(models), "torchvision")
    trunk = models.get_model(model, weights="DEFAULT" if pretrained else None)
    for head in HEADS:
        if hasattr(trunk, head):
            setattr(trunk, head, nn.Identity())
    return trunk, IMAGENET


def _check_known(model: str, known: Sequence[str], package: str) -> None:
    if model not in known:
        near = difflib.get_close_matches(model, known, 5, 0.0)
        expected = f"one of the {len(known)} that {package} lists, such as {', '.join(near)}"
        raise ValueError(f"{package}: model: got {model!r} but expected {expected}")


TRUNKS = {"timm": _trunk_of_timm, "torchvision": _trunk_of_torchvision}
"""A network with what standardises its pictures, from the package, the network's name, and whether it is pretrained."""
