"""Data sets that come as rows, each with an image and captions of it, in any of the layouts in `LAYOUTS`.

Rows with the same image are captions of it, as many as there are. The image is a path, an array in a file of its own,
or in a column. Splits are said by the rows, by files of their own or by lists of images, or drawn.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge

from goal_analysis.declarations import read_value
from goal_analysis.vse.data.layouts import Column, Columns, Entry, is_dataset, read_content, recognised
from goal_analysis.vse.data.pictures import (
    ARRAYS,
    PICTURES,
    SIZE,
    Chosen,
    Files,
    Side,
    StoredImages,
    find_undecodable,
    is_file,
    path_inside,
)
from goal_analysis.vse.data.split import BadRow, DataError, DataWarning, Limit, Split, make_split, read_lines

SPLITS = {"train": "train", "restval": "train", "dev": "dev", "val": "dev", "validation": "dev", "test": "test"}
ALL = "all"  # the split of rows that are in none
TRIED = 20  # rows whose images are looked for, to find the folder
SAVED = ("dataset_dict.json", "dataset_info.json")  # what the folder of a dataset of Hugging Face has

Share = float | int | str | None


@dataclass(frozen=True)
class Splits:
    """Files that list images, one name a line; or shares of the images that the seed draws, up to 1.0, or whole numbers
    of them. Train has the rest, unless a file lists it.
    """

    train: str | None = None
    dev: Share = None
    test: Share = None
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        for name in ("dev", "test"):
            share = getattr(self, name)
            if not isinstance(share, str | None) and not 0 < share <= (1 if isinstance(share, float) else np.inf):
                expected = "a share up to 1.0, a whole number of images, or a file that lists them"
                raise ValueError(f"{name}: got {share!r} but expected {expected}")


class Row(NamedTuple):
    """An image with a caption of it, the id of the caption or an empty text, the file and the row that have both, and
    the folder of the image or the column that has it.
    """

    split: str
    image: str
    caption: str
    key: str
    where: str
    folder: str
    held: tuple[Sequence[Any], int] | None


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` of a dataset of Hugging Face wrote."""
    return any((path / name).is_file() for name in SAVED)


def caption_splits(
    source: Any,
    *,
    skip_bad: bool = False,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    images: str | Path | None = None,
    image: str | None = None,
    caption: str | Sequence[str] = (),
    split: str | Mapping[str, Any] | None = None,
    size: Side = SIZE,
    decode: bool = True,
    longest: Limit | None = None,
) -> dict[str, Callable[[], Split]]:
    """Read the captions of a file, or of a folder or `Dataset` of Hugging Face's; images are read when they are needed.

    The splits there are, and `ALL` of rows in none, are functions that make each. The folder ``images`` has pictures,
    which are cut to ``size``, or arrays, one an image; by default it is the one of the file, or one beside it that has
    the first image. ``image``, ``caption`` and ``split`` are columns, which are else found by kind and name. ``split``
    may be a table of `Splits` instead, and ``dev`` and ``test`` files of their own.

    ``skip_bad`` leaves out, with a `DataWarning` that counts them, rows that are none, unknown splits, images that are
    missing or cannot be decoded, each being decoded for that unless ``decode`` is false, and captions that are empty,
    not in UTF-8 or longer than ``longest`` allows.
    """
    path = Path(source) if isinstance(source, str | Path) else Path("dataset")
    table = None if isinstance(split, str | None) else read_value(Splits, split, f"{path}: split")
    named = [caption] if isinstance(caption, str) else caption
    columns = Columns(image, named, split if isinstance(split, str) else None)
    if dev is None and test is not None:
        raise DataError(f"{path}: got a file for test without one for dev but expected both, or a split column")
    files = {"" if dev is None else "train": path, "dev": dev, "test": test}
    rows: list[Row] = []
    titles: dict[str, None] = {}
    for name, file in files.items():
        if file is None:
            continue
        of = beside(path, file)
        content = read_content(of) if isinstance(source, str | Path) else source
        parts = content if isinstance(content, Mapping) and all(map(is_dataset, content.values())) else {"": content}
        for own, part in parts.items():
            known = name or ("" if "split" in getattr(part, "features", ()) else SPLITS.get(str(own), str(own)))
            title, found = _read(f"{of}: {own}" if own else str(of), of, known, part, columns, images, skip_bad)
            titles[title], rows = None, rows + found
    if table is not None:
        rows = _assigned(rows, table, path, skip_bad)
    by_split: dict[str, dict[tuple[str, str], list[Row]]] = {}
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        one = (row.folder, row.image)
        if seen.setdefault(one, row.split) != row.split:
            given = f"got {row.image} in {row.split} and {seen[one]}"
            raise DataError(f"{row.where}: {given} but expected one split")
        by_split.setdefault(row.split, {}).setdefault(one, []).append(row)
    layout = ", ".join(titles)
    return {
        name: partial(_split, name, [*by_image.values()], layout, size, skip_bad, decode, longest)
        for name, by_image in sorted(by_split.items(), key=lambda one: [*SPLITS.values(), one[0]].index(one[0]))
    }


