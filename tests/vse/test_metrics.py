"""Ranks and recalls against loops written out, with ties, by hand, and at chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from goal_analysis.vse.retrieval.metrics import (
    Ranks,
    RetrievalMetrics,
    mean_metrics,
    metrics,
    query_intervals,
    ranks,
)


def naive(scores: Tensor, image_of: np.ndarray) -> Ranks:
    """Every place by counting, pair by pair."""
    images, captions = scores.shape
    of_captions, of_images = np.ones(images, int), np.ones(captions, int)
    for i in range(images):
        best = max(float(scores[i, c]) for c in range(captions) if image_of[c] == i)
        of_captions[i] += sum(float(scores[i, c]) >= best for c in range(captions) if image_of[c] != i)
    for c in range(captions):
        own = float(scores[image_of[c], c])
        of_images[c] += sum(float(scores[i, c]) >= own for i in range(images) if i != image_of[c])
    return Ranks(of_captions, of_images)


def ranks_of_scores(scores: Tensor, image_of: np.ndarray) -> Ranks:
    return ranks(lambda rows: scores[rows], image_of, len(scores))


def equal(a: Ranks, b: Ranks) -> bool:
    return bool((a.of_captions == b.of_captions).all() and (a.of_images == b.of_images).all())


@given(st.integers(1, 7), st.integers(1, 3), st.integers(0, 2**31), st.integers(1, 9), st.sampled_from([2, 5, 1000]))
def test_the_ranks_are_those_of_counting(images: int, each: int, seed: int, tile: int, levels: int) -> None:
    """With few levels of scores most of them tie."""
    generator = torch.Generator().manual_seed(seed)
    image_of = np.repeat(np.arange(images), each)
    scores = torch.randint(levels, (images, len(image_of)), generator=generator) / levels
    expected = naive(scores, image_of)
    assert equal(ranks(lambda rows: scores[rows], image_of, images, tile), expected)


def test_optimistic_ranks_would_be_noticed() -> None:
    scores, image_of = torch.zeros(3, 3), np.arange(3)
    optimistic = 1 + (scores > scores.diagonal()).sum(1).numpy()
    assert (ranks_of_scores(scores, image_of).of_images != optimistic).all()


def test_percentages_are_those_of_counts_and_not_of_floats() -> None:
    places = np.repeat([1, 11], [29, 71])
    found = metrics(Ranks(places, places))
    assert 100 * float((places <= 1).mean()) != 29
    assert found.record()["i2t_r1"] == 29
    assert found.rsum == 6 * 29
    tenths = RetrievalMetrics((57.1, 0.1, 0.2), (90.6, 60.1, 70.2), (1.0, 1.0), (1.0, 1.0))
    assert (57.1 + 0.1 + 0.2) + (90.6 + 60.1 + 70.2) != 278.3
    assert tenths.rsum == 278.3


@pytest.mark.parametrize("images", [10, 100])
def test_constant_scores_are_no_better_than_chance(images: int) -> None:
    image_of = np.repeat(np.arange(images), 5)
    found = metrics(ranks_of_scores(torch.ones(images, 5 * images), image_of))
    assert found.i2t[0] == found.t2i[0] == 0
    assert found.median_ranks == (5 * (images - 1) + 1, images)


def test_perfect_scores_are_perfect() -> None:
    found = metrics(ranks_of_scores(torch.eye(4).repeat_interleave(2, 1), np.arange(8) // 2))
    assert found == RetrievalMetrics((100.0,) * 3, (100.0,) * 3, (1.0, 1.0), (1.0, 1.0))
    assert found.rsum == 600


def test_recalls_by_hand() -> None:
    found = metrics(Ranks(np.array([1, 5, 6, 11]), np.array([1, 2, 10, 30, 1])))
    assert found.i2t == (25.0, 50.0, 75.0)
    assert found.t2i == (40.0, 60.0, 80.0)
    assert found.rsum == pytest.approx(330)
    assert found.median_ranks == (5.5, 2.0)
    assert found.record()["t2i_r10"] == 80.0
    assert found.record()["i2t_mean_rank"] == 5.75


def test_folds_are_averaged_number_by_number() -> None:
    one = metrics(Ranks(np.array([1, 1]), np.array([1, 1])))
    other = metrics(Ranks(np.array([1, 20]), np.array([7, 20])))
    mean = mean_metrics([one, other])
    assert mean.i2t == (75.0, 75.0, 75.0)
    assert mean.t2i == (50.0, 50.0, 75.0)
    assert mean.rsum == (one.rsum + other.rsum) / 2
    assert mean.mean_ranks == (5.75, 7.25)


def test_what_cannot_be_ranked_is_refused() -> None:
    scores = torch.zeros(2, 2)
    scores[1, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN among the scores of image 1"):
        ranks_of_scores(scores, np.arange(2))
    with pytest.raises(ValueError, match="image \\[1\\] without a caption"):
        ranks_of_scores(torch.zeros(2, 2), np.array([0, 0]))
    with pytest.raises(ValueError, match=r"shape \(2, 2\) .* expected \(2, 3\)"):
        ranks(lambda rows: torch.zeros(2, 2), np.array([0, 0, 1]), 2)


# --- intervals over queries -----------------------------------------------------------------------


def drawn_ranks(rng: np.random.Generator, images: int, captions: int = 5) -> tuple[Ranks, np.ndarray]:
    """Ranks of images of which some are easy and some are hard, with all their captions; R@1 is 50 % both ways."""
    easy = rng.random(images) < 0.5
    found = rng.random((images, captions)) < np.where(easy, 0.9, 0.1)[:, None]
    return Ranks(np.where(easy, 1, 20), np.where(found.ravel(), 1, 20)), np.repeat(np.arange(images), captions)


def test_an_interval_holds_what_other_queries_would_give_as_often_as_it_says() -> None:
    """The control takes captions of one image for independent queries."""
    rng = np.random.default_rng(0)
    covered, naive = {"i2t_r1": [], "t2i_r1": [], "rsum": []}, []
    for _ in range(400):
        found, image_of = drawn_ranks(rng, 100)
        intervals = query_intervals([(found, image_of)])
        for name, true in (("i2t_r1", 50), ("t2i_r1", 50), ("rsum", 300)):
            covered[name].append(intervals[name][0] <= true <= intervals[name][1])
        share = (found.of_images == 1).mean()
        naive.append(abs(share - 0.5) < 1.96 * np.sqrt(share * (1 - share) / len(image_of)))
    for name, inside in covered.items():
        assert 0.92 <= np.mean(inside) <= 0.98, name
    assert np.mean(naive) < 0.8


def test_intervals_surround_the_metrics_and_end_within_the_scale() -> None:
    for images in (1, 2, 30):
        found, image_of = drawn_ranks(np.random.default_rng(images), images)
        record = metrics(found).record()
        for name, (low, high) in query_intervals([(found, image_of)]).items():
            assert 0 <= low <= record[name] + 1e-9
            assert record[name] - 1e-9 <= high <= (600 if name == "rsum" else 100)
            assert low < high


def test_a_few_queries_that_all_agree_are_no_certainty() -> None:
    """Wilson's interval of 8 of 8 is [67.6, 100]."""
    ones, image_of = Ranks(np.ones(8, int), np.ones(16, int)), np.repeat(np.arange(8), 2)
    for name, (low, high) in query_intervals([(ones, image_of)]).items():
        whole = 600 if name == "rsum" else 100
        assert low / whole == pytest.approx(8 / (8 + 1.959964**2))
        assert high == whole


def test_the_interval_of_folds_is_that_of_their_mean() -> None:
    rng = np.random.default_rng(3)
    folds = [drawn_ranks(rng, 500) for _ in range(4)]
    low, high = query_intervals(folds)["t2i_r1"]
    assert low < np.mean([metrics(found).t2i[0] for found, _ in folds]) < high
    one = query_intervals(folds[:1])["t2i_r1"]
    assert (high - low) / (one[1] - one[0]) == pytest.approx(0.5, rel=0.05)
