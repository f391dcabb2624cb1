"""Aggregators on tensors against their formulas, and selections and minings against loops and a library's miners."""

import math

import pytest
import sympy as sp
import torch
from pytorch_metric_learning import miners as pml
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor

from goal_analysis.numeric.compilation import formula
from goal_analysis.numeric.engine.aggregators import AGGREGATORS as ON_TENSORS
from goal_analysis.numeric.engine.selections import DistanceWeighted, MaskAbove, SelectivelyHard, SemiHard, TopK
from goal_analysis.numeric.functions import on_tensors
from goal_analysis.numeric.matches import Matches
from goal_analysis.symbolic.language.aggregators import AGGREGATORS, SCALED, Aggregator

MEMBERS = 4
PLACES = sp.symbols(f"x:{MEMBERS}", real=True)
EVERY = (*AGGREGATORS, *(make(sp.Rational(7, 2)) for make in SCALED.values()))
every_aggregator = pytest.mark.parametrize("aggregator", EVERY, ids=lambda a: a.name)


# --- aggregators ----------------------------------------------------------------------------------


def both(aggregator: Aggregator, values: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The value, the weights and the gradient by autograd."""
    values = values.detach().requires_grad_()
    made = on_tensors(aggregator, ())
    value = made.value(values, members)
    (gradient,) = torch.autograd.grad(value.sum(), values, materialize_grads=True)
    return value.detach(), made.weights(values.detach(), members), gradient


def test_every_aggregator_of_the_language_has_a_form_on_tensors() -> None:
    assert {aggregator.name for aggregator in EVERY} == set(ON_TENSORS)


@every_aggregator
def test_it_is_that_of_the_formula_whatever_stands_beside_the_members(aggregator: Aggregator) -> None:
    values = torch.randn(50, MEMBERS)
    columns = values.unbind(-1)
    expected = formula(aggregator.combine(PLACES), PLACES)(*columns)
    slopes = torch.stack([formula(w, PLACES)(*columns) for w in aggregator.weights(PLACES)], -1)
    beside = torch.tensor([torch.nan, torch.inf]).expand(50, 2)
    wider = torch.cat([values[:, :2], beside, values[:, 2:]], -1)
    members = torch.tensor([True, True, False, False, True, True]).expand(wider.shape)
    made = on_tensors(aggregator, ())
    torch.testing.assert_close(made.value(wider, members), expected, rtol=1e-13, atol=1e-14)
    weights = made.weights(wider, members)
    torch.testing.assert_close(weights[members].view(-1, MEMBERS), slopes, rtol=1e-13, atol=1e-14)
    assert (weights[~members] == 0).all()
    assert not torch.allclose(1.001 * slopes, weights[members].view(-1, MEMBERS), rtol=1e-6, atol=0)


@every_aggregator
def test_the_weights_are_the_gradient_at_ties_and_kinks_too(aggregator: Aggregator) -> None:
    ties = torch.tensor([[0.5, 0.5, -1.0, -2.0], [-0.5, -0.5, 2.0, 1.0], [0.0, 0.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    for values, members in (
        (torch.randn(50, MEMBERS), torch.rand(50, MEMBERS) < 0.6),
        (ties, torch.ones(4, MEMBERS, dtype=torch.bool)),
    ):
        _, weights, gradient = both(aggregator, values, members)
        torch.testing.assert_close(weights, gradient, rtol=1e-13, atol=1e-14)
    if aggregator.name in ("max", "min"):
        _, weights, _ = both(aggregator, torch.ones(1, 3), torch.tensor([[False, True, True]]))
        assert weights.tolist() == [[0.0, 1.0, 0.0]]  # the first of equals


@every_aggregator
def test_an_empty_set_is_zero_and_large_values_are_finite(aggregator: Aggregator) -> None:
    members = torch.tensor([[True] * MEMBERS, [False] * MEMBERS])
    for size in (1.0, 1e4, -1e4):
        value, weights, gradient = both(aggregator, size * torch.rand(2, MEMBERS), members)
        assert all(found.isfinite().all() and found[1].eq(0).all() for found in (value, weights, gradient))


# --- selections -----------------------------------------------------------------------------------

LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
GIVEN = (TopK(1), TopK(3), TopK(100), SemiHard(0.1), SemiHard(0.5), SelectivelyHard(0.0), SelectivelyHard(0.3))


def cosines(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.normalize(torch.randn(len(LABELS), 4, generator=generator), dim=1)
    return x, x @ x.T


def by_loops(selection: object, s: list[float], members: list[bool], other: float) -> set[int]:
    own = sorted((j for j, member in enumerate(members) if member), key=lambda j: -s[j])
    match selection:
        case TopK(k):
            return set(own[:k])
        case SemiHard(margin):
            return {j for j in own if 0 < other - s[j] <= margin}
        case SelectivelyHard(epsilon):
            return set(own if abs(other - s[own[0]]) < epsilon else own[:1])
    raise AssertionError(selection)


@pytest.mark.parametrize("selection", GIVEN, ids=repr)
def test_a_selection_keeps_what_loops_keep(selection) -> None:
    seen = set()
    for seed in range(3):
        _, s = cosines(seed)
        m = Matches.of_labels(LABELS)
        other = s.masked_fill(~m.positives, torch.inf).amin(1, keepdim=True)
        kept = selection(s, m.negatives, other)
        assert (kept & ~m.negatives).sum() == 0
        for a in range(len(s)):
            expected = by_loops(selection, s[a].tolist(), m.negatives[a].tolist(), float(other[a]))
            assert set(kept[a].nonzero()[:, 0].tolist()) == expected
            seen.add(len(expected))
    assert seen != {0}


def test_selections_say_how_they_depend_on_the_scores() -> None:
    assert [s.depends for s in (TopK, SemiHard, SelectivelyHard, DistanceWeighted)] == [
        "order",
        "threshold",
        "threshold",
        "random",
    ]


def test_of_equals_the_first_are_kept() -> None:
    kept = TopK(2)(torch.zeros(1, 600), torch.arange(600)[None] > 0)
    assert kept.nonzero()[:, 1].tolist() == [1, 2]


@pytest.mark.parametrize("margin", [0.1, 0.4])
def test_semi_hard_is_the_librarys(margin: float) -> None:
    x, s = cosines()
    theirs = pml.TripletMarginMiner(margin, "semihard", distance=CosineSimilarity())(x, LABELS)
    m = Matches.of_labels(LABELS)
    found = set()
    for a, p in m.positives.nonzero().tolist():
        kept = SemiHard(margin)(s[a, None], m.negatives[a, None], s[a, p].view(1, 1))
        found |= {(a, p, n) for n in kept[0].nonzero()[:, 0].tolist()}
    assert found == set(zip(*(part.tolist() for part in theirs), strict=True))
    assert found


def test_chances_undo_the_density_of_distances() -> None:
    s = torch.tensor([[1.0, 0.95, 0.8, 0.5, 0.3, -0.2]])
    members = torch.arange(6)[None] > 0
    mine = DistanceWeighted(dim=16)
    weights = []
    for value in s[0, 1:].tolist():
        d = math.sqrt(2 - 2 * value)
        reached = max(d, mine.cutoff)
        weights.append(1 / (reached**14 * (1 - reached**2 / 4) ** 6.5) if d < mine.reach else 0.0)
    expected = [0.0, *(w / sum(weights) for w in weights)]
    assert mine.chances(s, members)[0].tolist() == pytest.approx(expected, rel=1e-12)
    assert DistanceWeighted(dim=17).chances(s, members)[0].tolist() != pytest.approx(expected, rel=1e-3)


def test_drawn_negatives_follow_the_chances_and_the_seed() -> None:
    s, many = torch.tensor([[0.9, 0.8, 0.7, 0.6, -0.9]]), 20_000
    members = torch.tensor([[False, True, True, True, True]])
    generator = torch.Generator().manual_seed(1)
    mine = DistanceWeighted(dim=8, generator=generator)
    found = mine(s.expand(many, 5), members.expand(many, 5))
    assert found.sum(1).eq(1).all()
    torch.testing.assert_close(found.double().mean(0), mine.chances(s, members)[0], atol=0.015, rtol=0)
    assert found[:, 4].sum() == 0  # out of reach
    generator.manual_seed(1)
    assert torch.equal(mine(s.expand(many, 5), members.expand(many, 5)), found)
    assert not torch.equal(mine(s.expand(many, 5), members.expand(many, 5)), found)
    assert not mine(torch.full((2, 3), -0.9), torch.ones(2, 3, dtype=torch.bool)).any()
    assert mine(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TopK(0), "selection top_k: k: got 0 but expected a whole number of at least 1"),
        (lambda: SemiHard(-0.1), "selection semi_hard: margin: got -0.1 but expected a finite number of at least 0"),
        (lambda: SelectivelyHard(math.inf), "selection selectively_hard: epsilon: got inf but expected a finite"),
        (
            lambda: DistanceWeighted(1),
            "selection distance_weighted: dim: got 1 but expected a whole number of at least",
        ),
        (lambda: DistanceWeighted(cutoff=2.0), r"cutoff: got 2.0 but expected a number in \(0, 2\)"),
        (lambda: DistanceWeighted(reach=2.5), r"reach: got 2.5 but expected a number in \(0, 2\]"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("margin", [0.1, 0.4])
def test_a_mask_leaves_out_of_a_softmax_what_is_more_alike_than_the_positive(margin: float) -> None:
    import goal_analysis as ga
    from goal_analysis.numeric.matches import Matches

    s = (2 * torch.rand(20, 20, dtype=torch.float64) - 1).requires_grad_()
    with torch.no_grad():
        s.diagonal().add_(0.3)
    own, total = s.diagonal(), torch.zeros((), dtype=torch.float64)
    for rows in (s, s.T):
        kept = rows <= own[:, None] + margin
        total = total + ((8 * rows).masked_fill(~kept, -torch.inf).logsumexp(1) - 8 * own).sum()
    expected = torch.autograd.grad(total, s)[0]
    masked = ga.objective(f"info_nce(tau=8, reduction=sum)@mask_above:{margin}")
    found = masked.weight_matrix(s.detach(), Matches.of_pairs(20))
    torch.testing.assert_close(found, expected)
    assert (found == 0).sum() > 20
    whole = ga.objective("info_nce(tau=8, reduction=sum)")
    assert not whole.weight_matrix(s.detach(), Matches.of_pairs(20)).allclose(found)


def test_a_mask_keeps_what_is_below_the_positive_and_the_margin() -> None:
    s, members = torch.tensor([[0.5, 0.65, 0.59, 0.2]]), torch.tensor([[False, True, True, True]])
    kept = MaskAbove(0.1)(s, members, torch.tensor([[0.5]]))
    assert kept.tolist() == [[False, False, True, True]]
    with pytest.raises(
        ValueError, match="selection mask_above: margin: got -1 but expected a finite number of at leas"
    ):
        MaskAbove(-1)