def beside(path: Path, file: str | Path) -> Path:
    """A file by its path, or else by its path from the folder that another is in."""
    return Path(file) if Path(file).exists() or not (path.parent / file).exists() else path.parent / file


def _split(
    name: str,
    by_image: Sequence[Sequence[Row]],
    layout: str,
    size: int,
    skip_bad: bool,
    decode: bool,
    longest: Limit | None,
) -> Split:
    rows, firsts = [row for found in by_image for row in found], [found[0] for found in by_image]
    where, faults = tuple(row.where for row in firsts), {}
    held = tuple(row.held for row in firsts if row.held is not None)
    values: Sequence[Any] = Chosen(held)
    if not held:
        folder = os.path.commonpath([os.path.abspath(row.folder) for row in firsts])
        values = Files(folder, tuple(Path(os.path.relpath(row.folder, folder), row.image).as_posix() for row in firsts))
        for k in (k for k, file in enumerate(values) if not is_file(file)):
            faults[k] = BadRow(f"{where[k]}: got {firsts[k].image} but expected a file in {firsts[k].folder}")
    images = StoredImages(values, size, where)
    if skip_bad and decode:
        faults |= find_undecodable(images.read, [k for k in range(len(images)) if k not in faults])
    captions = [" ".join(row.caption.split()) for row in rows]
    image_of = np.repeat(np.arange(len(firsts)), [len(found) for found in by_image])
    keys = [row.key or f"{row.image}#{k}" for found in by_image for k, row in enumerate(found)]
    named = ([row.image for row in firsts], keys, layout)
    return make_split(name, images, captions, image_of, [row.where for row in rows], faults, skip_bad, named, longest)


def _read(
    where: str, file: Path, own: str, content: Any, columns: Columns, images: str | Path | None, skip_bad: bool
) -> tuple[str, list[Row]]:
    """What a content is read as, and its rows.

    With ``skip_bad`` bad rows are left out, with a `DataWarning` that counts them, unless all are bad.
    """
    layout = recognised(where, content)
    title, rows, faults = layout.title, [], []
    try:
        if layout.kinds is not None:
            columns = columns.among(layout.kinds(content))
            title = f"{title} of {', '.join(filter(None, (columns.image, *columns.captions, columns.split)))}"
        column = Column(content, columns.image or "") if not columns.has_paths else None
        entries = list(layout.entries(content, columns))
        fine = [entry for _, entry in entries if isinstance(entry, Entry)]
        folder, files = (
            (Path(where), {}) if column else _places(file.parent, beside(file, images) if images else None, fine)
        )
        for number, entry in entries:
            at = f"{where}: row {number}"
            try:
                if isinstance(entry, BadRow):
                    raise entry
                image = entry.number or f"row {number}"
                if column is None:
                    image = files.get(entry.image) or path_inside(folder, entry.image)
                split = own or (ALL if entry.split is None else SPLITS.get(entry.split))
                if split is None:
                    raise BadRow(f"got the split {entry.split!r} but expected one of {', '.join(SPLITS)}")
                held = None if column is None else (column, number)
                rows += [Row(split, image, text, key, at, str(folder), held) for key, text in entry.captions]
            except BadRow as problem:
                faults.append(BadRow(f"{at}: {problem}"))
                if not skip_bad:
                    raise faults[0] from problem
        if faults and not rows:
            raise faults[0]
    except DataError as problem:
        said = str(problem) if str(problem).startswith(where) else f"{where}: {problem}"
        raise type(problem)(f"{said} (read as {title})") from problem
    _warn(f"{where}: left out {len(faults)} of {len(entries)} rows", faults)
    return title, rows


