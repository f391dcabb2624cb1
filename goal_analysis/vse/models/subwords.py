"""Captions as the subwords of a pretrained language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from goal_analysis.vse.models.text import Tokens, pad

LONGEST = 128
"""Tokens of a caption, the rest of it being cut off."""


class Subwords:
    """A tokenizer of Hugging Face, held as the text of its ``tokenizer.json``; nothing in it is code.

    Args:
        definition: the text.
        longest: tokens that a caption has at most.

    Raises:
        ValueError: the package ``tokenizers`` is not there, or the text is no tokenizer's.
    """

    def __init__(self, definition: str, longest: int = LONGEST) -> None:
        try:
            from tokenizers import Tokenizer as Backend
        except ImportError as problem:
            raise ValueError("subwords: expected the package tokenizers: pip install transformers") from problem
        try:
            self._backend = Backend.from_str(definition)
        except Exception as problem:  # of no narrower class
            raise ValueError(f"subwords: got {problem} but expected the text of a tokenizer.json") from problem
        self._backend.no_padding()
        self._backend.enable_truncation(longest)
        self.definition = definition
        self.longest = longest

    @classmethod
    def pretrained(cls, captions: Sequence[str], *, path: str, longest: int = LONGEST) -> Subwords:
        """The tokenizer that lies with a model.

        Args:
            captions: those trained on; the tokenizer is as it is, whatever they are.
            path: a folder with ``tokenizer.json``, or a model's name on the Hugging Face hub.
            longest: tokens that a caption has at most; fewer where the tokenizer itself says so.

        Raises:
            ValueError: the package ``transformers`` or the tokenizer is not there, or has no ``tokenizer.json``.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError as problem:
            raise ValueError("subwords: expected the package transformers: pip install transformers") from problem
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True)
            definition = tokenizer.backend_tokenizer.to_str()
        except (OSError, ValueError, AttributeError) as problem:
            raise ValueError(
                f"path: got {path!r} ({problem}) but expected a folder with tokenizer.json, or a name on the hub"
            ) from problem
        return cls(definition, min(longest, tokenizer.model_max_length))

    def __len__(self) -> int:
        """How many different subwords."""
        return self._backend.get_vocab_size()

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """The captions as numbers, special tokens among them; one without any is one token 0."""
        return pad([encoding.ids or [0] for encoding in self._backend.encode_batch(list(captions))])

    def to_json(self) -> dict[str, Any]:
        """The definition."""
        return {"kind": "subwords", "definition": self.definition, "longest": self.longest}

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Subwords:
        """The tokenizer that `to_json` wrote."""
        return cls(given["definition"], given["longest"])
