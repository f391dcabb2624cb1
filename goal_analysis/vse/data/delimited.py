"""Tables in text: a row a line, its fields between commas or tabs and, where they hold one, in quotes.

They are parsed line by line, for a parser that lets a field go on over lines lets a quote that nobody closes swallow
every row up to the next one. The line on which such a field seems to end is no row either.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from goal_analysis.vse.data.faults import Fault, whole_file
from goal_analysis.vse.data.pictures import is_text
from goal_analysis.vse.data.split import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SHOWN = 40


def delimited_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]] | Fault]:
    """The number of each row with what stands in the columns, or what is wrong with the row.

    Rows are the lines after the header, from 0; blank ones count, but are none. Bytes that are not UTF-8 become lone
    surrogates.

    Args:
        path: a ``.csv`` or ``.tsv`` file.
        columns: which, as the header calls them.

    Raises:
        DataError: the file cannot be read, or has no header with these columns.
    """
    text = whole_file(path).decode("utf-8-sig", errors="surrogateescape")
    separator = SEPARATORS[path.suffix]
    lines = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    filled = ((number, line) for number, line in lines if line.strip(" \t") or separator in line)
    first, line = next(filled, (0, ""))
    header = _fields(line, separator)
    if isinstance(header, str) or not header or not is_text(line):
        raise DataError(f"{path}: got the header {line[:SHOWN]!r} but expected names of columns in UTF-8")
    places = [column_place(path, header, column) for column in columns]
    torn = False
    for number, line in filled:
        row = number - first - 1
        fields = _fields(line, separator)
        end = torn and _is_end(line, separator)
        torn = isinstance(fields, str) or (torn and not end)
        if isinstance(fields, str):
            yield Fault(str(path), row, f"{fields}: {line[:SHOWN]!r}")
        elif end:
            wrong = "got the end of a field in quotes that began on a line before but expected each field on one line"
            yield Fault(str(path), row, f"{wrong}: {line[:SHOWN]!r}")
        elif len(fields) > len(header) or len(fields) <= max(places):
            yield Fault(str(path), row, f"got {len(fields)} fields but expected {len(header)}: {line[:SHOWN]!r}")
        else:
            yield row, [fields[place] for place in places]


def column_place(path: Path, header: Sequence[object], column: str) -> int:
    """Where a column stands.

    Raises:
        DataError: nowhere.
    """
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
