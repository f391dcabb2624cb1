"""Laws of features in the published layout, and of what is said of broken files."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goal_analysis.vse.data import load
from goal_analysis.vse.data.precomp import load_split, open_features
from goal_analysis.vse.data.split import ArrayImages, DataError, DataWarning


def features(images: int = 6, shape: tuple[int, ...] = (4,), kind: str = "float16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, *shape)).astype(kind)


def write(folder: Path, name: str, images: np.ndarray, captions: list[str], ids: list[int] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}_ims.npy", images)
    (folder / f"{name}_caps.txt").write_text("".join(f"{c}\n" for c in captions), encoding="utf-8")
    if ids is not None:
        (folder / f"{name}_ids.txt").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
    return folder


def lines(count: int) -> list[str]:
    return [f"caption {i}" for i in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three splits of six, four and five images with five captions each."""
    write(tmp_path / "made_precomp", "train", features(6), lines(30), list(range(100, 106)))
    write(tmp_path / "made_precomp", "dev", features(4, seed=1), lines(20))
    return write(tmp_path / "made_precomp", "test", features(5, seed=2), lines(25))


def test_splits_are_read(folder: Path) -> None:
    data = load(folder)
    assert data.name == "made_precomp"
    assert [split.name for split in data.splits()] == ["train", "dev", "test"]
    assert [len(split.images) for split in data.splits()] == [6, 4, 5]
    assert data.train.captions == tuple(lines(30))
    assert data.train.image_of.tolist() == [i for i in range(6) for _ in range(5)]
    rows = np.array([5, 0])
    assert torch.equal(data.train.images.batch(rows), torch.from_numpy(features()[rows]).float())


def test_the_whole_test_split_comes_first(folder: Path) -> None:
    write(folder, "testall", features(7), lines(35))
    assert len(load(folder).splits()[2].images) == 7
    assert len(load(folder, test="test").splits()[2].images) == 5
    with pytest.raises(DataError, match=r"other_ims.npy: got a file that cannot be read: No such file"):
        load(folder, test="other")


def test_a_test_split_is_optional(folder: Path) -> None:
    (folder / "test_ims.npy").unlink()
    assert load(folder).test is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train_ims.npy", "got the splits dev, test but expected train and dev"),
        ("dev_ims.npy", "got the splits train, test but expected train and dev"),
        ("dev_caps.txt", "dev_caps.txt: got a file that cannot be read"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=message):
        load(folder)


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
def test_every_kind_of_array_is_read(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    images = features(6, shape, kind)
    found = load_split(write(tmp_path, "dev", images, lines(30)), "dev").images
    assert found.shape == (6, *shape)
    for rows in ([0, 1, 2, 3, 4, 5], [2, 3, 3, 4, 0, 5, 4], [1], []):
        numbers = np.array(rows, dtype=np.int64)
        assert np.array_equal(found.batch(numbers).numpy(), images[numbers].astype(np.float32))
    assert found.fingerprint() == ArrayImages(images).fingerprint()
    for row in (-1, 6):
        with pytest.raises(IndexError, match=f"dev_ims.npy: got row {row} but expected one from 0 to 5"):
            found.batch(np.array([0, row]))


def test_a_header_from_python_2_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, "dev", features(6), lines(30)) / "dev_ims.npy"
    file.write_bytes(file.read_bytes().replace(b"(6, 4), }  ", b"(6L, 4L), }"))
    assert b"6L" in file.read_bytes()
    assert load_split(tmp_path, "dev").images.shape == (6, 4)


def test_a_file_that_shrinks_later_is_named(folder: Path) -> None:
    images = load(folder).dev.images
    spoil_end(folder)
    with pytest.raises(DataError, match=r"dev_ims.npy: got a file that has become shorter but expected 4 rows"):
        images.batch(np.array([0, 3]))
    (folder / "dev_ims.npy").unlink()
    with pytest.raises(DataError, match=r"dev_ims.npy: got a file that cannot be read: No such file"):
        images.batch(np.array([0]))


def test_pickled_features_are_a_path(folder: Path) -> None:
    images = load(folder).train.images
    pickled = pickle.dumps(images)
    assert features().tobytes()[:16] not in pickled
    again = pickle.loads(pickled)
    assert torch.equal(again.batch(np.arange(6)), images.batch(np.arange(6)))
    assert again.fingerprint() == images.fingerprint()


def test_one_caption_an_image(tmp_path: Path) -> None:
    split = load_split(write(tmp_path, "dev", features(10), lines(10)), "dev")
    assert len(split.images) == 10
    assert split.image_of.tolist() == list(range(10))


