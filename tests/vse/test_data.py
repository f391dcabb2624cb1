"""Laws of what keeps images, of splits, and of standardising."""

import pickle

import numpy as np
import pytest
import torch

from goal_analysis.vse.data.split import (
    ArrayImages,
    ChosenImages,
    DataError,
    Images,
    RetrievalData,
    Split,
    check_finite,
    digest,
    pieces,
    spread,
    statistics,
)

SHAPES = {"pooled": (7, 5), "regions": (7, 3, 5), "pictures": (7, 3, 4, 6)}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def array(shape: tuple[int, ...] = (7, 5), kind: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(kind)


def split(name: str = "train", images: int = 3, each: int = 2, dim: int = 5, seed: int = 0) -> Split:
    captions = tuple(f"caption {k} of image {i}" for i in range(images) for k in range(each))
    return Split(name, ArrayImages(array((images, dim), seed=seed)), captions, np.repeat(np.arange(images), each))


@shapes
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
def test_a_batch_is_the_rows_in_float32(shape: tuple[int, ...], kind: str) -> None:
    values = array(shape, kind)
    images = ArrayImages(values)
    rows = np.array([4, 0, 4])
    found = images.batch(rows)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), values[rows].astype(np.float32))
    assert torch.equal(found, images.batch(torch.tensor(rows)))
    assert images.batch(rows[:0]).shape == (0, *shape[1:])
    assert images.shape == shape
    assert len(images) == 7
    assert isinstance(images, Images)
    assert not isinstance(values, Images)


def test_a_batch_is_a_copy() -> None:
    values = array()
    ArrayImages(values).batch(np.arange(7)).zero_()
    assert np.array_equal(values, array())


def test_bytes_become_numbers_from_0_to_1() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(ArrayImages(values).batch(np.array([0])).flatten(), torch.arange(256).float() / 255)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@shapes
def test_a_number_that_is_not_finite_is_found_with_its_row(shape: tuple[int, ...], bad: float) -> None:
    values = array(shape, "float16")
    values[5].flat[-1] = bad
    images = ChosenImages(ArrayImages(values, "features.npy"), np.array([0, 1, 5], dtype=np.int64))
    assert images.batch(np.array([1, 0])).isfinite().all()
    with pytest.raises(DataError, match=r"^features.npy: row 5: got a number that is not finite but expected finite"):
        images.batch(np.array([0, 2]))


def test_a_number_beyond_float32_is_not_finite() -> None:
    values = array(kind="float64")
    values[2, 2] = 1e300
    with pytest.raises(DataError, match="row 2"):
        ArrayImages(values).batch(np.arange(7))


def test_finite_numbers_whose_sum_is_not_pass() -> None:
    check_finite(torch.full((2, 3), 3e38, dtype=torch.float32), np.arange(2), "images")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3), np.int64), "got an array of int64 but expected floating numbers or uint8"),
        (np.zeros((2, 3), bool), "got an array of bool"),
        (
            np.zeros(3, np.float32),
            r"got an array of shape \(3,\) but expected \(images, dim\), \(images, regions, dim\)",
        ),
        (np.zeros((3, 0), np.float32), r"shape \(3, 0\)"),
    ],
)
def test_other_arrays_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArrayImages(values)


@shapes
def test_the_fingerprint_follows_every_number_of_small_images(shape: tuple[int, ...]) -> None:
    values = array(shape)
    before = ArrayImages(values).fingerprint()
    assert ArrayImages(values.copy()).fingerprint() == before
    assert len(before) == 16
    for row in range(len(values)):
        other = values.copy()
        other[row].flat[-1] += 1
        assert ArrayImages(other).fingerprint() != before
    assert ArrayImages(values.reshape(-1, shape[-1])[None]).fingerprint() != before
    assert ArrayImages(values.astype(np.float64)).fingerprint() != before


def test_the_fingerprint_of_large_images_follows_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goal_analysis.vse.data.split.HASHED_WHOLE", 100)
    values = array((1000, 5))
    before = ArrayImages(values).fingerprint()
    seen = []
    for row in range(1000):
        other = values.copy()
        other[row, 0] += 1
        if ArrayImages(other).fingerprint() != before:
            seen.append(row)
    assert len(seen) == 256
    assert {0, 999} <= set(seen)
    assert ArrayImages(values[:-1]).fingerprint() != before


def test_chosen_images_are_those_rows() -> None:
    images = ArrayImages(array())
    chosen = ChosenImages(images, np.array([6, 2]))
    assert chosen.shape == (2, 5)
    assert len(chosen) == 2
    assert torch.equal(chosen.batch(np.array([1, 0])), images.batch(np.array([2, 6])))
    assert chosen.fingerprint() != ChosenImages(images, np.array([2, 6])).fingerprint()
    again = pickle.loads(pickle.dumps(chosen))
    assert torch.equal(again.batch(np.array([1])), chosen.batch(np.array([1])))
    assert again.fingerprint() == chosen.fingerprint()


