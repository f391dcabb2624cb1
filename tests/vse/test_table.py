"""Laws of tables of photographs with captions, and of data sets by name or path."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from goal_analysis.vse.data import DATASETS, load
from goal_analysis.vse.data.split import DataError, DataWarning, RetrievalData


def photographs(folder: Path) -> list[Image.Image]:
    found = [Image.new("RGB", (10, 8), (40 * k, 0, 0)) for k in range(5)]
    for k, image in enumerate(found):
        image.save(folder / f"{k}.png")
    return found


ROWS = [
    ("1.png", "none", "train"),
    ("0.png", 'a "quoted", caption', "train"),
    ("1.png", "1", "train"),
    ("2.png", "dog", "val"),
    ("3.png", "naïve 中文", "validation"),
    ("4.png", "cat", "test"),
]


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    photographs(tmp_path)
    return pd.DataFrame(ROWS, columns=["filepath", "title", "split"])


def write(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


def check(data: RetrievalData) -> None:
    assert data.train.captions == ("none", "1", 'a "quoted", caption')
    assert data.train.image_of.tolist() == [0, 0, 1]
    assert data.dev.captions == ("dog", "naïve 中文")
    reds = data.train.images.batch(np.array([0, 1]))[:, 0, 0, 0]
    assert torch.allclose(reds, torch.tensor([40, 0]).float() / 255)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_tables_are_read(tmp_path: Path, frame: pd.DataFrame, suffix: str) -> None:
    data = load(write(tmp_path / f"table.{suffix}", frame), size=4)
    check(data)
    assert data.name == "table"
    assert data.test is not None
    assert data.test.captions == ("cat",)


def test_a_table_per_split(tmp_path: Path, frame: pd.DataFrame) -> None:
    parts = {"train": frame[:3], "dev": frame[3:5], "test": frame[5:]}
    files = {name: write(tmp_path / f"{name}.csv", part.drop(columns="split")) for name, part in parts.items()}
    data = load(files["train"], dev=str(files["dev"]), test=str(files["test"]), size=4)
    check(data)
    assert data.test is not None
    assert load(files["train"], dev=str(files["dev"]), size=4).test is None
    with pytest.raises(DataError, match="got a file for test without one for dev"):
        load(files["train"], test=str(files["test"]))


def test_other_columns(tmp_path: Path, frame: pd.DataFrame) -> None:
    path = write(tmp_path / "table.csv", frame.set_axis(["image", "text", "part"], axis=1))
    check(load(path, image="image", caption="text", split="part", size=4))
    check(load(path, split="part", size=4))
    with pytest.raises(DataError, match="got columns image, text, part but expected 'filepath' among them"):
        load(path, image="filepath")
    with pytest.raises(DataError, match="got the splits all but expected train and dev; split = "):
        load(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_image_in_two_splits_is_refused(tmp_path: Path, frame: pd.DataFrame, suffix: str) -> None:
    frame.loc[3, "filepath"] = "0.png"
    for skip_bad in (False, True):
        with pytest.raises(DataError, match=r"row 3: got 0.png in dev and train but expected one split"):
            load(write(tmp_path / f"table.{suffix}", frame), skip_bad=skip_bad)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("filepath", "9.png", "table.csv: row 3: got 9.png but expected a file in"),
        ("filepath", "broken.png", "table.csv: row 3: got broken.png, which cannot be decoded"),
        ("title", " ", "table.csv: row 3: got an empty caption but expected words"),
    ],
)
def test_bad_rows_are_named_or_left_out(
    tmp_path: Path, frame: pd.DataFrame, column: str, value: str, message: str
) -> None:
    frame.loc[3, column] = value
    (tmp_path / "broken.png").write_text("no picture")
    path = write(tmp_path / "table.csv", frame)
    with pytest.raises(DataError, match=message):
        load(path).dev.images.batch(np.array([0]))
    with pytest.warns(DataWarning, match=f"dev: left out 1 of 2 images and 1 of 2 captions; the first: .*{message}"):
        assert load(path, skip_bad=True, size=4).dev.captions == ("naïve 中文",)


SPLIT = "got the split '{}' but expected one of train, restval, dev, val, validation, test"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("filepath", "", "got the path '' but expected one inside of .*, without"),
        ("filepath", "../0.png", "got the path '../0.png' but expected one inside of .*, without"),
        ("filepath", "/0.png", "got the path '/0.png' but expected one inside of .*, without"),
        ("filepath", "s3://b/0.png", "got the path 's3://b/0.png' but expected one inside of .*, without"),
        ("split", "dog", SPLIT.format("dog")),
        ("split", "", SPLIT.format("")),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_rows_without_a_place_or_split_are_named_or_left_out(
    tmp_path: Path, frame: pd.DataFrame, column: str, value: str, message: str, suffix: str
) -> None:
    frame.loc[3, column] = value
    path = write(tmp_path / f"table.{suffix}", frame)
    message = f"table.{suffix}: row 3: {message}"
    with pytest.raises(DataError, match=message):
        load(path)
    with pytest.warns(DataWarning, match=f"table.{suffix}: left out 1 of 6 rows; the first: .*{message}"):
        assert load(path, skip_bad=True, size=4).dev.captions == ("naïve 中文",)


@pytest.mark.parametrize(
    ("column", "message"),
    [("split", SPLIT.format("s3://a")), ("filepath", "got the path 's3://a' but expected one inside of .*, without")],
)
def test_a_table_of_which_nothing_is_left_says_why(
    tmp_path: Path, frame: pd.DataFrame, column: str, message: str
) -> None:
    frame.loc[:2, column] = "s3://a"
    with (
        pytest.warns(DataWarning, match=f"left out 3 of 6 rows; the first: .*table.csv: row 0: {message}"),
        pytest.raises(DataError, match=r"table.csv: got the splits dev, test but expected train and dev"),
    ):
        load(write(tmp_path / "table.csv", frame), skip_bad=True)
    frame.loc[:, column] = "s3://a"
    with pytest.raises(DataError, match=rf"^\S*table.csv: row 0: {message}"):
        load(write(tmp_path / "table.csv", frame), skip_bad=True)


def test_a_path_from_the_root_on_may_lead_into_the_folder(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.loc[2, "filepath"] = str(tmp_path / "1.png")
    check(load(write(tmp_path / "table.csv", frame), size=4))


HEADER = "filepath{0}title{0}split"
LINES = ("0.png{0}a dog{0}train", "1.png{0}a cat{0}train", "2.png{0}a car{0}dev")


def lines_of(path: Path, *lines: str) -> Path:
    photographs(path.parent)
    text = "\n".join(lines).format("\t" if path.suffix == ".tsv" else ",") + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("wrong", "faulty", "message"),
    [
        (
            ('3.png{0}"the sign says{0}train', '4.png{0}"quoted dog"{0}train'),
            1,
            "a quote that is not closed",
        ),
        (
            ('3.png{0}"a ""long" dog"{0}train', '4.png{0}"quoted dog"{0}train'),
            1,
            "a field that goes on after the quote that closes it but expected quotes in it doubled",
        ),
        (('3.png{0}"a "big" dog"{0}train', "4.png{0}quoted dog{0}train"), 1, "a field that goes on after the quote"),
        (('3.png{0}"quoted" dog{0}train', "4.png{0}quoted dog{0}train"), 1, "a field that goes on after the quote"),
        (("{0}{0}", "4.png{0}quoted dog{0}train", "{0}{0}", " {0}{0}"), 3, "the path '' but expected one inside of"),
        (("3.png{0}a big{0} cat{0}train", "4.png{0}quoted dog{0}train"), 1, "4 fields but expected 3"),
        (("3.png", "4.png{0}quoted dog{0}train"), 1, "1 fields but expected 3"),
    ],
)
def test_lines_that_are_no_rows_are_named_or_left_out(
    tmp_path: Path, suffix: str, wrong: tuple[str, ...], faulty: int, message: str
) -> None:
    path = lines_of(tmp_path / f"table.{suffix}", HEADER, LINES[0], "", *wrong, *LINES[1:])
    message = f"table.{suffix}: row 2: got {message}"
    with pytest.raises(DataError, match=message):
        load(path)
    with pytest.warns(DataWarning, match=rf"left out {faulty} of {faulty + 4} rows; the first: .*{message}"):
        data = load(path, skip_bad=True, size=4)
    assert data.train.captions == ("a dog", "quoted dog", "a cat")
    assert data.train.image_of.tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("rows", "captions"),
    [
        (('3.png{0}"a dog', '/x{0} y{0} train ""', 'end"{0}train'), 'a dog /x{0} y{0} train " end'),
        (('3.png{0}"a dog', "", 'far"{0}train'), "a dog far"),
        (('3.png{0}"two\r\nlines"{0}train',), "two lines"),
    ],
)
def test_a_field_in_quotes_may_go_over_several_lines(
    tmp_path: Path, suffix: str, rows: tuple[str, ...], captions: str
) -> None:
    path = lines_of(tmp_path / f"table.{suffix}", HEADER, LINES[0], *rows, *LINES[1:])
    separator = "\t" if suffix == "tsv" else ","
    expected = pd.read_csv(path, sep=separator)["title"].map(lambda text: " ".join(text.split())).tolist()
    assert expected[1] == " ".join(captions.format(separator).split())
    assert load(path, size=4).train.captions == (*expected[:2], "a cat")


CAPTIONS_FIRST = "title{0}filepath{0}split"


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    "torn",
    [
        ('"a 5" dog', 'runs"{0}3.png{0}train'),
        ('"a 5" dog', 'runs" {0}3.png{0}train'),
        ('"a dog', '5" b', 'c"{0}3.png{0}train'),
    ],
)
def test_no_line_of_a_caption_that_is_not_closed_is_kept(tmp_path: Path, suffix: str, torn: tuple[str, ...]) -> None:
    rows = ("a dog{0}0.png{0}train", "a cat{0}1.png{0}train", "a car{0}2.png{0}dev")
    path = lines_of(tmp_path / f"table.{suffix}", CAPTIONS_FIRST, rows[0], *torn, *rows[1:])
    with pytest.raises(DataError, match=f"table.{suffix}: row 1: got a (quote that is not closed|field that goes on)"):
        load(path)
    with pytest.warns(DataWarning, match=rf"left out {len(torn)} of {len(torn) + 3} rows; the first: .*: row 1: "):
        assert load(path, skip_bad=True, size=4).train.captions == ("a dog", "a cat")


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("caption", ['"a ""quoted"", dog"', '"a{0}dog"', 'a 5" dog', '"the ""sign"""', '"x"'])
def test_fields_in_quotes_on_one_line_are_read(tmp_path: Path, suffix: str, caption: str) -> None:
    path = lines_of(tmp_path / f"table.{suffix}", HEADER, f"3.png{{0}}{caption}{{0}}train", *LINES)
    expected = pd.read_csv(path, sep="\t" if suffix == "tsv" else ",")["title"][0]
    assert load(path, size=4).train.captions[0] == " ".join(expected.split())


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_field_too_many_in_every_row_shifts_no_column(tmp_path: Path, skip_bad: bool) -> None:
    path = lines_of(tmp_path / "table.csv", HEADER, *(f"{line}{{0}}" for line in LINES))
    with pytest.raises(DataError, match=r"table.csv: row 0: got 4 fields but expected 3: '0.png,a dog,train,'"):
        load(path, skip_bad=skip_bad)
    lines_of(path, f"{HEADER}{{0}}", *(f"{line}{{0}}" for line in LINES))
    assert load(path, size=4).train.captions == ("a dog", "a cat")


