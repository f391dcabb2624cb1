"""Pictures through a network of timm or torchvision, pretrained or not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.augmentation import Augmentation
from goal_analysis.vse.models.encoders.linear import Standardise, Statistics
from goal_analysis.vse.models.encoders.pooling import Pooled, pooled

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of the channels, in [0, 1], with which nearly every pretrained network was trained."""
HEADS = ("fc", "classifier", "heads", "head")
"""What torchvision calls the last layers of its networks, those that classify."""


class Backbone(nn.Module):
    """A network's features, mapped linearly: every place of a map or every token is an element, or the whole is one.

    Args:
        trunk: gives ``(images, channels)``, ``(images, tokens, channels)`` or ``(images, channels, height, width)``;
            the last also with its channels last, if the trunk says with ``num_features`` how many they are.
        shape: of one picture, ``(3, height, width)``.
        statistics: see `Standardise`.
        dim: of the elements.
        crop: see `goal_analysis.vse.models.encoders.augmentation.Augmentation`.
        flip: likewise.

    Raises:
        ValueError: images that are no pictures, a trunk that gives something else, or a number out of its range.
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

    def forward(
        self, images: Float[Tensor, "images channels height width"]
    ) -> tuple[Float[Tensor, "images elements dim"], Bool[Tensor, "images elements"]]:
        """The elements, all of which are there."""
        elements = self.linear(self._features(self.given(images), self.trunk))
        return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=images.device)


def timm_encoder(
    shape: tuple[int, ...],
    statistics: Statistics | None = None,
    *,
    model: str,
    dim: int = 512,
    pretrained: bool = False,
    frozen: bool = False,
    pooling: str = "mean",
    drop: float | int = 0.0,
    crop: float | int = 1.0,
    flip: float | int = 0.0,
) -> Pooled:
    """The encoder of pictures by any network of timm, https://github.com/huggingface/pytorch-image-models.

    Args:
        shape: of one picture, ``(3, height, width)``.
        statistics: of every channel; not looked at if ``pretrained``, for then they are those of the network.
        model: its name in timm, such as ``resnet50``.
        dim: of the embedding.
        pretrained: whether timm fetches the weights.
        frozen: whether the network is left as it is.
        pooling: one of `goal_analysis.vse.models.encoders.pooling.POOLINGS`.
        drop: in training, the share of a picture's places that is left out at random.
        crop: in training, the least share of a picture that is cut at random; 1 for the whole.
        flip: in training, the probability to mirror; 0 where captions tell left from right.

    Raises:
        ValueError: timm is not there or knows no such network; an unknown pooling; a share outside of [0, 1).
    """
    timm = _package("timm")
    _check_known(model, timm.list_models(), "timm")
    trunk = timm.create_model(model, pretrained=pretrained, num_classes=0, global_pool="")
    if pretrained:
        own = getattr(trunk, "pretrained_cfg", {})
        statistics = _as_tensors(own.get("mean", IMAGENET[0]), own.get("std", IMAGENET[1]))
    trunk.requires_grad_(not frozen)
    return pooled(Backbone(trunk, shape, statistics, dim, crop, flip), pooling, dim, drop)


def torchvision_encoder(
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
    """The encoder of pictures by any classifier of torchvision without its last layers; the whole is its one element.

    Args:
        shape: of one picture, ``(3, height, width)``.
        statistics: of every channel; not looked at if ``pretrained``, for then they are those of ImageNet.
        model: its name in torchvision, such as ``resnet50``.
        dim: of the embedding.
        pretrained: whether torchvision fetches the weights.
        frozen: whether the network is left as it is.
        crop: in training, the least share of a picture that is cut at random; 1 for the whole.
        flip: in training, the probability to mirror; 0 where captions tell left from right.

    Raises:
        ValueError: torchvision is not there or knows no such classifier.
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
    return pooled(Backbone(trunk, shape, statistics, dim, crop, flip), "mean", dim)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as problem:
        raise ValueError(f"{name}: expected the package {name}: pip install {name}") from problem


def _check_known(model: str, known: Sequence[str], package: str) -> None:
    if model not in known:
        near = difflib.get_close_matches(model, known, 5, 0.0)
        raise ValueError(
            f"{package}: model: got {model!r} but expected one of the {len(known)} that {package} lists, "
            f"such as {', '.join(near)}"
        )


def _as_tensors(mean: Sequence[float], deviation: Sequence[float]) -> Statistics:
    return torch.tensor(tuple(mean)), torch.tensor(tuple(deviation))
