"""Networks of timm, torchvision and Hugging Face, as encoders of pictures and for features computed beforehand."""

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils._pytree import tree_map
from torch.utils.data import default_collate

from goal_analysis.extras import import_extra
from goal_analysis.files import regular
from goal_analysis.vse.models.encoders.pooling import Local, Pictures, all_there
from goal_analysis.vse.models.encoders.pretrained import load_checkpoint
from goal_analysis.vse.models.encoders.trained import Augmentation, Crop, Flip, Standardise, Statistics, check_images
from goal_analysis.vse.models.text import from_checkpoint

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of nearly every pretrained network
HEADS = ("fc", "classifier", "heads", "head")  # what torchvision calls the layers that classify


class Backbone(nn.Module):
    """The features of a network, mapped linearly: its elements are those of `elements_of`."""

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
        check_images("backbone", shape)
        self.dim, self.made_of = dim, {"pretrained": False}
        self.given = nn.Sequential(Standardise(shape, statistics), Augmentation(crop, flip))
        self.trunk = trunk
        training = trunk.training
        with torch.no_grad():
            width = elements_of(trunk.eval(), torch.zeros(1, *shape)).shape[2]
        trunk.train(training)
        self.linear = nn.Linear(width, dim)

    def forward(self, images: Pictures) -> Local:
        """The elements, all of which are there."""
        return all_there(self.linear(elements_of(self.trunk, self.given(images))))


def elements_of(trunk: nn.Module, images: Pictures) -> Float[Tensor, "images elements features"]:
    """The elements of pictures, from a network's vectors, tokens or map, whose channels may come first or last."""
    features = trunk(images)
    if features.ndim not in (2, 3, 4):
        raise ValueError(f"backbone: got features of shape {tuple(features.shape)} but expected 2 to 4 axes")
    if features.ndim == 4:
        return _channels_first(features, trunk).flatten(2).transpose(1, 2)
    return features if features.ndim == 3 else features[:, None]


def _channels_first(features: Tensor, trunk: Any) -> Tensor:
    """A map, whose channels may stand last where they are as many as the network says."""
    last = features.shape[1] != features.shape[3] == getattr(trunk, "num_features", None)
    return features.movedim(3, 1) if last else features


