"""Losses of pytorch-metric-learning, measured and compared with their formulas on one triplet."""

import math
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor, sigmoid
from torch.func import functional_call

from goal_analysis.numeric.measurement import Inputs, measure
from goal_analysis.numeric.measurement.calling import LossFunction


def against_proxies(loss: torch.nn.Module, parameter: str, transposed: bool) -> LossFunction:
    """A loss with class proxies of its own, which are handed in as references."""

    def with_proxies(queries: Tensor, query_labels: Tensor, proxies: Tensor, proxy_labels: Tensor) -> Tensor:
        value = proxies.T if transposed else proxies
        return functional_call(loss.double(), {parameter: value}, (queries, query_labels))

    return with_proxies


def distance(s: Tensor) -> Tensor:
    return torch.sqrt(2 - 2 * s)


def circle(s_p: Tensor, s_n: Tensor, m: float = 0.4, gamma: float = 6) -> tuple[Tensor, Tensor]:
    of_p, of_n = torch.relu(1 + m - s_p), torch.relu(s_n + m)
    triplet = gamma * sigmoid(gamma * (of_n * (s_n - m) - of_p * (s_p - 1 + m)))
    return triplet * of_p, triplet * of_n


def margin(s_p: Tensor, s_n: Tensor) -> tuple[Tensor, Tensor]:
    far, near = (distance(s_p) - 1.2 + 0.2 > 0).double(), (1.2 - distance(s_n) + 0.2 > 0).double()
    active = (far + near).clamp(min=1)
    return far / distance(s_p) / active, near / distance(s_n) / active


def tuplet(s_p: Tensor, s_n: Tensor, scale: float = 8, slack: float = 0.1) -> tuple[Tensor, Tensor]:
    slope = math.cos(slack) + s_p * math.sin(slack) / torch.sqrt(1 - s_p**2) * -1
    widened = s_p * math.cos(slack) + torch.sqrt(1 - s_p**2) * math.sin(slack)
    triplet = scale * sigmoid(scale * (s_n - widened))
    return triplet * slope, triplet


def arc_face(s_p: Tensor, s_n: Tensor, scale: float = 8, added: float = math.radians(28.6)) -> tuple[Tensor, Tensor]:
    angle = torch.acos(s_p)
    low = angle > math.pi - added  # there PML subtracts a constant instead
    shifted = torch.where(low, s_p - added * math.sin(added), torch.cos(angle + added))
    slope = torch.where(low, 1.0, torch.sin(angle + added) / torch.sin(angle))
    triplet = scale * sigmoid(scale * (s_n - shifted))
    return triplet * slope, triplet


def both(weight: Tensor) -> tuple[Tensor, Tensor]:
    return weight, weight


COSINE = CosineSimilarity()
KNOWN: dict[str, tuple[LossFunction, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]] = {
    "NTXent": (
        pml.NTXentLoss(temperature=0.2),
        lambda p, n: both(5 * sigmoid(5 * (n - p))),
    ),
    "SupCon": (
        pml.SupConLoss(temperature=0.25),
        lambda p, n: both(4 * sigmoid(4 * (n - p))),
    ),
    "NCA": (
        pml.NCALoss(softmax_scale=3),
        lambda p, n: both(6 * sigmoid(6 * (n - p))),
    ),
    "MultiSimilarity": (
        pml.MultiSimilarityLoss(alpha=2, beta=10, base=0.4),
        lambda p, n: (sigmoid(2 * (0.4 - p)), sigmoid(10 * (n - 0.4))),
    ),
    "Circle": (pml.CircleLoss(m=0.4, gamma=6), circle),
    "TripletMargin, cosine": (
        pml.TripletMarginLoss(margin=0.23, distance=COSINE),
        lambda p, n: both((n - p + 0.23 > 0).double()),
    ),
    "TripletMargin, smooth": (
        pml.TripletMarginLoss(margin=0.1, smooth_loss=True),
        lambda p, n: tuple(sigmoid(distance(p) - distance(n) + 0.1) / distance(s) for s in (p, n)),
    ),
    "Contrastive, cosine": (
        pml.ContrastiveLoss(pos_margin=1, neg_margin=0.05, distance=COSINE),
        lambda p, n: ((p < 1).double(), (n > 0.05).double()),
    ),
    "Contrastive": (
        pml.ContrastiveLoss(pos_margin=0, neg_margin=1),
        lambda p, n: (1 / distance(p), (distance(n) < 1) / distance(n)),
    ),
    "Margin": (pml.MarginLoss(margin=0.2, beta=1.2), margin),
    "TupletMargin": (pml.TupletMarginLoss(math.degrees(0.1), 8), tuplet),
    "GeneralizedLifted": (
        pml.GeneralizedLiftedStructureLoss(neg_margin=1, pos_margin=0),
        lambda p, n: tuple((distance(p) + 1 - distance(n) > 0) / distance(s) for s in (p, n)),
    ),
    "NormalizedSoftmax": (
        against_proxies(pml.NormalizedSoftmaxLoss(2, 4, temperature=0.2), "W", True),
        lambda p, n: both(5 * sigmoid(5 * (n - p))),
    ),
    "CosFace": (
        against_proxies(pml.CosFaceLoss(2, 4, margin=0.35, scale=8), "W", True),
        lambda p, n: both(8 * sigmoid(8 * (n - p + 0.35))),
    ),
    "ArcFace": (against_proxies(pml.ArcFaceLoss(2, 4, margin=28.6, scale=8), "W", True), arc_face),
    "ProxyNCA": (
        against_proxies(pml.ProxyNCALoss(2, 4, softmax_scale=2), "proxies", False),
        lambda p, n: both(4 * sigmoid(4 * (n - p))),
    ),
    "ProxyAnchor": (
        against_proxies(pml.ProxyAnchorLoss(2, 4, margin=0.1, alpha=8), "proxies", False),
        lambda p, n: (8 * sigmoid(8 * (0.1 - p)), 8 * sigmoid(8 * (n + 0.1))),
    ),
}


