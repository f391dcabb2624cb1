"""Libraries as oracles: value and embedding gradients of every loss that both have.

`benchmarks/coverage.py` says what has to be set to make the two equal. What remains different is explained in
docs/oracles.md.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from coverage_rows import SHIPPED
from coverage_shipped import MODULES, RESULTS, Shipped, exported, found
from torch import Tensor

from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.language.aggregators import Side
from goal_analysis.symbolic.language.primitives import hinge, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Objective, Reduction, Term
from losses_catalog import catalog

# --- every class that is declared -----------------------------------------------------------------

INEXACT = {"CosineSimilarityLoss": 1e-6, "P2SGradLoss": 1e-6, "RankedListLoss": 0.2, "torch TripletMarginLoss": 1e-5}
"""How far gradients are apart at most where the table says why."""

ADDED = {"DistillClipLoss", "EmbedDistillLoss", "MSELoss"}
"""The values differ by a number."""

WRITTEN_OUT = ("open_clip", "lightly")
"""Libraries whose formulas stand in where they are not installed."""

DECLARED = [row for row in SHIPPED if row.value]


@pytest.mark.parametrize("row", DECLARED, ids=lambda row: f"{row.library}-{row.name}-{row.given}")
def test_a_declared_class_has_these_gradients(row: Shipped) -> None:
    if row.library not in WRITTEN_OUT and not found(row.library, row.name):
        pytest.skip(f"{row.library} is not installed, or has no such class")
    most = INEXACT.get(row.name if row.library != "torch" else f"torch {row.name}", 1e-9)
    of_value, of_gradients = row.differences()
    assert of_gradients <= most
    assert most == 1e-9 or (row.why and of_gradients > 1e-9)
    assert of_value <= max(most, 1e-9) or row.name in ADDED
    assert replace(row, factor=1.5 * row.factor).differences()[1] > 0.3


def test_every_loss_that_a_library_exports_has_a_row() -> None:
    rows = {(row.library, row.name) for row in SHIPPED} | {("pytorch-metric-learning", "GenericPairLoss")}  # of others
    assert {(library, name) for library in MODULES for name in exported(library)} - rows == set()
    assert ("torch", "CrossEntropyLoss") in rows & {("torch", name) for name in exported("torch")}


def test_the_table_has_every_class() -> None:
    lines = [line for line in RESULTS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    expected = [[f"| `{row.name}`", f"`{row.line or row.loss}`" if row.value else ""] for row in SHIPPED]
    assert [line.split(" | ")[:2] for line in lines] == expected, "python benchmarks/coverage.py --write"


# --- with its miners, and with other settings -----------------------------------------------------

losses = pytest.importorskip("pytorch_metric_learning.losses", reason="needs pytorch-metric-learning")
distances = pytest.importorskip("pytorch_metric_learning.distances")
miners = pytest.importorskip("pytorch_metric_learning.miners")
reducers = pytest.importorskip("pytorch_metric_learning.reducers")

RELATIVE = 1e-9
CLASSES, MEMBERS, DIM = 4, 3, 6
LABELS = torch.arange(CLASSES).repeat_interleave(MEMBERS)
PAIRS = torch.arange(12)
IN_CLASSES = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 2, 1])


def ours(name: str, **changes) -> Objective:
    return replace(next(loss for loss in catalog if loss.name == name), **changes)


@dataclass(frozen=True)
class Oracle:
    """A loss of the catalog and how the same is said in the other library.

    Args:
        loss: ours, possibly with another reduction.
        theirs: the value, of the embeddings of the rows and those of the columns (or the proxies).
        settings: our hyperparameters.
        factor: ours times this is theirs.
        columns: where the columns come from: the same embeddings, others, or class proxies.
    """

    loss: Objective
    theirs: Callable[[Tensor, Tensor], Tensor]
    settings: Mapping[str, float] = field(default_factory=dict)
    factor: float = 1.0
    columns: str = "the same"

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Neither of unit length: the other library normalises."""
        generator = torch.Generator().manual_seed(5)
        rows = (2 * torch.randn(12, DIM, generator=generator)).requires_grad_()
        count = CLASSES if self.columns == "proxies" else 12
        others = (2 * torch.randn(count, DIM, generator=generator)).requires_grad_()
        return rows, rows if self.columns == "the same" else others

    def matches(self) -> Matches:
        if self.columns == "proxies":
            return Matches.of_classes(IN_CLASSES, CLASSES)
        return Matches.of_labels(LABELS) if self.columns == "the same" else Matches.of_pairs(12)

    def scores(self, rows: Tensor, columns: Tensor) -> Tensor:
        if self.loss.similarity is not DOT:
            rows, columns = (torch.nn.functional.normalize(e) for e in (rows, columns))
        return scores(self.loss.similarity, rows, columns)

    def mine(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Our value, and the gradients that our weights give the embeddings."""
        embeddings = self.embeddings()
        s = self.scores(*embeddings)
        value = self.factor * loss_value(self.loss, s, self.matches(), self.settings)
        w = self.factor * weights_of_scores(self.loss, s.detach(), self.matches(), self.settings)
        return value.detach(), torch.autograd.grad((w * s).sum(), tuple(dict.fromkeys(embeddings)))

    def other(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Their value and gradients."""
        embeddings = self.embeddings()
        value = self.theirs(*embeddings)
        return value.detach(), torch.autograd.grad(value, tuple(dict.fromkeys(embeddings)))


def one_set(loss: torch.nn.Module, miner: torch.nn.Module | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, _: loss(x, LABELS, None if miner is None else miner(x, LABELS))


def two_sets(loss: torch.nn.Module, miner: torch.nn.Module | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """Both directions of retrieval, summed."""

    def both(x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros(())
        labels = PAIRS.clone()  # the same tensor would mean the same embeddings
        for query, others in ((x, y), (y, x)):
            triplets = None if miner is None else miner(query, PAIRS, others, labels)
            total = total + loss(query, PAIRS, triplets, ref_emb=others, ref_labels=labels)
        return total

    return both


def proxies(loss: torch.nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss with these proxies in the place of its own."""
    name = "W" if hasattr(loss, "W") else "proxies"

    def of_proxies(x: Tensor, p: Tensor) -> Tensor:
        held = {name: p.T if name == "W" else p}
        return torch.func.functional_call(Stateless(loss, name), {f"loss.{k}": v for k, v in held.items()}, (x,))

    return of_proxies


class Stateless(torch.nn.Module):
    """A loss of proxies whose cast of them to the embeddings' type, done in place, has nothing to do."""

    def __init__(self, loss: torch.nn.Module, name: str) -> None:
        super().__init__()
        self.loss = loss
        loss.cast_types = lambda dtype, device: None

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x, IN_CLASSES)


def n_pairs(x: Tensor, y: Tensor) -> Tensor:
    """One pair of each class: anchor i is row i, its positive is row 12 + i."""
    loss = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    everything = torch.arange(12), 12 + torch.arange(12), torch.arange(1), torch.arange(1) + 1
    return loss(torch.cat([x, y]), PAIRS.repeat(2), everything)


def oracles() -> dict[str, Oracle]:
    cosine, squared = distances.CosineSimilarity(), distances.LpDistance(power=2)
    every = reducers.SumReducer()
    hardest_negative = miners.BatchEasyHardMiner(pos_strategy="all", neg_strategy="hard", distance=cosine)
    triplets = {"margin": 0.2, "reducer": every}
    summed = {"reduction": Reduction.SUM}
    return {
        "triplet": Oracle(ours("triplet", **summed), one_set(losses.TripletMarginLoss(distance=cosine, **triplets))),
        "triplet_squared_euclidean": Oracle(
            ours("triplet_squared_euclidean", **summed), one_set(losses.TripletMarginLoss(distance=squared, **triplets))
        ),
        "vse0": Oracle(
            ours("vse0", **summed),
            two_sets(losses.TripletMarginLoss(distance=cosine, **triplets)),
            columns="others",
        ),
        "vse_pp": Oracle(
            ours("vse_pp", **summed),
            two_sets(losses.TripletMarginLoss(distance=cosine, **triplets), hardest_negative),
            columns="others",
        ),
        "unified without margin": Oracle(
            ours("unified"),
            two_sets(losses.NTXentLoss(temperature=1 / 20)),
            {"margin": 0},
            factor=2 * 20,  # a mean of both directions, and a logsumexp over its scale
            columns="others",
        ),
        "sup_con_in": Oracle(ours("sup_con_in"), one_set(losses.NCALoss(softmax_scale=5))),
        "soft_nearest_neighbour": Oracle(
            ours("soft_nearest_neighbour"), one_set(losses.NCALoss(softmax_scale=0.5)), {"temperature": 2}
        ),
    }


every_oracle = pytest.mark.parametrize("name", oracles())


def same(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= RELATIVE * expected.abs().max())


@every_oracle
def test_the_values_are_the_same(name: str) -> None:
    oracle = oracles()[name]
    (found, _), (expected, _) = oracle.mine(), oracle.other()
    assert expected > 0
    assert same(found, expected)
    assert not same(1.001 * found, expected)


@every_oracle
def test_the_gradients_of_the_embeddings_are_the_same(name: str) -> None:
    oracle = oracles()[name]
    (_, found), (_, expected) = oracle.mine(), oracle.other()
    assert len(found) == len(expected) == (1 if oracle.columns == "the same" else 2)
    for of_mine, of_theirs in zip(found, expected, strict=True):
        assert of_theirs.abs().max() > 0
        assert same(of_mine, of_theirs)
        assert not same(1.001 * of_mine, of_theirs)


# --- where the two differ -----------------------------------------------------------------------


def test_their_contrastive_loss_is_ours_without_the_squares() -> None:
    loss = ours("contrastive", reduction=Reduction.SUM)
    first, second = loss.terms
    unsquared = (replace(first, outer=-x_p), Term(outer=hinge(1 + x_n), negatives=second.negatives))
    theirs = one_set(losses.ContrastiveLoss(reducer=reducers.SumReducer()))
    expected, _ = Oracle(loss, theirs).other()
    assert same(Oracle(replace(loss, terms=unsquared, hyperparameters=()), theirs).mine()[0], expected)
    assert not same(Oracle(loss, theirs).mine()[0], expected)


def test_their_proxy_nca_has_the_own_proxy_in_the_denominator() -> None:
    theirs = proxies(losses.ProxyNCALoss(CLASSES, DIM))
    with_own = Oracle(ours("proxy_nca_pp"), theirs, {"scale": 1}, columns="proxies")
    assert same(with_own.mine()[0], with_own.other()[0])
    without = Oracle(ours("proxy_nca"), theirs, columns="proxies")
    assert not same(without.mine()[0], without.other()[0])


def test_their_arc_face_leaves_the_formula_where_the_angle_passes_180_degrees() -> None:
    margin = 2.0
    theirs = proxies(losses.ArcFaceLoss(CLASSES, DIM, margin=math.degrees(margin)))
    oracle = Oracle(ours("arc_face"), theirs, {"margin": margin}, columns="proxies")
    s = oracle.scores(*oracle.embeddings())[oracle.matches().positives]
    assert (s.acos() > math.pi - margin).any()
    assert not same(oracle.mine()[0], oracle.other()[0])


def ranked_list(x: Tensor, stop: bool) -> Tensor:
    """½·L_P + ½·L_N of all anchors in a loop, the gradient of the weights stopped or not."""
    d = torch.cdist(*[torch.nn.functional.normalize(x)] * 2, compute_mode="donot_use_mm_for_euclid_dist")
    total = torch.zeros(())
    for i in range(12):
        p = d[i][(LABELS[i] == LABELS) & (d[i] > 1.2 - 0.4)]
        n = d[i][(LABELS[i] != LABELS) & (d[i] < 1.2)]
        w = torch.exp(5 * (1.2 - n))
        w = w.detach() if stop else w
        of_positives = (p - 0.8).mean() if len(p) else torch.zeros(())
        of_negatives = (w * (1.2 - n)).sum() / w.sum() if len(n) else torch.zeros(())
        total = total + (of_positives + of_negatives) / 24
    return total


def test_their_ranked_list_loss_differentiates_its_weights() -> None:
    theirs = one_set(losses.RankedListLoss(margin=0.4, Tn=5, alpha=1.2))
    oracle = Oracle(ours("ranked_list"), theirs, {"temperature": 5}, factor=0.5)
    (value, (gradient,)), (their_value, (their_gradient,)) = oracle.mine(), oracle.other()
    # A hundred-thousandth per column is added to their denominators.
    torch.testing.assert_close(value, their_value, rtol=2e-4, atol=0)
    x, _ = oracle.embeddings()
    stopped, through = (torch.autograd.grad(ranked_list(x, stop), x)[0] for stop in (True, False))
    assert same(value, ranked_list(x, stop=True).detach())
    assert same(gradient, stopped)
    assert (through - their_gradient).abs().max() < 1e-3 * their_gradient.abs().max()
    assert (stopped - their_gradient).abs().max() > 0.05 * their_gradient.abs().max()


def test_unequal_classes_weigh_pairs_differently() -> None:
    """They average the tuplet margin over the positive pairs of the batch, we over the anchors' means."""
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    x, _ = Oracle(ours("tuplet_margin"), one_set(losses.TupletMarginLoss())).embeddings()
    s = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(x).T
    matches = Matches.of_labels(labels)
    theirs = losses.TupletMarginLoss(margin=math.degrees(0.1))(x, labels)
    assert not same(loss_value(ours("tuplet_margin"), s, matches).detach(), theirs.detach())
    each = replace(ours("tuplet_margin").terms[0].positives, aggregator=ours("info_nce").terms[0].positives.aggregator)
    by_pair = ours(
        "tuplet_margin",
        terms=(replace(ours("tuplet_margin").terms[0], positives=each),),
        reduction=Reduction.SUM,
    )
    value = loss_value(by_pair, s, matches) / matches.positives.sum()
    assert same(value.detach(), theirs.detach())


def test_their_multi_similarity_divides_by_anchors_without_a_positive_too() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3])
    x, _ = Oracle(ours("multi_similarity"), n_pairs).embeddings()
    z = torch.nn.functional.normalize(x).detach()
    of_positives, of_negatives = (
        loss_value(ours("multi_similarity", terms=(term,), hyperparameters=()), z @ z.T, Matches.of_labels(labels))
        for term in at_defaults(ours("multi_similarity"))
    )
    theirs = losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)(x.detach(), labels)
    assert same(of_positives * 11 / 12 + of_negatives, theirs)
    assert not same(of_positives + of_negatives, theirs)


def at_defaults(loss: Objective) -> list[Term]:
    """The terms with the defaults in the place of the hyperparameters."""

    def filled(side: Side | None) -> Side | None:
        return None if side is None else replace(side, inner=side.inner.subs(loss.values()))

    return [
        Term(outer=t.outer.subs(loss.values()), positives=filled(t.positives), negatives=filled(t.negatives))
        for t in loss.terms
    ]


def test_their_generalised_lifted_loss_adds_anchors_without_a_positive() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3])
    oracle = Oracle(ours("generalised_lifted_structure"), n_pairs)
    x = oracle.embeddings()[0].detach()
    s = oracle.scores(x, x)
    mine = loss_value(oracle.loss, s, Matches.of_labels(labels))
    added = torch.relu(torch.logsumexp(1 + s[-1, :-1], 0))
    theirs = losses.GeneralizedLiftedStructureLoss()(x, labels)
    assert same((11 * mine + added) / 12, theirs)
    assert not same(mine, theirs)