def test_a_split_knows_its_pairs() -> None:
    found = split(images=3, each=2)
    assert len(found) == 6
    assert found.image_of.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("captions", "image_of", "message"),
    [
        ("ab", [0], "dev: got 2 captions of 1 images' rows"),
        ("", [], "dev: got no captions but expected at least one"),
        ("a  b", [0, 0, 1, 2], "dev: caption 1: got an empty line but expected words"),
        ("abc", [0, 2, 1], "dev: caption 1: got image 2 after image 0 but expected the same or the next one"),
        ("abcd", [0, 1, 0, 2], "dev: caption 2: got image 0 after image 1"),
        ("abc", [1, 1, 2], "dev: caption 0: got image 1 after image -1 but expected .* beginning at image 0"),
        ("abc", [-1, 0, 1], "dev: caption 0: got image -1 "),
        ("abc", [0, 1, 1], "dev: got captions of 2 images but expected captions of all 3 images"),
        ("abcd", [0, 1, 2, 3], "dev: got captions of 4 images but expected captions of all 3 images"),
    ],
)
def test_captions_that_do_not_fit_are_refused(captions: str, image_of: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split("dev", ArrayImages(array((3, 5))), tuple(captions), np.array(image_of, dtype=np.int64))


def test_a_subset_keeps_images_and_captions_together() -> None:
    whole = split(images=5, each=3)
    part = whole.subset([4, 1])
    assert part.name == "train"
    assert part.captions == whole.captions[12:15] + whole.captions[3:6]
    assert part.image_of.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(part.images.batch(np.array([0, 1])), whole.images.batch(np.array([4, 1])))
    assert part.subset([1]).captions == whole.captions[3:6]
    everything = whole.subset(np.arange(5))
    assert everything.captions == whole.captions


def test_a_subset_of_uneven_captions() -> None:
    whole = Split("dev", ArrayImages(array((3, 5))), tuple("abcdef"), np.array([0, 1, 1, 1, 2, 2]))
    part = whole.subset([2, 0])
    assert part.captions == ("e", "f", "a")
    assert part.image_of.tolist() == [0, 0, 1]
    first = whole.subset([1, 0], captions=2)
    assert first.captions == ("b", "c", "a")
    assert first.image_of.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 3], "got image 3 but expected a row below 3"),
        ([-1], "got image -1"),
        ([1, 1], "got an image twice"),
        ([], "got no captions"),
    ],
)
def test_a_subset_that_is_not_one_is_refused(rows: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split().subset(rows)


def test_the_fingerprint_of_data_follows_every_split() -> None:
    def fingerprint(train: int = 0, dev: int = 1, test: int | None = 2) -> str:
        last = None if test is None else split("test", seed=test)
        return RetrievalData("made up", split(seed=train), split("dev", seed=dev), last).fingerprint()

    found = [fingerprint(), fingerprint(train=9), fingerprint(dev=9), fingerprint(test=9), fingerprint(test=None)]
    assert len(set(found)) == 5
    assert fingerprint() == found[0]


def test_the_fingerprint_of_a_split_follows_its_captions() -> None:
    one = split()
    other = Split(one.name, one.images, ("another", *one.captions[1:]), one.image_of)
    moved = Split(one.name, one.images, one.captions, np.array([0, 1, 1, 1, 2, 2]))
    assert len({one.fingerprint(), other.fingerprint(), moved.fingerprint()}) == 3


def test_splits_of_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"made up: got dev images of shape \(6,\) but expected \(5,\) as in train"):
        RetrievalData("made up", split(), split("dev", dim=6))


@shapes
@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_statistics_are_those_of_all_rows_at_once(shape: tuple[int, ...], count: int) -> None:
    values = array((count, *shape[1:]), "float64") * 3 + 1000
    mean, deviation = statistics(ArrayImages(values))
    features = np.moveaxis(values.astype(np.float32).astype(np.float64), 1 if len(shape) == 4 else -1, -1)
    features = features.reshape(-1, features.shape[-1])
    expected = features.std(0)
    assert np.allclose(mean.numpy(), features.mean(0), rtol=1e-6)
    assert np.allclose(deviation.numpy(), np.where(expected > 0, expected, 1), rtol=1e-5)


def test_float16_features_do_not_overflow() -> None:
    mean, deviation = statistics(ArrayImages(np.full((600, 2), 60_000, np.float16)))
    assert mean.tolist() == [60_000, 60_000]
    assert deviation.tolist() == [1, 1]


def test_statistics_of_many_images_read_some() -> None:
    values = np.arange(100, dtype=np.float32)[:, None]
    mean, _ = statistics(ArrayImages(values), most=2)
    assert mean.tolist() == [49.5]


def test_spread_and_pieces() -> None:
    assert spread(3, 5).tolist() == [0, 1, 2]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert len(set(spread(10**7, 1000).tolist())) == 1000
    assert [piece.tolist() for piece in pieces(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]


def test_a_digest_knows_where_its_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")
