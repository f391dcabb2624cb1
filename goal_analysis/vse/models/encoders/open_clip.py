"""Dual encoders of open_clip: its own classes, with random weights of a configuration, or of a folder or tag of its."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from goal_analysis.extras import import_extra
from goal_analysis.vse.models.encoders.pooling import Local, Pictures, all_there
from goal_analysis.vse.models.encoders.pretrained import Projection, Tower
from goal_analysis.vse.models.encoders.trained import Augmentation, Crop, Flip, Standardise, Statistics, check_images
from goal_analysis.vse.models.text import OPEN_CLIP, OpenClipTokens, Tokenizer, Tokens, tokenizer_json

WEIGHTS = "open_clip_model.safetensors"  # in a folder that open_clip reads


def open_clip_model(model: str, pretrained: str = "", config: Mapping[str, Any] | None = None) -> tuple[Any, dict]:
    """A model of open_clip, and its configuration, which builds the same with random weights.

    ``model`` is a folder with a configuration and safetensors, ``hf-hub:`` and a name, or a name that open_clip lists,
    beside which ``pretrained`` is the tag of its weights, random without. What cannot be loaded is a ValueError.
    """
    if bool(model) == bool(config):
        raise ValueError(f"open_clip: got model {model!r} and config {config!r} but expected one of them")
    library, logs = import_extra("open_clip"), logging.root.manager.disable
    with TemporaryDirectory() as folder:
        name = f"local-dir:{model or folder}" if config or Path(model).is_dir() else model
        (Path(folder) / OPEN_CLIP).write_text(json.dumps(config), "utf-8")
        try:
            if name == f"local-dir:{model}" and not any(Path(model).glob("*.safetensors")):
                raise OSError("no file of safetensors")  # others would be unpickled
            logging.disable(logging.WARNING)  # which say that weights are random
            made = library.create_model(name, pretrained or None, pretrained_text=not config)
            made_of = {"model_cfg": library.get_model_config(name), "preprocess_cfg": made.visual.preprocess_cfg}
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as problem:
            expected = f"a folder with {OPEN_CLIP} and {WEIGHTS}, or a name and a tag that open_clip lists"
            given = f"open_clip: got {model or config!r} {pretrained} ({problem})"
            raise ValueError(f"{given} but expected {expected}") from problem
        finally:
            logging.disable(logs)
    return made.to(torch.get_default_dtype()), json.loads(json.dumps(made_of))


class _Side(Tower):
    def _elements(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return getattr(self.model, self.embed)(*inputs.values())[:, None]


class OpenClipVision(_Side):
    """The image side of a model of open_clip; its projection gives one element, which is mapped linearly where ``dim``
    is another width, or the projection ``new``. Pictures of another size than the model's are resized.

    ``model``, ``pretrained`` and ``config`` are as for `open_clip_model`, ``crop`` and ``flip`` as for `Convolution`.
    """

    embed = "encode_image"

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        model: str = "",
        pretrained: str = "",
        config: dict | None = None,
        dim: int = 0,
        projection: Projection = "own",
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> None:
        check_images("open_clip", shape)
        super().__init__()
        self.model, config = open_clip_model(model, pretrained, config)
        said, self.augment = config["preprocess_cfg"], Augmentation(crop, flip)
        self.standardise = Standardise(shape, (torch.tensor(said["mean"]), torch.tensor(said["std"])))
        self.size, self.mode = self.model.visual.image_size, said.get("interpolation", "bicubic")
        self.size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        self._project(self._inputs(torch.zeros(1, *shape)), dim, projection, None)
        self.made_of |= {"model": "", "pretrained": "", "config": config}

    def _inputs(self, pictures: Pictures) -> dict[str, Tensor]:
        if pictures.shape[2:] != self.size:
            mode = self.mode if self.mode in ("bicubic", "bilinear") else "bicubic"
            pictures = nn.functional.interpolate(pictures, self.size, mode=mode, antialias=True).clamp(0, 1)
        return {"image": self.standardise(pictures)}

    def forward(self, images: Pictures) -> Local:
        """The embedding, as one element."""
        return all_there(self.linear(self._elements(self._inputs(self.augment(images)))))


class OpenClipText(_Side):
    """The text side of a model of open_clip, behind its own tokenizer; options as for `OpenClipVision`."""

    embed = "encode_text"

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        model: str = "",
        pretrained: str = "",
        config: dict | None = None,
        dim: int = 0,
        projection: Projection = "own",
    ) -> None:
        super().__init__()
        self.model, config = open_clip_model(model, pretrained, config)
        own = config["model_cfg"]["text_cfg"]
        if not isinstance(tokenizer, OpenClipTokens) or tokenizer.text_config != own:
            given = f"open_clip: got the tokenizer {tokenizer_json(tokenizer)['kind']}"
            raise ValueError(f"{given} but expected that of the model: leave model.tokenizer out")
        self._project({"text": tokenizer(("a",)).ids}, dim, projection, None)
        self.made_of |= {"model": "", "pretrained": "", "config": config}

    def forward(self, tokens: Tokens) -> Local:
        """The embedding, as one element."""
        return all_there(self.linear(self._elements({"text": tokens.ids})))


def write_open_clip(image: OpenClipVision, text: OpenClipText, tokenizer: OpenClipTokens, at: Path) -> None:
    """Write what open_clip reads as ``local-dir:`` and a folder. Two models, and one that has more than both sides, are
    a ValueError.
    """
    config = image.made_of["config"]
    if image.made_of != text.made_of or not (image.embeds and text.embeds):
        raise ValueError("export: got towers of two models but expected one of open_clip, with its own projections")
    whole, _ = open_clip_model("", config=config)
    missing, _ = whole.load_state_dict({**image.model.state_dict(), **text.model.state_dict()}, strict=False)
    if missing:
        given = f"export: got {type(whole).__name__}, of which {missing[0].partition('.')[0]} is not trained"
        raise ValueError(f"{given} but expected a model of two encoders")
    tokenizer.write(at)
    (at / OPEN_CLIP).write_text(json.dumps(config), "utf-8")
    save_file(whole.state_dict(), at / WEIGHTS)
