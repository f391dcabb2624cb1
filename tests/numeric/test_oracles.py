"""pytorch-metric-learning as an oracle: value and embedding gradients of every loss that both have.

What has to be set to make the two equal, and what remains different, is explained in docs/oracles.md.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.language.aggregators import Side
from goal_analysis.symbolic.language.primitives import hinge, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term
from losses_catalog import catalog

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


def margin_counting_pairs_as_triplets() -> Objective:
    """A positive pair counts once for each negative of its anchor, a negative one once for each positive."""
    loss = ours("margin", reduction=Reduction.SUM)
    negatives, positives = 12 - MEMBERS, MEMBERS - 1
    first, second = loss.terms
    terms = (replace(first, outer=negatives * first.outer), replace(second, outer=positives * second.outer))
    return replace(loss, terms=terms)


def oracles() -> dict[str, Oracle]:
    cosine, squared = distances.CosineSimilarity(), distances.LpDistance(power=2)
    every, mean = reducers.SumReducer(), reducers.MeanReducer()
    hardest = miners.BatchHardMiner()
    hardest_negative = miners.BatchEasyHardMiner(pos_strategy="all", neg_strategy="hard", distance=cosine)
    triplets = {"margin": 0.2, "reducer": every}
    summed, rows = {"reduction": Reduction.SUM}, {"anchors": Anchors.ROWS}
    return {
        "triplet": Oracle(ours("triplet", **summed), one_set(losses.TripletMarginLoss(distance=cosine, **triplets))),
        "triplet_squared_euclidean": Oracle(
            ours("triplet_squared_euclidean", **summed), one_set(losses.TripletMarginLoss(distance=squared, **triplets))
        ),
        "triplet_soft_margin": Oracle(
            ours("triplet_soft_margin"),
            one_set(losses.TripletMarginLoss(margin=0, smooth_loss=True, reducer=mean), hardest),
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
        "contrastive_cosine": Oracle(
            ours("contrastive_cosine", **summed),
            one_set(losses.ContrastiveLoss(pos_margin=1, neg_margin=0, distance=cosine, reducer=every)),
        ),
        "hinge_embedding": Oracle(ours("hinge_embedding", **summed), one_set(losses.ContrastiveLoss(reducer=every))),
        "margin": Oracle(margin_counting_pairs_as_triplets(), one_set(losses.MarginLoss(reducer=every))),
        "n_pair": Oracle(ours("n_pair"), n_pairs, columns="others"),
        "info_nce": Oracle(ours("info_nce"), two_sets(losses.NTXentLoss(temperature=0.1)), factor=2, columns="others"),
        "info_nce of several positives": Oracle(
            ours("info_nce", **rows), one_set(losses.NTXentLoss(temperature=0.1)), factor=1 / (MEMBERS - 1)
        ),
        "unified without margin": Oracle(
            ours("unified"),
            two_sets(losses.NTXentLoss(temperature=1 / 20)),
            {"margin": 0},
            factor=2 * 20,  # a mean of both directions, and a logsumexp over its scale
            columns="others",
        ),
        "sup_con": Oracle(ours("sup_con"), one_set(losses.SupConLoss(temperature=0.1))),
        "sup_con_in": Oracle(ours("sup_con_in"), one_set(losses.NCALoss(softmax_scale=5))),
        "neighbourhood_components": Oracle(
            ours("neighbourhood_components", reduction=Reduction.MEAN), one_set(losses.NCALoss(softmax_scale=1))
        ),
        "soft_nearest_neighbour": Oracle(
            ours("soft_nearest_neighbour"), one_set(losses.NCALoss(softmax_scale=0.5)), {"temperature": 2}
        ),
        "tuplet_margin": Oracle(
            ours("tuplet_margin"), one_set(losses.TupletMarginLoss(margin=math.degrees(0.1), scale=64))
        ),
        "lifted_structure": Oracle(ours("lifted_structure"), one_set(losses.LiftedStructureLoss())),
        "generalised_lifted_structure": Oracle(
            ours("generalised_lifted_structure"), one_set(losses.GeneralizedLiftedStructureLoss())
        ),
        "multi_similarity": Oracle(
            ours("multi_similarity"), one_set(losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5))
        ),
        "circle": Oracle(
            ours("circle"),
            one_set(losses.CircleLoss(m=0.4, gamma=80, reducer=mean)),
            {"m": 0.4, "gamma": 80},
        ),
        "proxy_nca_pp": Oracle(
            ours("proxy_nca_pp"),
            proxies(losses.ProxyNCALoss(CLASSES, DIM, softmax_scale=9)),
            columns="proxies",
        ),
        "proxy_anchor": Oracle(ours("proxy_anchor"), proxies(losses.ProxyAnchorLoss(CLASSES, DIM)), columns="proxies"),
        "normalised_softmax": Oracle(
            ours("normalised_softmax"), proxies(losses.NormalizedSoftmaxLoss(DIM, CLASSES)), columns="proxies"
        ),
        "cos_face": Oracle(ours("cos_face"), proxies(losses.CosFaceLoss(CLASSES, DIM)), columns="proxies"),
        "arc_face": Oracle(
            ours("arc_face"),
            proxies(losses.ArcFaceLoss(CLASSES, DIM, margin=math.degrees(0.5))),
            columns="proxies",
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


def test_at_least_sixteen_losses_have_an_oracle() -> None:
    assert len({oracle.loss.name for oracle in oracles().values()}) >= 16


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


# --- losses that only we have, written out ------------------------------------------------------

Written = Callable[[Tensor, Matches], Tensor]


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros(()))


def by_anchor(of_anchor: Callable[[Tensor, Tensor], Tensor]) -> Written:
    """The mean over the rows of a loss of an anchor's positives and negatives."""

    def mean(s: Tensor, m: Matches) -> Tensor:
        every = [of_anchor(s[i][m.positives[i]], s[i][m.negatives[i]]) for i in range(len(s))]
        return torch.stack(every).mean()

    return mean


