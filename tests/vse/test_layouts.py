"""Laws of the layouts in which captions come: each is recognised by its content, and each fault names its row."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from goal_analysis.vse.data import load, load_split, load_splits
from goal_analysis.vse.data.split import DataError, DataWarning, Split

NAMES = [f"{k}.jpg" for k in range(6)]


def photograph(k: int) -> Image.Image:
    return Image.new("RGB", (20, 16), (40 * k, 0, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photographs in a folder beside the captions."""
    (tmp_path / "Images").mkdir()
    for k, name in enumerate(NAMES):
        photograph(k).save(tmp_path / "Images" / name, quality=100)
    return tmp_path


def coco(ids: range = range(6)) -> str:
    images = [{"id": k, "file_name": f"{k}.jpg"} for k in ids]
    said = [{"id": 10 * k + j, "image_id": k, "caption": f"a dog, {k}.{j}"} for j in range(2) for k in ids]
    return json.dumps({"info": {}, "images": images, "annotations": said})


def karpathy() -> str:
    images = [
        {"filename": n, "sentences": [{"raw": f"a dog, {k}.{j}", "sentid": 10 * k + j} for j in range(2)]}
        for k, n in enumerate(NAMES)
    ]
    return json.dumps({"images": [image | {"split": "train"} for image in images]})


BOTH = [(n, k, j) for k, n in enumerate(NAMES) for j in range(2)]
LAYOUTS: dict[str, tuple[str, str]] = {  # by the name of the file: what it holds, and what it is read as
    "captions.txt": ("image,caption\n" + "".join(f'{n},"a dog, {k}.{j}"\n' for n, k, j in BOTH), "a table of image"),
    "x.token": ("".join(f"{n}#{j}\ta dog, {k}.{j}\n" for n, k, j in BOTH), "lines of NAME#NUMBER"),
    "results.csv": (
        "image_name| comment_number| comment\n" + "".join(f"{n}| {j}| a dog, {k}.{j}\n" for n, k, j in BOTH),
        "a table of image_name, comment",
    ),
    "semicolons.data": ("file;text\n" + "".join(f"{n};a dog, {k}.{j}\n" for n, k, j in BOTH), "a table of file, text"),
    "captions_val2017.json": (coco(), "COCO's JSON"),
    "dataset.json": (karpathy(), "Karpathy's JSON"),
    "albef.json": (
        json.dumps(
            [{"image": f"Images/{n}", "caption": [f"a dog, {k}.{j}" for j in range(2)]} for k, n in enumerate(NAMES)]
        ),
        "JSON objects of image, caption",
    ),
    "blip.json": (
        json.dumps([{"image": n, "caption": f"a dog, {k}.{j}", "image_id": k} for n, k, j in BOTH]),
        "JSON objects",
    ),
    "metadata.jsonl": (
        "".join(json.dumps({"file_name": n, "text": f"a dog, {k}.{j}"}) + "\n" for n, k, j in BOTH),
        "JSON objects of file_name, text",
    ),
    "lines.json": (
        "\n".join(json.dumps({"image": n, "caption": f"a dog, {k}.{j}"}) for n, k, j in BOTH),
        "JSON objects of image, caption",
    ),
    "raw.csv": (
        "raw,filename\n" + "".join(f'"[""a dog, {k}.0"", ""a dog, {k}.1""]",{n}\n' for k, n in enumerate(NAMES)),
        "a table of filename, raw",
    ),
}


