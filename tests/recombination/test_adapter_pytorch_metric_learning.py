"""Objectives inside pytorch-metric-learning itself: its miners, reducers, wrappers, and a few steps of training."""

import pickle

import pytest
import torch
from pytorch_metric_learning import losses, miners, reducers
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils import loss_and_miner_utils
from torch import Tensor, nn

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import TANGENTIAL, embedding_gradients
from goal_analysis.recombination.adapters.pytorch_metric_learning import (
    MetricObjective,
    ObjectiveMemory,
    SelfSupervisedObjective,
)
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Reduction
from losses_catalog import catalog, pair_weights, triplet_weights

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 4])  # the last is alone in its class
PARTS = Parts(triplet_weights, pair_weights, catalog)
LOSSES = ("nca/linear", "nca/linear@all", "nca/linear@softmax:5,10", "circle", "multi_similarity/linear", "sup_con")


def objective(text: str = "nca/linear", refuse_nonfinite: bool = True, **fields) -> GradientObjective:
    fields = {"anchors": Anchors.ROWS, "reduction": Reduction.SUM, "similarity": COSINE} | fields
    return GradientObjective(parse_objective(text, PARTS, **fields), refuse_nonfinite)


every_objective = pytest.mark.parametrize("text", LOSSES)


def batch(rows: int = len(LABELS)) -> Tensor:
    return torch.randn(rows, 6, requires_grad=True)


def gradient(value: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, of))


def scores(x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.normalize(x, dim=1) @ nn.functional.normalize(y, dim=1).T


@pytest.mark.parametrize("reduction", Reduction)
@every_objective
def test_one_set_of_embeddings_has_the_gradients_of_direct_use(text: str, reduction: Reduction) -> None:
    x, direct = batch(), objective(text, reduction=reduction)
    expected = direct.from_scores(scores(x, x), Matches.of_labels(LABELS))
    found = MetricObjective(direct)(x, LABELS)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(3 * found, x), gradient(3 * expected, x), rtol=1e-10, atol=1e-12)


@every_objective
def test_two_sets_have_the_gradients_of_direct_use(text: str) -> None:
    x, y, direct = batch(), batch(8), objective(text)
    ref_labels = LABELS[:8]
    normal = [nn.functional.normalize(e, dim=1) for e in (x, y)]
    expected = gradient(direct(*normal, LABELS, ref_labels), x, y)
    found = gradient(MetricObjective(direct)(x, LABELS, ref_emb=y, ref_labels=ref_labels), x, y)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_anchors_of_an_objective_with_both_are_the_embeddings() -> None:
    x = batch()
    both = objective(anchors=Anchors.BOTH)
    torch.testing.assert_close(MetricObjective(both)(x, LABELS), MetricObjective(objective())(x, LABELS))


def test_other_similarities_and_directions_are_the_objectives_own() -> None:
    x, y = batch(), batch()
    for more in ({"similarity": NEGATIVE_EUCLIDEAN}, {"similarity": DOT, "direction": TANGENTIAL}):
        direct = objective(**more)
        expected = gradient(direct(x, y, LABELS, LABELS), x, y)
        found = gradient(MetricObjective(direct)(x, LABELS, ref_emb=y, ref_labels=LABELS), x, y)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_relative_similarities_are_read_from_the_batch() -> None:
    x = batch()
    direct = objective("nca/relative_linear")
    expected = gradient(direct.from_scores(scores(x, x), Matches.of_labels(LABELS)), x)
    torch.testing.assert_close(gradient(MetricObjective(direct)(x, LABELS), x), expected)


def test_half_precision_keeps_the_digits_of_the_weights() -> None:
    x = batch()
    expected = gradient(MetricObjective(objective())(x, LABELS), x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = MetricObjective(objective())(half := x.bfloat16(), LABELS)
    (found,) = gradient(value, half)
    assert value.dtype == torch.float32
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.02)


