"""Photographs in files: decoded when a batch asks for them, and cut to one size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from goal_analysis.vse.data import DataError
from goal_analysis.vse.images import HASHED_WHOLE, SAMPLED_ROWS, Rows, digest, spread

SIZE = 224
"""The side of a picture in pixels, by default."""


@dataclass(frozen=True)
class PictureFiles:
    """Photographs in a folder; this object is but the way to them, so it can be sent to the workers of a loader.

    Args:
        folder: which holds them all.
        names: their paths in it; see `path_inside`.
        size: the side of the square that is cut from the middle, after the shorter side was scaled to it.
    """

    folder: str
    names: tuple[str, ...]
    size: int = SIZE

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"{self.folder}: size: got {self.size} but expected at least 1")

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, 3, size, size)``."""
        return (len(self.names), 3, self.size, self.size)

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, rows: Rows) -> Float32[Tensor, "batch 3 height width"]:
        """These pictures, from 0 to 1; see `Images`."""
        found = torch.empty(len(rows), 3, self.size, self.size, dtype=torch.float32)
        for k, row in enumerate(np.asarray(rows).tolist()):
            path = Path(self.folder) / self.names[row]
            try:
                with Image.open(path) as image:
                    found[k] = picture(image, self.size)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise DataError(f"{path}: row {row}: got a picture that cannot be read: {error}") from error
        return found

    def fingerprint(self) -> str:
        """A hash of names, size and content; of many files, of some at even distances with the first and last."""
        sizes = [_bytes(Path(self.folder) / name) for name in self.names]
        rows = np.arange(len(self)) if sum(sizes) <= HASHED_WHOLE else spread(len(self), SAMPLED_ROWS)
        content = [hashlib.sha256((Path(self.folder) / self.names[row]).read_bytes()).digest() for row in rows]
        return digest(str(self.shape), "\n".join(self.names), str(sizes), *content)


def picture(image: Image.Image, size: int) -> Float32[Tensor, "3 size size"]:
    """The middle square of an image, from 0 to 1, its shorter side scaled to the size.

    Args:
        image: of any mode; it becomes RGB, on black where it is transparent.
        size: the side in pixels.
    """
    image = image.convert("RGB")
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    image = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)


def path_inside(folder: Path, name: str, where: str | None = None) -> str:
    """The name, if it leads to something inside of the folder; from the folder on, if it begins with all of its path.

    Args:
        folder: which the name may not leave.
        name: a path.
        where: where the name was read, for messages; by default the folder.

    Raises:
        DataError: it is empty, begins elsewhere, or climbs out of the folder by ``..`` or by a link.
    """
    path = _below(folder, name.replace("\\", "/"))
    given, source = f"got the path {name[:200]!r}", folder if where is None else where
    named = "\0" not in name and is_text(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and named
    if not inside or ":" in path.parts[0]:
        raise DataError(f"{source}: {given} but expected one inside of {folder}, without '..'")
    try:
        found = (folder / path).resolve()
    except (OSError, RuntimeError) as error:  # a name that is too long, or links that lead to one another
        raise DataError(f"{source}: {given} but expected one inside of {folder}: {error}") from error
    if not found.is_relative_to(folder.resolve()):
        raise DataError(f"{source}: {given}, which leads out of {folder}, but expected one inside")
    return str(path)


def is_text(words: str) -> bool:
    """Whether these are characters only: no lone surrogates, which stand for bytes that are not UTF-8."""
    return words == words.encode("utf-8", "replace").decode("utf-8")


def _below(folder: Path, name: str) -> PurePosixPath:
    if Path(name).is_absolute():
        for start in (folder.absolute(), folder.resolve()):
            if Path(name).is_relative_to(start):
                return PurePosixPath(Path(name).relative_to(start).as_posix())
    return PurePosixPath(name)


def _bytes(path: Path) -> int:
    return path.stat().st_size