def whole(path: Path | Any, **options: Any) -> Split:
    return load_split(path, "train" if "dataset.json" in str(path) else "all", size=8, **options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_images_and_captions(folder: Path, name: str) -> None:
    content, layout = LAYOUTS[name]
    (folder / name).write_text(content)
    split = whole(folder / name)
    assert split.captions == tuple(f"a dog, {k}.{j}" for _, k, j in BOTH)
    assert split.image_of.tolist() == [k for _, k, _ in BOTH]
    assert split.layout.startswith(layout)
    assert [Path(n).name for n in split.names] == NAMES
    reds = split.images.batch(np.arange(6))[:, 0, 0, 0] * 255
    assert torch.allclose(reds, torch.arange(6) * 40.0, atol=3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.token", "0.jpg#0\ta dog\n1.jpg a cat\n", "row 1: got '1.jpg a cat' but expected NAME#NUMBER, a tab"),
        ("x.token", "0.jpg#0\t \n", "row 0: got an empty caption but expected words"),
        ("r.csv", "image_name| comment_number| comment\n0.jpg| 0| a dog\n0.jpg| 4   A dog .\n", "row 1: got 2 fields"),
        ("c.txt", 'image,caption\n0.jpg,a dog\n1.jpg,"a cat\n', "row 1: got a quote that is not closed"),
        ("c.txt", "image,caption\n0.jpg,a dog, too\n", "row 0: got 3 fields but expected 2: '0.jpg,a dog,too'"),
        ("c.txt", "picture,caption\n0.jpg,a dog\n", "got columns picture, caption but expected one of filepath, image"),
        ("c.txt", "image,label\n0.jpg,a dog\n", None),
        ("c.txt", "image,label,x\n0.jpg,a dog,3\n", "but expected one of title, caption, .*, or the option caption"),
        ("l.json", '[{"image": "0.jpg", "caption": 3}]', "row 0: caption: got '3' but expected a caption, or a list"),
        ("l.json", '[{"image": "0.jpg", "caption": "a"}, {"image": "1.jpg"}]', "row 1: got no 'caption' but expected"),
        ("l.json", '[{"image": ["0.jpg"], "caption": "a"}]', "row 0: image: got .* but expected a path in text"),
        ("l.json", '[{"image": "0.jpg", "caption": "a"}, 3]', "row 1: got '3' but expected an object with image"),
        (
            "c.json",
            '{"images": [{"id": 1}], "annotations": [{"image_id": 2, "caption": "a"}]}',
            "row 0: image_id: got 2",
        ),
        ("c.json", '{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}', "row 0: got .* expected an annotation"),
        (
            "c.json",
            '{"images": [{"id": 77}], "annotations": [{"image_id": 77, "caption": "a"}]}',
            "got 000000000077.jpg",
        ),
        (
            "m.jsonl",
            '\n{"image": "0.jpg", "caption": "a"}\n\n{x\n',
            "row 3: got '{x' but expected an object with image",
        ),
        ("m.jsonl", '{x\n{"image": "0.jpg", "caption": "a"}\n', "got a file that is no JSON"),
        (
            "r.csv",
            'raw,image\n"[""a"", ""b]",0.jpg\n',
            r"row 0: raw: got '\[\"a\", \"b\]' but expected a caption, or a list",
        ),
        ("c.txt", "image,caption,caption\n0.jpg,a,b\n", "got the column 'caption' twice but expected every name once"),
        (
            "c.json",
            '{"images": [{"id": null}, {"id": [1]}], "annotations": [{"image_id": 2, "caption": "a"}]}',
            "row 0: image_id: got 2",
        ),
        (
            "c.json",
            '{"images": [{"id": 1, "file_name": "x"}, {"id": 1, "file_name": "y"}], "annotations": []}',
            "images: got x and y of one id but expected an id for each",
        ),
    ],
)
def test_every_fault_names_its_row_and_the_layout(folder: Path, name: str, content: str, message: str | None) -> None:
    (folder / name).write_text(content)
    if message is None:
        assert whole(folder / name).captions == ("a dog",)  # the only other column
        return
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        whole(folder / name)


@pytest.mark.parametrize(
    ("name", "content", "layout"),
    [
        ("x.token", "0.jpg#0\ta dog\n1.jpg a cat\n", "lines of NAME#NUMBER, a tab and a caption"),
        ("c.txt", "image,caption\n0.jpg\n", "a table of image, caption"),
        ("l.json", '[{"image": "0.jpg", "caption": 3}]', "JSON objects of image, caption"),
        ("c.json", '{"images": [], "annotations": [3]}', "COCO's JSON of images and annotations"),
    ],
)
def test_an_error_says_which_layout_was_recognised(folder: Path, name: str, content: str, layout: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=rf"\(read as {layout}\)$"):
        whole(folder / name)


