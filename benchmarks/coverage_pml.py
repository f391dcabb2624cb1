"""The classes of pytorch-metric-learning, and what they are here."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from typing import Any

import sympy as sp
import torch
from coverage_shipped import (
    CENTRES,
    CLASSES,
    COUNT,
    DIM,
    EQUAL,
    IN_CLASSES,
    ITSELF,
    LABELS,
    MISREAD,
    PAIRS,
    PROXIES,
    Shipped,
    Value,
    found,
)
from torch import Tensor, nn
from torch.nn.functional import normalize

from goal_analysis.api.objectives import value_of
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Objective, Reduction

PML = "pytorch-metric-learning"


def _one_set(name: str, labels: Tensor = LABELS, **options: Any) -> Value:
    return lambda x, _=None: found(PML, name)(**options)(x, labels)


def _of_unit(value: Value) -> Value:
    """The class of embeddings of unit length, where it reads their norms."""
    return lambda x, y: value(normalize(x), normalize(y))


def _with_proxies(name: str, **options: Any) -> Value:
    """The loss with these proxies in the place of its own."""

    def value(x: Tensor, p: Tensor) -> Tensor:
        sizes = {"num_classes": CLASSES} | ({} if name == "P2SGradLoss" else {"embedding_size": DIM})
        sizes |= {"descriptors_dim": DIM} if name == "P2SGradLoss" else {}
        loss = found(PML, name)(**sizes, **options).double()
        own = next(key for key, _ in loss.named_parameters())
        held = p if own == "proxies" else p.T
        return torch.func.functional_call(_Stateless(loss), {f"loss.{own}": held}, (x,))

    return value


class _Stateless(nn.Module):
    """A loss of proxies whose cast of them to the embeddings' type, done in place, has nothing to do."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        loss.cast_types = lambda dtype, device: None

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x, IN_CLASSES)


