"""Data sets of rows, each an image with captions, in any of the `LAYOUTS`; their splits are declared or drawn."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le

from goal_analysis.declarations import Words, read_value
from goal_analysis.vse.data import pictures
from goal_analysis.vse.data.layouts import LAYOUTS, MOST_ROWS, SHOWN, Columns, Entry, read_content
from goal_analysis.vse.data.pictures import Cell, Side, StoredImages, is_dataset
from goal_analysis.vse.data.split import LONGEST, BadRow, DataError, DataWarning, Limit, Split, make_split, read_lines

SPLITS = {"train": "train", "restval": "train", "dev": "dev", "val": "dev", "validation": "dev", "test": "test"}
ALL = "all"  # the split of rows that are in none
TRIED = 20  # rows whose images are looked for, to find the folder
SAVED = ("dataset_dict.json", "dataset_info.json")  # what the folder of a dataset of Hugging Face has

Share = Annotated[
    Annotated[float, Gt(0), Le(1)] | Annotated[int, Ge(1)] | str | None,
    Words("a share up to 1.0, a whole number of images, or a file that lists them"),
]


@dataclass(frozen=True)
class Splits:
    """Files that list images, one name a line; or shares of the images that the seed draws, up to 1.0, or whole numbers
    of them. Train has the rest, unless a file lists it.
    """

    train: str | None = None
    dev: Share = None
    test: Share = None
    seed: Annotated[int, Ge(0)] = 0


class Row(NamedTuple):
    """A caption with its id or an empty text; its image by folder and name, or in a cell; the file and row of both."""

    split: str
    image: tuple[str, str]
    caption: str
    key: str
    where: str
    cell: Cell | None


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
    size: Side = pictures.SIZE,
    decode: bool = True,
    longest: Limit = LONGEST,
    most_rows: Annotated[int, Ge(1)] = MOST_ROWS,
) -> dict[str, Callable[[], Split]]:
    """Read the captions of a file, or of a folder or `Dataset` of Hugging Face's; images are read when they are needed.

    The folder ``images`` has pictures, cut to ``size``, or arrays, one an image; by default it is the one of the file,
    or one beside it that has the first image. ``image``, ``caption`` and ``split`` are columns, which are else found by
    kind and name; ``split`` may be a table of `Splits`, and ``dev`` and ``test`` files of their own. ``skip_bad``
    leaves out, with a `DataWarning` that counts them, rows that are none, unknown splits, missing images, with
    ``decode`` those that cannot be decoded, and captions that are empty, not in UTF-8 or longer than ``longest``.
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
        content = read_content(of, most_rows) if isinstance(source, str | Path) else source
        parts = content if isinstance(content, Mapping) and any(map(is_dataset, content.values())) else {"": content}
        for own, part in parts.items():
            known = name or ("" if "split" in getattr(part, "features", ()) else SPLITS.get(str(own), str(own)))
            title, found = _read(f"{of}: {own}" if own else str(of), of, known, part, columns, images, skip_bad)
            titles[title], rows = None, rows + found
    if table is not None:
        rows = _assigned(rows, table, path, skip_bad)
    by_split: dict[str, dict[tuple[str, str], list[Row]]] = {}
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        if seen.setdefault(row.image, row.split) != row.split:
            given = f"got {row.image[1]} in {row.split} and {seen[row.image]}"
            raise DataError(f"{row.where}: {given} but expected one split")
        by_split.setdefault(row.split, {}).setdefault(row.image, []).append(row)
    options = (", ".join(titles), size, skip_bad, decode, longest)
    names = sorted(by_split, key=[*SPLITS.values(), *by_split].index)
    return {name: partial(_split, name, [*by_split[name].values()], *options) for name in names}


def beside(path: Path, file: str | Path) -> Path:
    """A file by its path, or else by its path from the folder that another is in."""
    return Path(file) if Path(file).exists() or not (path.parent / file).exists() else path.parent / file


def _split(
    name: str, by_image: Sequence[Sequence[Row]], layout: str, size: int, skip_bad: bool, decode: bool, longest: Limit
) -> Split:
    rows, firsts = [row for found in by_image for row in found], [found[0] for found in by_image]
    where, faults = tuple(row.where for row in firsts), {}
    cells = tuple(row.cell for row in firsts if row.cell is not None)
    if cells:
        images = StoredImages("images", (), size, where, cells)
    else:
        folder = os.path.commonpath([os.path.abspath(row.image[0]) for row in firsts])
        names = tuple(Path(os.path.relpath(row.image[0], folder), row.image[1]).as_posix() for row in firsts)
        images = StoredImages(folder, names, size, where)
        faults = {
            k: BadRow(f"{row.where}: got {row.image[1]} but expected a file in {row.image[0]}")
            for k, row in enumerate(firsts)
            if not images.has_file(k)
        }
    if skip_bad and decode:
        faults |= pictures.find_undecodable(images.read, [k for k in range(len(images)) if k not in faults])
    captions = [" ".join(row.caption.split()) for row in rows]
    image_of = np.repeat(np.arange(len(firsts)), [len(found) for found in by_image])
    names = [row.image[1] for row in firsts]
    keys = [row.key or f"{row.image[1]}#{k}" for found in by_image for k, row in enumerate(found)]
    at = [row.where for row in rows]
    return make_split(name, images, captions, image_of, names, keys, layout, at, faults, skip_bad, longest)


