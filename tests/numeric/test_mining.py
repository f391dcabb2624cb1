"""Miners against loops over the scores, and against pytorch-metric-learning's."""

import math

import pytest
import torch
from goal_analysis.numeric.mining import (
    MINERS,
    All,
    DistanceWeighted,
    Hardest,
    Miner,
    SelectivelyHard,
    SemiHard,
    Softmax,
    TopK,
    Triplets,
    miner,
)
from pytorch_metric_learning import miners as pml
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils import loss_and_miner_utils

from goal_analysis.numeric.matches import Matches

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
SUM_TO_ONE = (Hardest(), TopK(3), SelectivelyHard(0.1), Softmax(3.0, 5.0))

every = pytest.mark.parametrize("mine", MINERS, ids=lambda m: m.name)


def cosines(seed: int = 0, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.normalize(torch.randn(len(LABELS), dim, generator=generator), dim=1)
    return x, x @ x.T


def members(mask: torch.Tensor, i: int) -> list[int]:
    return [j for j in range(mask.shape[1]) if mask[i, j]]


def as_dict(triplets: Triplets) -> dict[tuple[int, int, int], float]:
    keys = list(zip(*(part.tolist() for part in triplets.to_pml()), strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, triplets.weight.tolist(), strict=True))


def by_loops(mine: Miner, s: torch.Tensor, matches: Matches) -> dict[tuple[int, int, int], float]:
    """What the miner should find, anchor by anchor."""
    found = {}
    for a in range(len(s)):
        positives, negatives = members(matches.positives, a), members(matches.negatives, a)
        if not positives or not negatives:
            continue
        hard_p = min(positives, key=lambda j: float(s[a, j]))
        by_hardness = sorted(negatives, key=lambda j: -float(s[a, j]))
        match mine:
            case Hardest():
                found[a, hard_p, by_hardness[0]] = 1.0
            case All():
                found |= {(a, p, n): 1.0 for p in positives for n in negatives}
            case SemiHard(margin):
                for p in positives:
                    kept = [n for n in negatives if s[a, n] < s[a, p] <= s[a, n] + margin]
                    found |= {(a, p, n): 1.0 for n in kept}
            case TopK(k):
                top = by_hardness[:k]
                found |= {(a, hard_p, n): 1 / len(top) for n in top}
            case SelectivelyHard(epsilon):
                vanishing = abs(s[a, hard_p] - s[a, by_hardness[0]]) < epsilon
                chosen = negatives if vanishing else by_hardness[:1]
                found |= {(a, hard_p, n): 1 / len(chosen) for n in chosen}
            case Softmax(beta_p, beta_n):
                total = sum(math.exp(beta_n * s[a, n] - beta_p * s[a, p]) for p in positives for n in negatives)
                found |= {
                    (a, p, n): math.exp(beta_n * s[a, n] - beta_p * s[a, p]) / total
                    for p in positives
                    for n in negatives
                }
    return found


DETERMINISTIC = (
    *(m for m in MINERS if not isinstance(m, DistanceWeighted)),
    SemiHard(0.5),
    TopK(1),
    TopK(2),
    TopK(100),
    SelectivelyHard(0.3),
    Softmax(0.0, 0.0),
    Softmax(0.0, 30.0),
)


@pytest.mark.parametrize("mine", DETERMINISTIC, ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_a_miner_finds_what_loops_find(mine: Miner, seed: int) -> None:
    _, s = cosines(seed)
    matches = Matches.of_labels(LABELS)
    found, expected = as_dict(mine(s, matches)), by_loops(mine, s, matches)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("mine", DETERMINISTIC, ids=repr)
def test_a_swapped_label_is_noticed(mine: Miner) -> None:
    _, s = cosines()
    spoilt = Matches.of_labels(LABELS[torch.tensor([3, 1, 2, 0, 4, 5, 6, 7])])
    found, expected = as_dict(mine(s, spoilt)), by_loops(mine, s, Matches.of_labels(LABELS))
    assert found.keys() != expected.keys()


@every
def test_the_contract(mine: Miner) -> None:
    assert isinstance(mine, Miner)
    _, s = cosines()
    matches = Matches.of_labels(LABELS)
    found = mine(s, matches)
    assert len(found) > 0
    assert matches.positives[found.anchor, found.positive].all()
    assert matches.negatives[found.anchor, found.negative].all()
    assert (found.weight > 0).all()
    assert (found.anchor.diff() >= 0).all()
    assert 7 not in found.anchor  # the only one of its class


@pytest.mark.parametrize("mine", SUM_TO_ONE, ids=repr)
def test_the_weights_of_an_anchor_sum_to_one(mine: Miner) -> None:
    _, s = cosines()
    found = mine(s, Matches.of_labels(LABELS))
    sums = torch.zeros(len(s)).index_add(0, found.anchor, found.weight)
    torch.testing.assert_close(sums, torch.tensor([1.0] * 7 + [0.0]))


@every
def test_the_other_direction_is_the_transposed_problem(mine: Miner) -> None:
    s = torch.rand(5, 7)
    matches = Matches.of_image_ids(torch.arange(5), torch.tensor([0, 1, 2, 3, 4, 0, 1]))
    found = mine(s.T, matches.transposed)
    assert len(found) > 0
    assert found.anchor.max() > 4  # texts are the anchors
    assert matches.positives[found.positive, found.anchor].all()
    assert matches.negatives[found.negative, found.anchor].all()


@every
@pytest.mark.parametrize("shape", [(1, 1), (0, 0), (3, 0), (0, 3)])
def test_nothing_to_mine(mine: Miner, shape: tuple[int, int]) -> None:
    mask = torch.ones(shape, dtype=torch.bool)
    for matches in (Matches(mask, ~mask), Matches(~mask, mask), Matches(~mask, ~mask)):
        found = mine(torch.zeros(shape), matches)
        assert len(found) == 0
        assert found.weight.isfinite().all()


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_kind_of_number(mine: Miner, dtype: torch.dtype) -> None:
    s = cosines()[1].to(dtype).requires_grad_()
    found = mine(s, Matches.of_labels(LABELS))
    assert found.weight.isfinite().all()
    assert found.weight.dtype == torch.promote_types(dtype, torch.float32)
    assert not found.weight.requires_grad


@pytest.mark.parametrize("mine", [Hardest(), TopK(1), SelectivelyHard(0.0)], ids=repr)
def test_the_first_of_equals_wins(mine: Miner) -> None:
    found = mine(torch.zeros(6, 6), Matches.of_labels(torch.tensor([0, 0, 0, 1, 1, 1])))
    assert found.positive.tolist() == [1, 0, 0, 4, 3, 3]
    assert found.negative.tolist() == [3, 3, 3, 0, 0, 0]


def test_top_k_takes_the_first_of_equals_too() -> None:
    found = TopK(2)(torch.zeros(1, 600), Matches.of_classes(torch.tensor([0]), 600))
    assert found.negative.tolist() == [1, 2]


def test_masked_scores_do_not_hide_a_mask() -> None:
    s = torch.full((2, 3), -torch.inf)
    matches = Matches(torch.tensor([[1, 0, 0], [0, 0, 0]]).bool(), torch.tensor([[0, 0, 1], [0, 1, 1]]).bool())
    for mine in (Hardest(), TopK(1), All()):
        found = mine(s, matches)
        assert all(matches.positives[found.anchor, found.positive])
        assert all(matches.negatives[found.anchor, found.negative])


def test_soft_mining_grows_hard_with_its_scale() -> None:
    _, s = cosines()
    matches = Matches.of_labels(LABELS)
    soft = {key: w for key, w in as_dict(Softmax(1e4, 1e4)(s, matches)).items() if w > 1e-6}
    assert soft == pytest.approx(as_dict(Hardest()(s, matches)))


def test_large_scales_stay_finite_in_float32() -> None:
    found = Softmax(1e5, 1e5)(cosines()[1].float(), Matches.of_labels(LABELS))
    assert found.weight.isfinite().all()


def test_selective_mining_switches_at_epsilon() -> None:
    s = torch.tensor([[0.5, 0.4, 0.1]])
    matches = Matches.of_pairs(3)
    matches = Matches(matches.positives[:1], matches.negatives[:1])
    assert as_dict(SelectivelyHard(0.09)(s, matches)) == {(0, 0, 1): 1.0}
    assert as_dict(SelectivelyHard(0.11)(s, matches)) == {(0, 0, 1): 0.5, (0, 0, 2): 0.5}
    harder = torch.tensor([[0.3, 0.4, 0.1]])  # the switch is symmetric
    assert len(SelectivelyHard(0.11)(harder, matches)) == 2


def test_chances_undo_the_density_of_distances() -> None:
    s = torch.tensor([[1.0, 0.95, 0.8, 0.5, 0.3, -0.2]])
    matches = Matches.of_classes(torch.tensor([0]), 6)
    mine = DistanceWeighted(dim=16)
    weights = []
    for value in s[0, 1:].tolist():
        d = math.sqrt(2 - 2 * value)
        reached = max(d, mine.cutoff)
        q = reached**14 * (1 - reached**2 / 4) ** 6.5
        weights.append(1 / q if d < mine.reach else 0.0)
    expected = [w / sum(weights) for w in weights]
    assert mine.chances(s, matches)[0].tolist() == pytest.approx([0.0, *expected], rel=1e-12)
    other = DistanceWeighted(dim=17).chances(s, matches)[0].tolist()
    assert other != pytest.approx([0.0, *expected], rel=1e-3)


def test_drawn_negatives_follow_the_chances() -> None:
    s = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    matches = Matches.of_classes(torch.tensor([0]), 4)
    generator = torch.Generator().manual_seed(1)
    mine = DistanceWeighted(dim=8, generator=generator)
    many = 20_000
    rows = Matches(matches.positives.expand(many, 4), matches.negatives.expand(many, 4))
    found = mine(s.expand(many, 4), rows)
    share = torch.bincount(found.negative, minlength=4) / many
    torch.testing.assert_close(share, mine.chances(s, matches)[0], atol=0.015, rtol=0)
    generator.manual_seed(1)
    assert torch.equal(mine(s.expand(many, 4), rows).negative, found.negative)
    assert not torch.equal(mine(s.expand(many, 4), rows).negative, found.negative)


def test_far_negatives_are_not_drawn() -> None:
    s = torch.tensor([[0.9, -0.5, -0.9]])
    assert len(DistanceWeighted(dim=8)(s, Matches.of_classes(torch.tensor([0]), 3))) == 0


# --- pytorch-metric-learning ----------------------------------------------------------------------


def test_hardest_is_their_batch_hard() -> None:
    x, s = cosines()
    theirs = pml.BatchHardMiner(distance=CosineSimilarity())(x, LABELS)
    ours = Hardest()(s, Matches.of_labels(LABELS))
    assert set(as_dict(ours)) == set(zip(*(part.tolist() for part in theirs), strict=True))


@pytest.mark.parametrize("margin", [0.1, 0.4])
def test_semi_hard_is_theirs(margin: float) -> None:
    x, s = cosines()
    theirs = pml.TripletMarginMiner(margin, "semihard", distance=CosineSimilarity())(x, LABELS)
    ours = as_dict(SemiHard(margin)(s, Matches.of_labels(LABELS)))
    assert set(ours) == set(zip(*(part.tolist() for part in theirs), strict=True))
    assert set(ours) != set(as_dict(SemiHard(margin + 0.2)(s, Matches.of_labels(LABELS))))


def test_all_is_theirs() -> None:
    theirs = loss_and_miner_utils.get_all_triplets_indices(LABELS)
    ours = All()(cosines()[1], Matches.of_labels(LABELS))
    assert all(torch.equal(a, b) for a, b in zip(ours.to_pml(), theirs, strict=True))


def test_their_triplets_come_back() -> None:
    x, _ = cosines()
    theirs = pml.TripletMarginMiner(0.4, "all", distance=CosineSimilarity())(x, LABELS)
    ours = Triplets.from_pml(theirs, Matches.of_labels(LABELS))
    assert all(torch.equal(a, b) for a, b in zip(ours.to_pml(), theirs, strict=True))
    assert (ours.weight == 1).all()


def test_their_pairs_are_joined_per_anchor() -> None:
    x, _ = cosines(2)
    a1, p, a2, n = (part.tolist() for part in pml.MultiSimilarityMiner(0.1)(x, LABELS))
    expected = {(a, j, k) for a, j in zip(a1, p, strict=True) for b, k in zip(a2, n, strict=True) if a == b}
    ours = Triplets.from_pml(tuple(map(torch.tensor, (a1, p, a2, n))), Matches.of_labels(LABELS))
    assert set(as_dict(ours)) == expected
    assert expected


def test_pairs_in_any_order_are_joined_the_same() -> None:
    x, _ = cosines(2)
    a1, p, a2, n = pml.MultiSimilarityMiner(0.1)(x, LABELS)
    turned = Triplets.from_pml((a1.flip(0), p.flip(0), a2.flip(0), n.flip(0)), Matches.of_labels(LABELS))
    assert as_dict(turned) == as_dict(Triplets.from_pml((a1, p, a2, n), Matches.of_labels(LABELS)))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (([0], [3], [4]), r"got \(0, 3\) as a positive pair"),
        (([0], [1], [2]), r"got \(0, 2\) as a negative pair"),
        (([0], [0], [3]), r"got \(0, 0\) as a positive pair"),
        (([0], [1], [8]), r"got \(0, 8\) as a negative pair"),
        (([-1], [1], [3]), r"got \(-1, 1\) as a positive pair"),
        (([0], [1], [0], [2]), r"got \(0, 2\) as a negative pair"),
        (([0], [1]), r"got a tuple of 2 but expected \(anchor, positive, negative\)"),
    ],
)
def test_a_wrong_tuple_is_named(indices, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Triplets.from_pml(tuple(map(torch.tensor, indices)), Matches.of_labels(LABELS))


def test_empty_tuples_are_empty() -> None:
    none = torch.zeros(0, dtype=torch.long)
    for indices in ((none,) * 3, (none,) * 4):
        assert len(Triplets.from_pml(indices, Matches.of_labels(LABELS))) == 0


# --- names ----------------------------------------------------------------------------------------


@every
def test_a_miner_is_found_by_its_name(mine: Miner) -> None:
    assert miner(mine.name) is mine


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(ValueError, match="got 'hard' but expected one of hardest, semi_hard, all, top_k"):
        miner("hard")


@every
def test_scores_of_another_shape_are_named(mine: Miner) -> None:
    with pytest.raises(ValueError, match=rf"miner {mine.name}: got scores of shape \(2, 3\)"):
        mine(torch.zeros(2, 3), Matches.of_pairs(2))


def test_top_none_is_refused() -> None:
    with pytest.raises(ValueError, match="miner top_k: k: got 0 but expected at least 1"):
        TopK(0)