def test_blank_lines_count(tmp_path: Path) -> None:
    path = lines_of(tmp_path / "table.csv", "", HEADER, "", "  ", *LINES, "9.png{0}a dog{0}train")
    with pytest.raises(DataError, match=r"table.csv: row 5: got 9.png but expected a file in"):
        load(path)
    lines_of(path, "", HEADER, "", "  ", *LINES)
    assert len(load(path, size=4).train) == 2


def test_a_field_in_quotes_that_is_too_long_is_named(tmp_path: Path) -> None:
    long = "a" * 200_000
    path = lines_of(tmp_path / "table.csv", HEADER, *LINES, f'3.png{{0}}"{long}"{{0}}train')
    with pytest.raises(DataError, match=r"table.csv: row 3: got fields that cannot be read \(field larger than"):
        load(path)


@pytest.mark.parametrize(
    ("line", "message", "warning"),
    [
        (
            "3.png{0}caf\udce9{0}train",
            r"got 'caf\\udce9', which is not in UTF-8, but expected",
            "train: left out 1 of 3",
        ),
        ("\udce9.png{0}a dog{0}train", r"got the path '\\udce9.png' but expected", "table.csv: left out 1 of 4 rows"),
    ],
)
def test_bytes_that_are_not_utf8_are_named_or_left_out(tmp_path: Path, line: str, message: str, warning: str) -> None:
    path = lines_of(tmp_path / "table.csv", HEADER, *LINES, line)
    with pytest.raises(DataError, match=f"table.csv: row 3: {message}"):
        load(path)
    with pytest.warns(DataWarning, match=f"{warning}.*{message}"):
        assert load(path, skip_bad=True, size=4).train.captions == ("a dog", "a cat")
    path.write_bytes(b"\xef\xbb\xbf" + lines_of(path, HEADER, *LINES).read_bytes().replace(b"\n", b"\r\n"))
    assert load(path, size=4).train.captions == ("a dog", "a cat")