def network_of(package: str) -> Callable[..., Backbone]:
    """What builds an encoder of pictures from any network of ``timm`` or classifier of ``torchvision`` by its name
    there, ``model``. If it is ``pretrained``, the package fetches the weights, and the statistics are the network's.
    The other options are as for `Convolution`. Classifiers lose their last layers, and give one element.
    """

    def encoder(
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        model: str,
        dim: int = 512,
        pretrained: bool = False,
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> Backbone:
        library = import_extra(package)
        known = library.list_models() if package == "timm" else library.models.list_models(library.models)
        if model not in known:
            near = ", ".join(difflib.get_close_matches(model, known, 5, 0.0))
            expected = f"one of the {len(known)} that {package} lists, such as {near}"
            raise ValueError(f"{package}: model: got {model!r} but expected {expected}")
        if package == "timm":
            trunk = library.create_model(model, pretrained=pretrained, num_classes=0, global_pool="")
            numbers = getattr(trunk, "pretrained_cfg", {})
            own = numbers.get("mean", IMAGENET[0]), numbers.get("std", IMAGENET[1])
        else:
            trunk, own = library.models.get_model(model, weights="DEFAULT" if pretrained else None), IMAGENET
            for head in HEADS:
                if hasattr(trunk, head):
                    setattr(trunk, head, nn.Identity())
        if pretrained:
            mean, deviation = (torch.tensor(tuple(numbers)) for numbers in own)
            statistics = mean, deviation
        return Backbone(trunk, shape, statistics, dim, crop, flip)

    return encoder


Regions = tuple[int, int] | None
Maps = Tensor | list[Tensor]


@dataclass(frozen=True, eq=False)
class Network:
    """A network in evaluation mode. ``run`` gives a map ``(batch, channels, height, width)``, or a list of one for each
    picture, and pooled features.
    """

    module: nn.Module
    prepare: Callable[[Image.Image], Any]
    run: Callable[[Any], tuple[Maps, Tensor | None]]
    record: dict[str, Any]

    @torch.no_grad()
    def features(self, pictures: list[Any], regions: Regions) -> Float[Tensor, "batch ..."]:
        """The network's own pooled features, or else the mean over places; or with ``regions``, rows and columns, the
        means over each, row by row, ``(batch, regions, channels)``.
        """
        device = next(self.module.parameters()).device
        places, pooled = self.run(tree_map(lambda given: given.to(device), default_collate(pictures)))
        if regions is None and pooled is not None:
            return pooled.float().cpu()
        found = [adaptive_avg_pool2d(one, regions or 1) for one in (places if isinstance(places, list) else [places])]
        rows = torch.cat(found).flatten(2).transpose(1, 2).float().cpu()
        return rows if regions is not None else rows[:, 0]


def open_network(name: str, weights: Path | None = None, device: str = "cpu") -> Network:
    """The network that ``KIND:NAME`` names, with the published weights or a file's; else a ValueError."""
    kind, _, model = name.partition(":")
    if kind not in NETWORKS or not model:
        raise ValueError(f"model: got {name!r} but expected {', '.join(f'{kind}:NAME' for kind in NETWORKS)}")
    if weights is not None and kind == "hf":
        raise ValueError(f"weights: got {weights} beside {name} but expected none, for the folder has them")
    try:
        found = NETWORKS[kind](model, weights is None)
        if weights is not None:
            tensors = regular(weights).suffix == ".safetensors"
            state = load_file(weights) if tensors else torch.load(weights, weights_only=True)
            missing = found.module.load_state_dict(state, strict=False).missing_keys  # a classifier may be too much
            if missing:
                raise ValueError(f"no {', '.join(missing[:3])} in it")
        found.module.eval().to(device)
        found.features([found.prepare(Image.new("RGB", (64, 64)))], (1, 1))
    except Exception as problem:  # a download, a file, a name or a map fails in whatever way its package does
        what = f"{name} with {weights}" if weights else name
        expected = "a network that can be loaded, and has a map of places"
        raise ValueError(f"model: got {what} ({problem}) but expected {expected}") from problem
    return found


def _grid(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens as a map, without those that stand before the places."""
    if tokens.shape[1] < height * width:
        raise ValueError(f"got {tokens.shape[1]} tokens but expected one for each of {height} × {width} places")
    return tokens[:, tokens.shape[1] - height * width :].transpose(1, 2).unflatten(2, (height, width))


def _hugging_face(name: str, pretrained: bool) -> Network:
    processor, module = from_checkpoint("AutoImageProcessor", name), load_checkpoint(name, None)
    config = getattr(module.config, "vision_config", module.config)
    vision = getattr(module, "vision_model", module)
    read = inspect.signature(vision.forward).parameters

    def run(inputs: dict[str, Tensor]) -> tuple[Maps, Tensor | None]:
        found, own = vision(**inputs).last_hidden_state, None
        if "spatial_shapes" in inputs:  # SigLIP 2 has as many places as the picture's sides ask for
            sides = inputs["spatial_shapes"].tolist()
            found = [
                _grid(one[None, : high * wide], high, wide) for one, (high, wide) in zip(found, sides, strict=True)
            ]
        elif found.ndim == 3:
            high, wide = np.array(inputs["pixel_values"].shape[2:]) // config.patch_size
            merged = math.isqrt(max(1, high * wide // found.shape[1]))  # sides of what one token is of
            tokens, found = found, _grid(found, high // merged, wide // merged)
            own = tokens[:, 0] if tokens.shape[1] > found[0, 0].numel() else None
        if hasattr(module, "get_image_features"):
            own = module.get_image_features(**inputs)
            own = own if isinstance(own, Tensor) else own.pooler_output
        return found, own

    def prepare(picture: Image.Image) -> dict[str, Tensor]:
        made = processor(images=picture, return_tensors="pt")
        return {name: value[0] for name, value in made.items() if name in read}

    return Network(module, prepare, run, {"preprocessing": processor.to_dict()})


def _timm(name: str, pretrained: bool) -> Network:
    timm = import_extra("timm")
    module = timm.create_model(name, pretrained=pretrained, num_classes=0)
    config = timm.data.resolve_model_data_config(module)

    def run(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        found = module.forward_features(pixels)
        pooled = module.forward_head(found, pre_logits=True)
        if found.ndim == 4:
            return _channels_first(found, module), pooled
        side = math.isqrt(found.shape[1])
        return _grid(found, *getattr(getattr(module, "patch_embed", None), "grid_size", (side, side))), pooled

    return Network(module, timm.data.create_transform(**config, is_training=False), run, {"preprocessing": config})


def _torchvision(name: str, pretrained: bool) -> Network:
    models = import_extra("torchvision").models
    weights = models.get_model_weights(name).DEFAULT
    module, transform, seen = models.get_model(name, weights=weights if pretrained else None), weights.transforms(), []
    at = next((part for part in ("avgpool", "encoder", "features") if hasattr(module, part)), None)
    if at is None:
        raise ValueError(f"{name} has no avgpool, encoder or features, whose places could be read")
    getattr(module, at).register_forward_hook(
        lambda part, given, made: seen.append(given[0] if at == "avgpool" else made)
    )

    def run(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        module(pixels)
        found = seen.pop()
        high, wide = (n // getattr(module, "patch_size", 1) for n in pixels.shape[2:])
        return (_grid(found, high, wide), found[:, 0]) if found.ndim == 3 else (found, None)

    return Network(module, transform, run, {"preprocessing": str(transform).splitlines()})


NETWORKS = {"hf": _hugging_face, "timm": _timm, "torchvision": _torchvision}
"""The kinds of networks, by what stands before the colon of a name."""
