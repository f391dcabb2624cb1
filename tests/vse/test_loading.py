"""Data sets by name: their options, one split of them, and other data that are read in the same way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from goal_analysis.vse.data import carry_options, load, load_split
from goal_analysis.vse.data.split import DataError, Split, digest
from goal_analysis.vse.loop.experiment import experiment_from_mapping, preset, read_experiment

SMALL = {"train": 3, "dev": 2, "test": 2}


def features(folder: Path, *splits: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, split in enumerate(splits, start=2):
        np.save(folder / f"{split}_ims.npy", np.full((number, 4), number, dtype=np.float32))
        (folder / f"{split}_caps.txt").write_text("a dog\n" * number)
    return folder


def table(path: Path, image: str = "filepath") -> Path:
    rows = [f"{k}.png,a cat,{split}" for k, split in enumerate(("train", "train", "dev"))]
    for k in range(len(rows)):
        Image.new("RGB", (40, 40), (80 * k, 0, 0)).save(path.parent / f"{k}.png")
    path.write_text("\n".join([f"{image},title,split", *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "abc"}, "data: scenes: train: got 'abc' but expected a whole number"),
        ({"train": 60.5}, "data: scenes: train: got 60.5 but expected a whole number"),
        ({"seed": True}, "data: scenes: seed: got True but expected a whole number"),
        ({"noise": "much"}, "data: scenes: noise: got 'much' but expected a number"),
        ({"size": 3}, "data: scenes: got the key 'size' but expected one of completeness, dev"),
        ({"kind": "scene"}, "data: kind: got 'scene' but expected one of scenes, captions, precomp"),
        ({"fold": 5}, "data: fold: got 5 but expected a whole number from 0 to 4"),
        ({"fold": True}, "data: fold: got True but expected a whole number from 0 to 4"),
        ({"fold": 0}, "scenes: got 3 images of train but expected 5 at least for 5 folds"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("scenes", **{**SMALL, **options})
    with pytest.raises(DataError, match=message):
        load_split("scenes", "dev", **{**SMALL, **options})


def test_one_split_of_features_needs_no_other(tmp_path: Path) -> None:
    folder = features(tmp_path / "some", "test", "testall")
    assert [len(load_split(folder, name).images) for name in ("test", "testall")] == [2, 3]
    with pytest.raises(DataError, match="split: got 'dev' but expected one of test, testall"):
        load_split(folder, "dev")
    with pytest.raises(DataError, match=r"got the splits test, testall but expected train and dev$"):
        load(folder)
    with pytest.raises(
        DataError, match=r"nothing: got a folder with no files but expected train or dev or .*_ims.npy in it"
    ):
        load_split(features(tmp_path / "nothing"), "dev")


def test_one_split_may_be_the_one_to_measure_on_of_any_name(tmp_path: Path) -> None:
    folder = features(tmp_path / "some", "train", "dev", "second")
    assert len(load_split(folder, "second", test="second").images) == 4
    with pytest.raises(DataError, match=r"split: got 'second' but expected one of train, dev$"):
        load_split(folder, "second")
    with pytest.raises(DataError, match=r"third_ims.npy: got a file that cannot be read"):
        load_split(folder, "third", test="third")


def test_seeds_of_scenes_are_any_that_scenes_take() -> None:
    assert len(load("scenes", **{**SMALL, "seed": 20240101}).dev.images) == SMALL["dev"]
    with pytest.raises(DataError, match="scenes: seed: got -1 but expected a whole number from 0 to"):
        load("scenes", **{**SMALL, "seed": -1})


def test_one_split_is_that_of_the_whole() -> None:
    whole = load("scenes", **SMALL)
    for split in whole.splits():
        assert load_split("scenes", split.name, **SMALL).fingerprint() == split.fingerprint()
    assert whole.dev.fingerprint() != whole.train.fingerprint()


def digests(split: Split) -> set[str]:
    return {digest(image.numpy().tobytes()) for image in split.images.batch(np.arange(len(split.images)))}


def test_the_folds_are_the_training_split_and_leave_dev_out() -> None:
    whole = load("scenes", train=12, dev=5, test=2)
    parts = [load("scenes", train=12, dev=5, test=2, fold=number) for number in range(5)]
    every, held_out = digests(whole.train), [digests(part.dev) for part in parts]
    assert sorted(one for of in held_out for one in of) == sorted(every), "every image is in one fold"
    for part, of in zip(parts, held_out, strict=True):
        trained = digests(part.train)
        assert (trained & of, trained | of) == (set(), every)
        assert len(part.train) + len(part.dev) == len(whole.train)
        assert part.test is None
    assert len({part.fingerprint() for part in (whole, *parts)}) == 6
    assert load_split("scenes", "dev", train=12, dev=5, fold=1).fingerprint() == parts[1].dev.fingerprint()
    with pytest.raises(DataError, match="split: got 'test' but expected one of train, dev"):
        load_split("scenes", "test", train=12, dev=5, fold=1)


def test_other_data_are_read_in_the_same_way(tmp_path: Path) -> None:
    path = str(table(tmp_path / "other.csv", "path"))
    given = {
        "name": "mine.csv",
        "size": 24,
        "image": "path",
        "images": "photographs",
        "dev": "dev.csv",
        "skip_bad": True,
    }
    assert carry_options(given, path) == {"name": path, "size": 24, "image": "path"}
    assert carry_options({"name": "scenes", **SMALL, "objects": 2}, path) == {"name": path}
    assert carry_options({"name": "scenes", **SMALL}, "scenes") == {"name": "scenes", **SMALL}
    assert carry_options(given, "nowhere") == {"name": "nowhere"}
    assert carry_options({"name": 3}, "nowhere") == {"name": "nowhere"}
    same = str(Path("mine.csv").resolve())
    assert carry_options(given, same) == {**given, "name": same}
    assert carry_options({"name": str(Path("scenes").resolve()), "test": "val"}, "scenes") == {"name": "scenes"}
    trained_on = experiment_from_mapping({**preset("scenes"), "data": given})
    assert trained_on.load_split("dev", path).images.shape == (1, 3, 24, 24)


def test_what_is_set_of_the_data_is_set_of_those_that_are_named(tmp_path: Path) -> None:
    path = str(table(tmp_path / "mine.csv", "path"))
    found = read_experiment("scenes", path, assignments=["data.image=path", "data.size=24", "data.skip_bad=true"])
    assert found.data == {"name": path, "image": "path", "size": 24, "skip_bad": True}
    assert read_experiment("scenes", path).data == {"name": path}
    found = read_experiment("scenes", "mine.txt", assignments=["data.kind=captions"])
    assert found.data == {"name": "mine.txt", "kind": "captions"}