@pytest.mark.parametrize("ids", [None, [i // 5 for i in range(20)], list(range(20))])
def test_images_that_stand_five_times_are_one(tmp_path: Path, ids: list[int] | None) -> None:
    images = features(4)
    split = load_split(write(tmp_path, "dev", images.repeat(5, 0), lines(20), ids), "dev")
    assert split.image_of.tolist() == [i for i in range(4) for _ in range(5)]
    assert np.array_equal(split.images.batch(np.arange(4)).numpy(), images.astype(np.float32))


def test_one_image_five_times_is_told_by_its_number(tmp_path: Path) -> None:
    write(tmp_path, "dev", features(1).repeat(5, 0), lines(5), [8] * 5)
    assert len(load_split(tmp_path, "dev").images) == 1
    (tmp_path / "dev_ids.txt").unlink()
    assert len(load_split(tmp_path, "dev").images) == 5


def test_one_number_for_images_that_differ_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "dev", features(20), lines(20), [i // 5 for i in range(20)])
    with pytest.raises(DataError, match=r"dev_ims.npy: row 0: got five rows with one number in ids.txt that differ"):
        load_split(tmp_path, "dev")


def test_equal_rows_everywhere_are_images_of_their_own(tmp_path: Path) -> None:
    split = load_split(write(tmp_path, "dev", np.ones((20, 3), np.float16), lines(20)), "dev")
    assert len(split.images) == 20


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2, 3, 4, 5], "dev_ids.txt: got 5 numbers but expected 6, one an image"),
        ([1, 2, 3, 4, 2, 6], "dev_ids.txt: row 4: got 2 as in row 1 but expected every image once"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, ids: list[int], message: str) -> None:
    write(tmp_path, "dev", features(6), lines(30), ids)
    with pytest.raises(DataError, match=message):
        load_split(tmp_path, "dev")


@pytest.mark.parametrize("captions", [0, 5, 7, 29, 31, 60])
def test_counts_that_disagree_are_refused(tmp_path: Path, captions: int) -> None:
    write(tmp_path, "dev", features(6), lines(captions))
    message = f"dev_caps.txt: got {captions} captions but expected 6 or 30, for 6 images in dev_ims.npy"
    for skip_bad in (False, True):
        with pytest.raises(DataError, match=message):
            load_split(tmp_path, "dev", skip_bad)


def spoil_number(folder: Path) -> None:
    images = np.load(folder / "dev_ims.npy")
    images[2, 1] = np.nan
    np.save(folder / "dev_ims.npy", images)


def spoil_end(folder: Path) -> None:
    os.truncate(folder / "dev_ims.npy", (folder / "dev_ims.npy").stat().st_size - 9)


def spoil_line(folder: Path, line: bytes) -> None:
    text = (folder / "dev_caps.txt").read_bytes().split(b"\n")
    text[7] = line
    (folder / "dev_caps.txt").write_bytes(b"\n".join(text))


@pytest.mark.parametrize(
    ("spoil", "message", "images", "captions"),
    [
        (spoil_number, "dev_ims.npy: row 2: got a number that is not finite", [0, 1, 3], 15),
        (spoil_end, "dev_ims.npy: row 2: got a file that ends before it but expected 4 rows", [0, 1], 10),
        (
            lambda f: spoil_line(f, b" \t"),
            "dev_caps.txt: row 7: got an empty caption but expected words",
            range(4),
            19,
        ),
        (
            lambda f: spoil_line(f, b"caf\xe9"),
            r"dev_caps.txt: row 7: got 'caf\\udce9', which is not in UTF-8",
            range(4),
            19,
        ),
    ],
)
def test_bad_rows_are_named_or_left_out(
    folder: Path, spoil: Callable[[Path], None], message: str, images: list[int], captions: int
) -> None:
    load(folder, skip_bad=True)  # nothing to leave out, no warning
    spoil(folder)
    with pytest.raises(DataError, match=message):
        load(folder)
    with pytest.warns(DataWarning, match=rf"^dev: left out .* captions; the first: .*{message}") as warned:
        split = load(folder, skip_bad=True).dev
    assert f"left out {4 - len(images)} of 4 images and {20 - captions} of 20 captions" in str(warned[0].message)
    assert len(split) == captions
    kept = [int(caption.split()[1]) for caption in split.captions]
    assert [number // 5 for number in kept] == [list(images)[i] for i in split.image_of]
    expected = features(4, seed=1)[list(images)].astype(np.float32)
    assert np.array_equal(split.images.batch(np.arange(len(images))).numpy(), expected)


def test_bad_rows_among_images_that_stand_five_times(tmp_path: Path) -> None:
    images = features(4).repeat(5, 0)
    images[7] = np.inf
    write(tmp_path, "dev", images, lines(20))
    with pytest.raises(DataError, match="row 7: got a number that is not finite"):
        load_split(tmp_path, "dev")
    with pytest.warns(DataWarning, match="left out 1 of 4 images and 5 of 20 captions"):
        split = load_split(tmp_path, "dev", skip_bad=True)
    assert np.array_equal(split.images.batch(np.arange(3)).numpy(), features(4)[[0, 2, 3]].astype(np.float32))


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "dev", np.full((2, 3), np.nan, np.float32), lines(10))
    with pytest.raises(DataError, match=r"dev: got no image with a caption; the first fault: .*row 0"):
        load_split(tmp_path, "dev", skip_bad=True)


def test_lines_end_where_line_feeds_are(tmp_path: Path) -> None:
    write(tmp_path, "dev", features(4), [])
    captions = ["a\x0bb", "ein\x85e", "x\u2028y", "naïve 中文 👍"]
    (tmp_path / "dev_caps.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(captions).encode())
    assert load_split(tmp_path, "dev").captions == tuple(captions)


def test_large_features_are_checked_as_they_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_number(folder)
    monkeypatch.setattr("goal_analysis.vse.data.precomp.SCANNED", 0)
    images = load(folder).dev.images
    images.batch(np.array([0, 1, 3]))
    with pytest.raises(DataError, match=r"dev_ims.npy: row 2: got a number that is not finite"):
        images.batch(np.array([3, 2]))
    with pytest.warns(DataWarning, match="left out 1 of 4"):
        load(folder, skip_bad=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3), np.int64), "got an array of int64 but expected float16, float32 or float64"),
        (np.zeros((2, 3), np.longdouble), "but expected float16, float32 or float64"),
        (np.zeros(4, np.float32), r"got an array of shape \(4,\) but expected \(images, dim\) or \(images, regions"),
        (np.zeros((0, 4), np.float32), r"got an array of shape \(0, 4\)"),
        (np.zeros((2, 3, 4, 4), np.float32), r"got an array of shape \(2, 3, 4, 4\)"),
        (np.zeros((3, 2), np.float32).T, r"stored by columns .* but expected rows: np.save\(path, np.ascontig"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match=message):
        open_features(tmp_path / "x.npy")


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="got an array of object"):
        open_features(tmp_path / "x.npy")


