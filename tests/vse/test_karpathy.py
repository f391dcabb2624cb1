"""Laws of photographs in files, of varying them, and of Karpathy's layout."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from goal_analysis.vse.data import load
from goal_analysis.vse.data.pictures import StoredImages, find_undecodable, path_inside, picture
from goal_analysis.vse.data.split import DataError, DataWarning

SPLITS = ("train", "train", "restval", "val", "val", "test")


def photograph(path: Path, seed: int, size: tuple[int, int] = (20, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def entry(k: int) -> dict[str, Any]:
    sentences = [{"raw": f"caption {j}\n of {k} "} for j in range(2)]
    return {"filename": f"{k}.png", "filepath": "photographs", "split": SPLITS[k], "sentences": sentences}


@pytest.fixture
def entries(tmp_path: Path) -> list[dict[str, Any]]:
    for k in range(len(SPLITS)):
        photograph(tmp_path / "photographs" / f"{k}.png", k)
    return [entry(k) for k in range(len(SPLITS))]


def write(folder: Path, content: object) -> Path:
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "dataset.json"


def test_splits_are_read_and_restval_joins_train(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    data = load(write(tmp_path, {"images": entries}), size=8)
    assert data.name == "dataset"
    assert [len(split.images) for split in data.splits()] == [3, 2, 1]
    assert data.train.captions[4:] == ("caption 0 of 2", "caption 1 of 2")
    assert data.dev.image_of.tolist() == [0, 0, 1, 1]
    with Image.open(tmp_path / "photographs" / "4.png") as image:
        assert torch.equal(data.dev.images.batch(np.array([1]))[0], picture(image, 8))


def test_another_folder_of_photographs(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = write(tmp_path / "elsewhere", {"images": entries})
    assert load(path, size=8, images=str(tmp_path)).train.images.batch(np.arange(3)).shape == (3, 3, 8, 8)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e.update(filename=7), "row 3: filename: got 7 but expected a path in text"),
        (lambda e: e.update(sentences=None), "row 3: sentences: got None but expected a list of captions"),
        (lambda e: e.update(sentences=[{"tokens": []}]), "row 3: sentences: got .* expected objects with the caption"),
        (lambda e: e.update(filename="0.png"), "row 3: got photographs/0.png in dev and train but expected one split"),
    ],
)
def test_other_entries_are_refused_with_their_row(
    tmp_path: Path, entries: list[dict[str, Any]], spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    spoil(entries[3])
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, {"images": entries}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "dataset.json: got a file that is no JSON"),
        ("[]", r"dataset.json: got \[\] but expected COCO's JSON of images and annotations; Karpathy's JSON"),
        ('{"images": {}}', "dataset.json: got JSON with images but expected COCO's JSON"),
        ('{"images": [3]}', r"row 0: image: got 3 but expected an object \(read as Karpathy's JSON"),
        ('{"images": []}', "dataset.json: got no row but expected an image with a caption"),
        ("[" * 100_000, "dataset.json: got a file that is no JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "dataset.json")


def test_bad_rows_are_named_or_left_out(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    (tmp_path / "photographs" / "3.png").unlink()
    entries[4]["sentences"][1]["raw"] = " \n"
    path = write(tmp_path, {"images": entries})
    with pytest.raises(DataError, match=r"dataset.json: row 3: got photographs/3.png but expected a file in"):
        load(path)
    with pytest.warns(DataWarning, match="dev: left out 1 of 2 images and 3 of 4 captions; the first: .*row 3"):
        data = load(path, skip_bad=True)
    assert data.dev.captions == ("caption 0 of 4",)
    photograph(tmp_path / "photographs" / "3.png", 3)
    with pytest.raises(DataError, match=r"dataset.json: row 4: got an empty caption but expected words"):
        load(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e.update(sentences=[]), r"row 3: sentences: got \[\] but expected a list of captions"),
        (lambda e: e.update(filename=""), "row 3: got the path '' but expected one inside of .*, without"),
        (lambda e: e.update(filename="\udce9.png"), "row 3: got the path .* but expected one inside of .*, without"),
        (lambda e: e.update(filename="../../secret.png"), r"row 3: got the path .*secret.png' but expected one inside"),
        (lambda e: e.update(filepath="/etc", filename="passwd"), "row 3: got the path '/etc/passwd' but expected one"),
        (lambda e: e.update(split="x"), "row 3: got the split 'x' but expected one of train, restval, dev, val, valid"),
    ],
)
def test_entries_without_a_place_caption_or_split_are_named_or_left_out(
    tmp_path: Path, entries: list[dict[str, Any]], spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    spoil(entries[3])
    path = write(tmp_path, {"images": entries})
    with pytest.raises(DataError, match=f"dataset.json: {message}"):
        load(path)
    with pytest.warns(DataWarning, match=f"dataset.json: left out 1 of 6 rows; the first: .*{message}"):
        assert load(path, skip_bad=True).dev.captions == ("caption 0 of 4", "caption 1 of 4")


def test_the_first_row_that_is_bad_is_named(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    entries[1]["filename"], entries[3]["filename"] = "", 7
    with pytest.raises(DataError, match=r"dataset.json: row 1: got the path '' but expected one inside of"):
        load(write(tmp_path, {"images": entries}))


def test_bytes_that_are_not_utf8_are_named_or_left_out(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    entries[3]["sentences"][1]["raw"] = "caf@"
    path = write(tmp_path, {"images": entries})
    path.write_bytes(path.read_bytes().replace(b"@", "é".encode("latin-1")))
    message = r"dataset.json: row 3: got 'caf\\udce9', which is not in UTF-8, but expected words"
    with pytest.raises(DataError, match=message):
        load(path)
    with pytest.warns(DataWarning, match=f"dev: left out 0 of 2 images and 1 of 4 captions; the first: .*{message}"):
        assert load(path, skip_bad=True).dev.captions[0] == "caption 0 of 3"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace("é".encode("latin-1"), "é".encode()))
    assert load(path).dev.captions[1] == "café"


def damaged(path: Path, how: str) -> None:
    if how == "text":
        path.write_text("no picture")
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        Image.new("1", (14_000, 14_000)).save(path)


@pytest.mark.parametrize("how", ["text", "cut off", "larger than any"])
def test_a_file_that_is_no_picture_is_named_or_left_out(
    tmp_path: Path, entries: list[dict[str, Any]], how: str
) -> None:
    damaged(tmp_path / "photographs" / "4.png", how)
    path = write(tmp_path, {"images": entries})
    images = load(path, size=8).dev.images
    images.batch(np.array([0]))
    message = r"dataset.json: row 4: got photographs/4.png, which cannot be decoded \(.+\), but expected a picture"
    with pytest.raises(DataError, match=message):
        images.batch(np.array([0, 1]))
    with pytest.warns(DataWarning, match=f"dev: left out 1 of 2 images and 2 of 4 captions; the first: .*{message}"):
        split = load(path, size=8, skip_bad=True).dev
    assert split.captions == ("caption 0 of 3", "caption 1 of 3")
    assert torch.equal(split.images.batch(np.arange(1)), images.batch(np.array([0])))


def test_only_skipping_decodes_beforehand(
    tmp_path: Path, entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, read = [], StoredImages.read

    def counted(files: StoredImages, row: int) -> torch.Tensor:
        opened.append(files.sources[row].rpartition(" ")[2])
        return read(files, row)

    monkeypatch.setattr(StoredImages, "read", counted)
    path = write(tmp_path, {"images": entries})
    load(path, size=8)
    assert opened == []
    load(path, size=8, skip_bad=True)
    assert sorted(opened) == [str(k) for k in range(6)]


def test_formats_are_known_before_threads_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def read(_: int) -> torch.Tensor:
        order.append("read")
        return torch.zeros(3, 4, 4)

    monkeypatch.setattr(Image, "init", lambda: order.append("init"))
    assert find_undecodable(read, range(2)) == {}
    assert order == ["init", "read", "read"]


def test_what_memory_does_not_hold_is_no_damaged_picture(
    tmp_path: Path, entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("goal_analysis.vse.data.pictures.picture", full)
    with pytest.raises(MemoryError):
        load(write(tmp_path, {"images": entries}), skip_bad=True)


def test_pictures_that_are_left_out_have_a_fingerprint(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    path = write(tmp_path, {"images": entries})
    whole = load(path, size=8, skip_bad=True).fingerprint()
    (tmp_path / "photographs" / "4.png").unlink()
    with pytest.warns(DataWarning):
        assert load(path, size=8, skip_bad=True).fingerprint() != whole


@pytest.mark.parametrize("size", [(20, 12), (12, 20), (5, 5), (3, 50)])
def test_a_picture_is_the_middle_square(size: tuple[int, int]) -> None:
    values = np.zeros((size[1], size[0], 3), np.uint8)
    middle = slice((size[1] - min(size)) // 2, (size[1] + min(size) + 1) // 2)
    values[middle, (size[0] - min(size)) // 2 : (size[0] + min(size) + 1) // 2] = 255
    found = picture(Image.fromarray(values), min(size))
    assert found.shape == (3, min(size), min(size))
    assert bool((found == 1).all())


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_pictures_of_every_mode_become_three_channels(mode: str) -> None:
    assert picture(Image.new(mode, (9, 7)), 4).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (9, 7), (255, 0, 0, 0)), (0, 0, 0)),
        (Image.new("RGBA", (9, 7), (255, 0, 0, 51)), (51, 0, 0)),
        (Image.new("RGBA", (9, 7), (255, 7, 0, 255)), (255, 7, 0)),
        (Image.new("LA", (9, 7), (255, 0)), (0, 0, 0)),
        (Image.new("RGB", (9, 7), (255, 7, 0)), (255, 7, 0)),
        (Image.new("I;16", (9, 7), 0), (0, 0, 0)),
        (Image.new("I;16", (9, 7), 200 * 257), (200, 200, 200)),
        (Image.new("I;16B", (9, 7), 200 * 257), (200, 200, 200)),
        (Image.new("I;16", (9, 7), 65_535), (255, 255, 255)),
    ],
)
def test_transparent_is_black_and_16_bits_are_scaled(image: Image.Image, expected: tuple[int, int, int]) -> None:
    found = picture(image, 4) * 255
    assert torch.allclose(found, torch.tensor(expected).float()[:, None, None].expand(3, 4, 4))


def test_files_with_transparent_colours_and_16_bits(tmp_path: Path) -> None:
    Image.new("L", (9, 7), 9).save(tmp_path / "0.png", transparency=9)
    Image.new("L", (9, 7), 9).save(tmp_path / "1.png", transparency=8)
    Image.new("I;16", (9, 7), 200 * 257).save(tmp_path / "2.png")
    (tmp_path / "3.pgm").write_bytes(b"P5 9 7 65535\n" + np.full(63, 200 * 257, ">u2").tobytes())
    plain = (tmp_path / "2.png").read_bytes()
    for number, grey in ((4, 200 * 257), (5, 200 * 257 + 1)):  # which older versions of Pillow read and do not write
        chunk = b"tRNS" + grey.to_bytes(2, "big")
        chunk = (2).to_bytes(4, "big") + chunk + crc32(chunk).to_bytes(4, "big")
        (tmp_path / f"{number}.png").write_bytes(plain[:33] + chunk + plain[33:])
    names = ("0.png", "1.png", "2.png", "3.pgm", "4.png", "5.png")
    found = StoredImages(str(tmp_path), names, 4).batch(np.arange(6))
    assert (found * 255)[:, 0, 0, 0].round().tolist() == [0, 9, 200, 200, 0, 200]


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (2, 4999), (30, 170), (500, 333)])
def test_of_a_long_picture_only_the_middle_counts(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    side, reach = min(size), 3 * (min(size) // 32 + 1)  # of the filter, in pixels beyond the square
    left, top = ((full - side) // 2 for full in size)
    read = slice(max(top - reach, 0), top + side + 1 + reach), slice(max(left - reach, 0), left + side + 1 + reach)
    other = np.zeros_like(values)
    other[read] = values[read]
    found = picture(Image.fromarray(values), 32)
    assert torch.equal(found, picture(Image.fromarray(other), 32))
    other[read] //= 2
    assert not torch.equal(found, picture(Image.fromarray(other), 32))


def test_the_fingerprint_follows_names_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        photograph(tmp_path / f"{k}.png", k)
    files = StoredImages(str(tmp_path), ("0.png", "1.png"), 8)
    before = files.fingerprint()
    assert StoredImages(str(tmp_path), ("0.png", "2.png"), 8).fingerprint() != before
    assert StoredImages(str(tmp_path), ("0.png", "1.png"), 9).fingerprint() != before
    assert pickle.loads(pickle.dumps(files)).fingerprint() == before
    photograph(tmp_path / "1.png", 9)
    changed = files.fingerprint()
    assert changed != before
    monkeypatch.setattr("goal_analysis.vse.data.pictures.HASHED_WHOLE", 0)
    assert files.fingerprint() == changed


def test_workers_decode(tmp_path: Path) -> None:
    for k in range(4):
        photograph(tmp_path / f"{k}.png", k)
    files = StoredImages(str(tmp_path), tuple(f"{k}.png" for k in range(4)), 8)
    # Threads in a process that forks are the caller's own matter; spawned workers get the object by pickling.
    loader = DataLoader(_Rows(files), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert torch.equal(torch.cat([*loader]), files.batch(np.arange(4)))


class _Rows(torch.utils.data.Dataset):
    def __init__(self, files: StoredImages) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        if row >= len(self):
            raise IndexError(row)
        return self.files.batch(np.array([row]))


@pytest.mark.parametrize("name", ["a.png", "x/a.png", "./a.png", "x\\a.png", "..a.png", "a..b/c.png"])
def test_paths_inside_pass(tmp_path: Path, name: str) -> None:
    assert (tmp_path / path_inside(tmp_path, name)).is_relative_to(tmp_path)


def test_paths_from_the_root_on_pass_inside(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for folder in ("folder", "link"):
        assert path_inside(tmp_path / folder, str(tmp_path / folder / "x" / "a.png")) == "x/a.png"
    assert path_inside(tmp_path / "link", str(tmp_path / "folder" / "a.png")) == "a.png"
    for name in ("", "a.png", "folders/a.png", "folder", "folder/../a.png"):
        with pytest.raises(DataError, match=r"got the path .* but expected one inside of .*folder, without"):
            path_inside(tmp_path / "folder", str(tmp_path / name))


OUTSIDE = (
    *("", "..", "../a", "x/../../a", "x/..", "/a", "/etc/passwd", "\\a", "..\\a", "C:\\a"),
    *("a\0b", "\ud800.jpg"),  # which no file is called
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"got the path .* but expected one inside of .*, without"):
        path_inside(tmp_path, name)


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    (tmp_path / "folder" / "inside").symlink_to(tmp_path / "folder")
    with pytest.raises(DataError, match=r"got the path 'link/a.png', which leads out of .*folder, but expected one"):
        path_inside(tmp_path / "folder", "link/a.png")
    assert path_inside(tmp_path / "folder", "inside/a.png") == "inside/a.png"
