"""Laws of right answers: equal captions, and pairs that people judged, in training and in evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goal_analysis.numeric.matches import Matches
from goal_analysis.vse.data import load
from goal_analysis.vse.data.answers import Answers
from goal_analysis.vse.data.split import ArrayImages, DataError, RetrievalData, Split
from goal_analysis.vse.folder.run_folder import LOG
from goal_analysis.vse.retrieval.judgements import read_judgements
from goal_analysis.vse.retrieval.metrics import ranks

WAYS = ("positives", "masked", "negatives")


def naive(words: list[str], image_of: list[int], equal: str) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong captions, pair by pair."""
    images = max(image_of) + 1
    right, wrong = np.zeros((images, len(words)), bool), np.zeros((images, len(words)), bool)
    for i in range(images):
        own = {w for w, of in zip(words, image_of, strict=True) if of == i}
        for c, (word, of) in enumerate(zip(words, image_of, strict=True)):
            right[i, c] = of == i or (equal == "positives" and word in own)
            wrong[i, c] = not right[i, c] and not (equal == "masked" and word in own)
    return right, wrong


@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**31), st.integers(1, 4), st.sampled_from(WAYS))
def test_answers_and_ranks_are_those_of_counting(images: int, each: int, seed: int, texts: int, equal) -> None:
    random = np.random.default_rng(seed)
    words = [f"{'A' if random.random() < 0.5 else 'a'} dog  {n}" for n in random.integers(texts, size=images * each)]
    image_of = np.repeat(np.arange(images), each)
    answers = Answers.of(words, image_of, equal)
    right, wrong = naive([" ".join(w.lower().split()) for w in words], image_of.tolist(), equal)
    for rows in (slice(0, images), slice(images // 2, images)):
        assert np.array_equal(answers.right(rows).numpy(), right[rows])
        assert np.array_equal(answers.wrong(rows).numpy(), wrong[rows])
    places = torch.as_tensor(random.permutation(len(words))[:5])
    ids = torch.from_numpy(image_of)[places]
    matches = answers.matches(ids, places)
    at = np.ix_(ids.numpy(), places.numpy())
    assert np.array_equal(matches.positives.numpy(), right[at])
    assert np.array_equal(matches.negatives.numpy(), wrong[at])
    scores = torch.as_tensor(random.integers(0, 4, (images, len(words)))).float()
    found = ranks(lambda rows: scores[rows], image_of, images, tile=2, answers=answers)
    s = scores.numpy()
    for i in range(images):
        assert found.of_captions[i] == 1 + (wrong[i] & (s[i] >= s[i][right[i]].max())).sum()
    for c in range(len(words)):
        assert found.of_images[c] == 1 + (wrong[:, c] & (s[:, c] >= s[:, c][right[:, c]].max())).sum()


def test_without_equal_captions_the_three_ways_are_one_and_with_them_they_differ() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    of = {
        (way, words): ranks(lambda rows: scores[rows], np.arange(2), 2, answers=Answers.of(words, np.arange(2), way))
        for way in WAYS
        for words in (("a", "b"), ("a", "a"))
    }
    assert {tuple(of[way, ("a", "b")].of_captions) for way in WAYS} == {(1, 2)}
    assert [tuple(of[way, ("a", "a")].of_captions) for way in WAYS] == [(1, 1), (1, 1), (1, 2)]


def test_pairs_within_one_side_match_where_either_pair_does() -> None:
    ids = torch.tensor([3, 4, 3])
    own, labels = Matches.of_image_ids(ids).within, Matches.of_labels(ids)
    assert torch.equal(own.positives, labels.positives)
    assert torch.equal(own.negatives, labels.negatives)


@pytest.fixture(scope="module")
def repeating(of_words) -> RetrievalData:
    """Images of which many have the same captions."""

    def split(name: str, images: int, seed: int) -> Split:
        features, captions = of_words(images, seed, captions=2, words=("dog", "cat", "car"))
        return Split(name, ArrayImages(features), captions, np.arange(2 * images) // 2)

    return RetrievalData("repeating", split("train", 60, 1), split("dev", 20, 2))


def test_training_counts_equal_captions_as_is_said(trained_small, tmp_path: Path, repeating: RetrievalData) -> None:
    assert repeating.train.answers.equal_captions > 20
    logs = {}
    for way in WAYS:
        on = RetrievalData("repeating", *(_as(split, way) for split in repeating.splits()))
        trained_small(tmp_path / way, f"data.equal_captions={way}", "training.epochs=2", on=on)
        logs[way] = (tmp_path / way / LOG).read_bytes()
    trained_small(tmp_path / "default", "training.epochs=2", on=repeating)
    assert (tmp_path / "default" / LOG).read_bytes() == logs["negatives"]
    assert len(set(logs.values())) == 3


def _as(split: Split, way) -> Split:
    return Split(split.name, split.images, split.captions, split.image_of, equal=way)


def test_what_equal_captions_are_is_an_option_of_all_data() -> None:
    small = {"train": 3, "dev": 2, "test": 2}
    assert load("scenes", equal_captions="masked", **small).dev.equal == "masked"
    assert load("scenes", **small).dev.equal == "negatives"
    with pytest.raises(DataError, match="data: equal_captions: got 'none' but expected one of masked, negatives, pos"):
        load("scenes", equal_captions="none", **small)


# --- judgements ----------------------------------------------------------------------------------


@pytest.fixture
def split() -> Split:
    names = tuple(f"val2014/COCO_val2014_00000000000{k}.jpg" for k in range(3))
    keys = tuple(f"{name}#{j}" for name in ("0.jpg", "1.jpg", "2.jpg") for j in range(2))
    images = ArrayImages(np.eye(3, dtype=np.float32))
    return Split("test", images, tuple("abcdef"), np.arange(6) // 2, names=names, keys=keys)


EXPERTS = "{0}.jpg\t1.jpg#1\t3\t3\t4\n{0}.jpg\t2.jpg#0\t1\t2\t3\n{2}.jpg\t0.jpg#0\t4\t4\t2\n9.jpg\t1.jpg#0\t4\t4\t4\n"


def named(text: str) -> str:
    return text.format(*(f"COCO_val2014_00000000000{k}" for k in range(3)))


@pytest.mark.parametrize(
    ("content", "least", "right", "said"),
    [
        (EXPERTS, None, [(0, 3), (2, 0)], "2 of 3 judged pairs are right too: the mean of Flickr8k's experts is 3 or"),
        (EXPERTS, 3.333, [(0, 3), (2, 0)], "3.333 or more"),
        (EXPERTS, 2, [(0, 3), (0, 4), (2, 0)], "3 of 3 judged pairs"),
        (
            "{0}.jpg\t1.jpg#1\t0.667\t2\t1\n{0}.jpg\t2.jpg#0\t0\t0\t3\n",
            None,
            [(0, 3)],
            "the share of yes of Flickr8k's",
        ),
    ],
)
def test_judged_pairs_of_flickr8k_are_right(
    tmp_path: Path, split: Split, content: str, least: float | None, right: list, said: str
) -> None:
    (tmp_path / "judged.txt").write_text(named(content))
    found, words = read_judgements(tmp_path / "judged.txt").applied(split, least)
    expected = naive(list("abcdef"), [0, 0, 1, 1, 2, 2], "negatives")[0]
    for pair in right:
        expected[pair] = True
    assert np.array_equal(found.answers.right(slice(0, 3)).numpy(), expected)
    assert said in words
    part = found.subset([2, 0])
    assert bool(part.answers.right(slice(0, 2))[0, 2]) is ((2, 0) in right)


def test_crisscrossed_captions_go_by_the_number_of_the_sentence(tmp_path: Path, split: Split) -> None:
    coco = Split(split.name, split.images, split.captions, split.image_of, split.names, tuple(map(str, range(6))))
    rows = "COCO_val2014:sentid:4,{1}.jpg,3.2,c2i\nCOCO_val2014:sentid:0,{1}.jpg,1,x\n"
    (tmp_path / "sits_val.csv").write_text(named(f"caption,image,agg_score,sampling_method\n{rows}"))
    found, words = read_judgements(tmp_path / "sits_val.csv").applied(coco)
    assert found.answers.right(slice(1, 2))[0].tolist() == [False, False, True, True, True, False]
    assert "Crisscrossed Captions" in words


@pytest.mark.parametrize("pairs", [{"1": [4, 0], "2": [1]}, {"4": [1], "0": [1], "1": [2]}])
def test_the_pairs_of_eccv_caption_are_right_by_images_and_by_captions(tmp_path: Path, split: Split, pairs) -> None:
    coco = Split(split.name, split.images, split.captions, split.image_of, split.names, tuple(map(str, range(6))))
    (tmp_path / "eccv.json").write_text(json.dumps(pairs))
    found, words = read_judgements(tmp_path / "eccv.json").applied(coco)
    expected = naive(list("abcdef"), [0, 0, 1, 1, 2, 2], "negatives")[0]
    for pair in ((1, 4), (1, 0), (2, 1)):
        expected[pair] = True
    assert np.array_equal(found.answers.right(slice(0, 3)).numpy(), expected)
    assert "3 of 3 judged pairs are right too: the judgement of ECCV Caption" in words


def test_the_right_pairs_of_several_files_all_count(tmp_path: Path, split: Split) -> None:
    for k, row in enumerate(("0.jpg\t1.jpg#1\t4\t4\t4\n", "0.jpg\t2.jpg#0\t0.667\t2\t1\n")):
        (tmp_path / f"{k}.txt").write_text(row)
        split = read_judgements(tmp_path / f"{k}.txt").applied(replace(split, names=("0.jpg", "1.jpg", "2.jpg")))[0]
    assert split.answers.right(slice(0, 1))[0].tolist() == [True, True, False, True, True, False]


def test_a_name_of_two_images_is_judged_for_neither(tmp_path: Path, split: Split) -> None:
    (tmp_path / "judged.txt").write_text("0.jpg\t1.jpg#1\t4\t4\t4\n2.jpg\t1.jpg#1\t4\t4\t4\n")
    of_two = replace(split, names=("a/0.jpg", "b/0.jpg", "b/2.jpg"))
    assert read_judgements(tmp_path / "judged.txt").applied(of_two)[0].judged == (("b/2.jpg", "1.jpg#1"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.jpg\tb.jpg#0\t1\n", "row 0: got 'a.jpg b.jpg#0 1' but expected an image, a caption and the mean"),
        (
            "caption1,caption2,agg_score\nc:1,c:2,3\n",
            "row 0: got '3' but expected an image, a caption and the score of Crisscrossed Captions",
        ),
        ('{"1": 3}', "got no pair but expected judgements of Flickr8k, Crisscrossed Captions or ECCV Caption"),
        ('{"1": [3]}\n{"1": [3]}\n', "got no pair but expected judgements"),
        (
            "a.jpg\tb.jpg#0\t5\t4\t4\n",
            "row 0: got 'a.jpg b.jpg#0 5 4 4' but expected an image, a caption and the share",
        ),
        ("a.jpg\tb.jpg#0\t3\t4\t4\na.jpg\n", "row 1: got 'a.jpg' but expected an image, a caption and the mean"),
        (
            "caption,image,agg_score,x\nc:1,a.jpg,9,y\n",
            "row 0: got .* but expected .* of Crisscrossed Captions from 0 to 5",
        ),
        ("", "got no pair but expected judgements"),
        ("a.jpg\tb.jpg#0\t3\t4\t4\n", "got pairs such as a.jpg and b.jpg#0 but expected some of test, whose images"),
    ],
)
def test_other_judgements_are_refused(tmp_path: Path, split: Split, content: str, message: str) -> None:
    (tmp_path / "judged.txt").write_text(content)
    with pytest.raises(DataError, match=f"judged.txt: {message}"):
        read_judgements(tmp_path / "judged.txt").applied(split)