def test_more_numbers_than_promised_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", features(6))
    with (tmp_path / "x.npy").open("ab") as file:
        file.write(b"0")
    with pytest.raises(DataError, match=r"got 49 bytes of numbers but expected 48 for shape \(6, 4\)"):
        open_features(tmp_path / "x.npy")


def test_a_file_without_a_whole_row_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", features(6))
    os.truncate(tmp_path / "x.npy", 128 + 7)
    with pytest.raises(DataError, match="got a file cut off after 7 bytes of numbers but expected 48"):
        open_features(tmp_path / "x.npy")


@given(at=st.integers(0, 127), content=st.binary(min_size=1, max_size=6), length=st.integers(0, 175))
def test_damaged_headers_are_data_errors_or_arrays(
    tmp_path_factory: pytest.TempPathFactory, at: int, content: bytes, length: int
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "x.npy"
    np.save(file, features(6))
    whole = file.read_bytes()
    file.write_bytes((whole[:at] + content + whole[at + len(content) :])[: 176 - length])
    try:
        found, promised = open_features(file)
    except DataError as error:
        assert str(file) in str(error)  # noqa: PT017 - an error is one of the two right ends
    else:
        assert len(found) <= promised
        assert found.fingerprint()


LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from goal_analysis.vse.data.precomp import load_split
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
split = load_split(Path(sys.argv[1]), "train")
rng = np.random.default_rng(0)
for _ in range(60):
    assert split.images.batch(rng.integers(0, len(split.images), 128)).shape == (128, 36, 2048)
split.fingerprint()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_file_of_33_gigabytes_takes_little_memory(tmp_path: Path) -> None:
    images = 113_287
    path = tmp_path / "train_ims.npy"
    header = {"descr": "<f4", "fortran_order": False, "shape": (images, 36, 2048)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
    try:
        os.truncate(path, start + images * 36 * 2048 * 4)
    except OSError as error:
        pytest.skip(f"the file system has no sparse files of this size: {error.strerror}")
    if path.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("the file system has no sparse files")
    (tmp_path / "train_caps.txt").write_text("a caption\n" * images * 5, encoding="utf-8")
    found = subprocess.run([sys.executable, "-c", LARGE, tmp_path], capture_output=True, text=True, check=True)
    assert int(found.stdout) * 1024 < 2 * 1024**3


def test_the_measured_memory_would_show_it() -> None:
    program = "import numpy, resource as r; x = numpy.ones(2 << 27); print(r.getrusage(r.RUSAGE_SELF).ru_maxrss)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) * 1024 > 2 * 1024**3


@pytest.mark.parametrize("name", ["flickr8k_precomp", "flickr8k_regions_precomp"])
def test_published_features_are_read(name: str) -> None:
    root = os.environ.get("GOAL_ANALYSIS_DATA")
    if not root:
        pytest.skip("GOAL_ANALYSIS_DATA does not say where the features are")
    data = load(Path(root) / name)
    assert (len(data.train.images), len(data.train), len(data.dev.images), len(data.dev)) == (6000, 30000, 1000, 5000)
    assert data.train.images.batch(np.arange(0, 6000, 100)).isfinite().all()