def test_a_malformed_row_is_left_out_and_counted(folder: Path) -> None:
    content = f"{LAYOUTS['results.csv'][0]}1.jpg| 4   A dog runs across the grass .\n"
    (folder / "results.csv").write_text(content)
    with pytest.warns(DataWarning, match="left out 1 of 13 rows; the first: .*row 12: got 2 fields") as caught:
        assert len(whole(folder / "results.csv", skip_bad=True)) == 12
    assert [len(getattr(w.message, "faults", ())) for w in caught] == [1]


def test_coco_has_a_file_a_split_and_images_by_their_numbers(tmp_path: Path) -> None:
    for place in ("annotations", "train2017", "val2017"):
        (tmp_path / place).mkdir()
    for k in range(6):
        photograph(k).save(tmp_path / ("train2017" if k < 4 else "val2017") / f"{k:012}.jpg")
    for split, ids in (("train", range(4)), ("val", range(4, 6))):
        found = json.loads(coco(ids))
        for image in found["images"]:
            del image["file_name"]
        (tmp_path / "annotations" / f"captions_{split}2017.json").write_text(json.dumps(found))
    data = load(tmp_path / "annotations" / "captions_train2017.json", dev="captions_val2017.json", size=8)
    assert data.train.names[1] == "000000000001.jpg"
    assert data.dev.keys == ("40", "41", "50", "51")
    assert bool((data.dev.images.batch(np.array([0]))[0, 0] > 0.6).all())