AVERAGED = ("TripletMargin, cosine", "TripletMargin, smooth", "Contrastive, cosine", "Contrastive", "Margin")
"""The library averages over the pairs or triplets that are active: weights jump where their number does."""


@pytest.mark.parametrize("name", KNOWN)
def test_the_weights_are_those_of_the_formula(name: str) -> None:
    loss, formula = KNOWN[name]
    found = measure(loss, Inputs.QUERIES, points=6, name=name)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    w_p, w_n = (w.expand_as(s_p).double() for w in formula(s_p, s_n))
    assert found.reached.all()
    assert max(w_p.max(), w_n.max()) > 0.1
    torch.testing.assert_close(found.w_p, w_p, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.w_n, w_n, rtol=1e-8, atol=1e-8)
    assert found.unexplained < 1e-8
    assert found.separable
    # Circle stops gradients; ArcFace's value jumps where the library goes over to subtracting a constant.
    if name in ("Circle", "ArcFace"):
        assert found.integrable is False
    else:
        assert found.integrable is not False or name in AVERAGED


def test_a_wrong_formula_is_refused() -> None:
    loss, _ = KNOWN["NTXent"]
    _, formula = KNOWN["SupCon"]
    found = measure(loss, Inputs.QUERIES, points=4)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    assert not torch.allclose(found.w_p, formula(s_p, s_n)[0], rtol=1e-2)


def test_circle_loss_is_no_gradient_and_multi_similarity_is() -> None:
    stopped = measure(pml.CircleLoss(), points=5)
    assert stopped.on_batches.share > 0.01
    assert stopped.on_plane.share > 0.03
    assert not stopped.integrable
    whole = measure(pml.MultiSimilarityLoss(), points=5)
    assert whole.on_batches.share < 1e-8
    assert whole.integrable


def test_circle_loss_is_a_gradient_once_its_factors_are_differentiated() -> None:
    def undetached(scores: Tensor) -> Tensor:
        s_p, eye = scores.diagonal()[:, None], torch.eye(len(scores), dtype=torch.bool)
        above = torch.relu(scores + 0.4) * (scores - 0.4) - torch.relu(1.4 - s_p) * (s_p - 0.6)
        return torch.nn.functional.softplus((6 * above).masked_fill(eye, -torch.inf).logsumexp(1)).sum()

    assert measure(undetached, points=8).integrable


def test_one_set_of_embeddings_gives_the_weights_of_a_triplet_seen_from_both_its_anchors() -> None:
    found = measure(pml.NTXentLoss(temperature=0.2), points=6)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    expected = torch.where(found.reached, 5 * sigmoid(5 * (s_n - s_p)), torch.nan)
    torch.testing.assert_close(found.w_p, expected, equal_nan=True)
    torch.testing.assert_close(found.w_n, expected, equal_nan=True)


def test_one_set_of_embeddings_has_the_negative_as_an_anchor_too() -> None:
    found = measure(pml.MultiSimilarityLoss(alpha=2, beta=10, base=0.4), points=6)
    s_p, s_n = torch.meshgrid(found.s_p, found.s_n, indexing="ij")
    # Of three anchors two have one positive and one negative, the third has no positive and two negatives.
    w_p = 2 * sigmoid(2 * (0.4 - s_p)) / 3
    w_n = (2 * sigmoid(10 * (s_n - 0.4)) + sigmoid(10 * (s_n - 0.4) + math.log(2))) / 3
    for measured, expected in ((found.w_p, w_p), (found.w_n, w_n)):
        torch.testing.assert_close(measured, expected.where(found.reached, torch.nan), equal_nan=True)


def test_the_angular_loss_reads_positive_and_negative_together() -> None:
    found = measure(pml.AngularLoss(), Inputs.QUERIES, points=5)
    assert found.aside > 0.1
    assert found.integrable
    assert "other pairs" in found.summary()


def test_a_loss_that_reads_more_than_similarities_is_called_so() -> None:
    assert measure(pml.SignalToNoiseRatioContrastiveLoss(), points=4).unexplained > 0.1
