"""The layouts in which captions come: each is recognised by what a file holds, and says how its rows are read."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from goal_analysis.extras import import_extra
from goal_analysis.vse.data.pictures import arrow_columns, is_dataset
from goal_analysis.vse.data.split import BadRow, DataError, as_text, is_text, read_bytes

SEPARATORS = (",", "\t", "|", ";")
SHOWN = 40

IMAGE = ("filepath", "image", "image_name", "filename", "file_name", "image_path", "path", "file", "image_id", "img_id")
CAPTION = ("title", "caption", "captions", "comment", "text", "sentence", "sentences", "raw", "description")
NUMBERED = re.compile(r"(caption|comment|sentence|text)s?[ _]?\d+", re.IGNORECASE)  # several columns of captions
LIST = re.compile(r"\[\s*[\"'].*\]", re.DOTALL)
NUMBER = ("image_id", "img_id", "imgid", "cocoid")


class Entry(NamedTuple):
    """What a row says of an image; texts are empty where it does not, as the path where a column has the image."""

    image: str
    captions: Sequence[tuple[str, str]]
    split: str | None = None
    number: str = ""


Entries = Iterator[tuple[int, Entry | BadRow]]  # with the number of the row


class Columns(NamedTuple):
    """Columns of a table: of the image, of captions, and of the split and the image's number where there are any."""

    image: str | None = None
    captions: Sequence[str] = ()
    split: str | None = None
    number: str | None = None
    has_paths: bool = True

    def among(self, kinds: Mapping[str, str]) -> Columns:
        """These columns, and for what is not said those found by kind and by name; a missing one is a DataError."""
        there = f"got columns {', '.join(kinds)} but expected"
        by_name = {name.lower().replace(" ", "_"): name for name in kinds}

        def known(names: Iterable[str], *also: str) -> list[str]:
            return [by_name[n] for n in names if n in by_name and kinds[by_name[n]] in ("text", *also)]

        for name in filter(None, (self.image, *self.captions, self.split)):
            if name not in kinds:
                raise DataError(f"{there} {name!r} among them")
        held = [name for kind in ("image", "numbers") for name in kinds if kinds[name] == kind]
        images = [self.image] if self.image else [*held, *known(IMAGE, "number")]
        if not images:
            raise DataError(f"{there} one of {', '.join(IMAGE)}, or the option image")
        rest = [name for name in kinds if kinds[name] == "text" and name != images[0]]
        captions = self.captions or [name for name in known(CAPTION) if name in rest][:1]
        captions = captions or [name for name in rest if NUMBERED.fullmatch(name)] or (rest if len(rest) == 1 else [])
        if not captions:
            raise DataError(f"{there} one of {', '.join(CAPTION)}, or the option caption")
        splits = [self.split] if self.split else known(["split"])
        of = (*IMAGE, *NUMBER) if images[0] in held else NUMBER  # a picture beside its name goes by that
        numbers = [name for name in known(of, "number") if name != images[0]]
        split, number = (next(iter(found), None) for found in (splits, numbers))
        return Columns(images[0], captions, split, number, images[0] not in held)

    @property
    def read(self) -> list[str]:
        """Those that are read before an image is asked for."""
        image = self.image if self.has_paths else None
        return list(dict.fromkeys(filter(None, (image, *self.captions, self.split, self.number))))


@dataclass(frozen=True)
class Layout:
    """A layout. Its content is the value of a JSON file (a list for lines of JSON), a table of Arrow, a `Dataset` of
    Hugging Face's, or text. ``kinds`` gives the names of a table's columns with their kinds, see `Columns.among`.
    """

    title: str
    matches: Callable[[Any], bool]
    entries: Callable[[Any, Columns], Entries]
    kinds: Callable[[Any], Mapping[str, str]] | None = None


MOST_ROWS = 5_000_000
"""Of a table, unless data ask for more: a small file may say that it has any number."""


