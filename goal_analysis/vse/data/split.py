"""Images, where they are kept until a batch asks for some; and images with their captions: a split, and all splits."""

from __future__ import annotations

import codecs
import hashlib
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Float32, Int64, Integer
from torch import Tensor

from goal_analysis.files import regular
from goal_analysis.vse.data.answers import Answers, Equal

Rows = Integer[np.ndarray, " batch"] | Integer[Tensor, " batch"]
HASHED_WHOLE = 1 << 26  # up to how many bytes content is hashed whole; from there on every so many rows
SAMPLED_ROWS = 256
PIECE = 1 << 24  # bytes of an array that are looked through at a time
UNPRINTED = re.compile(rb"[\0-\x08\x0e-\x1f]")  # bytes that no text has
FOLDS = 5  # of the training split, each of which may be dev in place of the data set's own


class DataError(ValueError):
    """Data that cannot be used; the message names the file and the row."""


class BadRow(DataError):
    """A row that cannot be used, and that may be left out."""


class DataWarning(UserWarning):
    """Data of which a part was left out or cut; the message counts it, and ``faults`` say what was wrong with each."""

    def __init__(self, said: str, faults: Sequence[Exception] = ()) -> None:
        super().__init__("; the first: ".join((said, *map(str, faults[:1]))))
        self.faults = tuple(faults)


@dataclass(frozen=True)
class Limit:
    """How long a caption may be, in words, in characters or both; a longer one is cut, or refused as a `BadRow`."""

    words: Annotated[int, Ge(1)] | None = None
    characters: Annotated[int, Ge(1)] | None = None
    over: Literal["cut", "refuse"] = "cut"

    def cut(self, caption: str) -> str:
        """The caption as far as the limit allows."""
        if self.words is not None and len(caption) > self.words:
            words = caption.split()
            caption = " ".join(words[: self.words]) if len(words) > self.words else caption
        return caption if self.characters is None else caption[: self.characters].rstrip()

    def __str__(self) -> str:
        limits = {"words": self.words, "characters": self.characters}
        return " and ".join(f"up to {most} {of}" for of, most in limits.items() if most is not None)


LONGEST = Limit(10_000, 100_000, "refuse")
"""What no caption is longer than unless data ask for more: a batch is as wide as its longest."""


