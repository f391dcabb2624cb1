"""Data sets by name or by path, one kind a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from goal_analysis.vse.data import DataError, RetrievalData
from goal_analysis.vse.datasets.karpathy import load_karpathy
from goal_analysis.vse.datasets.precomp import load_precomp
from goal_analysis.vse.datasets.scenes import load_scenes
from goal_analysis.vse.datasets.table import SUFFIXES, load_table

__all__ = ["DATASETS", "load"]


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
    path = Path(name_or_path)
    chosen = _kind(name_or_path) if kind is None else kind
    known = dict(DATASETS)
    if chosen not in known:
        raise DataError(f"data: kind: got {chosen!r} but expected one of {', '.join(known)}")
    loader = known[chosen]
    accepted = [name for name in inspect.signature(loader).parameters if name not in ("path", "folder", "skip_bad")]
    for option in options:
        if option not in accepted:
            raise DataError(f"data: {chosen}: got the option {option!r} but expected one of {', '.join(accepted)}")
    return loader(**options) if chosen == "scenes" else loader(path, skip_bad=skip_bad, **options)


def _kind(name_or_path: str | Path) -> str:
    path = Path(name_or_path)
    if str(name_or_path) == "scenes":
        return "scenes"
    if not path.exists():
        raise DataError(f"data: got {str(name_or_path)!r} but expected scenes, or a folder or file that exists")
    if path.is_dir():
        return "precomp"
    if path.suffix == ".json":
        return "karpathy"
    if path.suffix in SUFFIXES:
        return "table"
    raise DataError(f"data: got the file {path} but expected one called *.json, *{', *'.join(SUFFIXES)}; or a kind")


DATASETS: tuple[tuple[str, Callable[..., RetrievalData]], ...] = (
    ("scenes", load_scenes),
    ("precomp", load_precomp),
    ("karpathy", load_karpathy),
    ("table", load_table),
)
"""Every kind of data set with the function that loads it."""
