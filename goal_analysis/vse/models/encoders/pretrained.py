"""Encoders from checkpoints of Hugging Face, which are folders with ``config.json`` and ``model.safetensors``, read
without a network, or names on the hub; nothing in a checkpoint is code, and nothing is unpickled.
"""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from goal_analysis.extras import import_extra
from goal_analysis.vse.models.encoders.pooling import Local, Pictures, Share, all_there
from goal_analysis.vse.models.encoders.trained import Augmentation, Crop, Flip, Standardise, Statistics, check_images
from goal_analysis.vse.models.text import Subwords, Tokenizer, Tokens, from_checkpoint

Projection = Literal["own", "new"]  # the checkpoint's, where its width is wanted; or a new linear map


def load_checkpoint(path: str, architecture: Mapping[str, Any] | None, kind: Callable[[Any], str] | None = None) -> Any:
    """The model of a checkpoint, or with random weights that of an ``architecture``, which is what ``config.json``
    holds. ``kind`` gives the name of its class from its configuration. What cannot be loaded is a ValueError.
    """
    if bool(path) == bool(architecture):
        raise ValueError(f"hugging_face: got path {path!r} and architecture {architecture!r} but expected one of them")
    transformers = import_extra("transformers", "hugging_face")
    try:
        made_of, known = architecture or {}, transformers.AutoConfig
        config = known.for_model(**made_of) if made_of else from_checkpoint("AutoConfig", path)
        name = kind(config) if kind else "AutoModel"
        if architecture:
            made = getattr(transformers, name)
            return made(config) if kind else made.from_config(config)
        if Path(path).is_dir() and not any(Path(path).glob("*.safetensors")):
            raise OSError("no file of safetensors")  # older versions of transformers would unpickle what is there
        return from_checkpoint(name, path, use_safetensors=True).to(torch.get_default_dtype())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        expected = "a folder with config.json and model.safetensors, a name on the hub, or an architecture"
        given = f"hugging_face: got {path or architecture!r} ({problem})"
        raise ValueError(f"{given} but expected {expected}") from problem


def architecture_of(model: Any) -> dict[str, Any]:
    """What `load_checkpoint` builds the same model of, with random weights."""
    return json.loads(model.config.to_json_string(use_diff=False))


