"""Data sets by name or by path; every kind, and a user's own, is a value in `DATASETS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goal_analysis.declarations import read_options
from goal_analysis.vse.data.precomp import load_precomp, precomp_splits
from goal_analysis.vse.data.rows import load_karpathy
from goal_analysis.vse.data.scenes import load_scenes
from goal_analysis.vse.data.split import FOLDS, DataError, RetrievalData, Split
from goal_analysis.vse.data.table import SUFFIXES, load_table

__all__ = ["DATASETS", "DataSet", "load", "load_split", "carry_options"]

FOLDER = "/"  # stands among the suffixes of a `DataSet` for a folder

LOADER = "load(source, *, skip_bad, **options), each option annotated"


@dataclass(frozen=True)
class DataSet:
    """A kind of data set: its loader, and the paths that it reads.

    Args:
        load: ``load(source, *, skip_bad, **options)`` gives `RetrievalData`. ``source`` is the name or the path,
            ``skip_bad`` asks to leave out bad rows with a `DataWarning` that counts them, and the annotated options
            are those of the table ``[data]``.
        suffixes: of the files that are of this kind, such as ``.csv``, and `FOLDER` for a folder; without any, the
            data set goes by its name.
        places: the options that say where a part of one data set is, and so say nothing of another.
        splits: takes what ``load`` takes, and gives a function for every split there is, which loads it alone. Without
            it all splits are loaded for one.

    Raises:
        ValueError: ``load`` takes other arguments.
    """

    load: Callable[..., RetrievalData]
    suffixes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    splits: Callable[..., Mapping[str, Callable[[], Split]]] | None = None

    def __post_init__(self) -> None:
        signature = inspect.signature(self.load)
        first, *rest = signature.parameters.values()
        names = [p.name for p in rest if p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty]
        if first.kind is first.KEYWORD_ONLY or "skip_bad" not in names or len(names) != len(rest):
            name = getattr(self.load, "__name__", repr(self.load))
            raise ValueError(f"DataSet: got {name}{signature} but expected {LOADER}")

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(name for name in list(inspect.signature(self.load).parameters)[1:] if name != "skip_bad")

    def is_at(self, path: Path) -> bool:
        """Whether a folder or file is of this kind."""
        return (FOLDER if path.is_dir() else path.suffix) in self.suffixes


def load(
    source: str | Path, *, kind: str | None = None, skip_bad: bool = False, fold: int | None = None, **options: Any
) -> RetrievalData:
    """The data set of a name, such as ``scenes``, or what lies at a path, with the options of its kind.

    A folder is one of features computed beforehand, a ``.json`` file Karpathy's, and a ``.csv``, ``.tsv`` or
    ``.parquet`` file a table; ``kind`` is a name in `DATASETS`, where the source does not tell it. ``skip_bad`` leaves
    out bad rows, with a `DataWarning` that counts them; without it they are a DataError. ``fold``, from 0 to 4, gives
    the training split alone, a fifth of its images as dev: what is chosen there leaves dev for the report.
    """
    if fold is not None and (type(fold) is not int or fold not in range(FOLDS)):
        raise DataError(f"data: fold: got {fold!r} but expected a whole number from 0 to {FOLDS - 1}")
    dataset, options = _checked(source, kind, options)
    data = dataset.load(source, skip_bad=skip_bad, **options)
    return data if fold is None else data.fold(fold)


def load_split(
    source: str | Path,
    name: str,
    *,
    kind: str | None = None,
    skip_bad: bool = False,
    fold: int | None = None,
    **options: Any,
) -> Split:
    """One split of a data set of `load`; of features computed beforehand the others may be missing, and are
    not read.

    It is ``train``, ``dev``, ``test`` or ``testall``, or what the option ``test`` of features names.
    """
    dataset, options = _checked(source, kind, options)
    if dataset.splits is not None and fold is None:
        splits = dataset.splits(source, skip_bad=skip_bad, **options)
    else:
        data = load(source, kind=kind, skip_bad=skip_bad, fold=fold, **options)
        splits = {split.name: (lambda split=split: split) for split in data.splits()}
    if name not in splits:
        raise DataError(f"{source}: split: got {name!r} but expected one of {', '.join(splits) or 'none'}")
    return splits[name]()


def carry_options(data: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """The table of another data set that is read in the same way: with the options that its kind has too.

    Options that say where a part of the first lies are left out. Of the same data set all options stay, and of one
    whose kind is not known none.

    >>> carry_options({"name": "photographs.csv", "size": 64, "image": "path", "images": "photographs"}, "scenes")
    {'name': 'scenes'}
    """
    if _is_same(source, data.get("name")):
        return {**data, "name": str(source)}
    try:
        known = DATASETS[_kind(source)].options
    except DataError:
        known = ()
    places = {place for dataset in DATASETS.values() for place in dataset.places}
    return {"name": str(source), **{name: data[name] for name in data if name in known and name not in places}}


def _is_same(source: str | Path, other: Any) -> bool:
    if not isinstance(other, str) or _is_name(str(source)) or _is_name(other):
        return str(source) == other
    return Path(source).resolve() == Path(other).resolve()


def _is_name(source: str) -> bool:
    return source in DATASETS and not DATASETS[source].suffixes


def _checked(source: str | Path, kind: str | None, options: Mapping[str, Any]) -> tuple[DataSet, dict[str, Any]]:
    """The kind of a data set, and its checked options."""
    chosen = _kind(source) if kind is None else kind
    if not isinstance(chosen, str) or chosen not in DATASETS:  # a table may say anything
        raise DataError(f"data: kind: got {chosen!r} but expected one of {', '.join(DATASETS)}")
    dataset = DATASETS[chosen]
    try:
        return dataset, read_options(dataset.load, options, f"data: {chosen}", after=1)
    except ValueError as problem:
        raise DataError(str(problem)) from problem


def _kind(source: str | Path) -> str:
    path = Path(source)
    if _is_name(str(source)):
        return str(source)
    if not path.exists():
        names = ", ".join(filter(_is_name, DATASETS))
        raise DataError(f"data: got {str(source)!r} but expected {names}, or a folder or file that exists")
    for name, dataset in DATASETS.items():
        if dataset.is_at(path):
            return name
    suffixes = [f"*{suffix}" for dataset in DATASETS.values() for suffix in dataset.suffixes if suffix != FOLDER]
    raise DataError(f"data: got the file {path} but expected one called {', '.join(suffixes)}; or a kind")


DATASETS: dict[str, DataSet] = {
    "scenes": DataSet(load_scenes),
    "precomp": DataSet(load_precomp, (FOLDER,), ("test",), precomp_splits),
    "karpathy": DataSet(load_karpathy, (".json",), ("images",)),
    "table": DataSet(load_table, SUFFIXES, ("images", "dev", "test")),
}
"""Every kind of data set by its name; the first whose suffix a path has reads it."""
