"""Data sets by name or by path, one kind a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from goal_analysis.vse.data.precomp import load_precomp, load_split, split_names
from goal_analysis.vse.data.rows import load_karpathy
from goal_analysis.vse.data.scenes import load_scenes
from goal_analysis.vse.data.split import DataError, RetrievalData, Split
from goal_analysis.vse.data.table import SUFFIXES, load_table
from goal_analysis.vse.named import check_options, check_values

__all__ = ["DATASETS", "PLACES", "load", "one_split", "elsewhere"]

SCENES, PRECOMP = "scenes", "precomp"

PLACES = ("images", "dev", "test")
"""Options that say where a part of one data set is, and nothing of another."""


def load(name_or_path: str | Path, kind: str | None = None, skip_bad: bool = False, **options: Any) -> RetrievalData:
    """A data set: ``scenes``, or what lies at a path.

    A folder is one of features computed beforehand, a ``.json`` file Karpathy's, and a ``.csv``, ``.tsv`` or
    ``.parquet`` file a table.

    Args:
        name_or_path: ``scenes`` or a path.
        kind: one of `DATASETS`, where the path does not tell.
        skip_bad: leave out bad rows, with a `DataWarning` that counts them; without it they are a DataError.
        options: what the kind's function takes beside.

    Raises:
        DataError: nothing there, an unknown kind or option, or bad data.
    """
    chosen, loader = _checked(name_or_path, kind, options)
    return loader(**options) if chosen == SCENES else loader(Path(name_or_path), skip_bad=skip_bad, **options)


def one_split(
    name_or_path: str | Path, which: str, kind: str | None = None, skip_bad: bool = False, **options: Any
) -> Split:
    """One split of a data set; of features computed beforehand the others may be missing, and are not read.

    Args:
        name_or_path: as for `load`.
        which: ``train``, ``dev``, ``test`` or ``testall``, or what the option ``test`` names.
        kind: as for `load`.
        skip_bad: as for `load`.
        options: as for `load`.

    Raises:
        DataError: as for `load`, or there is no such split.
    """
    chosen, _ = _checked(name_or_path, kind, options)
    if chosen == PRECOMP:
        names = split_names(Path(name_or_path), options.get("test"))
        if which in names:
            return load_split(Path(name_or_path), which, skip_bad)
    else:
        splits = {split.name: split for split in load(name_or_path, kind, skip_bad, **options).splits()}
        names = tuple(splits)
        if which in names:
            return splits[which]
    raise DataError(f"{name_or_path}: split: got {which!r} but expected one of {', '.join(names) or 'none'}")


def elsewhere(data: Mapping[str, Any], name_or_path: str | Path) -> dict[str, Any]:
    """The table of other data that are read in the same way: the options that their kind has too, without `PLACES`.

    Of the same data, all stay. Where the path does not tell a kind, there are none.

    Args:
        data: the table: ``name`` and options.
        name_or_path: of the other data.

    >>> elsewhere({"name": "photographs.csv", "size": 64, "image": "path", "images": "photographs"}, "scenes")
    {'name': 'scenes'}
    """
    if _same(name_or_path, data.get("name")):
        return {**data, "name": str(name_or_path)}
    try:
        known = _options(dict(DATASETS)[_kind(name_or_path)])
    except DataError:
        known = []
    kept = {name: value for name, value in data.items() if name in known and name not in PLACES}
    return {"name": str(name_or_path), **kept}


def _same(one: str | Path, other: Any) -> bool:
    if SCENES in (str(one), other) or not isinstance(other, str):
        return str(one) == other
    return Path(one).resolve() == Path(other).resolve()


def _checked(
    name_or_path: str | Path, kind: str | None, options: Mapping[str, Any]
) -> tuple[str, Callable[..., RetrievalData]]:
    """The kind of a data set and what loads it, which takes these options."""
    chosen = _kind(name_or_path) if kind is None else kind
    known = dict(DATASETS)
    if chosen not in known:
        raise DataError(f"data: kind: got {chosen!r} but expected one of {', '.join(known)}")
    loader = known[chosen]
    try:
        check_options(f"data: {chosen}", options, _options(loader))
        check_values(f"data: {chosen}", loader, options)
    except ValueError as problem:
        raise DataError(str(problem)) from problem
    return chosen, loader


def _options(loader: Callable[..., RetrievalData]) -> list[str]:
    return [name for name in inspect.signature(loader).parameters if name not in ("path", "folder", "skip_bad")]


def _kind(name_or_path: str | Path) -> str:
    path = Path(name_or_path)
    if str(name_or_path) == SCENES:
        return SCENES
    if not path.exists():
        raise DataError(f"data: got {str(name_or_path)!r} but expected scenes, or a folder or file that exists")
    if path.is_dir():
        return PRECOMP
    if path.suffix == ".json":
        return "karpathy"
    if path.suffix in SUFFIXES:
        return "table"
    raise DataError(f"data: got the file {path} but expected one called *.json, *{', *'.join(SUFFIXES)}; or a kind")


DATASETS: tuple[tuple[str, Callable[..., RetrievalData]], ...] = (
    (SCENES, load_scenes),
    (PRECOMP, load_precomp),
    ("karpathy", load_karpathy),
    ("table", load_table),
)
"""Every kind of data set with the function that loads it."""