class Preparation(nn.Module):
    """Pictures from 0 to 1 as a checkpoint's processor makes them: the inputs of its model by their names. Where it but
    standardises the colours, that is done on the pictures' device; otherwise it is handed them in 8 bits.
    """

    def __init__(
        self, shape: tuple[int, ...], statistics: Statistics | None, processor: Mapping[str, Any] | None
    ) -> None:
        super().__init__()
        self.processor: Any = None
        self.standardise = Standardise(shape, statistics)
        if processor is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
            self.processor = from_checkpoint("AutoImageProcessor", folder)
        black, other = torch.zeros(shape), torch.linspace(0, 1, 251).repeat(3 * shape[1] * shape[2] // 251 + 1)
        other = (other[: black.numel()].view(shape) * 255).round() / 255
        made = self._processed(torch.stack((black, black + 1, other)))
        pixels = made.pop("pixel_values")
        if pixels.shape[1:] == shape and all(bool((mask == 1).all()) for mask in made.values()):
            of_black, of_white = pixels[0].amin((1, 2)), pixels[1].amax((1, 2))
            deviation = 1 / (of_white - of_black)
            self.standardise = Standardise(shape, (-of_black * deviation, deviation))
            if self.standardise(other).allclose(pixels[2], atol=1e-3):
                self.processor = None

    def _processed(self, pictures: Pictures) -> dict[str, Tensor]:
        bits = (pictures.detach().cpu() * 255).round().clamp(0, 255).byte()
        return dict(self.processor(images=list(bits.numpy()), return_tensors="pt", input_data_format="channels_first"))

    def forward(self, pictures: Pictures) -> dict[str, Tensor]:
        """The model's inputs."""
        if self.processor is None:
            return {"pixel_values": self.standardise(pictures)}
        made = {name: value.to(pictures.device) for name, value in self._processed(pictures).items()}
        return {n: v.to(pictures.dtype) if v.is_floating_point() else v for n, v in made.items()}


def processor_of(path: str) -> dict[str, Any] | None:
    """What the processor of a checkpoint's pictures is made of; None where there is none."""
    import_extra("transformers", "hugging_face")
    try:
        return json.loads(from_checkpoint("AutoImageProcessor", path).to_json_string()) if path else None
    except (OSError, ValueError, KeyError):
        return None


class Tower(nn.Module):
    """One side of a checkpoint. A dual encoder's own projection gives one element; otherwise the last states, one a
    place, are elements. ``embed`` is what embeds it there, ``made_of`` the options that build it with random weights.
    """

    embed: str
    model: Any

    def _project(self, inputs: Mapping[str, Tensor], dim: int, projection: Projection, own: nn.Linear | None) -> None:
        """Choose the projection, and leave out of the model what it does not need; ``own`` stands beside the model."""
        training = self.model.training
        self.model.eval().requires_grad_(True)
        self.embeds, self.linear = hasattr(self.model, self.embed), own or nn.Identity()
        try:
            width = own.out_features if own is not None else self._elements(inputs).shape[2]
            self.dim = dim or width
            if projection == "new" or self.dim != width:
                self.embeds = False
                self.linear = nn.Linear(self._elements(inputs).shape[2], self.dim)
            _leave_out_unused(self.model, lambda: self._elements(inputs))
        except (TypeError, ValueError, AttributeError, AssertionError) as problem:
            given = f"got a model of the type {type(self.model).__name__} ({problem})"
            raise ValueError(f"{given} but expected one that embeds {', '.join(inputs)}") from problem
        self.model.train(training)
        self.made_of: dict[str, Any] = {"dim": self.dim}

    def _elements(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "rows elements width"]:
        found = getattr(self.model, self.embed, self.model)(**inputs)
        if not isinstance(found, Tensor):
            found = found.pooler_output if self.embeds else found.last_hidden_state
        if found.ndim == 4:
            return found.flatten(2).transpose(1, 2)
        return found if found.ndim == 3 else found[:, None]


def _leave_out_unused(model: nn.Module, run: Callable[[], Tensor]) -> None:
    """Remove the parts of a model that a run does not call, and ask no gradient of what its output does not need."""
    called: set[nn.Module] = set()
    hooks = [part.register_forward_hook(lambda part, *_: called.add(part)) for part in model.children()]
    parameters = list(model.parameters())
    with torch.enable_grad():
        gradients = torch.autograd.grad(run().sum(), parameters, allow_unused=True)
    for hook in hooks:
        hook.remove()
    used = {id(p) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    for name, part in list(model.named_children()):
        own = list(part.parameters())
        if own and part not in called and not any(id(p) in used for p in own):
            setattr(model, name, None)
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in used)


class VisionModel(Tower):
    """The image side of a dual encoder such as CLIP or SigLIP, or any encoder of pictures, from a checkpoint.

    A dual encoder's ``own`` projection gives one element, the embedding. Where ``dim`` is another width than that, or
    the projection is ``new``, the last states are mapped linearly, and every place is an element. ``architecture`` and
    ``processor``, which are what ``config.json`` and ``preprocessor_config.json`` hold, stand for ``path``, with random
    weights; ``crop`` and ``flip`` are as for `Convolution`.
    """

    embed = "get_image_features"

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        path: str = "",
        architecture: dict | None = None,
        processor: dict | None = None,
        dim: int = 0,
        projection: Projection = "own",
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> None:
        check_images("hugging_face", shape)
        super().__init__()
        self.model = load_checkpoint(path, architecture)
        processor = processor_of(path) or processor
        self.augment, self.prepare = Augmentation(crop, flip), Preparation(shape, statistics, processor)
        self._project(self.prepare(torch.zeros(1, *shape)), dim, projection, None)
        self.made_of |= {"architecture": architecture_of(self.model), "processor": processor}

    def forward(self, images: Pictures) -> Local:
        """The elements, all of which are there."""
        return all_there(self.linear(self._elements(self.prepare(self.augment(images)))))


class WordAugmentation(nn.Module):
    """In training, of a share of a caption's words half are masked, a tenth are other tokens, and the rest left out;
    the first and the last token, which are no words, stay.
    """

    goes_on: Tensor

    def __init__(self, tokenizer: Tokenizer, share: Share) -> None:
        super().__init__()
        mask = json.loads(tokenizer.settings).get("mask_token") if isinstance(tokenizer, Subwords) else None
        if not isinstance(tokenizer, Subwords) or mask not in tokenizer.vocabulary:
            raise ValueError(f"augment: got {share} beside a tokenizer without a token that masks but expected 0")
        numbers = tokenizer.vocabulary
        self.share, self.mask, self.tokens = share, numbers[mask], len(numbers)
        pieces = any(token.startswith("##") for token in numbers)  # or else words begin with a mark of their own
        goes_on = torch.zeros(max(numbers.values()) + 1, dtype=torch.bool)
        for token, number in numbers.items():
            goes_on[number] = token.startswith("##") if pieces else not token.startswith(("Ġ", "▁"))
        self.register_buffer("goes_on", goes_on, persistent=False)

    def forward(self, tokens: Tokens) -> Tokens:
        """The captions, of which some are shorter."""
        if not self.training:
            return tokens
        ids, places = tokens.ids, torch.arange(tokens.ids.shape[1], device=tokens.ids.device)
        word = (~self.goes_on[ids]).cumsum(1).clamp_max(ids.shape[1] - 1)
        drawn = torch.rand(ids.shape, device=ids.device).gather(1, word) / float(self.share)
        drawn = drawn.masked_fill((places == 0) | (places >= tokens.lengths[:, None] - 1), 1)
        ids = torch.where(drawn < 0.6, torch.randint_like(ids, self.tokens), ids).masked_fill(drawn < 0.5, self.mask)
        kept = (drawn < 0.6) | (drawn >= 1)
        lengths = (kept & tokens.mask).sum(1)
        return Tokens(ids.gather(1, (~kept).long().argsort(dim=1, stable=True)), lengths)


STRIPS = 4  # that a batch of captions is read in, each as wide as its longest


class LanguageModel(Tower):
    """The text side of a dual encoder such as CLIP or SigLIP, a model of sentence-transformers, or any language model.

    A dual encoder's ``own`` projection gives one element, the embedding; otherwise every token's last state is one,
    mapped linearly where ``dim`` is another width or the projection ``new``. A model of sentence-transformers has a
    pooling, which the option ``pooling`` takes by default, and perhaps a projection, which is kept if its width is
    ``dim``. Of a model with a decoder it is the encoder; captions are cut to its positions. ``architecture`` is as for
    `VisionModel`, ``augment`` the share of `WordAugmentation`, as in VSE∞ (Chen et al., CVPR 2021,
    https://arxiv.org/abs/2011.04305).
    """

    embed = "get_text_features"

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        path: str = "",
        architecture: dict | None = None,
        dim: int = 0,
        projection: Projection = "own",
        augment: Share = 0.0,
    ) -> None:
        super().__init__()
        self.augment = WordAugmentation(tokenizer, augment) if augment else nn.Identity()
        model = load_checkpoint(path, architecture)
        config = model.config.get_text_config()
        check_vocabulary(tokenizer, config, path)
        self.model = model.get_encoder() if model.config.is_encoder_decoder else model
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None
        self.longest, self.padding = _positions(self.model, config), config.pad_token_id or 0
        pooling, own = _sentence_parts(Path(path))
        self.pooling = self.model.config.own_pooling = pooling or getattr(model.config, "own_pooling", "mean")
        self._project(self._inputs(tokenizer(("a",))), dim, projection, own)
        self.made_of["architecture"] = architecture_of(self.model)

    def _inputs(self, tokens: Tokens) -> dict[str, Tensor]:
        mask = tokens.mask[:, : self.longest]
        ids = tokens.ids[:, : self.longest].masked_fill(~mask, self.padding)
        return {"input_ids": ids, "attention_mask": mask.long()}

    def forward(self, tokens: Tokens) -> Local:
        """The elements, and where there is a token. Captions of near lengths are read together, with less padding."""
        tokens = self.augment(tokens)
        mask, order = tokens.mask[:, : self.longest], tokens.lengths.argsort()
        found = []
        for rows in order.split(max(16, -(-len(order) // STRIPS))):
            elements = self.linear(self._elements(self._inputs(tokens.rows(rows))))
            found.append(
                nn.functional.pad(elements, (0, 0, 0, 0 if self.embeds else mask.shape[1] - elements.shape[1]))
            )
        elements = torch.cat(found)[order.argsort()]
        return all_there(elements) if self.embeds else (elements, mask)


def check_vocabulary(tokenizer: Tokenizer, config: Any, path: str) -> None:
    """Raise unless a tokenizer's numbers are those of a checkpoint, or where there is none are no more than it has."""
    if len(tokenizer) > config.vocab_size:
        given = f"hugging_face: got a tokenizer of {len(tokenizer)} tokens"
        raise ValueError(f"{given} but expected at most {config.vocab_size}, which the model has")
    if path and isinstance(tokenizer, Subwords):
        own, given = Subwords.built_on((), path=path).vocabulary, tokenizer.vocabulary
        other = next((word for word, number in own.items() if given.get(word, number) != number), None)
        if other is not None:
            raise ValueError(
                f"hugging_face: got a tokenizer in which {other!r} is {given[other]} but expected {own[other]}, as in "
                f"{path}: set model.tokenizer to hf:{path}"
            )


POOLED_AS = {"mean": "mean", "mean_sqrt_len_tokens": "mean", "max": "max", "cls": "first", "lasttoken": "last"}
"""The names of poolings in sentence-transformers, and here; before rows become unit vectors two of them are one."""

_MODE = re.compile(r"pooling_mode_(mean_sqrt_len_tokens|[a-z]+)")  # as older versions say it


def _sentence_parts(folder: Path) -> tuple[str | None, nn.Linear | None]:
    """The pooling and the linear projection of a model of sentence-transformers, where a folder has them."""
    if not (folder / "modules.json").is_file():
        return None, None
    pooling, own, modes = None, None, ["mean"]
    for module in json.loads((folder / "modules.json").read_text("utf-8")):
        kind, place = str(module["type"]).rpartition(".")[2], folder / str(module["path"])
        if kind not in ("Pooling", "Dense"):
            continue
        said = json.loads((place / "config.json").read_text("utf-8"))
        if kind == "Pooling":
            modes = said.get("pooling_mode") or [m[1] for n in said if said[n] is True and (m := _MODE.match(n))]
            modes = [modes] if isinstance(modes, str) else list(modes)
            pooling = POOLED_AS.get(modes[0]) if len(modes) == 1 else None
            if pooling is None:
                raise ValueError(f"{place}: got the pooling {' and '.join(modes)} but expected {', '.join(POOLED_AS)}")
        else:
            weights = load_file(place / "model.safetensors")
            if not str(said.get("activation_function", "")).endswith("Identity"):
                raise ValueError(f"{place}: got {said.get('activation_function')} but expected a linear projection")
            own = nn.Linear(said["in_features"], said["out_features"], bias="linear.bias" in weights)
            own.load_state_dict({name.removeprefix("linear."): value for name, value in weights.items()})
    if own is not None and modes[0] not in ("mean", "cls", "lasttoken"):  # which it may be applied before as well
        given = f"{folder}: got a projection behind the pooling {modes[0]}"
        raise ValueError(f"{given} but expected mean, cls or lasttoken")
    return pooling, own


def _positions(model: Any, config: Any) -> int | None:
    """How many tokens have a position, if there is a limit; those of RoBERTa begin behind that of the padding."""
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    positions = (getattr(config, "max_position_embeddings", None) or 0) - max(padding, default=-1) - 1
    return positions if positions > 0 else None
