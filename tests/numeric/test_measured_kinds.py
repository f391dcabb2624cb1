"""Losses in the shapes that people have: what they take is found out, what is wrong with them is said."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    normalize,
    pairwise_distance,
    relu,
    softplus,
)

from goal_analysis.numeric.measurement import Inputs, measure, nearest
from goal_analysis.numeric.measurement.calling import UnmeasurableLoss
from goal_analysis.numeric.measurement.nearest import Neighbour
from losses_catalog.circle import circle_loss
from losses_catalog.contrastive import contrastive_loss
from losses_catalog.contrastive_cosine import contrastive_cosine_loss
from losses_catalog.cosine_regression import cosine_regression_loss
from losses_catalog.dcl import dcl_loss
from losses_catalog.dpo import dpo_loss
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.normalised_softmax import normalised_softmax_loss
from losses_catalog.poly_1 import poly_1_loss
from losses_catalog.siglip import siglip_loss
from losses_catalog.sup_con import sup_con_loss
from losses_catalog.sup_con_in import sup_con_in_loss
from losses_catalog.triplet import triplet_loss
from losses_catalog.vse0 import vse0_loss
from losses_catalog.vse_pp import vse_pp_loss

CLOSE = 1e-6


def own_pairs(scores: Tensor) -> Tensor:
    return torch.eye(len(scores), dtype=torch.bool)


def hinges(im: Tensor, s: Tensor, hardest: bool) -> Tensor:
    scores = im @ s.T
    d = scores.diagonal()[:, None]
    rows, columns = (relu(0.2 + scores - x).masked_fill(own_pairs(scores), 0) for x in (d, d.T))
    return rows.amax(1).sum() + columns.amax(0).sum() if hardest else rows.sum() + columns.sum()


def max_of_hinges(im: Tensor, s: Tensor) -> Tensor:
    return hinges(im, s, hardest=True)


def sum_of_hinges(im: Tensor, s: Tensor) -> Tensor:
    return hinges(im, s, hardest=False)


def two_views(z_i: Tensor, z_j: Tensor) -> Tensor:
    z, n = normalize(torch.cat([z_i, z_j])), len(z_i)
    logits = (10 * z @ z.T).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return cross_entropy(logits, torch.arange(2 * n).roll(n))


def stacked_views(features: Tensor) -> Tensor:
    return two_views(*features.chunk(2))


def views_in_turn(embeddings: Tensor) -> Tensor:
    return two_views(embeddings[::2], embeddings[1::2])


def siamese(x1: Tensor, x2: Tensor, label: Tensor, margin: float = 0.5) -> Tensor:
    c = (normalize(x1) * normalize(x2)).sum(1)
    return torch.where(label > 0, 1 - c, relu(c - margin)).sum()


def of_similarities(sp: Tensor, sn: Tensor) -> Tensor:
    a_p, a_n = relu(1.25 - sp).detach(), relu(sn + 0.25).detach()
    return softplus(torch.logsumexp(16 * a_n * (sn - 0.25), 0) + torch.logsumexp(-16 * a_p * (sp - 0.75), 0))


def supervised(features: Tensor, labels: Tensor | None = None, inside: bool = False) -> Tensor:
    """SupCon of features of shape (batch, views, dim)."""
    assert labels is not None
    flat, labels = torch.cat(features.unbind(1)), labels.repeat(2)
    own = torch.eye(len(flat), dtype=torch.bool)
    log_softmax = (5 * flat @ flat.T).masked_fill(own, -torch.inf).log_softmax(1)
    same = (labels[:, None] == labels) & ~own
    if inside:
        return -log_softmax.masked_fill(~same, -torch.inf).logsumexp(1).mean()
    return -(log_softmax.masked_fill(~same, 0).sum(1) / same.sum(1)).mean()


def supervised_inside(features: Tensor, labels: Tensor) -> Tensor:
    return supervised(features, labels, inside=True)


def of_groups(q_reps: Tensor, p_reps: Tensor) -> Tensor:
    return cross_entropy(20 * q_reps @ p_reps.T, torch.arange(len(q_reps)) * (len(p_reps) // len(q_reps)))


def scaled(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    return cross_entropy(logit_scale * image_features @ text_features.T, torch.arange(len(image_features)))


class Proxies(torch.nn.Module):
    def __init__(self, dim: int = 8, classes: int = 4, scale: float = 16) -> None:
        super().__init__()
        self.weight, self.scale = torch.nn.Parameter(torch.randn(classes, dim)), scale

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.scale * normalize(embeddings) @ normalize(self.weight).T, labels)


def of_distances(output1: Tensor, output2: Tensor, label: Tensor) -> Tensor:
    """As it is copied most: 0 marks pairs that are alike, distances and labels are columns."""
    d = pairwise_distance(output1, output2, eps=0, keepdim=True)
    return torch.mean((1 - label) * d**2 + label * torch.clamp(0.9 - d, min=0) ** 2)


class Centres(torch.nn.Module):
    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__()
        self.centres = torch.nn.Parameter(torch.randn(num_classes, feat_dim))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(9 * normalize(x) @ normalize(self.centres).T, labels)


def of_logits(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(10 * logits, labels)


def of_scores_and_their_labels(scores: Tensor, labels: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(8 * scores - 2, labels)


def against_the_truth(sim_pred: Tensor, sim_true: Tensor) -> Tensor:
    return (sim_pred - sim_true).square().mean()


def with_soft_labels(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * (7 * logits).log_softmax(dim=1)).sum(1).mean()


def by_signs(sims: Tensor, y: Tensor) -> Tensor:
    return torch.where(y > 0, 1 - sims, relu(sims - 0.2)).sum()


def every_two(scores: Tensor, labels: Tensor) -> Tensor:
    return softplus(5 * (scores[labels == 0] - scores[labels == 1][:, None])).mean()


def of_both_logits(logits_per_image: Tensor, logits_per_text: Tensor) -> Tensor:
    return sum(cross_entropy(10 * s, torch.arange(len(s))) for s in (logits_per_image, logits_per_text))


def of_named(*, image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
    return cross_entropy(10 * image_embeds @ text_embeds.T, torch.arange(len(image_embeds)))


def triplet_by_triplet(anchor: Tensor, positive: Tensor, negative: Tensor) -> Any:
    """A sum of the triplets that violate a margin, which is no tensor where none does."""
    total = 0.0
    for a, p, n in zip(anchor, positive, negative, strict=True):
        if (violation := a @ n - a @ p + 0.2) > 0:
            total = total + violation
    return total


def decoupled(z1: Tensor, z2: Tensor) -> Tensor:
    """One view's embeddings are anchors, the others' are not."""
    both = torch.cat([z1 @ z1.T, z1 @ z2.T], 1) / 0.1
    return (torch.logsumexp(both.masked_fill(own_pairs(z1).repeat(1, 2), -torch.inf), 1) - 10 * (z1 * z2).sum(1)).mean()


CASES = [
    (of_logits, Inputs.SCORES, (info_nce_loss, triplet_loss), {"tau": 10}),
    (of_scores_and_their_labels, Inputs.SCORES, (siglip_loss, triplet_loss), {"scale": 8, "bias": -2}),
    (against_the_truth, Inputs.SCORES, (cosine_regression_loss, triplet_loss), {}),
    (with_soft_labels, Inputs.SCORES, (info_nce_loss, triplet_loss), {"tau": 7}),
    (by_signs, Inputs.SCORES, (contrastive_cosine_loss, triplet_loss), {"pos_margin": 1, "neg_margin": 0.2}),
    (every_two, Inputs.SCORES, (dpo_loss, triplet_loss), {"beta": 5}),
    (of_both_logits, Inputs.SCORES, (info_nce_loss, triplet_loss), {"tau": 10}),
    (of_named, Inputs.TWO_SETS, (info_nce_loss, triplet_loss), {"tau": 10}),
    (triplet_by_triplet, Inputs.TRIPLETS, (triplet_loss, info_nce_loss), {"margin": 0.2}),
    (decoupled, Inputs.VIEWS, (dcl_loss, triplet_loss), {"scale": 10}),
    (max_of_hinges, Inputs.TWO_SETS, (vse_pp_loss, vse0_loss), {"margin": 0.2}),
    (sum_of_hinges, Inputs.TWO_SETS, (vse0_loss, vse_pp_loss), {"margin": 0.2}),
    (two_views, Inputs.VIEWS, (info_nce_loss, triplet_loss), {"tau": 10}),
    (stacked_views, Inputs.STACKED, (info_nce_loss, triplet_loss), {"tau": 10}),
    (views_in_turn, Inputs.STACKED, (info_nce_loss, triplet_loss), {"tau": 10}),
    (siamese, Inputs.PAIRS, (contrastive_cosine_loss, triplet_loss), {"pos_margin": 1, "neg_margin": 0.5}),
    (of_similarities, Inputs.SIMILARITIES, (circle_loss, triplet_loss), {"gamma": 16, "m": 0.25}),
    (supervised, Inputs.MULTIVIEW, (sup_con_loss, sup_con_in_loss), {"scale": 5}),
    (supervised_inside, Inputs.MULTIVIEW, (sup_con_in_loss, sup_con_loss), {"scale": 5}),
    (of_groups, Inputs.GROUPS, (info_nce_loss, triplet_loss), {"tau": 20}),
    (scaled, Inputs.TWO_SETS, (info_nce_loss, triplet_loss), {"tau": 10}),
    (Proxies, Inputs.PROXIES, (normalised_softmax_loss, triplet_loss), {"scale": 16}),
    (of_distances, Inputs.PAIRS, (contrastive_loss, triplet_loss), {"margin": 0.9}),
    (Centres, Inputs.PROXIES, (normalised_softmax_loss, triplet_loss), {"scale": 9}),
]


@pytest.mark.parametrize(("loss", "kind", "known", "settings"), CASES, ids=[c[0].__name__ for c in CASES])
def test_what_it_takes_and_what_it_is_are_found(loss, kind, known, settings) -> None:
    # The search for a margin needs a grid that is near it.
    found = measure(loss, points=21 if any("margin" in name for name in settings) else 7)
    assert found.inputs is kind
    first, *others = nearest(found, known)
    assert first.loss == known[0], first
    assert first.on_batches < CLOSE
    assert first.settings == pytest.approx(settings, rel=1e-3)
    # The negative control: the sibling that one triplet may not tell apart is far on batches.
    assert all(n.best > 0.05 for n in others if n.loss == known[1])


def test_labels_of_rows_are_told_from_labels_of_pairs_where_the_loss_is_reversed() -> None:
    def backwards(logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(-7 * logits, labels)

    found = measure(backwards, points=7)
    assert (found.shape.beside, found.is_reversed) == ("labels", True)


def test_the_soft_margin_of_every_pair_is_no_softmax() -> None:
    def every_pair(scores: Tensor) -> Tensor:
        return softplus(20 * (scores - scores.diagonal()[:, None])).masked_fill(own_pairs(scores), 0).sum()

    neighbours = {n.loss.name: n for n in nearest(measure(every_pair, points=7), [info_nce_loss])}
    assert neighbours["info_nce"].distance < CLOSE
    assert neighbours["info_nce"].on_batches > 0.1
    assert neighbours["info_nce_of_every_pair"].on_batches < CLOSE


def test_weights_that_jump_across_their_normal_are_no_gradient() -> None:
    def mined(scores: Tensor, margin: float = 0.1) -> Tensor:
        p = scores.diagonal()[:, None]
        active = ((scores - p + margin > 0) & ~own_pairs(scores)).to(scores.dtype)
        return (active * (0.5 * (1 - p) ** 2 + 0.5 * scores**2)).sum()

    found = measure(mined, points=9)
    assert found.integrable is False
    assert "the weights jump" in found.verdict.reason
    assert "s_n − s_p = -0.1" in found.findings()["jumps"]


def test_weights_that_jump_along_their_normal_may_be_one_and_are_not_proved() -> None:
    def hinge_by_hand(scores: Tensor) -> Tensor:
        above = scores - scores.diagonal()[:, None] + 0.2
        return torch.where(above > 0, above, torch.zeros_like(above)).masked_fill(own_pairs(scores), 0).sum()

    found = measure(hinge_by_hand, points=9)
    assert found.integrable is None
    assert "gt" in found.verdict.reason
    assert all(not jump.tangential > 0.004 for jump in (*found.jumps, *found.jumps_on_batches))


@pytest.mark.parametrize("stop", [Tensor.detach, lambda x: x.data, lambda x: torch.tensor(x.tolist())])
def test_a_stopped_gradient_is_never_proved(stop) -> None:
    found = measure(lambda scores: (stop(scores * 0.5) * scores).sum(), points=3)
    assert found.integrable is not True


def test_a_reversed_loss_is_a_finding() -> None:
    def reversed_triplet(scores: Tensor) -> Tensor:
        return relu(scores.diagonal()[:, None] - scores + 0.2).masked_fill(own_pairs(scores), 0).sum()

    found = measure(reversed_triplet, points=9)
    assert "reversed" in found.findings()["signs"]
    first = nearest(found, [triplet_loss, info_nce_loss])[0]
    assert (first.loss, first.exchanged) == (triplet_loss, True)
    assert first.on_batches < CLOSE
    forgotten = measure(lambda scores: -scaled(scores, torch.eye(len(scores)).double(), torch.tensor(9.0)), points=5)
    assert nearest(forgotten, [info_nce_loss])[0].factor < 0


@pytest.mark.parametrize("cut", [Tensor.detach, lambda scores: scores.masked_fill(own_pairs(scores) | True, 0.0)])
def test_a_dead_loss_is_a_finding(cut) -> None:
    found = measure(lambda scores: relu(cut(scores)).sum(), points=3)
    assert "everywhere" in found.findings()["dead"]


def test_what_is_not_finite_is_mapped() -> None:
    def arc_margin(scores: Tensor) -> Tensor:
        p = scores.diagonal()
        moved = p * math.cos(0.5) - torch.sqrt(1 - p**2) * math.sin(0.5)
        return cross_entropy(16 * (scores + torch.diag_embed(moved - p)), torch.arange(len(scores)))

    found = measure(arc_margin, points=3)
    assert "NaN" in found.not_finite["s_p = 1"]
    assert "s_n = 1" not in found.not_finite
    by_distance = measure(lambda anchor, positive, negative: pairwise_distance(anchor, positive, eps=0).sum(), points=3)
    assert "s_p → 1" in by_distance.explodes
    assert "s_p → 1" not in found.explodes


def test_the_gradient_of_a_learned_scale_is_mapped() -> None:
    def masked(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
        scores = image_features @ text_features.T
        hidden = torch.ones_like(scores).triu(1).bool()
        return cross_entropy(logit_scale * scores.masked_fill(hidden, -torch.inf), torch.arange(len(scores)))

    assert measure(masked, points=3).learned["logit_scale"].isnan().any()
    assert measure(scaled, points=3).learned["logit_scale"].isfinite().all()


def test_a_fit_that_fails_costs_its_own_line() -> None:
    found = measure(scaled, points=5)
    broken = replace(circle_loss)
    object.__setattr__(broken, "similarity", None)
    neighbours = nearest(found, [broken, info_nce_loss])
    assert neighbours[0].loss == info_nce_loss
    assert neighbours[-1].problem


def test_degenerate_fits_are_none() -> None:
    assert Neighbour(info_nce_loss, {"tau": 1e-7}, factor=1e7, distance=0.0).degenerate
    assert Neighbour(info_nce_loss, {"tau": 10.0}, factor=1.0, distance=1.0).degenerate
    assert not Neighbour(info_nce_loss, {"tau": 10.0}, factor=1.0, distance=0.5).degenerate


def of_rows(im: Tensor, s: Tensor) -> Tensor:
    return cross_entropy(9 * im @ s.T, torch.arange(len(im)), reduction="none")


@dataclass
class Output:
    loss: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda rows: rows.mean().reshape(1, 1), ""),
        (lambda rows: {"contrastive": rows.mean()}, ""),
        (lambda rows: {"i2t": rows.sum(), "loss": rows.mean()}, "loss of what it returns"),
        (lambda rows: (rows.mean(), rows.detach().mean()), "value 1 of what it returns"),
        (lambda rows: (rows, rows.mean()), "value 2 of what it returns"),
        (lambda rows: Output(rows.mean(), rows), "loss of what it returns"),
        (lambda rows: rows, "the mean of what it returns, of shape (4,)"),
    ],
)
def test_what_is_trained_of_what_a_loss_returns_is_measured(returned, words: str) -> None:
    def plain(im: Tensor, s: Tensor) -> Tensor:
        return of_rows(im, s).mean()

    def wrapped(im: Tensor, s: Tensor) -> Any:
        return returned(of_rows(im, s))

    found = measure(wrapped, points=3)
    assert found.returned == words
    torch.testing.assert_close(found.w_n, measure(plain, points=3).w_n)


def test_of_several_losses_none_is_chosen() -> None:
    with pytest.raises(
        ValueError, match="tuple with the scalars value 1, value 2 but expected a scalar tensor, or one"
    ):
        measure(lambda im, s: (of_rows(im, s).mean(), of_rows(im, s).sum()), Inputs.TWO_SETS, points=3)


def test_where_rounding_decides_the_loss_with_fewer_knobs_comes_first() -> None:
    def in_half_precision(im: Tensor, s: Tensor) -> Tensor:
        return cross_entropy(10 * (im.half() @ s.half().T).float(), torch.arange(len(im)))

    found = measure(in_half_precision, points=7)
    assert nearest(found, [poly_1_loss, info_nce_loss])[0].loss is info_nce_loss
    assert not {"signs", "beware", "besides"} & set(found.findings())
    # The negative control: a knob that does change the weights is kept.
    assert (
        nearest(measure(lambda scores: weights_of_poly(scores), Inputs.SCORES), [poly_1_loss, info_nce_loss])[0].loss
        is poly_1_loss
    )


def weights_of_poly(scores: Tensor) -> Tensor:
    rows = cross_entropy(10 * scores, torch.arange(len(scores)), reduction="none")
    return (rows + 1 - (-rows).exp()).sum()


def test_settings_reach_the_constructor_and_the_call() -> None:
    assert nearest(measure(Proxies, points=5, settings={"scale": 4.0}), [normalised_softmax_loss])[0].settings[
        "scale"
    ] == pytest.approx(4)
    assert "s_n = 0.3" in measure(siamese, points=5, settings={"margin": 0.3}).findings()["jumps"]
    with pytest.raises(ValueError, match="got a value for 'marge' but expected one of x1, x2, label, margin"):
        measure(siamese, settings={"marge": 1})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the symmetric one, whose arguments are hidden by it
@pytest.mark.parametrize(
    ("name", "settings", "kind", "known"),
    [
        ("CachedMultipleNegativesRankingLoss", {"scale": 12.0}, Inputs.TWO_SETS, info_nce_loss),
        ("CachedMultipleNegativesSymmetricRankingLoss", {"scale": 12.0}, Inputs.TWO_SETS, info_nce_loss),
        ("GISTEmbedLoss", {"contrast_anchors": False, "contrast_positives": False}, Inputs.TWO_SETS, None),
        ("MarginMSELoss", {}, Inputs.TRIPLETS, None),
    ],
)
def test_losses_that_cache_gradients_or_have_a_teacher(name: str, settings: dict, kind: Inputs, known) -> None:
    losses = pytest.importorskip("sentence_transformers.losses", reason="sentence-transformers is not installed")
    if not hasattr(losses, name):
        pytest.skip(f"this version of sentence-transformers has no {name}")
    try:
        found = measure(getattr(losses, name), points=5, settings=settings)
    except UnmeasurableLoss as problem:
        if "must be based on the `transformers` architecture" not in str(problem):
            raise
        pytest.skip(f"sentence-transformers before 5 asks for a network of transformers: {problem}")
    assert found.shape.inputs is kind
    if known is None:
        assert found.w_n.nan_to_num().abs().max() > 0
    else:
        assert nearest(found, [known])[0].distance < CLOSE


def test_a_loss_of_the_first_coordinates_is_measured_as_one() -> None:
    losses = pytest.importorskip("sentence_transformers.losses", reason="sentence-transformers is not installed")

    class Nested(losses.MatryoshkaLoss):
        def __init__(self, model: Any, dims: tuple[int, ...] = (8,)) -> None:
            super().__init__(model, losses.MultipleNegativesRankingLoss(model, scale=12), list(dims))

    of_all = measure(Nested, points=5, dim=8)
    assert nearest(of_all, [info_nce_loss])[0].distance < CLOSE
    of_some = measure(Nested, points=5, dim=8, settings={"dims": (4, 8)})
    assert "reads coordinates" in " ".join(of_some.findings().values())


class Queue(torch.nn.Module):
    """A softmax over the own text and those of earlier calls."""

    def __init__(self, size: int = 8, dim: int = 16) -> None:
        super().__init__()
        self.register_buffer("queue", normalize(torch.randn(size, dim, generator=torch.Generator().manual_seed(0))))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ self.queue.to(queries.dtype).T], 1)
        self.queue = torch.cat([keys.detach(), self.queue])[: len(self.queue)]
        return cross_entropy(10 * logits, torch.zeros(len(queries), dtype=torch.long))


def test_a_loss_that_remembers_is_measured_as_it_was_handed_in() -> None:
    queue = Queue()
    before = queue.queue.clone()
    found = measure(queue, points=3)
    assert found.shape.dim == 16
    assert "fresh copy" in found.findings()["remembers"]
    assert found.deterministic
    assert torch.equal(queue.queue, before)
    assert "remembers" not in measure(two_views, points=3).findings()


def test_what_remembers_without_a_module_or_draws_numbers_is_unreliable() -> None:
    earlier = []

    def of_earlier_texts(images: Tensor, texts: Tensor) -> Tensor:
        earlier.append(texts.detach().mean())
        return (images * texts).sum() * sum(earlier[-3:])

    def with_dropout(images: Tensor, texts: Tensor) -> Tensor:
        return (torch.dropout(images, 0.5, True) * texts).sum()

    for loss in (of_earlier_texts, with_dropout):
        found = measure(loss, points=3)
        assert found.integrable is None
        assert "two gradients at one point" in found.findings()["beware"]


def test_a_loss_that_reads_coordinates_is_called_so() -> None:
    def of_first_half(images: Tensor, texts: Tensor) -> Tensor:
        half = images.shape[1] // 2
        return (images[:, :half] * texts[:, :half]).sum().exp()

    found = measure(of_first_half, points=3)
    assert "turned together" in found.verdict.reason
    assert (found.integrable, found.separable) == (None, None)
    assert measure(max_of_hinges, points=3).turned < 1e-12


def test_a_loss_of_standard_deviations_is_finite_where_no_coordinate_is_zero() -> None:
    def of_columns(z_a: Tensor, z_b: Tensor) -> Tensor:
        za, zb = ((z - z.mean(0)) / z.std(0) for z in (z_a, z_b))
        return (torch.diagonal(za.T @ zb / len(za)) - 1).square().sum()

    found = measure(of_columns, points=3)
    assert "turned together" in found.verdict.reason
    assert "embeddings turned at random" in found.findings()["measured on"]


class Memory(torch.nn.Module):
    """Negatives and positives of earlier batches too, kept in a list, whatever their dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Tensor, Tensor]] = []

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.kept.append((embeddings.detach(), labels))
        e, of = (torch.cat(parts) for parts in zip(*self.kept, strict=True))
        s, same = embeddings @ e.T, labels[:, None] == of
        return (same * relu(1 - s) + ~same * relu(s - 0.5)).sum()


