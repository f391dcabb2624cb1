"""Images in files or columns: decoded when a batch asks for them; pictures are cut to one size."""

import hashlib
import io
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float32
from PIL import Image, ImageOps
from torch import Tensor

from goal_analysis.files import regular
from goal_analysis.vse.data.split import HASHED_WHOLE, SAMPLED_ROWS, BadRow, Images, Rows, digest, is_text, spread

SIZE = 224  # the side of a picture in pixels, by default
ARRAYS = (".npy", ".npz")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")  # looked for where a name has no ending
KEYS = ("feat", "features", "x")  # what an array of features is called among others of a file
Side = Annotated[int, Ge(1)]


class Cell(NamedTuple):
    """A place in a table of Arrow, or in a `Dataset` of Hugging Face's, which is read when it is asked for."""

    table: Any
    column: str
    row: int

    def read(self) -> Any:
        """The value."""
        rows = arrow_columns(self.table, [self.column])[self.row : self.row + 1]
        return rows[self.column][0].as_py()


def is_dataset(content: Any) -> bool:
    """Whether this is a `Dataset` of Hugging Face's ``datasets``."""
    of_theirs = type(content).__module__.startswith("datasets.")
    return of_theirs and all(hasattr(content, name) for name in ("features", "__len__"))  # streams have no length


def arrow_columns(table: Any, names: list[str]) -> Any:
    """Columns of a table of Arrow, or of a `Dataset`."""
    return table.select_columns(names).with_format("arrow") if is_dataset(table) else table.select(names)


@dataclass(frozen=True)
class StoredImages(Images):
    """Pictures, whose middle square is scaled to ``size``, or arrays, each decoded when it is asked for.

    They are files of a folder by their ``names``, or ``cells`` with the bytes of pictures, pairs such as ``{"bytes",
    "path"}``, or arrays. Arrays are in files ``.npy``, or ``.npz`` with one array or one called as in `KEYS`, all of
    one shape. ``sources`` say the file and the row that named each, for messages.
    """

    folder: str
    names: tuple[str, ...]
    size: int = SIZE
    sources: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """``(images, 3, size, size)``, ``(images, dim)`` or ``(images, regions, dim)``, as the first that is fine."""
        return (len(self.cells or self.names), *self._shape)

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        for row in range(len(self.cells or self.names)):
            with suppress(BadRow):
                return self._shape_of(self._value(row))
        return (3, self.size, self.size)

    def batch(self, rows: Rows) -> Float32[Tensor, "batch ..."]:
        """These images; pictures from 0 to 1; see `Images`."""
        found = torch.empty(len(rows), *self.shape[1:], dtype=torch.float32)
        for k, row in enumerate(np.asarray(rows).tolist()):
            found[k] = self.read(row)
        return found

    def read(self, row: int) -> Float32[Tensor, "..."]:
        """An image; one that cannot be decoded, or has another shape than the first, is a `BadRow`."""
        value = self._value(row)
        if self._shape_of(value) != self._shape:
            given = f"{self._where(row)}: got an array of shape {self._shape_of(value)}"
            raise BadRow(f"{given} but expected {self._shape}, as the first has")
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else picture(self.open(row), self.size)

    def open(self, row: int) -> Image.Image:
        """A picture as it is, in RGB; one that cannot be decoded is a `BadRow`."""
        value = self._value(row)
        try:
            with Image.open(io.BytesIO(value) if isinstance(value, bytes) else regular(value)) as image:
                ImageOps.exif_transpose(image, in_place=True)
                return _rgb(image)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file fails in whatever way its decoder does
            raise self._fault(row, error, "a picture") from error

    def fingerprint(self) -> str:
        """A hash of names, size and content; of many, of some at even distances with the first and last."""
        sizes = [self.path(row).stat().st_size if self.has_file(row) else -1 for row in range(len(self.names))]
        whole = sum(sizes) <= HASHED_WHOLE if self.names else len(self) <= SAMPLED_ROWS
        rows = range(len(self)) if whole else spread(len(self), SAMPLED_ROWS).tolist()
        return digest(str(self.shape), "\n".join(self.names), str(sizes), *map(self._content, rows))

    def files(self) -> Iterable[Path]:
        """Those of all rows, where images are in files."""
        return map(self.path, range(len(self.names)))

    def path(self, row: int) -> Path:
        """The file of an image."""
        return Path(self.folder) / self.names[row]

    def has_file(self, row: int) -> bool:
        """Whether the file of an image is there."""
        return os.path.isfile(self.path(row))  # False of a name that is too long, too

    def _content(self, row: int) -> bytes:
        if self.names and not self.has_file(row):
            return b""
        value = self.path(row).read_bytes() if self.names else self._value(row)
        value = value.read_bytes() if isinstance(value, Path) else value
        return hashlib.sha256(value if isinstance(value, bytes) else value.tobytes()).digest()

    def _fault(self, row: int, error: object, expected: str) -> BadRow:
        what = self.names[row] if self.names else "an image"
        return BadRow(f"{self._where(row)}: got {what}, which cannot be decoded ({error}), but expected {expected}")

    def _where(self, row: int) -> str:
        return self.sources[row] if self.sources else f"{self.folder}: row {row}"

    def _shape_of(self, value: Any) -> tuple[int, ...]:
        return value.shape if isinstance(value, np.ndarray) else (3, self.size, self.size)

    def _value(self, row: int) -> Any:
        """The path or the bytes of a picture, or an array."""
        value = self.cells[row].read() if self.cells else self.path(row)
        if isinstance(value, Mapping):
            value = value.get("bytes") or (value.get("path") and Path(value["path"]))
        if value is None:
            raise BadRow(f"{self._where(row)}: got no image but expected one")
        if isinstance(value, bytes) or (isinstance(value, Path) and value.suffix.lower() not in ARRAYS):
            return value
        try:
            given = _array(value) if isinstance(value, Path) else np.asarray(value, np.float32)
            with np.errstate(over="ignore"):  # numbers that are too large become infinities
                found = given.astype(np.float32)
            if given.dtype.kind != "f" or found.ndim not in (1, 2) or not found.size or not np.isfinite(found).all():
                raise ValueError(f"{given.dtype} of shape {given.shape}, all finite: {np.isfinite(found).all()}")
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise self._fault(row, error, "finite floating numbers of shape (dim,) or (regions, dim)") from error
        return found


