"""Photographs in files: decoded when a batch asks for them, and cut to one size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float32
from PIL import Image, ImageOps
from torch import Tensor

from goal_analysis.vse.data.split import HASHED_WHOLE, SAMPLED_ROWS, BadRow, Images, Rows, digest, is_text, spread

SIZE = 224  # the side of a picture in pixels, by default
Side = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class PictureFiles(Images):
    """Photographs in a folder; this object is but the way to them, so it can be sent to the workers of a loader.

    The shorter side of each is scaled to ``size``, and the square in its middle is cut. ``sources`` say the file and
    the row there that named each, for messages; by default the folder and the row here.
    """

    folder: str
    names: tuple[str, ...]
    size: int = SIZE
    sources: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, 3, size, size)``."""
        return (len(self.names), 3, self.size, self.size)

    def batch(self, rows: Rows) -> Float32[Tensor, "batch 3 height width"]:
        """These pictures, from 0 to 1; see `Images`."""
        found = torch.empty(len(rows), *self.shape[1:], dtype=torch.float32)
        for k, row in enumerate(np.asarray(rows).tolist()):
            found[k] = self.read(row)
        return found

    def read(self, row: int) -> Float32[Tensor, "3 size size"]:
        """A picture; one that cannot be decoded is a `BadRow`."""
        name = self.names[row]
        try:
            with Image.open(Path(self.folder) / name) as image:
                return picture(image, self.size)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file fails in whatever way its decoder does
            where = self.sources[row] if self.sources else f"{self.folder}: row {row}"
            given = f"{where}: got {name}, which cannot be decoded ({error})"
            raise BadRow(f"{given}, but expected a picture") from error

    def fingerprint(self) -> str:
        """A hash of names, size and content; of many files, of some at even distances with the first and last."""
        paths = [Path(self.folder) / name for name in self.names]
        sizes = [path.stat().st_size if is_file(path) else -1 for path in paths]
        rows = np.arange(len(self)) if sum(sizes) <= HASHED_WHOLE else spread(len(self), SAMPLED_ROWS)
        content = [hashlib.sha256(paths[row].read_bytes()).digest() if sizes[row] >= 0 else b"" for row in rows]
        return digest(str(self.shape), "\n".join(self.names), str(sizes), *content)


def find_undecodable(read: Callable[[int], Tensor], rows: Sequence[int]) -> dict[int, BadRow]:
    """What is wrong with the pictures that cannot be decoded, by their rows; in threads, each is decoded once."""

    def fault(row: int) -> BadRow | None:
        try:
            read(row)
        except BadRow as problem:
            return problem

    # Left to the first image that needs them, formats register in one thread while another finds them missing.
    Image.init()
    with ThreadPoolExecutor() as pool:
        return {row: found for row, found in zip(rows, pool.map(fault, rows), strict=True) if found is not None}


def picture(image: Image.Image, size: int) -> Float32[Tensor, "3 size size"]:
    """The middle square of an image, from 0 to 1, its shorter side scaled to the size.

    It becomes RGB, on black where it is transparent, and 16 bits of grey become 8.
    """
    image = ImageOps.fit(_rgb(image), (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image).transpose(2, 0, 1) / np.float32(255))


def _rgb(image: Image.Image) -> Image.Image:
    # Portable grey maps of 16 bits have a mode for 32, and before Pillow 11 those of PNG.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        grey = np.asarray(image).astype(np.int32)
        grey[grey == image.info.get("transparency", -1)] = 0
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    modes = (image.mode, getattr(image.palette, "mode", ""))
    if "transparency" in image.info or any(mode.endswith(("A", "a")) for mode in modes):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return image.convert("RGB")


def path_inside(folder: Path, name: str) -> str:
    """The name, if it leads to something inside of the folder; from the folder on, if it begins with all of
    its path.

    An empty name, or one that begins elsewhere or climbs out of the folder by ``..`` or by a link, is a `BadRow`.
    """
    given = f"got the path {name[:200]!r}"
    path = Path(name.replace("\\", "/"))
    for start in (folder.absolute(), folder.resolve()):
        path = path.relative_to(start) if path.is_relative_to(start) else path
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and "\0" not in name and is_text(name)
    if not inside or ":" in path.parts[0]:
        raise BadRow(f"{given} but expected one inside of {folder}, without '..'")
    try:
        found = (folder / path).resolve()
    except (OSError, RuntimeError) as error:  # a name that is too long, or links that lead to one another
        raise BadRow(f"{given} but expected one inside of {folder}: {error}") from error
    if not found.is_relative_to(folder.resolve()):
        raise BadRow(f"{given}, which leads out of {folder}, but expected one inside")
    return path.as_posix()


def is_file(path: Path) -> bool:
    """Whether there is such a file."""
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
