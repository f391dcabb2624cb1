"""Which pairs match, against loops over the ids."""

import re

import pytest
import torch

from goal_analysis.numeric.matches import Matches

IDS = torch.tensor([3, 1, 3, 2, 1])


def assert_is(matches: Matches, positive, negative) -> None:
    rows, columns = matches.shape
    for i in range(rows):
        for j in range(columns):
            assert bool(matches.positives[i, j]) is positive(i, j), (i, j)
            assert bool(matches.negatives[i, j]) is negative(i, j), (i, j)


def test_captions_of_one_image_are_no_negatives_of_each_other() -> None:
    matches = Matches.of_image_ids(IDS)
    assert_is(matches, lambda i, j: bool(IDS[i] == IDS[j]), lambda i, j: bool(IDS[i] != IDS[j]))
    assert matches.positives[0, 2]
    assert not matches.negatives[0, 2]


def test_texts_may_have_other_ids_and_another_number() -> None:
    images, texts = torch.tensor([5, 6]), torch.tensor([6, 6, 7])
    matches = Matches.of_image_ids(images, texts)
    assert matches.shape == (2, 3)
    assert_is(matches, lambda i, j: bool(images[i] == texts[j]), lambda i, j: bool(images[i] != texts[j]))


def test_an_embedding_is_not_compared_with_itself() -> None:
    matches = Matches.of_labels(IDS)
    assert_is(matches, lambda i, j: bool(IDS[i] == IDS[j]) and i != j, lambda i, j: bool(IDS[i] != IDS[j]))
    assert not (matches.positives | matches.negatives).diagonal().any()


def test_columns_of_classes_are_proxies() -> None:
    matches = Matches.of_classes(IDS, 5)
    assert matches.shape == (5, 5)
    assert_is(matches, lambda i, j: int(IDS[i]) == j, lambda i, j: int(IDS[i]) != j)


def test_pairs_match_on_the_diagonal() -> None:
    assert_is(Matches.of_pairs(3), lambda i, j: i == j, lambda i, j: i != j)


def test_pairs_are_those_of_distinct_ids() -> None:
    pairs, ids = Matches.of_pairs(4), Matches.of_image_ids(torch.arange(4))
    assert torch.equal(pairs.positives, ids.positives)
    assert not torch.equal(pairs.positives, Matches.of_image_ids(torch.tensor([0, 1, 2, 2])).positives)


def test_transposing_swaps_anchors_and_candidates() -> None:
    matches = Matches.of_image_ids(torch.tensor([5, 6]), torch.tensor([6, 6, 7]))
    assert matches.transposed.shape == (3, 2)
    assert_is(
        matches.transposed,
        lambda i, j: bool(matches.positives[j, i]),
        lambda i, j: bool(matches.negatives[j, i]),
    )


@pytest.mark.parametrize("n", [0, 1])
def test_small_batches(n: int) -> None:
    for matches in (
        Matches.of_pairs(n),
        Matches.of_labels(torch.arange(n)),
        Matches.of_image_ids(torch.arange(n)),
    ):
        assert matches.shape == (n, n)
        assert not matches.negatives.any()


def mask(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.bool)


def test_a_pair_cannot_be_both() -> None:
    with pytest.raises(ValueError, match="got a pair that is positive and negative"):
        Matches(~mask(2, 2), ~mask(2, 2))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Matches(mask(2, 3), mask(3, 2)), "got positives of shape (2, 3) and negatives of shape (3, 2)"),
        (lambda: Matches(mask(3), mask(3)), "positives: got a tensor of torch.bool of shape (3,) but expected"),
        (lambda: Matches(mask(2, 2), torch.zeros(2, 2)), "negatives: got a tensor of torch.float64"),
        (lambda: Matches.of_labels(torch.zeros(3)), "labels: got a tensor of torch.float64 of shape (3,)"),
        (lambda: Matches.of_image_ids(mask(3, 3).int()), "image_ids: got a tensor of torch.int32 of shape (3, 3)"),
        (lambda: Matches.of_image_ids(mask(3).int(), torch.zeros(3)), "text_ids: got a tensor of torch.float64"),
        (lambda: Matches.of_classes(torch.zeros(3), 2), "labels: got a tensor of torch.float64 of shape (3,)"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_wrong_shapes_and_kinds_are_named(made, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        made()


def test_a_class_without_a_proxy_is_named() -> None:
    with pytest.raises(ValueError, match="got values from 1 to 3 but expected 0 to 2, one proxy a class"):
        Matches.of_classes(IDS, 3)


def test_scores_of_another_shape_are_named() -> None:
    matches = Matches.of_pairs(2)
    matches.check(torch.zeros(2, 2), "a loss")
    with pytest.raises(ValueError, match=r"a loss: got scores of shape \(2, 3\) but expected \(2, 2\)"):
        matches.check(torch.zeros(2, 3), "a loss")