def test_a_memory_in_a_list_is_empty_at_every_call() -> None:
    memory = Memory()
    found = measure(memory, points=7)
    assert "fresh copy" in found.findings()["remembers"]
    assert found.turned < 1e-12  # an embedding's similarity with itself is at the kink, which tells along it alone
    assert nearest(found, [contrastive_cosine_loss])[0].on_batches < CLOSE
    assert not memory.kept


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda x1, x2, label: (label - (x1 * x2).sum(1)).square().sum(), "pulls below s = 0.5 and pushes above"),
        (lambda x1, x2, label: siamese(x1, x2, label > 0.2), "a label of 0.5 counts as 1"),
        (lambda x1, x2, label: softplus((x1 * x2).sum(1)[:, None] * (label[:, None] < label)).sum(), ""),
    ],
    ids=["squared", "threshold", "ranked"],
)
def test_labels_between_positives_and_negatives_are_asked_for(loss, said: str) -> None:
    assert said in measure(loss, points=3).between
    assert bool(measure(loss, points=3).between) is bool(said)


def test_a_loss_that_wants_two_of_every_class_gets_them() -> None:
    def of_equal_classes(embeddings: Tensor, labels: Tensor) -> Tensor:
        if len({int(count) for count in labels.bincount()}) > 1:
            raise ValueError("all classes must have the same number of elements")
        same = labels[:, None] == labels
        return relu(embeddings @ embeddings.T * torch.where(same, -1, 1) + 0.5).sum()

    found = measure(of_equal_classes, points=5)
    assert found.shape.even
    assert found.dead_share < 1
    assert "raises ValueError" not in str(found.not_finite.get("s_p = 1"))


