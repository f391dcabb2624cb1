"""Files as people have them: odd encodings and headers, missing cells, names that are of two images, odd pictures."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from goal_analysis.vse.data import load, load_split, load_splits
from goal_analysis.vse.data.split import DataError, DataWarning, Split
from goal_analysis.vse.retrieval.judgements import read_judgements

NAMES = [f"{k}.jpg" for k in range(4)]
TABLE = "image,caption\n" + "".join(f'{name},"a dog, {name[0]}"\n' for name in NAMES)
TOKENS = "".join(f"{name}#0\ta dog, {name[0]}\n" for name in NAMES)
OBJECTS = json.dumps([{"image": name, "caption": f"a dog, {name[0]}"} for name in NAMES])
SAID = tuple(f"a dog, {name[0]}" for name in NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures in a folder beside the captions, each of another red."""
    (tmp_path / "Images").mkdir()
    for k, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (60 * k, 0, 0)).save(tmp_path / "Images" / name, quality=100)
    return tmp_path


def read(path: Path, content: str | bytes, **options: Any) -> Split:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_split(path, "all", size=8, **options)


def reds(split: Split) -> list[int]:
    return (split.images.batch(np.arange(len(split.images)))[:, 0, 0, 0] * 255 / 60).round().int().tolist()


# --- encodings, line ends, headers, cells ---------------------------------------------------------


@pytest.mark.parametrize("content", [TABLE, TOKENS, OBJECTS], ids=["table", "tokens", "objects"])
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
    ],
    ids=["utf-16", "mark", "crlf", "cr"],
)
def test_text_is_read_as_editors_and_spreadsheets_write_it(
    folder: Path, content: str, written: Callable[[str], bytes]
) -> None:
    split = read(folder / "captions.txt", written(content))
    assert split.captions == SAID
    assert reds(split) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "captions"),
    [
        ("Caption;Image Name\n" + "".join(f"a dog, {n[0]};{n}\n" for n in NAMES), SAID),
        ("image, caption\n" + "".join(f'{n}, "a dog, {n[0]}"\n' for n in NAMES), SAID),
        ("image,caption_0,caption_1\n0.jpg,a,b\n1.jpg,,c\n2.jpg,d,\n", ("a", "b", "c", "d")),
        ('image,captions\n0.jpg,"[""a"", ""b""]"\n', ("a", "b")),
        ("image,caption,split\n0.jpg,a,TRAIN \n1.jpg,b,Val\n", None),
    ],
)
def test_headers_and_cells_are_read_as_they_are_meant(
    folder: Path, content: str, captions: tuple[str, ...] | None
) -> None:
    if captions is None:
        (folder / "c.csv").write_text(content)
        assert sorted(load_splits(folder / "c.csv")) == ["dev", "train"]
    else:
        assert read(folder / "c.csv", content).captions == captions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(TABLE.encode()), r"got a file that begins with b.\\x1f\\x8b.* but expected text, and nothing"),
        ("PK\3\4\x14\0", r"got a file that begins with b'PK.* but expected text, and nothing packed"),
        ("image,captions\n0.jpg,\"['a', 'b']\"\n", r"row 0: captions: got .* but expected .* as JSON"),
        ("image,caption_0,caption_1\n0.jpg,,\n", "row 0: got an empty caption but expected words"),
        ("image,caption\n", "got no row but expected an image with a caption .read as a table of image"),
        ("{}", "got JSON with  but expected COCO's JSON"),
    ],
)
def test_what_would_be_misread_is_refused(folder: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"c.txt: {message}"):
        read(folder / "c.txt", content)


def test_a_folder_that_is_no_data_set_is_refused_by_what_is_in_it(folder: Path) -> None:
    (folder / "captions.txt").write_text(TABLE)
    with pytest.raises(
        DataError, match=r"got a folder with captions.txt but expected .*_ims.npy in it, or the path of"
    ):
        load_splits(folder)


def test_karpathys_entries_without_a_split_may_be_drawn(folder: Path) -> None:
    images = [{"filename": name, "sentences": [{"raw": "a dog"}]} for name in NAMES]
    (folder / "k.json").write_text(json.dumps({"images": images}))
    assert [len(s.images) for s in load(folder / "k.json", size=8, split={"dev": 1}).splits()] == [3, 1]
    assert list(load_splits(folder / "k.json")) == ["all"]