def _warn(said: str, faults: Sequence[BadRow]) -> None:
    if faults:
        warnings.warn(DataWarning(f"{said}; the first: {faults[0]}", faults), stacklevel=3)


def _places(home: Path, images: Path | None, entries: Sequence[Entry]) -> tuple[Path, Mapping[str, str]]:
    """The folder that the images are in, and the files of those images that go there by another name."""
    some, home = entries[:TRIED], images or home
    inner = [home, *_folders(home)]
    for folder in (*inner, *(() if images else _folders(home.absolute().parent))):
        if any(_is_there(folder, entry.image) for entry in some):
            return folder, {}
    for folder in inner:
        files = {path.stem: path.name for path in _inside(folder) if path.suffix.lower() in (*ARRAYS, *PICTURES)}
        found = {}
        for entry in entries:
            names = (Path(entry.image).name, Path(entry.image).stem, entry.number, f"{entry.number:0>12}")
            found |= {entry.image: next(files[name] for name in names if name in files)} if files.keys() & names else {}
        if any(entry.image in found for entry in some):
            return folder, found
    return home, {}


def _is_there(folder: Path, image: str) -> bool:
    try:
        return is_file(folder / path_inside(folder, image))
    except BadRow:
        return False


def _folders(folder: Path) -> list[Path]:
    return [path for path in _inside(folder) if path.is_dir()]


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _assigned(rows: Iterable[Row], splits: Splits, path: Path, skip_bad: bool) -> list[Row]:
    """The rows in the splits that are listed or drawn, without those of images in none.

    Images are drawn from those in train and in no split; where all of train is listed, what is left is in none.
    """
    rows, faults = list(rows), []
    images = sorted({(row.folder, row.image) for row in rows})
    names = {known: one for one in images for known in (Path(one[1]).stem, Path(one[1]).name, one[1])}
    of = {(row.folder, row.image): row.split for row in rows if row.split not in (ALL, "train")}
    theirs = set(of.values())
    listed: dict[tuple[str, str], str] = {}
    shares = {name: getattr(splits, name) for name in ("train", "dev", "test")}
    for split, file in shares.items():
        lines = read_lines(beside(path, file)) if isinstance(file, str) else []
        for number, line in enumerate(lines):
            where = f"{beside(path, file)}: row {number}"
            image = next((names[known] for known in (line, Path(line).name, Path(line).stem) if known in names), None)
            if image is None and line:
                faults.append(BadRow(f"{where}: got {line[:100]!r} but expected an image of {path}"))
            elif image is not None and listed.setdefault(image, split) != split:
                raise DataError(f"{where}: got {line} for {split} and for {listed[image]} but expected one split")
    if faults and not skip_bad:
        raise faults[0]
    _warn(f"{path}: left out {len(faults)} names of lists", faults)
    of |= listed
    free = [one for one in images if one not in of]
    total = len(free)
    free = [free[k] for k in np.random.default_rng(splits.seed).permutation(total)]
    for split, share in shares.items():
        if isinstance(share, str | None):
            continue
        count = max(1, round(share * total)) if isinstance(share, float) else share
        if count > len(free) or split in theirs:
            expected = (
                "nothing, for there are rows of it" if split in theirs else f"up to {len(free)} of {total} images"
            )
            raise DataError(f"{path}: split: {split}: got {share} but expected {expected}")
        of |= dict.fromkeys(free[:count], split)
        free = free[count:]
    of |= dict.fromkeys(free if splits.train is None else (), "train")
    return [row._replace(split=of[one]) for row in rows if (one := (row.folder, row.image)) in of]