def _n_pairs(x: Tensor, y: Tensor) -> Tensor:
    """Row i is an anchor, row COUNT + i its positive."""
    distances = importlib.import_module("pytorch_metric_learning.distances")
    loss = found(PML, "NPairsLoss")(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    at = torch.arange(COUNT)
    return loss(torch.cat([x, y]), at.repeat(2), (at, COUNT + at, at[:1], at[:1] + 1))


def _reducer(name: str) -> Any:
    return getattr(importlib.import_module("pytorch_metric_learning.reducers"), name)()


def _margin_of_triplets() -> Objective:
    """A positive pair counts once for each negative of its anchor, a negative one once for each positive."""
    loss = replace(value_of("margin"), reduction=Reduction.SUM)
    first, second = loss.terms
    counts = (int((~EQUAL).sum(1)[0]), int(EQUAL.sum(1)[0]) - 1)
    return replace(
        loss,
        terms=(replace(first, outer=counts[0] * first.outer), replace(second, outer=counts[1] * second.outer)),
    )


def _signal_to_noise() -> Objective:
    def minus_ratio(x: Tensor, y: Tensor) -> Tensor:
        return -(x[:, None] - y).var(-1) / x.var(-1)[:, None]

    ratio = Similarity("signal_to_noise", "−Var(a − b)/Var(a)", -sp.oo, sp.Integer(0), tensors=minus_ratio)
    return replace(value_of("hinge_embedding(reduction=mean_active)"), similarity=ratio)


RADIANS = "degrees in the library, 28.6 by default: 0.499 in radians; past 180° it goes on with another formula"
OF_PML: tuple[Shipped, ...] = (
    Shipped(PML, "AngularLoss", why="reads the similarity of positive and negative too: (a + p)·n", measured=True),
    Shipped(
        PML,
        "ArcFaceLoss",
        _with_proxies("ArcFaceLoss", margin=math.degrees(0.5)),
        "arc_face",
        PROXIES,
        given="margin=degrees(0.5)",
        why=RADIANS,
    ),
    Shipped(PML, "CircleLoss", _one_set("CircleLoss"), "circle(m=0.4, gamma=80)"),
    Shipped(
        PML,
        "ContrastiveLoss",
        _one_set("ContrastiveLoss"),
        "hinge_embedding(reduction=mean_active)",
        why="distances without the paper's squares, and means over pairs above zero: `contrastive` is the paper's",
    ),
    Shipped(PML, "CosFaceLoss", _with_proxies("CosFaceLoss"), "cos_face", PROXIES),
    Shipped(
        PML,
        "DynamicSoftMarginLoss",
        why="weighs by a histogram of all batches so far",
    ),
    Shipped(
        PML,
        "FastAPLoss",
        why="quotients of running totals of soft histograms, 22 aggregates of an anchor for 10 bins",
        measured=True,
    ),
    Shipped(
        PML,
        "GeneralizedLiftedStructureLoss",
        _one_set("GeneralizedLiftedStructureLoss"),
        "generalised_lifted_structure",
        why="an anchor without a positive adds a value, as an empty log Σ exp reads as zero",
    ),
    Shipped(
        PML,
        "HistogramLoss",
        why="reads the distributions of all similarities of the batch, not of one anchor",
        measured=True,
    ),
    Shipped(
        PML,
        "InstanceLoss",
        _one_set("InstanceLoss"),
        "normalised_softmax(scale=64)",
        MISREAD,
        why="the paper classifies with a layer of proxies; here row c of the batch stands in for class c",
    ),
    Shipped(
        PML,
        "IntraPairVarianceLoss",
        why="compares every pair with the mean similarity of all pairs of its kind in the batch",
        measured=True,
    ),
    Shipped(
        PML,
        "LargeMarginSoftmaxLoss",
        _of_unit(_with_proxies("LargeMarginSoftmaxLoss")),
        "sphere_face",
        PROXIES,
        given="embeddings and weights of unit length",
        why="multiplies logits by both norms otherwise",
    ),
    Shipped(PML, "LiftedStructureLoss", _one_set("LiftedStructureLoss"), "lifted_structure"),
    Shipped(PML, "ManifoldLoss", why="random walks on a graph of the whole batch"),
    Shipped(
        PML,
        "MarginLoss",
        lambda x, _: found(PML, "MarginLoss")(reducer=_reducer("SumReducer"))(x, LABELS),
        _margin_of_triplets(),
        line="margin",
        given="reducer=SumReducer()",
        why="counts a pair once a triplet, here 6 and 2 times, and divides by the number of terms above zero",
    ),
    Shipped(
        PML,
        "MultiSimilarityLoss",
        _one_set("MultiSimilarityLoss"),
        "multi_similarity(alpha=2, beta=50, lam=0.5)",
        why="divides the positives' term by all anchors, also those without a positive",
    ),
    Shipped(
        PML,
        "NCALoss",
        _one_set("NCALoss"),
        "neighbourhood_components(reduction=mean)",
    ),
    Shipped(PML, "NormalizedSoftmaxLoss", _with_proxies("NormalizedSoftmaxLoss"), "normalised_softmax", PROXIES),
    Shipped(
        PML,
        "NPairsLoss",
        _n_pairs,
        "n_pair",
        PAIRS,
        given="distance=DotProductSimilarity(normalize_embeddings=False)",
        why="normalises by default, which leaves cosines without a scale",
    ),
    Shipped(PML, "NTXentLoss", _one_set("NTXentLoss"), f"info_nce(tau={1 / 0.07}, anchors=rows, reduction=mean_each)"),
    Shipped(
        PML,
        "P2SGradLoss",
        lambda x, p: _with_proxies("P2SGradLoss")(x, normalize(p)),
        "p2s_grad",
        PROXIES,
        factor=1 / CLASSES,
        given="weights of unit length",
        why="a mean over all pairs; takes weights to unit length outside of the gradient, by way of 10⁻⁵",
    ),
    Shipped(PML, "PNPLoss", _one_set("PNPLoss"), "pnp", ITSELF),
    Shipped(PML, "PNPLoss", _one_set("PNPLoss", variant="Ds"), "pnp_decreasing", ITSELF, given='variant="Ds"'),
    Shipped(PML, "PNPLoss", _one_set("PNPLoss", variant="Dq"), "pnp_decreasing_quickly", ITSELF, given='variant="Dq"'),
    Shipped(PML, "PNPLoss", _one_set("PNPLoss", variant="Iu"), "pnp_increasing", ITSELF, given='variant="Iu"'),
    Shipped(PML, "PNPLoss", _one_set("PNPLoss", variant="Ib"), "pnp_increasing_bounded", ITSELF, given='variant="Ib"'),
    Shipped(
        PML,
        "ProxyAnchorLoss",
        _with_proxies("ProxyAnchorLoss"),
        "proxy_anchor",
        PROXIES,
        why="divides by the number of classes, also of those without a negative in the batch",
    ),
    Shipped(
        PML,
        "ProxyNCALoss",
        _with_proxies("ProxyNCALoss"),
        "proxy_nca_pp(scale=1)",
        PROXIES,
        why="has the own proxy in the denominator, which the paper, `proxy_nca`, leaves out",
    ),
    Shipped(
        PML,
        "RankedListLoss",
        _one_set("RankedListLoss", margin=0.4, Tn=5),
        "ranked_list(temperature=5)",
        factor=0.5,
        given="margin=0.4, Tn=5",
        why="differentiates the weights of the negatives, which the authors' layer does not",
    ),
    Shipped(
        PML,
        "SignalToNoiseRatioContrastiveLoss",
        _one_set("SignalToNoiseRatioContrastiveLoss"),
        _signal_to_noise(),
        line="hinge_embedding(reduction=mean_active)",
        given="a similarity of one's own, −Var(a − b)/Var(a)",
    ),
    Shipped(PML, "SmoothAPLoss", _one_set("SmoothAPLoss"), "smooth_ap", ITSELF),
    Shipped(
        PML,
        "SoftTripleLoss",
        _with_proxies("SoftTripleLoss", centers_per_class=3),
        "soft_triple",
        CENTRES,
        given="centers_per_class=3",
    ),
    Shipped(
        PML,
        "SphereFaceLoss",
        lambda x, p: _with_proxies("SphereFaceLoss")(normalize(x), p),
        "sphere_face",
        PROXIES,
        given="embeddings of unit length",
        why="multiplies logits by the norm of the embedding otherwise",
    ),
    Shipped(
        PML,
        "SubCenterArcFaceLoss",
        _with_proxies("SubCenterArcFaceLoss", margin=math.degrees(0.5)),
        "sub_center_arc_face",
        CENTRES,
        given="margin=degrees(0.5)",
        why=RADIANS,
    ),
    Shipped(PML, "SupConLoss", _one_set("SupConLoss"), "sup_con"),
    Shipped(
        PML,
        "ThresholdConsistentMarginLoss",
        _one_set("ThresholdConsistentMarginLoss"),
        "threshold_consistent_margin",
    ),
    Shipped(PML, "TripletMarginLoss", _one_set("TripletMarginLoss"), "batch_all_triplet"),
    Shipped(
        PML,
        "TupletMarginLoss",
        _one_set("TupletMarginLoss", margin=math.degrees(0.1)),
        "tuplet_margin",
        given="margin=degrees(0.1)",
        why="degrees, 5.73 by default; a mean over the positive pairs of the batch, not over those of an anchor",
    ),
    Shipped(PML, "SelfSupervisedLoss", why="another loss, of two views"),
    Shipped(PML, "VICRegLoss", why="variances and covariances of the coordinates, not similarities"),
)