def read_content(path: Path, most_rows: int = MOST_ROWS) -> Any:
    """The content of a file, or of a folder that ``save_to_disk`` wrote: of each split where it has several."""
    if path.is_dir():
        return _with(path, "datasets", lambda package: _bounded(package.load_from_disk(str(path)), most_rows))
    found = read_bytes(path)
    if path.suffix == ".parquet" or found[:4] == b"PAR1":
        return _with(path, "pyarrow.parquet", lambda package: _bounded(package.ParquetFile(path), most_rows).read())
    text = as_text(path, found)
    if text.lstrip()[:1] not in ("[", "{") and path.suffix not in (".json", ".jsonl"):
        return text
    found = _json(text)
    if isinstance(found, Exception):
        lines = [(line, _json(line)) if line.strip() else (line, BLANK) for line in text.split("\n")]
        rows = [line if isinstance(row, Exception) else row for line, row in lines]
        if _first_object(rows) is not None:
            return rows
        raise DataError(f"{path}: got a file that is no JSON: {found}") from found
    return [found] if path.suffix == ".jsonl" and isinstance(found, dict) else found


BLANK = ...  # a row that is a line without anything


def _json(text: str) -> Any:
    """What a text says in JSON, or the error."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return error


def _bounded(table: Any, most_rows: int) -> Any:
    metadata = getattr(table, "metadata", None)
    parts = table.values() if isinstance(table, Mapping) else [table]
    count = metadata.num_rows if metadata is not None else max(map(len, parts))
    if count > most_rows:
        raise ValueError(f"it has {count:,} rows but expected {most_rows:,} at most, which data.most_rows sets")
    return table


def _with(path: Path, package: str, read: Callable[[Any], Any]) -> Any:
    found = import_extra(package, str(path))
    try:
        return read(found)
    except Exception as error:  # a damaged file fails in whatever way its reader does
        raise DataError(f"{path}: got a table that cannot be read: {error}") from error


def _rows(rows: Iterable[Any], entry: Callable[[Any], Entry]) -> Entries:
    for number, row in enumerate(rows):
        try:
            if row is not BLANK:
                yield number, entry(row)
        except BadRow as problem:
            yield number, problem


def _of_record(row: Any, columns: Columns) -> Entry:
    if not isinstance(row, Mapping):
        raise BadRow(f"got {str(row)[:SHOWN]!r} but expected an object with {', '.join(columns.read)}")
    for name in columns.read:
        if name not in row and name != columns.number:
            raise BadRow(f"got no {name!r} but expected it, as in the first row")
    image = row[columns.image] if columns.has_paths else ""
    if not isinstance(image, str | int | None) or isinstance(image, bool):
        raise BadRow(f"{columns.image}: got {str(image)[:SHOWN]!r} but expected a path in text")
    said = [("", text) for name in columns.captions for text in _texts(name, row[name])]
    # An image may have fewer captions than there are columns of them.
    captions = [one for one in said if one[1].strip() or len(columns.captions) == 1] or said[:1]
    split, number = (
        "" if name and row.get(name) is None else str(row[name]) if name else None for name in columns[2:4]
    )
    return Entry("" if image is None else str(image), captions, split, number or "")


def _texts(name: str, value: Any) -> list[str]:
    """The captions in a field: a text, a list of them, or such a list as JSON in a text."""
    listed = isinstance(value, str) and LIST.fullmatch(value) is not None
    found = _json(value) if listed else [value or ""] if isinstance(value, str | None) else value
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise BadRow(f"{name}: got {str(value)[:SHOWN]!r} but expected a caption, or a list of captions as JSON")
    return found


def _of_karpathy(entry: Any, columns: Columns) -> Entry:
    if not isinstance(entry, dict):
        raise BadRow(f"image: got {entry!r} but expected an object")
    name, place, sentences = entry.get("filename"), entry.get("filepath", ""), entry.get("sentences")
    if not isinstance(name, str) or not isinstance(place, str):
        raise BadRow(f"filename: got {name if isinstance(place, str) else place!r} but expected a path in text")
    if not isinstance(sentences, list) or not sentences:
        raise BadRow(f"sentences: got {sentences!r} but expected a list of captions")
    for sentence in sentences:
        if not isinstance(sentence, dict) or not isinstance(sentence.get("raw"), str):
            raise BadRow(f'sentences: got {sentence!r} but expected objects with the caption in "raw"')
    named = "cocoid" in entry  # only COCO's captions go by these numbers elsewhere
    captions = [(str(sentence.get("sentid", "")) if named else "", sentence["raw"]) for sentence in sentences]
    number = entry.get("cocoid", entry.get("imgid", ""))
    split = None if entry.get("split") is None else str(entry["split"])
    return Entry(f"{place}/{name}" if place and name else name, captions, split, str(number))


def _coco(content: Any, columns: Columns) -> Entries:
    """The annotations; images go by their number of twelve digits where they have no name."""
    images = [image for image in content["images"] if isinstance(image, dict) and "id" in image]
    files: dict[str, str] = {}
    for image in images:
        file = str(image.get("file_name", f"{image['id']!s:0>12}.jpg"))
        if files.setdefault(str(image["id"]), file) != file:
            raise DataError(f"images: got {files[str(image['id'])]} and {file} of one id but expected an id for each")

    def entry(said: Any) -> Entry:
        if not isinstance(said, dict) or not isinstance(said.get("caption"), str):
            raise BadRow(f'got {str(said)[:SHOWN]!r} but expected an annotation with "image_id" and "caption"')
        number = str(said.get("image_id"))
        if number not in files:
            raise BadRow(f'image_id: got {number} but expected the "id" of one of the images')
        return Entry(files[number], [(str(said.get("id", "")), said["caption"])], None, number)

    return _rows(content["annotations"], entry)


TOKEN = re.compile(r"([^\t\n]+)#(\d+)\t(.*)")


def _tokens(content: str, columns: Columns) -> Entries:
    def entry(line: str) -> Entry:
        match = TOKEN.fullmatch(line.rstrip("\r"))
        if match is None:
            raise BadRow(f"got {line[:SHOWN]!r} but expected NAME#NUMBER, a tab and a caption")
        return Entry(match[1], [(f"{match[1]}#{match[2]}", match[3])])

    return _rows((line if line.strip() else BLANK for line in content.split("\n")), entry)


def _table(content: str, columns: Columns) -> Entries:
    header, separator, rows = delimited_rows(content)
    last = max(header.index(name) for name in columns.read)
    for number, fields in rows:
        try:
            if isinstance(fields, BadRow):
                raise fields
            if not last < len(fields) <= len(header):
                given = f"got {len(fields)} fields but expected {len(header)}"
                raise BadRow(f"{given}: {separator.join(fields)[:SHOWN]!r}")
            yield number, _of_record(dict(zip(header, fields, strict=False)), columns)
        except BadRow as problem:
            yield number, problem


def delimited_rows(text: str) -> tuple[list[str], str, Iterator[tuple[int, list[str] | BadRow]]]:
    """The names of the columns, the separator, and every row by its line after the header: fields, or what is wrong.

    Fields are those of RFC 4180 (Shafranovich, 2005, https://www.rfc-editor.org/rfc/rfc4180). The separator is the one
    that the header has most often; beside ``|`` quotes are characters like others, and blanks around fields are none of
    them. Where a field in quotes does not end as it should, one line is a bad row.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start = next((k for k, line in enumerate(lines) if line.strip()), 0)
    separator = max(SEPARATORS, key=lines[start].count)
    header = next((fields for _, fields in _fields(lines[: start + 1], start, separator)), [])
    if not isinstance(header, list) or not header or not is_text(lines[start]):
        raise DataError(f"got the header {lines[start][:SHOWN]!r} but expected names of columns in UTF-8")
    header, rows = [name.strip() for name in header], _fields(lines, start + 1, separator)
    for name in header:
        if name and header.count(name) > 1:
            raise DataError(f"got the column {name!r} twice but expected every name once")
    return header, separator, ((number - start - 1, fields) for number, fields in rows)


def _fields(lines: list[str], start: int, separator: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    plain, torn = separator == "|", False
    quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    while start < len(lines):
        first, ended = start, (f"{lines[k]}\n" for k in range(start, len(lines)))
        reader = csv.reader(ended, delimiter=separator, strict=True, quoting=quoting, skipinitialspace=True)
        try:
            for fields in reader:
                line, begun, start = lines[start], start, first + reader.line_num
                # Here a field in quotes may end that began on a line before.
                is_end = line.count('"') % 2 == 1 and f'"{separator}' in line.replace(" ", "") + separator
                if torn and start - begun == 1 and is_end:
                    torn, wrong = False, "got the end of a field in quotes that began on a line before"
                    yield begun, BadRow(f"{wrong} but expected quotes in a field doubled: {line[:SHOWN]!r}")
                elif line.strip(" \t") or separator in line:
                    yield begun, [field.strip() for field in fields] if plain else fields
        except csv.Error as error:
            line = lines[start]
            wrong = "got a field that goes on after the quote that closes it but expected quotes in it doubled"
            if first + reader.line_num - start > 1 or "end of data" in str(error):
                wrong = "got a quote that is not closed but expected quotes in a field doubled"
            elif len(line) > csv.field_size_limit():
                wrong = f"got fields that cannot be read ({error}) but expected shorter ones"
            yield start, BadRow(f"{wrong}: {line[:SHOWN]!r}")
            torn, start = True, start + 1


def _kinds(content: Any) -> dict[str, str]:
    schema = content.features.arrow_schema if is_dataset(content) else content.schema

    def kind(field: Any) -> str:
        said = str(getattr(field.type, "storage_type", field.type))
        if "binary" in said:
            return "image"
        if "list" in said and ("float" in said or "double" in said):
            return "numbers"
        number = "number" if said.removeprefix("u").startswith("int") else "other"
        return "text" if "string" in said and "struct" not in said else number

    return {field.name: kind(field) for field in schema}


def _arrow_rows(content: Any, columns: Columns) -> Entries:
    rows = arrow_columns(content, columns.read)[:].to_pylist()
    return _rows(rows, lambda row: _of_record(row, columns))


def _first_object(rows: list[Any]) -> dict[str, Any] | None:
    first = next((row for row in rows if row is not BLANK), None)
    return first if isinstance(first, dict) else None


def _has(content: Any, *keys: str) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)


LAYOUTS = (
    Layout("COCO's JSON of images and annotations", lambda c: _has(c, "images", "annotations"), _coco),
    Layout(
        "Karpathy's JSON of images with sentences",
        lambda c: _has(c, "images"),
        lambda c, columns: _rows(c["images"], lambda row: _of_karpathy(row, columns)),
    ),
    Layout(
        "JSON objects",
        lambda c: isinstance(c, list) and _first_object(c) is not None,
        lambda c, columns: _rows(c, lambda row: _of_record(row, columns)),
        lambda c: dict.fromkeys(_first_object(c) or (), "text"),
    ),
    Layout("a dataset of Hugging Face", is_dataset, _arrow_rows, _kinds),
    Layout("a Parquet table", lambda c: hasattr(c, "schema"), _arrow_rows, _kinds),
    Layout(
        "lines of NAME#NUMBER, a tab and a caption",
        lambda c: isinstance(c, str) and TOKEN.match(c.lstrip()) is not None,
        _tokens,
    ),
    Layout(
        "a table",
        lambda c: isinstance(c, str) and any(s in c.lstrip().partition("\n")[0] for s in SEPARATORS),
        _table,
        lambda c: dict.fromkeys(delimited_rows(c)[0], "text"),
    ),
)
"""Every layout; the first that matches reads a content."""
