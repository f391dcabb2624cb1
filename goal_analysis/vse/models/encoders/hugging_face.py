"""Captions through a pretrained language model of Hugging Face."""

from __future__ import annotations

import json
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.pooling import Pooled, pooled
from goal_analysis.vse.models.text import Tokenizer, Tokens


class LanguageModel(nn.Module):
    """The last hidden states of a language model, mapped linearly; every token's is an element.

    Of a caption longer than the model has positions, the rest is cut off.

    Args:
        tokenizer: of the captions.
        model: what ``transformers.AutoModel`` gives; its pooler is taken out.
        dim: of the elements.

    Raises:
        ValueError: a tokenizer with more tokens than the model.
    """

    def __init__(self, tokenizer: Tokenizer, model: Any, dim: int) -> None:
        super().__init__()
        if len(tokenizer) > model.config.vocab_size:
            raise ValueError(
                f"hugging_face: got a tokenizer of {len(tokenizer)} tokens but expected at most "
                f"{model.config.vocab_size}, which the model has"
            )
        if getattr(model, "pooler", None) is not None:
            model.pooler = None
        self.longest = _positions(model)
        self.dim = dim
        self.model = model
        self.linear = nn.Linear(model.config.hidden_size, dim)

    def architecture(self) -> dict[str, Any]:
        """What the option of this name takes to build the same model without its weights."""
        return json.loads(self.model.config.to_json_string(use_diff=False))

    def forward(self, tokens: Tokens) -> tuple[Float[Tensor, "captions longest dim"], Bool[Tensor, "captions longest"]]:
        """The elements, and where there is a token."""
        mask = tokens.mask[:, : self.longest]
        ids = tokens.ids[:, : self.longest].masked_fill(~mask, self.model.config.pad_token_id or 0)
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.linear(states), mask


def _positions(model: Any) -> int | None:
    """How many tokens have a position, if there is a limit; those of RoBERTa begin behind that of the padding."""
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    positions = (getattr(model.config, "max_position_embeddings", None) or 0) - max(padding, default=-1) - 1
    return positions if positions > 0 else None


def hugging_face_encoder(
    tokenizer: Tokenizer,
    *,
    path: str = "",
    architecture: dict | None = None,
    dim: int = 512,
    frozen: bool = False,
    pooling: str = "mean",
    drop: float | int = 0.0,
) -> Pooled:
    """The encoder of captions by any encoder of Hugging Face, or by the encoder of a model that has a decoder too.

    Args:
        tokenizer: of the captions; that of the model, ``subwords``, unless it is trained from nothing.
        path: a folder with the model's ``config.json`` and ``model.safetensors``, or its name on the hub.
        architecture: instead of the path, what ``config.json`` holds: the same model with random weights.
        dim: of the embedding.
        frozen: whether the language model is left as it is.
        pooling: one of `goal_analysis.vse.models.encoders.pooling.POOLINGS`.
        drop: in training, the share of a caption's elements that is left out of the pooling.

    Raises:
        ValueError: the package ``transformers`` or the model is not there; not one of ``path`` and ``architecture``; an
            unknown pooling; a share outside of [0, 1).
    """
    if bool(path) == bool(architecture):
        raise ValueError(f"hugging_face: got path {path!r} and architecture {architecture!r} but expected one of them")
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as problem:
        raise ValueError("hugging_face: expected the package transformers: pip install transformers") from problem
    try:
        if architecture:
            model = AutoModel.from_config(AutoConfig.for_model(**architecture))
        else:
            model = AutoModel.from_pretrained(path, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError) as problem:
        raise ValueError(
            f"hugging_face: got {path or architecture!r} ({problem}) but expected a folder with config.json and "
            "model.safetensors, a name on the hub, or an architecture"
        ) from problem
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    if frozen:
        model.requires_grad_(False)
    return pooled(LanguageModel(tokenizer, model, dim), pooling, dim, drop)