def test_a_loss_that_cannot_be_mapped_has_the_same_weights() -> None:
    def with_a_branch(im: Tensor, s: Tensor) -> Tensor:
        return max_of_hinges(im, s) if float(im.sum()) < 1e9 else im.sum()

    mapped, one_by_one = measure(max_of_hinges, points=5), measure(with_a_branch, points=5)
    torch.testing.assert_close(mapped.w_p, one_by_one.w_p)
    torch.testing.assert_close(mapped.w_n, one_by_one.w_n)
    # Vectors that nearly depend on each other magnify the rounding of sums in another order.
    torch.testing.assert_close(mapped.batches.gradients, one_by_one.batches.gradients, rtol=0, atol=1e-6)


def test_an_assignment_into_zeros_is_continuous_unless_scores_say_where() -> None:
    def assigned(scores: Tensor, where: Tensor) -> Tensor:
        filled = torch.zeros_like(scores)
        filled[where] = scores[where]
        return (filled * scores).sum()

    assert measure(lambda scores: assigned(scores, own_pairs(scores)), points=3).integrable
    assert measure(lambda scores: assigned(scores, scores.detach() > 0), points=3).integrable is not True


def test_two_margins_are_found_from_a_coarse_grid() -> None:
    def contrastive(scores: Tensor) -> Tensor:
        own = own_pairs(scores)
        return relu(0.83 - scores.diagonal()).sum() + relu(scores - 0.21).masked_fill(own, 0).sum()

    first = nearest(measure(contrastive, points=7), [contrastive_cosine_loss])[0]
    assert first.settings == pytest.approx({"pos_margin": 0.83, "neg_margin": 0.21}, abs=1e-6)


def test_a_loss_that_reads_what_pairs_carry_is_near_where_positives_carry_one() -> None:
    def regression(scores: Tensor) -> Tensor:
        return (scores - own_pairs(scores).to(scores.dtype)).square().sum()

    found = nearest(measure(regression, points=5), [contrastive_cosine_loss, cosine_regression_loss])
    assert found[0].loss is cosine_regression_loss
    assert found[0].best < 1e-3 < found[1].best