def test_version_3_compares_a_set_with_itself_where_it_hands_over_no_other() -> None:
    """Its calls as its documentation has them: it needs Python 3.12, and is not installed here."""
    x, loss = batch(), MetricObjective(objective())
    (term,) = loss.compute_loss(x, LABELS, None, None, None).values()
    assert term["reduction_type"] == "already_reduced"
    torch.testing.assert_close(gradient(term["losses"], x), gradient(loss(x, LABELS), x))
    triplets = miners.BatchHardMiner(distance=CosineSimilarity())(x, LABELS)
    (mined,) = loss.compute_loss(x, None, triplets, None, None).values()
    torch.testing.assert_close(gradient(mined["losses"], x), gradient(loss(x, LABELS, triplets), x))


@pytest.mark.parametrize("symmetric", [True, False])
def test_two_views_of_samples_need_no_labels(symmetric: bool) -> None:
    x, y, inside = batch(6), batch(6), MetricObjective(objective())
    found = gradient(SelfSupervisedObjective(inside, symmetric=symmetric)(x, y), x, y)
    ids = torch.arange(6)
    if symmetric:
        expected = inside(torch.cat((x, y)), torch.cat((ids, ids)))
    else:
        expected = inside(x, ids, ref_emb=y, ref_labels=ids)
    torch.testing.assert_close(found, gradient(expected, x, y))
    with pytest.raises(Exception, match="SelfSupervisedLoss not supported for MetricObjective"):
        losses.SelfSupervisedLoss(inside)


# --- miners ---------------------------------------------------------------------------------------


def test_the_librarys_hardest_triplets_are_our_hardest_mining() -> None:
    x = batch()
    triplets = miners.BatchHardMiner(distance=CosineSimilarity())(x, LABELS)
    loss = MetricObjective(objective("nca/linear@all"))  # its own mining has no say
    expected = gradient(MetricObjective(objective())(x, LABELS), x)
    torch.testing.assert_close(gradient(loss(x, LABELS, triplets), x), expected)
    assert not torch.allclose(gradient(loss(x, LABELS), x)[0], expected[0])


def test_triplets_in_any_order_and_without_labels_count() -> None:
    x, loss = batch(), MetricObjective(objective())
    triplets = loss_and_miner_utils.get_all_triplets_indices(LABELS)
    shuffled = torch.randperm(len(triplets[0]))
    expected = gradient(MetricObjective(objective("nca/linear@all"))(x, LABELS), x)
    mixed = tuple(part[shuffled] for part in triplets)
    torch.testing.assert_close(gradient(loss(x, LABELS, mixed), x), expected)
    torch.testing.assert_close(gradient(loss(x, indices_tuple=mixed), x), expected)


@every_objective
def test_all_pairs_are_no_pairs_given(text: str) -> None:
    x, loss = batch(), MetricObjective(objective(text))
    pairs = loss_and_miner_utils.get_all_pairs_indices(LABELS)
    expected = gradient(loss(x, LABELS), x)
    torch.testing.assert_close(gradient(loss(x, LABELS, pairs), x), expected)
    torch.testing.assert_close(gradient(loss(x, None, pairs), x), expected)


def test_mined_pairs_are_joined_to_the_librarys_triplets() -> None:
    x, loss = batch(), MetricObjective(objective("nca/linear@all"))
    pairs = miners.MultiSimilarityMiner(epsilon=0.02)(x, LABELS)
    triplets = loss_and_miner_utils.convert_to_triplets(pairs, LABELS)
    assert 0 < len(triplets[0]) < len(loss_and_miner_utils.get_all_triplets_indices(LABELS)[0])
    torch.testing.assert_close(gradient(loss(x, LABELS, pairs), x), gradient(loss(x, LABELS, triplets), x))


