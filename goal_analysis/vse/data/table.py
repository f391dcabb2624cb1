"""Tables of separated values, as RFC 4180 has them: a field in quotes may hold separators, quotes and line breaks.

"Common Format and MIME Type for Comma-Separated Values (CSV) Files" (Shafranovich, 2005,
https://www.rfc-editor.org/rfc/rfc4180).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from goal_analysis.vse.data.split import BadRow, DataError, is_text

SEPARATORS = (",", "\t", "|", ";")
SHOWN = 40


def is_delimited(text: str) -> bool:
    """Whether the first line that is not blank has a separator."""
    return any(separator in text.lstrip().partition("\n")[0] for separator in SEPARATORS)


def delimited_rows(text: str) -> tuple[list[str], str, Iterator[tuple[int, list[str] | BadRow]]]:
    """The names of the columns, the separator, and every row by its number: the fields, or what is wrong with it.

    The separator is the one that the header has most often; beside ``|`` quotes are characters like others, and blanks
    around fields are none of them. A row has the number of the line on which it begins, from 0 after the header; blank
    lines count, but are no rows. Where a field in quotes does not end as it should, one line is a bad row.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((k for k, line in enumerate(lines) if line.strip()), 0)
    separator = max(SEPARATORS, key=lines[start].count)
    header = next((fields for _, fields in _rows(lines[: start + 1], start, separator)), [])
    if not isinstance(header, list) or not header or not is_text(lines[start]):
        raise DataError(f"got the header {lines[start][:SHOWN]!r} but expected names of columns in UTF-8")
    rows = _rows(lines, start + 1, separator)
    return [name.strip() for name in header], separator, ((number - start - 1, fields) for number, fields in rows)


def _rows(lines: list[str], start: int, separator: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    plain, torn = separator == "|", False
    quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    while start < len(lines):
        first, ended = start, (f"{lines[k]}\n" for k in range(start, len(lines)))
        reader = csv.reader(ended, delimiter=separator, strict=True, quoting=quoting)
        try:
            for fields in reader:
                line, begun, start = lines[start], start, first + reader.line_num
                if torn and start - begun == 1 and _is_end(line, separator):
                    torn, wrong = False, "got the end of a field in quotes that began on a line before"
                    yield begun, BadRow(f"{wrong} but expected quotes in a field doubled: {line[:SHOWN]!r}")
                elif line.strip(" \t") or separator in line:
                    yield begun, [field.strip() for field in fields] if plain else fields
        except csv.Error as error:
            several = first + reader.line_num - start > 1 or "end of data" in str(error)
            wrong = _wrong(error, several, len(lines[start]))
            yield start, BadRow(f"{wrong}: {lines[start][:SHOWN]!r}")
            torn, start = True, start + 1


def _wrong(error: csv.Error, several: bool, length: int) -> str:
    if several:
        return "got a quote that is not closed but expected quotes in a field doubled"
    if length > csv.field_size_limit():
        return f"got fields that cannot be read ({error}) but expected shorter ones"
    return "got a field that goes on after the quote that closes it but expected quotes in it doubled"


def _is_end(line: str, separator: str) -> bool:
    """Whether a field in quotes may end here that began on a line before."""
    return line.count('"') % 2 == 1 and f'"{separator}' in line.replace(" ", "") + separator
