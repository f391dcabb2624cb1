"""Encoders of pictures: a small convolutional network, and any network of timm or torchvision."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from goal_analysis.vse.models.encoders.features import Standardise, Statistics
from goal_analysis.vse.models.encoders.pooling import Local, Mean, Pictures, Pooled

RATIO = 4 / 3  # the most that a cut is wider than high, or higher than wide


class Augmentation(nn.Module):
    """In training, every picture cut to a share ``crop`` of its area at least, and mirrored with the probability
    ``flip``.

    A cut is no more elongated than 1/``crop``, nor than 4:3.
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

    def forward(self, images: Pictures) -> Pictures:
        """The pictures, which are cut and mirrored in training alone."""
        if not self.training or (self.crop == 1 and self.flip == 0):
            return images
        return augment(images, None, (self.crop, 1.0), min(RATIO, 1 / self.crop), self.flip)


def augment(
    images: Pictures,
    generator: torch.Generator | None = None,
    scale: tuple[float | int, float | int] = (0.5, 1.0),
    ratio: float | int = RATIO,
    flip: float | int = 0.5,
) -> Pictures:
    """Every image cut at random and scaled back, and mirrored with a probability; for training only.

    A cut's area is uniform in ``scale``, its width over its height log-uniform in [1/ratio, ratio], its place uniform.
    The generator is on the device of the images.
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
        crop: float | int = 1.0,
        flip: float | int = 0.0,
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
        crop: float | int = 1.0,
        flip: float | int = 0.0,
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


def of_timm(
    shape: tuple[int, ...],
    statistics: Statistics | None = None,
    *,
    model: str,
    dim: int = 512,
    pretrained: bool = False,
    frozen: bool = False,
    crop: float | int = 1.0,
    flip: float | int = 0.0,
) -> Backbone:
    """Pictures read by any network of timm, https://github.com/huggingface/pytorch-image-models.

    ``model`` is its name in timm, such as ``resnet50``. If it is ``pretrained``, timm fetches the weights, and the
    statistics are those of the network; ``frozen`` leaves it as it is. The others are as for `Convolution`.
    """
    timm = _package("timm")
    _check_known(model, timm.list_models(), "timm")
    trunk = timm.create_model(model, pretrained=pretrained, num_classes=0, global_pool="")
    if pretrained:
        own = getattr(trunk, "pretrained_cfg", {})
        statistics = _as_tensors(own.get("mean", IMAGENET[0]), own.get("std", IMAGENET[1]))
    trunk.requires_grad_(not frozen)
    return Backbone(trunk, shape, statistics, dim, crop, flip)


def of_torchvision(
    shape: tuple[int, ...],
    statistics: Statistics | None = None,
    *,
    model: str,
    dim: int = 512,
    pretrained: bool = False,
    frozen: bool = False,
    crop: float | int = 1.0,
    flip: float | int = 0.0,
) -> Pooled:
    """Pictures read by any classifier of torchvision without its last layers, as one element.

    The options are as for `of_timm`.
    """
    models = _package("torchvision").models
    _check_known(model, models.list_models(models), "torchvision")
    trunk = models.get_model(model, weights="DEFAULT" if pretrained else None)
    for head in HEADS:
        if hasattr(trunk, head):
            setattr(trunk, head, nn.Identity())
    if pretrained:
        statistics = _as_tensors(*IMAGENET)
    trunk.requires_grad_(not frozen)
    return Pooled(Backbone(trunk, shape, statistics, dim, crop, flip), Mean(dim))


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as problem:
        raise ValueError(f"{name}: expected the package {name}: pip install {name}") from problem


def _check_known(model: str, known: Sequence[str], package: str) -> None:
    if model not in known:
        near = difflib.get_close_matches(model, known, 5, 0.0)
        expected = f"one of the {len(known)} that {package} lists, such as {', '.join(near)}"
        raise ValueError(f"{package}: model: got {model!r} but expected {expected}")


def _as_tensors(mean: Sequence[float], deviation: Sequence[float]) -> Statistics:
    return torch.tensor(tuple(mean)), torch.tensor(tuple(deviation))