def large_margin(p: Tensor, n: Tensor) -> Tensor:
    return (-p / 2).sum() + (torch.relu(1 - p[:, None] + n) / 2).sum()


def deviance(p: Tensor, n: Tensor) -> Tensor:
    return softplus(-2 * (p - 0.5)).mean() + softplus(50 * (n - 0.5)).mean()


def polynomial(p: Tensor, n: Tensor) -> Tensor:
    of_positives = torch.relu(0.5 - 0.7 * p + 0.2 * p**2).sum()
    return of_positives + torch.relu(0.03 - 0.4 * n.max() + 0.9 * n.max() ** 2)


def selectively_hard(p: Tensor, n: Tensor) -> Tensor:
    return n.max() if n.max() > p.max() else softplus(10 * (n.max() - p.max()))


def circle_of_squares(p: Tensor, n: Tensor) -> Tensor:
    over_positives = torch.logsumexp(-256 * torch.relu(1.25 - p) * (p - 0.75), 0)
    return softplus(over_positives + torch.logsumexp(256 * torch.relu(n + 0.25) * (n - 0.25), 0))


def sigmoids(s: Tensor, m: Matches) -> Tensor:
    sign = 1.0 * m.positives - 1.0 * m.negatives
    return -torch.nn.functional.logsigmoid(sign * (10 * s - 10))[sign != 0].sum() / len(s)


def by_triplet(of_difference: Callable[[Tensor], Tensor]) -> Written:
    """The mean over the rows of the sum over their triplets of a loss of s_p − s_n."""
    return by_anchor(lambda p, n: of_difference(p[:, None] - n).sum())


def poly_1(s: Tensor, m: Matches) -> Tensor:
    own = m.positives.int().argmax(1)
    probability = torch.softmax(20 * s, 1)[torch.arange(len(s)), own]
    return (torch.nn.functional.cross_entropy(20 * s, own, reduction="none") + 1 - probability).mean()


def squared_errors(s: Tensor, m: Matches) -> Tensor:
    return torch.nn.functional.mse_loss(s, 1.0 * m.positives, reduction="sum") / len(s)


def binary_cross_entropy(s: Tensor, m: Matches) -> Tensor:
    pairs = m.positives | m.negatives
    every = torch.nn.functional.binary_cross_entropy_with_logits(s, 1.0 * m.positives, reduction="none")
    return every[pairs].sum() / len(s)


WRITTEN_OUT: dict[str, Written] = {
    "spectral_contrastive": by_anchor(lambda p, n: -2 * p.sum() + (n**2).mean()),
    "negative_sampling": binary_cross_entropy,
    "poly_1": poly_1,
    "p2s_grad": squared_errors,
    "dpo": by_triplet(lambda d: -torch.nn.functional.logsigmoid(0.1 * d)),
    "ipo": by_triplet(lambda d: (d - 1 / (2 * 0.1)) ** 2),
    "slic": by_triplet(lambda d: torch.relu(1 - 0.1 * d)),
    "simpo": by_triplet(lambda d: -torch.nn.functional.logsigmoid(2 * (d - 0.25))),
    "lmnn": by_anchor(large_margin),
    "selectively_hard_triplet": by_anchor(selectively_hard),
    "binomial_deviance": by_anchor(deviance),
    "siglip": sigmoids,
    "universal_weighting": lambda s, m: (by_anchor(polynomial)(s, m) + by_anchor(polynomial)(s.T, m.transposed)) / 2,
    "dcl": by_anchor(lambda p, n: (torch.logsumexp(10 * n, 0) - 10 * p).sum()),
    "circle_undetached": by_anchor(circle_of_squares),
    "proxy_nca": by_anchor(lambda p, n: (torch.logsumexp(n, 0) - p).sum()),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_losses_that_only_we_have_are_their_formulas(name: str) -> None:
    oracle = Oracle(ours(name), n_pairs, columns="proxies" if ours(name).proxies else "the same")
    s = oracle.scores(*oracle.embeddings()).detach().requires_grad_()
    value = WRITTEN_OUT[name](s, oracle.matches())
    (gradient,) = torch.autograd.grad(value, s)
    w = weights_of_scores(oracle.loss, s.detach(), oracle.matches())
    assert same(loss_value(oracle.loss, s, oracle.matches()).detach(), value.detach())
    assert same(w, gradient)
    assert not same(1.001 * w, gradient)


def test_every_loss_is_compared_with_something() -> None:
    compared = {oracle.loss.name for oracle in oracles().values()} | set(WRITTEN_OUT)
    with_a_test_of_their_own = {"contrastive", "ranked_list"}
    with_sentence_transformers = {
        "batch_hard_triplet",
        "contrastive_cosine_squared",
        "cosent",
        "hardness_weighted_info_nce",
        "mega_batch_margin",
    }
    assert {loss.name for loss in catalog} - compared == with_a_test_of_their_own | with_sentence_transformers