@pytest.mark.parametrize("kind", ["npy", "npz", "several"])
@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_an_array_an_image_is_found_by_name_or_number(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "features").mkdir()
    for k in range(6):
        array, path = np.full(shape, k, np.float16), tmp_path / "features" / f"{k}"
        if kind == "npy":
            np.save(path, array)
        elif kind == "npz":
            np.savez(path, array)
        else:
            np.savez(path, boxes=np.zeros((2, 4)), feat=array)
    (tmp_path / "captions.json").write_text(coco())
    split = whole(tmp_path / "captions.json", images="features")
    assert split.images.shape == (6, *shape)
    assert split.images.batch(np.array([3, 0]))[:, 0].flatten().tolist()[0] == 3
    assert pickle.loads(pickle.dumps(split.images)).fingerprint() == split.fingerprint.__self__.images.fingerprint()
    np.save(tmp_path / "features" / "2.npy", np.zeros((7, 7)))
    (tmp_path / "features" / "2.npz").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"captions.json: row 2: got an array of shape \(7, 7\) but expected"):
        whole(tmp_path / "captions.json", images="features").images.batch(np.array([2]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"\x93NUMPY"), "which cannot be decoded"),
        (lambda path: np.save(path, np.array([np.nan, 1])), "all finite: False"),
        (lambda path: np.save(path, np.array([{}], dtype=object)), "which cannot be decoded"),
        (lambda path: np.save(path, np.array([1, 2])), "int64 of shape"),
    ],
)
def test_an_array_that_cannot_be_read_is_named_or_left_out(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    for k in range(6):
        np.save(tmp_path / f"{k}.npy", np.ones(2))
    spoil(tmp_path / "4.npy")
    (tmp_path / "x.token").write_text(LAYOUTS["x.token"][0])
    with pytest.raises(DataError, match=f"x.token: row 8: got 4.npy.*{message}"):
        whole(tmp_path / "x.token").images.batch(np.arange(6))
    with pytest.warns(DataWarning, match="left out 1 of 6 images and 2 of 12 captions"):
        assert len(whole(tmp_path / "x.token", skip_bad=True).images) == 5


# --- the datasets of Hugging Face, and Parquet ----------------------------------------------------


def encoded(k: int) -> dict[str, Any]:
    content = io.BytesIO()
    photograph(k).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


TEXTS = getattr(datasets, "List", datasets.Sequence)(datasets.Value("string"))


def dataset(captions: Any = TEXTS) -> datasets.Dataset:
    listed = [[f"a dog, {k}.{j}" for j in range(2)] for k in range(6)]
    columns = {
        "label": [1] * 6,
        "image": [encoded(k) for k in range(6)],
        "caption": listed if not isinstance(captions, datasets.Value) else ["a dog"] * 6,
        "split": ["train"] * 3 + ["val"] * 2 + ["test"],
    }
    kinds = {"label": datasets.Value("int32"), "image": datasets.Image(), "caption": captions}
    return datasets.Dataset.from_dict(columns, features=datasets.Features({**kinds, "split": datasets.Value("string")}))


@pytest.mark.parametrize("way", ["object", "folder", "parquet"])
@pytest.mark.parametrize("captions", [TEXTS, datasets.Value("string")])
def test_datasets_are_read_by_the_kinds_of_their_columns(tmp_path: Path, way: str, captions: Any) -> None:
    source: Any = dataset(captions)
    if way == "folder":
        source.save_to_disk(tmp_path / "saved")
        source = tmp_path / "saved"
    elif way == "parquet":
        source.to_parquet(tmp_path / "saved.parquet")
        source = tmp_path / "saved.parquet"
    data = load(source, size=8)
    assert [len(split.images) for split in data.splits()] == [3, 2, 1]
    assert data.train.captions[:2] == (
        ("a dog", "a dog") if isinstance(captions, datasets.Value) else ("a dog, 0.0", "a dog, 0.1")
    )
    images = pickle.loads(pickle.dumps(data.dev.images))
    assert (images.batch(np.arange(2))[:, 0, 0, 0] * 255).round().tolist() == [120, 160]


def test_a_dictionary_of_datasets_has_its_own_splits(tmp_path: Path) -> None:
    of = dataset().remove_columns("split")
    parts = datasets.DatasetDict({"train": of, "validation": of.select([2, 1])})
    parts.save_to_disk(tmp_path / "saved")
    try:
        datasets.load_from_disk(str(tmp_path / "saved"))
    except ValueError as problem:
        pytest.skip(f"datasets 2.14 reads nothing of its own beside fsspec of today: {problem}")
    for source in (parts, tmp_path / "saved"):
        data = load(source, size=8)
        assert [len(split.images) for split in data.splits()] == [6, 2]
        assert data.dev.captions[0] == "a dog, 2.0"
        drawn = load(source, size=8, split={"test": 2})
        assert [len(split.images) for split in drawn.splits()] == [4, 2, 2]


def test_columns_of_numbers_are_features_and_numbered_columns_are_captions() -> None:
    columns = {"features": np.eye(4, dtype=np.float32).tolist(), "caption_0": ["a"] * 4, "caption_1": ["b"] * 4}
    split = whole(datasets.Dataset.from_dict(columns))
    assert split.captions == ("a", "b") * 4
    assert torch.equal(split.images.batch(np.arange(4)), torch.eye(4))
    with pytest.raises(DataError, match=r"data: got int but expected|got 3 but expected"):
        load_splits(3)


def test_a_damaged_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="got a table that cannot be read"):
        load(tmp_path)


# --- splits, limits ------------------------------------------------------------------------------


def test_splits_are_drawn_by_the_seed_over_images(folder: Path) -> None:
    path = folder / "x.token"
    path.write_text(LAYOUTS["x.token"][0])
    drawn = load(path, size=8, split={"dev": 0.34, "test": 1, "seed": 3})
    assert [len(split.images) for split in drawn.splits()] == [3, 2, 1]
    names = [set(split.names) for split in drawn.splits()]
    assert set.union(*names) == set(NAMES)
    assert load(path, size=8, split={"dev": 0.34, "test": 1, "seed": 3}).dev.names == drawn.dev.names
    others = {load(path, size=8, split={"dev": 0.34, "seed": seed}).dev.names for seed in range(6)}
    assert len(others) > 1
    lines = LAYOUTS["x.token"][0].splitlines(keepends=True)
    path.write_text("".join(lines[::-1]))
    again = load(path, size=8, split={"dev": 0.34, "test": 1, "seed": 3})
    assert set(again.dev.names) == names[1], "the order of the rows says nothing"