# --- images by their names ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{:012}.jpg", "COCO_val2014_{:012}.jpg", "{}.JPG"])
@pytest.mark.parametrize(
    "said",
    [
        lambda ids: [{"image_id": k, "caption": "a dog"} for k in ids],
        lambda ids: {
            "images": [{"id": k} for k in ids],
            "annotations": [{"image_id": k, "caption": "a dog"} for k in ids],
        },
    ],
    ids=["list", "annotations"],
)
def test_images_are_found_by_cocos_numbers(tmp_path: Path, form: str, said: Callable[[list[int]], Any]) -> None:
    for k in range(4):
        Image.new("RGB", (8, 8), (60 * k, 0, 0)).save(tmp_path / form.format(k), "JPEG", quality=100)
    assert reds(read(tmp_path / "c.json", json.dumps(said([2, 1, 3])))) == [2, 1, 3]


@pytest.mark.parametrize("place", ["C:\\data\\Images\\{}", "/data/Images/{}", "https://x.org/{}", "Images\\{}"])
def test_paths_of_another_machine_are_found_by_their_names(folder: Path, place: str) -> None:
    rows = "".join(f"{place.format(name)},a dog\n" for name in NAMES)
    assert reds(read(folder / "c.csv", f"image,caption\n{rows}")) == [0, 1, 2, 3]


def test_paths_from_the_root_on_are_those_of_the_folder_or_else_names(folder: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (folder / place).mkdir()
        Image.new("RGB", (8, 8), (60 if place == "b" else 120, 0, 0)).save(folder / place / "0.png")
    within = read(folder / "c.csv", f"image,caption\n{folder}/a/0.png,a\n{folder}/b/0.png,b\n")
    assert (within.names, reds(within)) == (("a/0.png", "b/0.png"), [2, 1])
    by_name = read(folder / "c.csv", f"image,caption\n{folder}/a/0.png,a\n", images="b")
    assert (by_name.names, reds(by_name)) == (("0.png",), [1])


def test_folders_of_which_any_could_be_meant_are_refused(folder: Path) -> None:
    (folder / "Small").mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(folder / "Small" / name)
    with pytest.raises(DataError, match=r"images: got \S*Images and \S*Small, .* but expected one folder to be set"):
        read(folder / "c.csv", TABLE)
    assert reds(read(folder / "c.csv", TABLE, images="Images")) == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"images: got \S*0.jpg but expected a folder of pictures or arrays"):
        read(folder / "c.csv", TABLE, images="Images/0.jpg")