def _array(path: Path) -> np.ndarray:
    found = np.load(regular(path), allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        names = [name for name in KEYS if name in found.files][:1] or found.files
        if len(names) != 1:
            raise ValueError(f"arrays {', '.join(found.files)}, none of them called {' or '.join(KEYS)}")
        return found[names[0]]


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
    """The middle square of an image in RGB, from 0 to 1, scaled to the size; on black where it is transparent."""
    image = ImageOps.fit(_rgb(image), (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image).transpose(2, 0, 1) / np.float32(255))


def _rgb(image: Image.Image) -> Image.Image:
    # Portable grey maps of 16 bits have a mode for 32, and before Pillow 11 those of PNG.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        grey = np.asarray(image).astype(np.int32)
        grey[grey == image.info.get("transparency", -1)] = 0
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"numbers of mode {image.mode}, which do not say what is white")
    modes = (image.mode, getattr(image.palette, "mode", ""))
    if "transparency" in image.info or any(mode.endswith(("A", "a")) for mode in modes):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return image.convert("RGB")


COCO = re.compile(r"(?:.*_)?(\d{12})")  # stems with the number of an image


def names_of(path: str) -> tuple[str, ...]:
    """What an image is called: by its path, its name, that without the ending, and the number that COCO has in it."""
    of = PurePosixPath(path.replace("\\", "/"))
    number = COCO.fullmatch(of.stem)
    return (path, of.name, of.stem, *([str(int(number[1]))] if number else []))


def by_names(paths: Mapping[Any, str]) -> dict[str, Any]:
    """What has a path by each name that `names_of` gives to it alone, and by the path."""
    times = Counter(name for path in paths.values() for name in set(names_of(path)))
    return {name: one for one, path in paths.items() for name in names_of(path) if times[name] == 1 or name == path}


def path_inside(folder: Path, name: str) -> str:
    """The name, from the folder on; one that is empty, or leads out of it by ``..`` or a link, is a `BadRow`."""
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