def test_splits_come_from_lists_of_names(folder: Path) -> None:
    path = folder / "x.token"
    path.write_text(LAYOUTS["x.token"][0])
    (folder / "train.txt").write_text("0.jpg\n1.jpg\n")
    (folder / "dev.txt").write_text("3\n\n4\n")
    data = load(path, size=8, split={"train": "train.txt", "dev": str(folder / "dev.txt")})
    assert [split.names for split in data.splits()] == [("0.jpg", "1.jpg"), ("3.jpg", "4.jpg")]
    assert load(path, size=8, split={"dev": "dev.txt"}).train.names == ("0.jpg", "1.jpg", "2.jpg", "5.jpg")
    (folder / "dev.txt").write_text("9.jpg\n3.jpg")
    with pytest.raises(DataError, match=r"dev.txt: row 0: got '9.jpg' but expected the name of one image of"):
        load(path, split={"dev": "dev.txt"})
    with pytest.warns(DataWarning, match="left out 1 names of lists"):
        assert load(path, size=8, split={"dev": "dev.txt"}, skip_bad=True).dev.names == ("3.jpg",)
    (folder / "dev.txt").write_text("1.jpg")
    with pytest.raises(DataError, match=r"dev.txt: row 0: got 1.jpg for dev and for train but expected one split"):
        load(path, split={"train": "train.txt", "dev": "dev.txt"})


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"dev": 1.5}, "split: dev: got 1.5 but expected a share up to 1.0, a whole number of images, or a file"),
        ({"dev": 0}, "split: dev: got 0 but expected a share"),
        ({"dev": 7}, "split: dev: got 7 but expected up to 6 of 6 images"),
        ({"val": 0.1}, "split: got the key 'val' but expected one of dev, seed, test, train"),
        ({"dev": "none.txt"}, "none.txt: got a file that cannot be read"),
        (3, "split: got 3 but expected text or a table"),
    ],
)
def test_other_splits_are_refused(folder: Path, split: Any, message: str) -> None:
    (folder / "x.token").write_text(LAYOUTS["x.token"][0])
    with pytest.raises(ValueError, match=message):
        load(folder / "x.token", split=split)


def test_captions_over_a_limit_are_cut_or_refused_with_their_row(folder: Path) -> None:
    path = folder / "x.token"
    path.write_text("0.jpg#0\ta dog\n1.jpg#0\ta dog runs along the beach\n2.jpg#0\tcats\n")
    with pytest.warns(DataWarning, match=r"cut 1 of 3 captions; the first: .*row 1: got a caption of 6 words, 26 char"):
        assert whole(path, longest={"words": 3}).captions == ("a dog", "a dog runs", "cats")
    with pytest.warns(DataWarning, match="cut 2 of 3 captions"):
        assert whole(path, longest={"characters": 4}).captions == ("a do", "a do", "cats")
    with pytest.raises(DataError, match="row 1: got a caption of 6 words, 26 characters but expected up to 3 words"):
        whole(path, longest={"words": 3, "over": "refuse"})
    with pytest.warns(DataWarning, match="left out 1 of 3 images and 1 of 3 captions"):
        assert len(whole(path, longest={"words": 3, "over": "refuse"}, skip_bad=True)) == 2
    with pytest.raises(ValueError, match="longest: over: got 'drop' but expected one of cut, refuse"):
        whole(path, longest={"words": 3, "over": "drop"})


def test_features_have_any_number_of_captions_where_their_numbers_say_it(tmp_path: Path) -> None:
    np.save(tmp_path / "dev_ims.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "dev_caps.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "dev_ids.txt").write_text("x.jpg\nx.jpg\ny.jpg\nz.jpg\n")
    split = load_split(tmp_path, "dev")
    assert split.image_of.tolist() == [0, 0, 1, 2]
    assert split.keys == ("x.jpg#0", "x.jpg#1", "y.jpg#0", "z.jpg#0")
    (tmp_path / "dev_ids.txt").write_text("x.jpg\ny.jpg\ny.jpg\ny.jpg\n")
    with pytest.raises(DataError, match=r"dev_caps.txt: got 4 captions but expected 3 or 15.*or a number for each"):
        load_split(tmp_path, "dev")
