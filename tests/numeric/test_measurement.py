"""Losses whose weights are known, measured; and callables that are no losses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from goal_analysis.numeric.measurement import Inputs, Measurement, UnmeasurableLoss, measure
from goal_analysis.numeric.measurement.calling import kinds_of


def clip_loss(image_features: Tensor, text_features: Tensor, logit_scale: float = 14.0) -> Tensor:
    """open_clip's ClipLoss on one machine."""
    logits = logit_scale * image_features @ text_features.T
    target = torch.arange(len(logits))
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def siglip_loss(image_features: Tensor, text_features: Tensor, scale: float = 10, bias: float = -4) -> Tensor:
    """open_clip's SigLipLoss on one machine."""
    logits = scale * image_features @ text_features.T + bias
    return -logsigmoid((2 * torch.eye(len(logits)) - 1) * logits).sum() / len(logits)


def ranking_loss(anchor_embeddings: Tensor, positive_embeddings: Tensor) -> Tensor:
    """sentence-transformers' MultipleNegativesRankingLoss: cosines times 20, one direction."""
    scores = 20 * normalize(anchor_embeddings, dim=1) @ normalize(positive_embeddings, dim=1).T
    return cross_entropy(scores, torch.arange(len(scores)))


def cosent_loss(anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """sentence-transformers' CoSENTLoss on pairs (anchor, positive) labelled 1, (anchor, negative) labelled
    0.

    log(1 + Σ exp(20·(cos(i) − cos(j)))) over all pairs i labelled below j.
    """
    high, low = torch.cosine_similarity(anchors, positives), torch.cosine_similarity(anchors, negatives)
    above = 20 * (low[:, None] - high[None, :])
    return torch.logsumexp(torch.cat([torch.zeros(1), above.reshape(-1)]), 0)


def triplet_loss(anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """sentence-transformers' TripletLoss: Euclidean distances, the margin 5 replaced by one that can be
    met."""
    distance = torch.nn.functional.pairwise_distance
    return torch.relu(distance(anchors, positives, eps=0) - distance(anchors, negatives, eps=0) + 0.5).mean()


def by_distance(s: Tensor) -> Tensor:
    return 1 / torch.sqrt(2 - 2 * s)


def violates(s_p: Tensor, s_n: Tensor) -> Tensor:
    return (torch.sqrt(2 - 2 * s_p) - torch.sqrt(2 - 2 * s_n) + 0.5 > 0).double()


KNOWN: list[tuple[Callable, Callable, Callable]] = [
    (
        clip_loss,
        lambda p, n: 14 * torch.sigmoid(14 * (n - p)),
        lambda p, n: 14 * torch.sigmoid(14 * (n - p)),
    ),
    (
        siglip_loss,
        lambda p, n: 10 * torch.sigmoid(-10 * p + 4) + 0 * n,
        lambda p, n: 10 * torch.sigmoid(10 * n - 4) + 0 * p,
    ),
    (
        ranking_loss,
        lambda p, n: 20 * torch.sigmoid(20 * (n - p)),
        lambda p, n: 20 * torch.sigmoid(20 * (n - p)),
    ),
    (
        cosent_loss,
        lambda p, n: 20 * torch.sigmoid(20 * (n - p)),
        lambda p, n: 20 * torch.sigmoid(20 * (n - p)),
    ),
    (
        triplet_loss,
        lambda p, n: violates(p, n) * by_distance(p),
        lambda p, n: violates(p, n) * by_distance(n),
    ),
]


@pytest.mark.parametrize(("loss", "w_p", "w_n"), KNOWN, ids=[loss.__name__ for loss, _, _ in KNOWN])
def test_the_weights_are_those_of_the_formula(loss: Callable, w_p: Callable, w_n: Callable) -> None:
    found = measure(loss, points=9)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    assert found.reached.all()
    torch.testing.assert_close(found.w_p, w_p(s_p, s_n), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.w_n, w_n(s_p, s_n), rtol=1e-9, atol=1e-9)
    assert found.separable
    assert found.integrable
    assert found.unexplained < 1e-9
    # A negative control: the same comparison sees one part in a thousand.
    with pytest.raises(AssertionError):
        torch.testing.assert_close(1.001 * found.w_n, w_n(s_p, s_n), rtol=1e-9, atol=1e-9)


def test_a_gradient_stopped_at_one_end_is_seen() -> None:
    def keys_stopped(image_features: Tensor, text_features: Tensor) -> Tensor:
        return clip_loss(image_features, text_features.detach())

    assert measure(keys_stopped, points=3).unexplained > 0.3
    assert "stopped" in measure(keys_stopped, points=3).summary()
    assert "stopped" not in measure(clip_loss, points=3).summary()


def test_weight_on_other_pairs_is_seen() -> None:
    def swapped(anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return triplet_loss(anchors, positives, negatives) + 0.1 * (positives * negatives).sum()

    assert measure(swapped, points=5).aside > 0.05
    assert measure(triplet_loss, points=5).aside < 1e-9


def test_the_dead_region_is_where_the_margin_is_met() -> None:
    found = measure(lambda scores: torch.relu(scores - scores.diagonal()[:, None] + 0.25).sum(), points=20)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    assert torch.equal(found.dead, s_n - s_p + 0.25 < 0)
    assert "s_n − s_p -1.90 … -0.30" in found.summary()
    assert "dead: nowhere" in measure(siglip_loss, points=3).summary()


def test_the_table_and_the_text_say_the_same() -> None:
    found = measure(clip_loss, points=4, name="CLIP")
    frame = found.frame()
    assert list(frame.columns) == ["s_p", "s_n", "w_p", "w_n", "T", "P_p", "P_n", "curl", "dead", "reached"]
    assert len(frame) == 16
    row = frame.iloc[6]
    assert row.w_p == pytest.approx(14 / (1 + torch.exp(torch.tensor(14 * (row.s_p - row.s_n)))).item())
    assert row["T"] * row.P_n == pytest.approx(row.w_n)
    assert found.summary().startswith("CLIP\n  measured on: (image embeddings, text embeddings)")
    assert "| separable | yes" in found._repr_markdown_()


def test_parameters_get_no_gradient() -> None:
    loss = torch.nn.Linear(1, 1)

    def scaled(scores: Tensor) -> Tensor:
        return (loss.weight * scores).sum()

    assert isinstance(measure(scaled, points=2), Measurement)
    assert loss.weight.grad is None


def test_inputs_are_read_off_the_names() -> None:
    assert kinds_of(clip_loss)[0] is Inputs.TWO_SETS
    assert kinds_of(triplet_loss)[0] is Inputs.TRIPLETS
    assert kinds_of(lambda queries, labels, references, reference_labels: queries)[0] is Inputs.QUERIES
    with pytest.raises(UnmeasurableLoss, match=r"got a callable of \(a, b, c, d, e\).*inputs=.*Inputs.TWO_SETS"):
        kinds_of(lambda a, b, c, d, e: a)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda scores: scores.argmax(0), r"got a value of shape \(4,\) and torch.int64 but expected a scalar"),
        (lambda scores: "3.0", "got a value of type str but expected a scalar"),
        (lambda scores: scores.sum() * float("nan"), "got a value or a gradient that is not finite, at the similar"),
        (lambda scores: (scores - scores).abs().sqrt().sum(), "got a value or a gradient that is not finite"),
        (
            lambda scores: scores @ torch.zeros(7),
            r"called with \(score matrix\).*\(4, 4\) float64.*RuntimeError",
        ),
    ],
)
def test_what_is_no_loss_is_named(loss: Callable, message: str) -> None:
    with pytest.raises(UnmeasurableLoss, match=message):
        measure(loss, points=2)


def test_a_wrong_grid_is_named() -> None:
    with pytest.raises(ValueError, match="got points=1"):
        measure(clip_loss, points=1)
    with pytest.raises(ValueError, match="dim: got 2 but expected at least 8"):
        measure(clip_loss, points=3, dim=2)