@runtime_checkable
class Images(Protocol):
    """Where images are kept, and the only way to them; an implementation can be pickled without their content."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, dim)``, ``(images, regions, dim)`` or ``(images, 3, height, width)``."""
        ...

    def __len__(self) -> int:
        return self.shape[0]

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows, finite, shape ``(batch, *shape[1:])``; no others are read.

        Raises:
            DataError: a row holds a number that is not finite, or cannot be read.
        """
        ...

    def fingerprint(self) -> str:
        """Sixteen digits that change with the content."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayImages(Images):
    """Images in an array, one a row, or in what gives rows as an array does: floating numbers, or uint8 from 0 to 255,
    which becomes 0 to 1; another kind is a `DataError`.
    """

    array: Any
    source: str = "images"

    def __post_init__(self) -> None:
        kind = self.array.dtype
        if kind != np.uint8 and not np.issubdtype(kind, np.floating):
            raise DataError(f"{self.source}: got an array of {kind} but expected floating numbers or uint8")
        if len(self.shape) not in (2, 3, 4) or 0 in self.shape[1:]:
            expected = "(images, dim), (images, regions, dim) or (images, 3, height, width)"
            raise DataError(f"{self.source}: got an array of shape {self.shape} but expected {expected}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows; see `Images`."""
        numbers = np.asarray(rows)
        found = self._floats(numbers)
        if self.array.dtype == np.uint8:
            return found.div_(255)
        check_finite(found, numbers, self.source)
        return found

    def _floats(self, rows: Integer[np.ndarray, " batch"]) -> Float32[Tensor, "batch ..."]:
        found = self.array[rows]
        # PyTorch converts ten times as quickly as NumPy, but only what it knows.
        if not found.dtype.isnative or found.dtype.itemsize > np.dtype(np.float64).itemsize:
            # Numbers that are too large become infinities without a warning, and then a DataError.
            with np.errstate(over="ignore"):
                found = found.astype(np.float32)
        return torch.from_numpy(found).float()

    def files(self) -> Iterable[Path]:
        """The file of an array that is not in memory."""
        path = getattr(self.array, "path", "")
        return (Path(path),) if path else ()

    def not_finite(self) -> list[int]:
        """The rows with a number that is not finite; all are read, a piece at a time."""
        width = math.prod(self.shape[1:]) * self.array.dtype.itemsize
        parts = pieces(np.arange(len(self)), max(1, PIECE // width))
        fine = [self._floats(rows).isfinite().flatten(1).all(1) for rows in parts]
        return (~torch.cat(fine)).nonzero()[:, 0].tolist()

    def fingerprint(self) -> str:
        """A hash of shape, type and content; of large arrays, of rows at even distances with the first and last."""
        kind, count = self.array.dtype, len(self)
        large = math.prod(self.shape) * kind.itemsize > HASHED_WHOLE
        rows = spread(count, SAMPLED_ROWS) if large else np.arange(count)
        return digest(str(self.shape), str(kind), np.ascontiguousarray(self.array[rows]).tobytes())


@dataclass(frozen=True, eq=False)
class ChosenImages(Images):
    """The images of these rows, in a given order."""

    images: Images
    rows: Int64[np.ndarray, " chosen"]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(chosen, …)``."""
        return (len(self.rows), *self.images.shape[1:])

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These rows of the chosen; see `Images`."""
        return self.images.batch(self.rows[np.asarray(rows)])

    def files(self) -> Iterable[Path]:
        """Those of all images."""
        return files_of(self.images)

    def fingerprint(self) -> str:
        """A hash of all the images and of the choice."""
        return digest(self.images.fingerprint(), self.rows.tobytes())


def files_of(images: Images) -> Iterable[Path]:
    """The files that images are read from when they are needed, of a class that says them in a method ``files``."""
    return getattr(images, "files", tuple)()


def spread(count: int, most: int) -> Int64[np.ndarray, " rows"]:
    """Row numbers below the count, ``most`` of them at even distances, with the first and the last."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def pieces(rows: Int64[np.ndarray, " rows"], size: int = 256) -> Iterator[Int64[np.ndarray, " piece"]]:
    """The rows in pieces of this size."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def check_finite(values: Float[Tensor, "batch ..."], rows: Integer[np.ndarray, " batch"], source: str) -> None:
    """Raise a DataError that names the row of the source with the first number that is NaN or infinite."""
    # One sum is quicker than a look at every number; only where it is not finite do the numbers decide.
    wrong = [] if values.sum().isfinite() else (~values.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist()
    if wrong:
        raise DataError(f"{source}: row {rows[wrong[0]]}: got a number that is not finite but expected finite numbers")


def digest(*parts: str | bytes) -> str:
    """Sixteen hexadecimal digits that depend on every part and on where it ends."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(len(content).to_bytes(8, "big"))
        found.update(content)
    return found.hexdigest()[:16]


def statistics(images: Images, most: int = 20_000) -> tuple[Float32[Tensor, " features"], Float32[Tensor, " features"]]:
    """Mean and standard deviation, 1 where there is none, of every feature over images and regions, or channel over
    pictures. Summed in float64; of more images than ``most``, this many at even distances are read.
    """
    count, mean, spread_out = 0, torch.zeros(()), torch.zeros(())
    for rows in pieces(spread(len(images), most)):
        values = images.batch(rows).double()
        values = values.movedim(1 if values.ndim == 4 else -1, -1).flatten(0, -2)
        local = values.mean(0)
        total = count + len(values)
        shift = local - mean
        spread_out = spread_out + (values - local).square().sum(0) + shift.square() * (count * len(values) / total)
        mean = mean + shift * (len(values) / total)
        count = total
    deviation = (spread_out / count).sqrt().float()
    return mean.float(), torch.where(deviation > 0, deviation, torch.ones_like(deviation))


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their captions, none of them empty, in the order of the images.

    ``image_of`` is the row of the image that each caption describes, never decreasing. ``names`` of the images and
    ``keys`` of the captions are what the data call them, where they do; ``layout`` is what they were read as. ``equal``
    says what a caption is to an image of which another caption has the same words, see `Answers`, and ``judged`` are
    other right pairs by their names and keys. A DataError names the first row that does not fit.
    """

    name: str
    images: Images
    captions: tuple[str, ...]
    image_of: Int64[np.ndarray, " captions"]
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    layout: str = ""
    equal: Equal = "negatives"
    judged: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if len(self.captions) != len(self.image_of):
            raise DataError(f"{self.name}: got {len(self.captions)} captions of {len(self.image_of)} images' rows")
        if not self.captions:
            raise DataError(f"{self.name}: got no captions but expected at least one")
        for row in (row for row, caption in enumerate(self.captions) if not caption.strip()):
            raise DataError(f"{self.name}: caption {row}: got an empty line but expected words")
        # The first image first, then the same or the next one up to the last: all of them, and in order.
        steps = np.diff(self.image_of, prepend=-1)
        wrong = [*np.flatnonzero((steps < 0) | (steps > 1)), *np.flatnonzero(steps[:1] != 1)]
        if wrong:
            row = int(wrong[0])
            given = f"got image {self.image_of[row]} after image {self.image_of[row] - steps[row]}"
            expected = "the same or the next one, beginning at image 0"
            raise DataError(f"{self.name}: caption {row}: {given} but expected {expected}")
        if self.image_of[-1] != len(self.images) - 1:
            given = f"{self.name}: got captions of {self.image_of[-1] + 1} images"
            raise DataError(f"{given} but expected captions of all {len(self.images)} images")

    def __len__(self) -> int:
        """How many captions there are, which is how many pairs."""
        return len(self.captions)

    def subset(self, images: Sequence[int] | Integer[np.ndarray, " chosen"], captions: int | None = None) -> Split:
        """These images, in this order, with all their captions or the first so many of each."""
        rows = np.asarray(images, dtype=np.int64)
        for row in rows[(rows < 0) | (rows >= len(self.images))]:
            raise DataError(f"{self.name}: got image {row} but expected a row below {len(self.images)}")
        if len(np.unique(rows)) != len(rows):
            raise DataError(f"{self.name}: got an image twice but expected every image once")
        first, last = (np.searchsorted(self.image_of, rows, side=side) for side in ("left", "right"))
        last = last if captions is None else np.minimum(last, first + captions)
        kept = [i for a, b in zip(first, last, strict=True) for i in range(a, b)]
        return replace(
            self,
            images=ChosenImages(self.images, rows),
            captions=tuple(self.captions[i] for i in kept),
            image_of=np.repeat(np.arange(len(rows)), last - first),
            names=tuple(self.names[row] for row in rows if self.names),
            keys=tuple(self.keys[i] for i in kept if self.keys),
        )

    @cached_property
    def answers(self) -> Answers:
        """Which captions are right for which images."""
        rows, places = ({name: k for k, name in enumerate(names)} for names in (self.names, self.keys))
        pairs = [(rows[name], places[key]) for name, key in self.judged if name in rows and key in places]
        return Answers.of(self.captions, self.image_of, self.equal, np.array(pairs, dtype=np.int64).reshape(-1, 2).T)

    def fingerprint(self) -> str:
        """A hash of images and captions."""
        captions = "\n".join(self.captions).encode("utf-8", "surrogatepass")
        return digest(self.name, self.images.fingerprint(), captions, self.image_of.tobytes())


@dataclass(frozen=True, eq=False)
class RetrievalData:
    """What a model is trained on, chosen by, and measured on; all images have one shape."""

    name: str
    train: Split
    dev: Split
    test: Split | None = None

    def __post_init__(self) -> None:
        for split in self.splits()[1:]:
            if split.images.shape[1:] != self.train.images.shape[1:]:
                given = f"{self.name}: got {split.name} images of shape {split.images.shape[1:]}"
                raise DataError(f"{given} but expected {self.train.images.shape[1:]} as in train")

    def splits(self) -> tuple[Split, ...]:
        """Those that are there."""
        return tuple(split for split in (self.train, self.dev, self.test) if split is not None)

    def stamps(self) -> dict[Path, tuple[int, ...]]:
        """Inode, size and time of every file that images are read from; nothing of one that is gone."""
        found: dict[Path, tuple[int, ...]] = {}
        for path in (path for split in self.splits() for path in files_of(split.images)):
            with suppress(OSError):
                of = path.stat()
                found[path] = of.st_ino, of.st_size, of.st_mtime_ns
        return found

    def fingerprint(self) -> str:
        """A hash of the images and captions of all splits."""
        return digest(*(split.fingerprint() for split in self.splits()))


def make_split(
    name: str,
    images: Images,
    captions: Sequence[str],
    image_of: Int64[np.ndarray, " captions"],
    names: Sequence[str],
    keys: Sequence[str],
    layout: str,
    where: Sequence[str],
    image_faults: Mapping[int, BadRow],
    skip_bad: bool,
    longest: Limit = LONGEST,
) -> Split:
    """The split, or the first fault; with ``skip_bad`` what is left without faulty images and captions, and a
    `DataWarning`. ``where`` has the file and the row of every caption.
    """
    texts, wrong, cut = list(captions), {}, []
    for k, caption in enumerate(captions):
        short = longest.cut(caption)
        if not caption:
            wrong[k] = BadRow(f"{where[k]}: got an empty caption but expected words")
        elif not is_text(caption):
            wrong[k] = BadRow(f"{where[k]}: got {caption[:40]!r}, which is not in UTF-8, but expected words")
        elif short != caption:
            size = f"{where[k]}: got a caption of {len(caption.split())} words, {len(caption)} characters"
            if longest.over == "refuse":
                wrong[k] = BadRow(f"{size} but expected {longest}, which data.longest sets")
            else:
                cut.append(BadRow(f"{size}, which is cut"))
                texts[k] = short
    if cut:
        warnings.warn(DataWarning(f"{name}: cut {len(cut)} of {len(captions)} captions", cut), stacklevel=2)
    faults = [image_faults[row] for row in sorted(image_faults)] + list(wrong.values())
    if faults and not skip_bad:
        raise faults[0]
    kept = [k for k, row in enumerate(image_of.tolist()) if row not in image_faults and k not in wrong]
    if not kept:
        raise DataError(f"{name}: got no image with a caption" + (f"; the first fault: {faults[0]}" if faults else ""))
    rows, compact = np.unique(image_of[kept], return_inverse=True)
    missing = len(images) - len(rows)
    if skip_bad and (faults or missing):
        left = f"{missing} of {len(images)} images and {len(captions) - len(kept)} of {len(captions)} captions"
        warnings.warn(DataWarning(f"{name}: left out {left}", faults), stacklevel=2)
    image_of = image_of[kept]
    if skip_bad and missing:
        images, image_of = ChosenImages(images, rows), compact.astype(np.int64)
        names = [names[int(row)] for row in rows]
    texts = tuple(texts[k] for k in kept)
    return Split(name, images, texts, image_of, tuple(names), tuple(keys[k] for k in kept), layout)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without blanks around them."""
    lines = as_text(path, read_bytes(path)).split("\n")
    return [line.strip() for line in (lines if lines[-1] else lines[:-1])]


def as_text(path: Path, content: bytes) -> str:
    """What a file holds as text in UTF-8, or UTF-16 with its mark; bytes that are neither become lone surrogates, and
    carriage returns end lines where no line feed does. What begins as no text does is a DataError.
    """
    wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if not wide and UNPRINTED.search(content[:8]):
        raise DataError(f"{path}: got a file that begins with {content[:8]!r} but expected text, and nothing packed")
    text = content.decode("utf-16" if wide else "utf-8-sig", "replace" if wide else "surrogateescape")
    return text if "\n" in text else text.replace("\r", "\n")


def read_bytes(path: Path) -> bytes:
    """What a file holds; a DataError says why it cannot be read."""
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: got a file that cannot be read: {error.strerror}") from error


def is_text(words: str) -> bool:
    """Whether these are characters only: no lone surrogates, which stand for bytes that are not UTF-8."""
    return words == words.encode("utf-8", "replace").decode("utf-8")
