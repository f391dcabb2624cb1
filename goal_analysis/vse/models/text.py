"""Captions as numbers: words, a vocabulary of them, and padded batches of their numbers."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
from annotated_types import Ge
from jaxtyping import Bool, Int64
from torch import Tensor

from goal_analysis.extras import import_extra

PADDING, UNKNOWN = 0, 1  # the numbers of no word at all, and of a word that the vocabulary has not

RUN = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Captions as rows of numbers: row i begins with the ``lengths[i]`` tokens of caption i, and is 0 behind."""

    ids: Int64[Tensor, "captions longest"]
    lengths: Int64[Tensor, " captions"]

    def __post_init__(self) -> None:
        if self.lengths.device.type != "cpu":
            return  # looking would make the device wait
        outside = ((self.lengths < 1) | (self.lengths > self.ids.shape[1])).nonzero()
        for row in outside[:1, 0].tolist():
            given = f"lengths: got {int(self.lengths[row])} for caption {row}"
            raise ValueError(f"{given} but expected 1 to {self.ids.shape[1]}")

    def __len__(self) -> int:
        """How many captions."""
        return len(self.ids)

    @property
    def mask(self) -> Bool[Tensor, "captions longest"]:
        """True where there is a token, and False at the padding."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]

    def rows(self, index: Tensor | Sequence[int] | slice) -> Tokens:
        """These captions only, no wider than the longest of them."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.ids.device)
        lengths = self.lengths[index]
        return Tokens(self.ids[index, : int(lengths.max()) if len(lengths) else 1], lengths)

    def to(self, device: torch.device | str) -> Tokens:
        """The same on another device."""
        return Tokens(self.ids.to(device), self.lengths.to(device))


def words(caption: str) -> list[str]:
    """The words of a caption in lower case: runs of letters, digits and the marks upon them, of any script.

    >>> words("Two dogs' toys: a RED ball, 2 cafés_")
    ['two', 'dogs', 'toys', 'a', 'red', 'ball', '2', 'cafés']
    """
    text = unicodedata.normalize("NFKC", caption).lower()
    if text.isascii():
        return RUN.findall(text)
    runs = groupby(text, lambda character: unicodedata.category(character)[0] in "LNM")
    return ["".join(run) for inside, run in runs if inside]


def pad(rows: Sequence[Sequence[int]]) -> Tokens:
    """Rows of numbers, each with one at least, as `Tokens`."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    longest = max((len(row) for row in rows), default=1)
    ids = [list(row) + [PADDING] * (longest - len(row)) for row in rows]
    return Tokens(torch.tensor(ids, dtype=torch.int64).reshape(len(rows), longest), lengths)


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer of whole words: word k has the number k + 2, after padding and unknown. ``document_frequencies`` say
    for each word in how many of the captions it was seen.
    """

    words: tuple[str, ...]
    document_frequencies: tuple[int, ...]
    captions: int

    def __post_init__(self) -> None:
        for word, times in Counter(self.words).most_common(1):
            if times > 1:
                raise ValueError(f"words: got {word!r} more than once but expected every word once")
        if len(self.words) != len(self.document_frequencies):
            given = f"document_frequencies: got {len(self.document_frequencies)} for {len(self.words)} words"
            raise ValueError(f"{given} but expected one for each")
        for word, count in zip(self.words, self.document_frequencies, strict=True):
            if not 1 <= count <= self.captions:
                given = f"document_frequencies: got {count} for {word!r}"
                raise ValueError(f"{given} but expected 1 to {self.captions} captions")

    @classmethod
    def built_on(cls, captions: Sequence[str], min_count: int = 5) -> Vocabulary:
        """The words that are in ``min_count`` captions to train on or more, the most frequent first."""
        counts = Counter(word for caption in captions for word in set(words(caption)))
        kept = sorted((w for w, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        if not counts:
            raise ValueError(f"captions: got {len(captions)} without any word but expected words")
        if not kept:
            most = f"at most {max(counts.values())}, in which the most frequent word is"
            raise ValueError(f"min_count: got {min_count} but expected {most}")
        return cls(tuple(kept), tuple(counts[w] for w in kept), len(captions))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=UNKNOWN + 1)}

    def __len__(self) -> int:
        """The words, padding and unknown."""
        return len(self.words) + 2

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """The captions as numbers; one without words is one unknown word."""
        find = self._numbers.get
        return pad([[find(word, UNKNOWN) for word in words(caption)] or [UNKNOWN] for caption in captions])


LONGEST = 128  # tokens of a caption, the rest of it being cut off