def test_a_list_with_a_name_of_two_images_is_refused(tmp_path: Path) -> None:
    for place in ("a/0.jpg", "b/0.jpg", "b/1.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place)
    (tmp_path / "c.csv").write_text("image,caption\na/0.jpg,a\nb/0.jpg,b\nb/1.jpg,c\n")
    (tmp_path / "dev.txt").write_text("0.jpg\n")
    with pytest.raises(DataError, match=r"dev.txt: row 0: got '0.jpg' but expected the name of one image of"):
        load(tmp_path / "c.csv", split={"dev": "dev.txt"})
    for listed in ("b/0.jpg", "1.jpg"):
        (tmp_path / "dev.txt").write_text(f"{listed}\n")
        assert load(tmp_path / "c.csv", size=8, split={"dev": "dev.txt"}).dev.names[0].endswith(listed)


def test_judgements_find_captions_by_their_place_in_karpathys_file_and_beside_arrays(folder: Path) -> None:
    (folder / "expert.txt").write_text("0.jpg\t1.jpg#1\t4\t4\t4\n")
    sentences = [{"raw": "a dog", "sentid": 70}, {"raw": "a cat", "sentid": 71}]
    images = [{"filename": name, "sentences": sentences} for name in NAMES]
    flickr = read(folder / "flickr.json", json.dumps({"images": images}))
    coco = read(folder / "coco.json", json.dumps({"images": [image | {"cocoid": 3} for image in images]}))
    (folder / "arrays").mkdir()
    for name in NAMES:
        np.save(folder / "arrays" / f"{name[0]}.npy", np.ones(2))
    arrays = read(folder / "flickr.json", json.dumps({"images": images}), images="arrays")
    for split, named in ((flickr, "0.jpg"), (arrays, "0.npy")):
        ((image, key),) = read_judgements(folder / "expert.txt").applied(split)[0].judged
        assert image == named
        assert split.keys.index(key) == 3
    with pytest.raises(DataError, match=r"got pairs such as 0.jpg and 1.jpg#1 but expected .* are called 0.jpg and 70"):
        read_judgements(folder / "expert.txt").applied(coco)


# --- tables of Arrow ------------------------------------------------------------------------------


def encoded(k: int) -> dict[str, Any]:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (60 * k, 0, 0)).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_of_one_picture_in_a_table_are_its_captions_by_the_name_beside_it(tmp_path: Path) -> None:
    pictures, captions = [encoded(k // 2) for k in range(6)], [f"c{k}" for k in range(6)]
    names = [f"{k // 2}.jpg" for k in range(6)]
    path = parquet(tmp_path / "c.parquet", image=pictures, img_id=list("ababab"), filename=names, caption=captions)
    split = load_split(path, "all", size=8)
    assert (split.names, split.keys[:3]) == (("0.jpg", "1.jpg", "2.jpg"), ("0.jpg#0", "0.jpg#1", "1.jpg#0"))
    assert reds(split) == [0, 1, 2]
    alone = load_split(parquet(tmp_path / "d.parquet", image=pictures, caption=captions), "all", size=8)
    assert len(alone.images) == 6


def test_whole_numbers_name_images_in_parquet_too(folder: Path) -> None:
    split = load_split(parquet(folder / "c.parquet", image_id=[2, 0], caption=["a", "b"]), "all", size=8)
    assert reds(split) == [2, 0]


def test_a_stream_of_rows_is_refused() -> None:
    rows = datasets.Dataset.from_dict({"image": NAMES, "caption": SAID})
    with pytest.raises(DataError, match=r"dataset: got IterableDataset[\s\S]* but expected COCO"):
        load_splits(rows.to_iterable_dataset())


def test_a_missing_picture_is_named_and_missing_captions_are_none(tmp_path: Path) -> None:
    pictures = [encoded(0), None, encoded(2)]
    path = parquet(tmp_path / "c.parquet", image=pictures, caption_0=["a", "b", "c"], caption_1=[None, None, "d"])
    with pytest.warns(DataWarning, match=r"left out 1 of 3 .*c.parquet: row 1: got no image but expected one"):
        assert load_split(path, "all", size=8, skip_bad=True).captions == ("a", "c", "d")


# --- pictures and arrays --------------------------------------------------------------------------


def photograph() -> Image.Image:
    """Upright, its left is bright."""
    values = np.zeros((8, 8, 3), np.uint8)
    values[:, :4] = 240
    return Image.fromarray(values)


@pytest.mark.parametrize(("orientation", "degrees"), [(1, 0), (3, 180), (6, 90), (8, 270)])
def test_photographs_stand_upright(tmp_path: Path, orientation: int, degrees: int) -> None:
    noted = Image.Exif()
    noted[0x0112] = orientation
    photograph().rotate(degrees).save(tmp_path / "0.png", exif=noted)
    found = read(tmp_path / "c.csv", "image,caption\n0.png,a dog\n").images.batch(np.array([0]))[0]
    assert torch.equal(found[0] > 0.5, torch.arange(8).expand(8, 8) < 4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_damaged_note_on_how_a_photograph_was_held_spoils_it_not(tmp_path: Path) -> None:
    for k, note in enumerate((b"Exif\0\0no note", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"")):
        photograph().save(tmp_path / "0.jpg", quality=100, exif=note)
        found = read(tmp_path / "c.csv", "image,caption\n0.jpg,a dog\n").images.batch(np.array([0]))[0]
        assert bool(found[0, 4, 1] > 0.8), k


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_pictures_whose_numbers_have_no_range_are_refused(tmp_path: Path, kind: Any, mode: str) -> None:
    Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / "0.tif")
    with pytest.raises(DataError, match=f"row 0: got 0.tif, which cannot be decoded .numbers of mode {mode}, which do"):
        read(tmp_path / "c.csv", "image,caption\n0.tif,a dog\n").images.batch(np.array([0]))
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(tmp_path / "0.tif")
    assert bool((read(tmp_path / "c.csv", "image,caption\n0.tif,a dog\n").images.batch(np.array([0])) == 1).all())


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (np.full(3, 1e300), "float64 of shape .3,., all finite: False"),
        (np.ones((0, 3), np.float32), "float32 of shape .0, 3."),
        (np.ones(3, np.int64), "int64 of shape .3,., all finite: True"),
    ],
)
def test_arrays_that_are_no_features_are_named_whichever_is_first(
    tmp_path: Path, first: np.ndarray, message: str
) -> None:
    for k, array in enumerate((first, np.ones(3), np.full(3, 2.0))):
        with (tmp_path / f"{k}.NPY").open("wb") as file:
            np.save(file, array)
    rows = "image,caption\n" + "".join(f"{k}.jpg,a dog {k}\n" for k in range(3))
    split = read(tmp_path / "c.csv", rows)
    assert split.images.batch(np.array([2, 1])).mean(1).tolist() == [2, 1]
    with pytest.raises(DataError, match=f"c.csv: row 0: got 0.NPY, which cannot be decoded .{message}"):
        split.images.batch(np.array([0]))
