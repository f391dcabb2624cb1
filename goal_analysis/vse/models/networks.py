"""Pretrained networks that make features of pictures, of Hugging Face, timm or torchvision, as each prepares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from goal_analysis.vse.models.text import import_extra

Regions = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Network:
    """A network in evaluation mode: how a picture is prepared for it, what it makes of a batch, and a record of both.

    ``run`` gives a map ``(batch, channels, height, width)``, and the pooled features ``(batch, channels)`` if it has
    some of its own.
    """

    module: nn.Module
    prepare: Callable[[Image.Image], Tensor]
    run: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    record: dict[str, Any]

    @torch.no_grad()
    def features(self, pictures: list[Tensor], regions: Regions) -> Float[Tensor, "batch ..."]:
        """The features of prepared pictures: pooled by the network, or else the mean over places; or with ``regions``,
        rows and columns, the means over each, row by row, shape ``(batch, regions, channels)``.
        """
        places, pooled = self.run(torch.stack(pictures).to(next(self.module.parameters()).device))
        if regions is not None:
            return adaptive_avg_pool2d(places, regions).flatten(2).transpose(1, 2).float().cpu()
        return (places.mean((2, 3)) if pooled is None else pooled).float().cpu()


def open_network(name: str, weights: Path | None = None, device: str = "cpu") -> Network:
    """The network that ``KIND:NAME`` names: ``hf:`` a folder or a model on the hub, ``timm:`` or ``torchvision:`` one
    of theirs. The weights are the published ones, or those in a file ``.safetensors``, or ``.pth`` with tensors alone.

    A ValueError says what cannot be had.
    """
    kind, _, model = name.partition(":")
    if kind not in NETWORKS or not model:
        raise ValueError(f"model: got {name!r} but expected {', '.join(f'{kind}:NAME' for kind in NETWORKS)}")
    if weights is not None and kind == "hf":
        raise ValueError(f"weights: got {weights} beside {name} but expected none, for the folder has them")
    try:
        found = NETWORKS[kind](model, weights is None)
        if weights is not None:
            tensors = weights.suffix == ".safetensors"
            state = load_file(weights) if tensors else torch.load(weights, weights_only=True)
            missing = found.module.load_state_dict(state, strict=False).missing_keys  # a classifier may be too much
            if missing:
                raise ValueError(f"no {', '.join(missing[:3])} in it")
    except Exception as problem:  # a download, a file or a name fails in whatever way its package does
        what = f"{name} with {weights}" if weights else name
        raise ValueError(f"model: got {what} ({problem}) but expected a network that can be loaded") from problem
    found.module.eval().to(device)
    return found


def _grid(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens as a map, without those that stand before the places."""
    if tokens.shape[1] < height * width:
        raise ValueError(f"got {tokens.shape[1]} tokens but expected one for each of {height} × {width} places")
    return tokens[:, tokens.shape[1] - height * width :].transpose(1, 2).unflatten(2, (height, width))


def _hugging_face(name: str, pretrained: bool) -> Network:
    transformers = import_extra("transformers", "hf")
    local = {"local_files_only": Path(name).is_dir()}
    processor = transformers.AutoImageProcessor.from_pretrained(name, **local)
    module = transformers.AutoModel.from_pretrained(name, use_safetensors=True, **local)
    config = getattr(module.config, "vision_config", module.config)

    def run(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        found = getattr(module, "vision_model", module)(pixel_values=pixels).last_hidden_state
        if found.ndim == 3:
            size = config.patch_size if isinstance(config.patch_size, list | tuple) else (config.patch_size,) * 2
            tokens, found = found, _grid(found, pixels.shape[2] // size[0], pixels.shape[3] // size[1])
            own = tokens[:, 0] if tokens.shape[1] > found[0, 0].numel() else None
        else:
            own = None
        if hasattr(module, "get_image_features"):
            own = module.get_image_features(pixel_values=pixels)
            own = own if isinstance(own, Tensor) else own.pooler_output
        return found, own

    def prepare(picture: Image.Image) -> Tensor:
        return processor(images=picture, return_tensors="pt")["pixel_values"][0]

    return Network(module, prepare, run, {"preprocessing": processor.to_dict()})


def _timm(name: str, pretrained: bool) -> Network:
    timm = import_extra("timm")
    module = timm.create_model(name, pretrained=pretrained, num_classes=0)
    config = timm.data.resolve_model_data_config(module)

    def run(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        found = module.forward_features(pixels)
        pooled = module.forward_head(found, pre_logits=True)
        if found.ndim == 3:
            found = _grid(found, *module.patch_embed.grid_size)
        elif found.shape[1] != module.num_features:
            found = found.movedim(3, 1)
        return found, pooled

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
        if found.ndim == 3:
            size = module.patch_size
            return _grid(found, pixels.shape[2] // size, pixels.shape[3] // size), found[:, 0]
        return found, None

    return Network(module, transform, run, {"preprocessing": str(transform).splitlines()})


NETWORKS = {"hf": _hugging_face, "timm": _timm, "torchvision": _torchvision}
"""The kinds of networks, by what stands before the colon of a name."""