@dataclass(frozen=True)
class Subwords:
    """A tokenizer of Hugging Face, held as the text of its ``tokenizer.json``; captions are cut to so many tokens.
    Where a model was trained on captions of one length, ``padding`` says which, and with what they are filled up;
    ``settings`` is the text of ``tokenizer_config.json``, for export.
    """

    definition: str
    longest: Annotated[int, Ge(1)] = LONGEST
    padding: Mapping[str, Any] | None = None
    settings: str = "{}"

    def __post_init__(self) -> None:
        _ = self._backend

    @cached_property
    def _backend(self) -> Any:
        tokenizers = import_extra("tokenizers", "subwords")
        try:
            found = tokenizers.Tokenizer.from_str(self.definition)
            found.no_padding()
            if self.padding is not None:
                found.enable_padding(**self.padding)
        except Exception as problem:  # of no narrower class
            raise ValueError(f"subwords: got {problem} but expected the text of a tokenizer.json") from problem
        found.enable_truncation(self.longest)
        return found

    @classmethod
    def built_on(cls, captions: Sequence[str], *, path: str, longest: int = LONGEST) -> Subwords:
        """The tokenizer that lies in a folder with ``tokenizer.json``, or with a model on the Hugging Face hub."""
        import_extra("transformers", "subwords")
        try:
            config = from_checkpoint("AutoConfig", path)
            try:
                tokenizer = from_checkpoint("AutoTokenizer", path, use_fast=True)
                definition = tokenizer.backend_tokenizer.to_str()
            except (ImportError, AttributeError):  # SigLIP's other tokenizer, of SentencePiece
                tokenizer = from_checkpoint("PreTrainedTokenizerFast", path)
                definition = tokenizer.backend_tokenizer.to_str()
            with TemporaryDirectory() as folder:
                tokenizer.save_pretrained(folder)
                settings = (Path(folder) / "tokenizer_config.json").read_text("utf-8")
        except (OSError, ValueError, AttributeError) as problem:
            expected = "a folder with tokenizer.json, or a name on the hub"
            raise ValueError(f"path: got {path!r} ({problem}) but expected {expected}") from problem
        padding, places = None, int(getattr(config.get_text_config(), "max_position_embeddings", longest))
        longest = min(longest, tokenizer.model_max_length, places)
        if config.model_type.startswith("siglip"):  # which read the last place of all, and mask none
            at = {"pad_id": tokenizer.pad_token_id, "pad_token": tokenizer.pad_token}
            longest, padding = places, {"length": places, "direction": tokenizer.padding_side, **at}
        return cls(definition, longest, padding, settings)

    def __len__(self) -> int:
        """How many different subwords."""
        return self._backend.get_vocab_size()

    @property
    def vocabulary(self) -> dict[str, int]:
        """The number of every subword."""
        return self._backend.get_vocab()

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """The captions as numbers, special tokens among them; one without any is one token 0."""
        return pad([encoding.ids or [0] for encoding in self._backend.encode_batch(list(captions))])


OPEN_CLIP = "open_clip_config.json"  # what says in a folder of open_clip what model and tokenizer it has


@dataclass(frozen=True)
class OpenClipTokens:
    """A tokenizer of open_clip, held as the texts of the files that it is read from; captions are of its one length."""

    files: Mapping[str, str]

    def __post_init__(self) -> None:
        _ = self._own

    @cached_property
    def _own(self) -> Any:
        library = import_extra("open_clip", "tokenizer")
        try:
            with TemporaryDirectory() as folder:
                self.write(Path(folder))
                return library.get_tokenizer(f"local-dir:{folder}")
        except Exception as problem:  # of no narrower class
            raise ValueError(f"files: got {problem} but expected {OPEN_CLIP} and its tokenizer") from problem

    @property
    def text_config(self) -> dict[str, Any]:
        """What the configuration says of the captions' side."""
        return json.loads(self.files[OPEN_CLIP])["model_cfg"]["text_cfg"]

    @classmethod
    def built_on(cls, captions: Sequence[str], *, model: str) -> OpenClipTokens:
        """The tokenizer of a folder, or of a model by the name that open_clip, or ``hf-hub:`` and the hub, have."""
        library = import_extra("open_clip", "tokenizer")
        name = f"local-dir:{model}" if Path(model).is_dir() else model
        try:
            own, config = library.get_tokenizer(name), library.get_model_config(name)
            if config is None:
                raise ValueError("which open_clip does not list")
            with TemporaryDirectory() as folder:
                if hasattr(own, "save_pretrained"):
                    own.save_pretrained(folder)
                files = {file.name: file.read_text("utf-8") for file in Path(folder).glob("*.json")}
        except (OSError, ValueError, RuntimeError) as problem:
            expected = f"a folder with {OPEN_CLIP}, or a model that open_clip lists"
            raise ValueError(f"model: got {model!r} ({problem}) but expected {expected}") from problem
        return cls({OPEN_CLIP: json.dumps({"model_cfg": config}), **files})

    def write(self, folder: Path) -> None:
        """Write the files."""
        for name, text in self.files.items():
            (folder / Path(name).name).write_text(text, "utf-8")

    def __len__(self) -> int:
        """How many different subwords."""
        return int(getattr(self._own, "vocab_size", 0)) or len(self._own.tokenizer)

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """The captions as numbers, all of one length."""
        ids = self._own(list(captions)) if captions else torch.zeros(0, 1, dtype=torch.int64)
        return Tokens(ids, torch.full((len(ids),), ids.shape[1]))


Tokenizer = Vocabulary | Subwords | OpenClipTokens
TOKENIZERS: dict[str, type[Tokenizer]] = {"words": Vocabulary, "subwords": Subwords, "open_clip": OpenClipTokens}
"""Every tokenizer by its name, which is its ``kind`` in JSON."""


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The kind and the fields of a tokenizer, as JSON has them."""
    kind = next(name for name, known in TOKENIZERS.items() if isinstance(tokenizer, known))
    return {"kind": kind, **asdict(tokenizer)}


def from_checkpoint(kind: str, path: str, **options: Any) -> Any:
    """What a class of transformers makes of a folder, which is read without a network, or of a name on the hub."""
    transformers = import_extra("transformers", "hugging_face")
    return getattr(transformers, kind).from_pretrained(path, local_files_only=Path(path).is_dir(), **options)
