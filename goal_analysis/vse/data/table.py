"""Photographs with captions in a table: CSV, TSV or Parquet.

A row has the path of an image and a caption of it; the columns are called ``filepath`` and ``title`` unless told
otherwise, as open_clip calls them. Rows with the same path are captions of one image. In CSV and TSV a row is a line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from goal_analysis.vse.data.pictures import SIZE, Side, path_inside
from goal_analysis.vse.data.rows import Row, data_of_rows, read_rows
from goal_analysis.vse.data.split import BadRow, DataError, RetrievalData, is_text, read_bytes

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SHOWN = 40


def delimited_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str] | BadRow]]:
    """The number of each row of a ``.csv`` or ``.tsv`` file with what stands in the columns, or what is wrong with it.

    Rows are the lines after the header, from 0; blank ones count, but are none. Bytes that are not UTF-8 become lone
    surrogates.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="surrogateescape")
    separator = SEPARATORS[path.suffix]
    lines = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    filled = ((number, line) for number, line in lines if line.strip(" \t") or separator in line)
    first, line = next(filled, (0, ""))
    header = _fields(line, separator)
    if isinstance(header, str) or not header or not is_text(line):
        raise DataError(f"{path}: got the header {line[:SHOWN]!r} but expected names of columns in UTF-8")
    places = [_column_place(path, header, column) for column in columns]
    torn = False
    for number, line in filled:
        fields, wrong = _fields(line, separator), ""
        end = torn and _is_end(line, separator)
        torn = isinstance(fields, str) or (torn and not end)
        if isinstance(fields, str):
            wrong = fields
        elif end:
            wrong = "got the end of a field in quotes that began on a line before but expected each field on one line"
        elif len(fields) > len(header) or len(fields) <= max(places):
            wrong = f"got {len(fields)} fields but expected {len(header)}"
        found = BadRow(f"{wrong}: {line[:SHOWN]!r}") if wrong else [fields[place] for place in places]
        yield number - first - 1, found


def _column_place(path: Path, header: Sequence[object], column: str) -> int:
    if column not in header:
        raise DataError(f"{path}: got columns {', '.join(map(str, header))} but expected {column!r} among them")
    return list(header).index(column)


def _fields(line: str, separator: str) -> list[str] | str:
    if '"' not in line:
        return line.split(separator) if line else []
    # A field that a quote leaves open goes on in the second line.
    reader = csv.reader((line, ""), delimiter=separator, strict=True)
    try:
        return next(reader)
    except csv.Error as error:
        if reader.line_num > 1:
            wrong = "got a quote that is not closed on its line"
            return f"{wrong} but expected each field on one line, quotes in it doubled"
        if len(line) > csv.field_size_limit():
            return f"got fields that cannot be read ({error}) but expected shorter ones"
        return "got a field that goes on after the quote that closes it but expected quotes in it doubled"


def _is_end(line: str, separator: str) -> bool:
    """Whether a field in quotes may end here that began on a line before."""
    return line.count('"') % 2 == 1 and f'"{separator}' in line.replace(" ", "") + separator


SPLITS = {"train": "train", "dev": "dev", "val": "dev", "validation": "dev", "test": "test"}
SUFFIXES = (*SEPARATORS, ".parquet")


def load_table(
    source: str | Path,
    *,
    skip_bad: bool = False,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    images: str | Path | None = None,
    image: str = "filepath",
    caption: str = "title",
    split: str = "split",
    size: Side = SIZE,
) -> RetrievalData:
    """Read the captions; the photographs in the folder ``images`` are decoded when they are needed, ``size`` wide.

    ``image``, ``caption`` and ``split`` are columns; the last has ``train``, ``dev`` (or ``val``, ``validation``) and
    ``test``, unless ``dev`` and maybe ``test`` are tables of their own beside the source. ``skip_bad`` leaves out, with
    a `DataWarning` that counts them, lines that are no row, unknown splits, images not in the folder or that cannot be
    decoded (each is, for that), and captions that are empty or not in UTF-8.
    """
    path = Path(source)
    folder = path.parent if images is None else Path(images)
    if dev is None and test is not None:
        raise DataError(f"{path}: got a table for test without one for dev but expected both, or a split column")
    tables = {None if dev is None else "train": path, "dev": dev, "test": test}
    columns = [image, caption] if dev is not None else [image, caption, split]
    rows: list[Row] = []
    faults: list[BadRow] = []
    for name, file in tables.items():
        if file is not None:
            fine, faulty = read_rows(Path(file), _read(Path(file), columns), partial(_row, folder, name), skip_bad)
            rows, faults = rows + fine, faults + faulty
    return data_of_rows(path.stem, folder, rows, faults, size, skip_bad)


def _row(folder: Path, name: str | None, texts: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    image, caption, split = texts if name is None else (*texts, name)
    inside = path_inside(folder, image)
    if split not in SPLITS:
        raise BadRow(f"got the split {split!r} but expected one of {', '.join(SPLITS)}")
    yield SPLITS[split], inside, caption


def _read(path: Path, columns: list[str]) -> Iterator[tuple[int, list[str] | BadRow]]:
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: got a file called *{path.suffix} but expected one of {', '.join(SUFFIXES)}")
    if path.suffix in SEPARATORS:
        yield from delimited_rows(path, columns)
        return
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: got a table that cannot be read: {error}") from error
    for column in columns:
        _column_place(path, list(frame.columns), column)
    for number, values in enumerate(frame[columns].itertuples(index=False, name=None)):
        yield number, ["" if value is None or value != value else str(value) for value in values]