def _read(
    where: str, file: Path, own: str, content: Any, columns: Columns, images: str | Path | None, skip_bad: bool
) -> tuple[str, list[Row]]:
    """What a content is read as, and its rows; with ``skip_bad`` without bad ones, unless all are bad."""
    layout = next((layout for layout in LAYOUTS if layout.matches(content)), None)
    if layout is None:
        shown = repr(content) if not isinstance(content, dict) else f"JSON with {', '.join(map(str, content))}"
        raise DataError(f"{where}: got {shown[:SHOWN]} but expected {'; '.join(known.title for known in LAYOUTS)}")
    title, rows, faults = layout.title, [], []
    try:
        if layout.kinds is not None:
            columns = columns.among(layout.kinds(content))
            title = f"{title} of {', '.join(filter(None, (columns.image, *columns.captions, columns.split)))}"
        entries = list(layout.entries(content, columns))
        folder, files = Path(where), {}
        if columns.has_paths:
            fine = [entry for _, entry in entries if isinstance(entry, Entry)]
            folder, files = _places(file.parent, beside(file, images) if images else None, fine)
        place = cache(lambda image: (str(folder), files.get(image) or pictures.path_inside(folder, image)))
        for number, entry in entries:
            at = f"{where}: row {number}"
            try:
                if isinstance(entry, BadRow):
                    raise entry
                cell = None if columns.has_paths else Cell(content, columns.image or "", number)
                image = (str(folder), entry.number or f"row {number}") if cell else place(entry.image)
                split = own or (ALL if entry.split is None else SPLITS.get(entry.split.strip().lower()))
                if split is None:
                    raise BadRow(f"got the split {entry.split!r} but expected one of {', '.join(SPLITS)}")
                rows += [Row(split, image, text, key, at, cell) for key, text in entry.captions]
            except BadRow as problem:
                faults.append(BadRow(f"{at}: {problem}"))
                if not skip_bad:
                    raise faults[0] from problem
        if not rows:
            raise faults[0] if faults else DataError("got no row but expected an image with a caption")
    except DataError as problem:
        said = str(problem) if str(problem).startswith(where) else f"{where}: {problem}"
        raise type(problem)(f"{said} (read as {title})") from problem
    if faults:
        warnings.warn(DataWarning(f"{where}: left out {len(faults)} of {len(entries)} rows", faults), stacklevel=2)
    return title, rows


def _places(home: Path, images: Path | None, entries: Sequence[Entry]) -> tuple[Path, Mapping[str, str]]:
    """The folder that the images are in, and the files of those images that go there by another name."""
    if images is not None and not images.is_dir():
        raise DataError(f"images: got {images} but expected a folder of pictures or arrays")
    some, home, kinds = entries[:TRIED], images or home, (*pictures.ARRAYS, *pictures.PICTURES)
    inner = [*filter(Path.is_dir, sorted(home.glob("*")))]
    around = [] if images else [*filter(Path.is_dir, sorted(home.absolute().parent.glob("*")))]
    for folders, exact in (([home], True), (inner, True), ([home], False), (inner, False), (around, True)):
        places = {}
        for folder in folders:
            there = () if exact else folder.glob("*")
            known = pictures.by_names({path.name: path.name for path in there if path.suffix.lower() in kinds})
            said = entries if known else ()
            names = ((one.image, name) for one in said for name in (one.number, *pictures.names_of(one.image)[:0:-1]))
            files = {image: known[name] for image, name in names if name in known}
            if any(one.image in files or (exact and _is_there(folder, one.image)) for one in some):
                places[folder.resolve()] = folder, files
        if len(places) > 1:
            given = " and ".join(map(str, [*places][:2]))
            raise DataError(f"images: got {given}, which both have some, but expected one folder to be set")
        for place in places.values():
            return place
    return home, {}


def _is_there(folder: Path, image: str) -> bool:
    with suppress(BadRow):
        return os.path.isfile(folder / pictures.path_inside(folder, image))
    return False


def _assigned(rows: Sequence[Row], splits: Splits, path: Path, skip_bad: bool) -> list[Row]:
    """The rows in the splits that are listed, or drawn from those in train and in none; without those left in none."""
    faults, images = [], sorted({row.image for row in rows})
    names = pictures.by_names({one: one[1] for one in images})
    of = {row.image: row.split for row in rows if row.split not in (ALL, "train")}
    theirs, listed = set(of.values()), {}
    shares = {name: getattr(splits, name) for name in ("train", "dev", "test")}
    for split, file in shares.items():
        if not isinstance(file, str):
            continue
        for number, line in enumerate(read_lines(beside(path, file))):
            where = f"{beside(path, file)}: row {number}"
            image = next((names[known] for known in pictures.names_of(line) if known in names), None)
            if image is None and line:
                faults.append(BadRow(f"{where}: got {line[:100]!r} but expected the name of one image of {path}"))
            elif image is not None and listed.setdefault(image, split) != split:
                raise DataError(f"{where}: got {line} for {split} and for {listed[image]} but expected one split")
    if faults and not skip_bad:
        raise faults[0]
    if faults:
        warnings.warn(DataWarning(f"{path}: left out {len(faults)} names of lists", faults), stacklevel=2)
    of |= listed
    free = [one for one in images if one not in of]
    total = len(free)
    free = [free[k] for k in np.random.default_rng(splits.seed).permutation(total)]
    for split, share in shares.items():
        if isinstance(share, str | None):
            continue
        count = max(1, round(share * total)) if isinstance(share, float) else share
        if count > len(free) or split in theirs:
            room = "nothing, for there are rows of it" if split in theirs else f"up to {len(free)} of {total} images"
            raise DataError(f"{path}: split: {split}: got {share} but expected {room}")
        of |= dict.fromkeys(free[:count], split)
        free = free[count:]
    of |= dict.fromkeys(free if splits.train is None else (), "train")
    return [row._replace(split=of[row.image]) for row in rows if row.image in of]
