"""Data sets by name or by path; every kind, and a user's own, is a value in `DATASETS`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from goal_analysis.declarations import Table, Words, read_options, read_value
from goal_analysis.vse.data.answers import Equal
from goal_analysis.vse.data.precomp import precomp_splits
from goal_analysis.vse.data.rows import ALL, caption_splits, is_saved_dataset
from goal_analysis.vse.data.scenes import load_scenes
from goal_analysis.vse.data.split import FOLDS, DataError, RetrievalData, Split

__all__ = ["DATASETS", "DataSet", "load", "load_split", "load_splits", "carry_options", "kind_of"]

CAPTIONS = "captions"
FOLDER = "/"  # stands among the suffixes of a `DataSet` for a folder

Fold = Annotated[int, Ge(0), Lt(FOLDS), Words(f"a whole number from 0 to {FOLDS - 1}")] | None


@dataclass(frozen=True)
class DataSet:
    """A kind of data set: its loader, and the paths that it reads.

    Args:
        load: ``load(source, *, skip_bad, **options)`` gives `RetrievalData`, or a function for every split there is by
            its name, which loads it alone. ``source`` is the name or the path, ``skip_bad`` asks to leave out bad rows
            with a `DataWarning` that counts them, and the annotated options are those of the table ``[data]``.
        suffixes: of the files that are of this kind, such as ``.csv``, and `FOLDER` for a folder; without any, the
            data set goes by its name.
        places: the options that say where a part of one data set is, and so say nothing of another.
        reads: whether a folder is of this kind.

    Raises:
        ValueError: ``load`` takes other arguments.
    """

    load: Callable[..., RetrievalData | Mapping[str, Callable[[], Split]]]
    suffixes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    reads: Callable[[Path], bool] = lambda path: False

    def __post_init__(self) -> None:
        signature = inspect.signature(self.load)
        first, *rest = signature.parameters.values()
        names = [p.name for p in rest if p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty]
        if first.kind is first.KEYWORD_ONLY or "skip_bad" not in names or len(names) != len(rest):
            name = getattr(self.load, "__name__", repr(self.load))
            expected = "load(source, *, skip_bad, **options), each option annotated"
            raise ValueError(f"DataSet: got {name}{signature} but expected {expected}")

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(name for name in list(inspect.signature(self.load).parameters)[1:] if name != "skip_bad")


def load(source: Any, **options: Any) -> RetrievalData:
    """The train and dev splits of `load_splits` with the test split, if there is one; a DataError where one is missing.

    ``fold``, from 0 to 4, gives the training split alone, a fifth of its images as dev: what is chosen there leaves dev
    for the report.
    """
    fold, splits = options.get("fold"), load_splits(source, **options)
    for name in ("train", "dev"):
        if name not in splits:
            ways = "split = { dev = 0.1, seed = 0 } draws them, { train = FILE, dev = FILE } reads lists"
            how = f"; {ways}" if ALL in splits and not Path(str(source)).is_dir() else ""
            raise DataError(f"{source}: got the splits {', '.join(splits) or 'none'} but expected train and dev{how}")
    test = [name for name in (str(options.get("test")), "testall", "test") if name in splits and fold is None][:1]
    name = Path(source).stem if isinstance(source, str | Path) else "dataset"
    return RetrievalData(name, *(splits[part]() for part in ("train", "dev", *test)))


def load_splits(
    source: Any,
    *,
    kind: str | None = None,
    skip_bad: bool = False,
    equal_captions: Equal = "negatives",
    fold: int | None = None,
    **options: Any,
) -> dict[str, Callable[[], Split]]:
    """The splits of a data set by a name, such as ``scenes``, or of what lies at a path, each as what loads it alone.

    A folder is one of features computed beforehand, or a dataset of Hugging Face's, which may also be given itself. A
    file has captions in one of the `LAYOUTS`. The splits are ``train``, ``dev``, ``test`` or ``testall``, what the
    option ``test`` of features names, and ``all`` for captions in no split. ``kind`` is a name in `DATASETS`, where the
    source does not tell it; for ``equal_captions`` see `Answers`, for ``fold`` `load`. Bad rows are a DataError, or
    with ``skip_bad`` left out, with a `DataWarning` that counts them.
    """
    chosen = kind_of(source) if kind is None else kind
    try:
        equal = read_value(Equal, equal_captions, "data: equal_captions")  # pyright: ignore[reportArgumentType]
        read_value(Fold, fold, "data: fold")  # pyright: ignore[reportArgumentType]
        dataset = Table({"kind": chosen}, "data").choice("kind", DATASETS)
        options = read_options(dataset.load, options, f"data: {chosen}", after=1)
    except ValueError as problem:
        raise DataError(str(problem)) from problem
    found = dataset.load(source, skip_bad=skip_bad, **options)
    if isinstance(found, RetrievalData):
        found = {split.name: partial(replace, split) for split in found.splits()}
    if fold is not None and "train" in found:
        train = found["train"]()
        rows = np.arange(len(train.images))
        if len(rows) < FOLDS:
            given = f"{source}: got {len(rows)} images of train"
            raise DataError(f"{given} but expected {FOLDS} at least for {FOLDS} folds")
        within = rows % FOLDS == fold
        found = {name: partial(train.subset, rows[of]) for name, of in (("train", ~within), ("dev", within))}
    return {name: lambda name=name, get=get: replace(get(), name=name, equal=equal) for name, get in found.items()}


def load_split(source: Any, name: str, **options: Any) -> Split:
    """One split of a data set of `load_splits`; a DataError says which there are."""
    splits = load_splits(source, **options)
    if name not in splits:
        raise DataError(f"{source}: split: got {name!r} but expected one of {', '.join(splits) or 'none'}")
    return splits[name]()


def carry_options(data: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """The table of another data set that is read in the same way: with the options that its kind has too, but those
    that say where a part of the first lies. Of the same data set all stay, and of one whose kind is not known none.
    """
    both = {str(source), str(data.get("name"))}
    if len(both) == 1 or (not any(map(_is_name, both)) and len({Path(one).resolve() for one in both}) == 1):
        return {**data, "name": str(source)}
    try:
        known = DATASETS[kind_of(source)].options
    except DataError:
        known = ()
    places = {place for dataset in DATASETS.values() for place in dataset.places}
    if isinstance(data.get("split"), Mapping) and any(isinstance(file, str) for file in data["split"].values()):
        places.add("split")  # lists of images
    kept = [name for name in data if name in (*known, "equal_captions") and name not in places]
    return {"name": str(source), **{name: data[name] for name in kept}}


def _is_name(source: str) -> bool:
    return source in DATASETS and not DATASETS[source].suffixes


def kind_of(source: Any) -> str:
    """The name in `DATASETS` of the kind that a source is of; a DataError where there is none."""
    if not isinstance(source, str | Path):
        return CAPTIONS
    path = Path(source)
    if _is_name(str(source)):
        return str(source)
    if not path.exists():
        names = ", ".join(filter(_is_name, DATASETS))
        raise DataError(f"data: got {str(source)!r} but expected {names}, or a folder or file that exists")
    ending = FOLDER if path.is_dir() else path.suffix
    return next((name for name, of in DATASETS.items() if ending in of.suffixes or of.reads(path)), CAPTIONS)


DATASETS: dict[str, DataSet] = {
    "scenes": DataSet(load_scenes),
    CAPTIONS: DataSet(caption_splits, (".json", ".csv", ".parquet"), ("images", "dev", "test"), is_saved_dataset),
    "precomp": DataSet(precomp_splits, (FOLDER,), ("test",)),
}
"""Every kind of data set by its name; the first that a path is of reads it, and captions any other file."""