def test_a_missing_caption_in_parquet_is_empty(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.loc[3, "title"] = None
    with pytest.raises(DataError, match="row 3: got an empty caption"):
        load(write(tmp_path / "table.parquet", frame))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.parquet", b"\xff\xfe\x00,\x80\n", "got a table that cannot be read"),
        ("table.csv", b"\xff,\x80\n", r"got the header '\\udcff,\\udc80' but expected names"),
        ("table.tsv", b"", "got '' but expected COCO"),
        ("table.tsv", b'filepath\t"title\n', "got the header .* but expected names of columns in UTF-8"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {message}"):
        load(tmp_path / name)


def test_parquet_without_its_reader_says_what_to_install(
    tmp_path: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "table.parquet", frame)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"table.parquet: got no pyarrow but expected it: pip install pyarrow"):
        load(path)


def test_data_sets_are_found_by_name() -> None:
    assert list(DATASETS) == ["scenes", "captions", "precomp"]
    assert load("scenes", train=2, dev=1, test=1).name == "scenes"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("scene", {}, "data: got 'scene' but expected scenes, or a folder or file that exists"),
        ("scenes", {"kind": "coco"}, "data: kind: got 'coco' but expected one of captions, precomp, scenes"),
        (
            "scenes",
            {"colour": 3},
            "data: scenes: got the key 'colour' but expected one of completeness, dev, noise, objects",
        ),
        (
            "x.csv",
            {"kind": "captions", "path": 3},
            "data: captions: got the key 'path' but expected one of caption, decode, dev, image",
        ),
        ("x.csv", {"kind": "captions"}, "x.csv: got a file that cannot be read"),
        ("x.json", {"kind": "captions"}, "x.json: got a file that cannot be read"),
    ],
)
def test_other_names_and_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(name, **options)


def test_a_file_in_no_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.doc").write_text("a word")
    layouts = "COCO's JSON of images and annotations; Karpathy's JSON .*; a table"
    with pytest.raises(DataError, match=f"x.doc: got 'a word' but expected {layouts}"):
        load(tmp_path / "x.doc")