def test_a_loss_reads_the_triplets_of_a_miner_like_the_librarys_own() -> None:
    """Also where it reads no gap, and where its terms are of one side each."""
    x = batch()
    triplets = miners.TripletMarginMiner(0.3, distance=CosineSimilarity())(x, LABELS)
    assert 0 < len(triplets[0]) < len(loss_and_miner_utils.get_all_triplets_indices(LABELS)[0])
    margin = losses.TripletMarginLoss(0.2, distance=CosineSimilarity(), reducer=reducers.SumReducer())
    a, p, n = triplets
    s = scores(x, x)
    contrastive = (s[a, n] - s[a, p]).sum()
    for text, theirs in (("triplet", margin(x, LABELS, triplets)), ("contrastive_cosine", contrastive)):
        found = gradient(MetricObjective(objective(text))(x, LABELS, triplets), x)
        assert float(found[0].abs().max()) > 1e-3
        if text == "triplet":
            torch.testing.assert_close(found, gradient(theirs, x))
        once = gradient(MetricObjective(objective(text))(x, LABELS, tuple(part.repeat(2) for part in triplets)), x)
        torch.testing.assert_close(once[0], 2 * found[0])


def test_the_hinge_with_constant_weights_is_the_librarys_triplet_loss() -> None:
    x = batch()
    hinge = objective("hinge/constant@all")
    theirs = losses.TripletMarginLoss(0.2, distance=CosineSimilarity(), reducer=reducers.SumReducer())
    torch.testing.assert_close(gradient(MetricObjective(hinge)(x, LABELS), x), gradient(theirs(x, LABELS), x))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (([0], [2], [3]), r"indices_tuple: got \(0, 2\) as a positive pair"),
        (([0], [2], [0], [3]), r"indices_tuple: got \(0, 2\) as a positive pair but expected one by the labels"),
        (([0], [1], [0], [8]), r"indices_tuple: got \(0, 8\) as a negative pair but expected one by the labels"),
        (([0], [1], [0], [11]), "indices_tuple: got 11 but expected indices of 11 candidates, from 0"),
        (([0], [1]), "indices_tuple: got a tuple of 2 but expected triplets, of 3, or pairs, of 4"),
    ],
)
def test_indices_that_cannot_be_are_refused(indices: tuple[list[int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetricObjective(objective())(batch(), LABELS, tuple(map(torch.tensor, indices)))


def test_what_is_missing_is_named() -> None:
    loss = MetricObjective(objective())
    with pytest.raises(ValueError, match="got no indices_tuple but expected labels or one"):
        loss(batch())
    with pytest.raises(ValueError, match="got no indices_tuple but expected the ref_labels of ref_emb beside labels"):
        loss(batch(), LABELS, ref_emb=batch())


def test_a_number_that_is_not_finite_is_refused_with_its_row() -> None:
    x = batch().detach()
    x[4, 1] = torch.nan
    with pytest.raises(ValueError, match="embeddings: row 4: got a number that is not finite"):
        MetricObjective(objective())(x, LABELS)
    assert MetricObjective(objective(refuse_nonfinite=False))(x, LABELS).isnan()


# --- reducers and wrappers ------------------------------------------------------------------------


def test_reducers_weigh_the_anchors() -> None:
    x, direct = batch(), objective()
    w = direct.weight_matrix(scores(x, x), Matches.of_labels(LABELS))
    of_class = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0])
    for reducer, share in (
        (reducers.SumReducer(), torch.ones(11)),
        (reducers.MeanReducer(), torch.full((11,), 1 / 10)),  # the last anchor has no positive
        (reducers.ClassWeightedReducer(weights=of_class), of_class[LABELS] / 10),
    ):
        found = gradient(MetricObjective(direct, reducer)(x, LABELS), x)
        unit = nn.functional.normalize(x, dim=1)
        expected = embedding_gradients(DOT, share[:, None] * w, unit, unit)
        torch.testing.assert_close(found, gradient((unit * sum(expected).detach()).sum(), x))


def test_the_mean_reducer_is_our_mean() -> None:
    x = batch()
    expected = gradient(MetricObjective(objective(reduction=Reduction.MEAN))(x, LABELS), x)
    torch.testing.assert_close(gradient(MetricObjective(objective(), reducers.MeanReducer())(x, LABELS), x), expected)


@pytest.mark.parametrize("reducer", [reducers.AvgNonZeroReducer(), reducers.ThresholdReducer(low=0.1)])
def test_a_reducer_that_reads_values_is_refused(reducer: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=f"reducer: got {type(reducer).__name__}, which leaves out losses by their value"
    ):
        MetricObjective(objective(), reducer)


@pytest.mark.parametrize("reducer", [None, reducers.MeanReducer()])
def test_a_batch_without_a_triplet_has_no_gradient(reducer: nn.Module | None) -> None:
    x, loss = batch(3), MetricObjective(objective(), reducer)
    for labels in (torch.arange(3), torch.zeros(3, dtype=torch.long)):
        assert float(gradient(loss(x, labels), x)[0].abs().max()) == 0


@pytest.mark.parametrize(
    "miner", [None, miners.BatchHardMiner(distance=CosineSimilarity()), miners.MultiSimilarityMiner()]
)
@pytest.mark.parametrize("text", ["nca/linear", "circle"])
def test_the_memory_of_earlier_batches_has_the_gradients_of_direct_use(miner: nn.Module | None, text: str) -> None:
    loss = MetricObjective(objective(text))
    memory = ObjectiveMemory(loss, 6, memory_size=64, miner=miner)
    earlier, now, labels = batch(8), batch(6), LABELS[:6]
    memory(earlier, LABELS[:8])
    found = gradient(memory(now, labels), now)
    kept, kept_labels = torch.cat((earlier, now)).detach(), torch.cat((LABELS[:8], labels))
    if miner is not None:
        pairs = loss_and_miner_utils.remove_self_comparisons(
            miner(now, labels, kept, kept_labels), torch.arange(8, 14), 64
        )
        expected = gradient(loss(now, labels, pairs, kept, kept_labels), now)
    else:
        equal = labels[:, None] == kept_labels
        itself = torch.arange(14) == torch.arange(8, 14)[:, None]
        direct = loss.objective.from_scores(scores(now, kept), Matches(equal & ~itself, ~equal))
        expected = gradient(direct, now)
    torch.testing.assert_close(found, expected)
    assert float(found[0].abs().max()) > 1e-3


def test_the_librarys_own_memory_knows_only_its_own_losses() -> None:
    with pytest.raises(Exception, match="CrossBatchMemory not supported for MetricObjective"):
        losses.CrossBatchMemory(MetricObjective(objective()), 6)


def test_it_is_one_of_several_losses() -> None:
    x, ours, theirs = batch(), MetricObjective(objective()), losses.NTXentLoss()
    both = losses.MultipleLosses([ours, theirs], weights=[1, 0.5])
    expected = gradient(ours(x, LABELS) + 0.5 * theirs(x, LABELS), x)
    torch.testing.assert_close(gradient(both(x, LABELS), x), expected)


def test_it_can_be_kept() -> None:
    x, loss = batch(), MetricObjective(objective())
    assert pickle.loads(pickle.dumps(loss))(x, LABELS) == loss(x, LABELS)


# --- training -------------------------------------------------------------------------------------


def recall(embeddings: Tensor, labels: Tensor) -> float:
    s = scores(embeddings, embeddings).fill_diagonal_(-torch.inf)
    return float((labels[s.argmax(1)] == labels).double().mean())


def test_a_few_steps_move_the_retrieval() -> None:
    labels = torch.arange(8).repeat_interleave(8)
    inputs = torch.randn(8, 16)[labels] + 1.5 * torch.randn(64, 16)
    model = nn.Linear(16, 8)
    memory = ObjectiveMemory(MetricObjective(objective(reduction=Reduction.MEAN)), 8, memory_size=128)
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    before = recall(model(inputs).detach(), labels)
    for _ in range(30):
        optimizer.zero_grad()
        memory(model(inputs), labels).backward()
        optimizer.step()
    assert recall(model(inputs).detach(), labels) > before + 0.2
