"""The classes of all libraries, and what they are here; those of pytorch-metric-learning have a file of their own.

Where open_clip or lightly is not installed, its formulas stand in, written out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from coverage_pml import OF_PML
from coverage_shipped import (
    BRANCHES,
    COUNT,
    DIM,
    EQUAL,
    ITSELF,
    LABELS,
    NEXT,
    OTHERS,
    OWN,
    PAIRS,
    TAUGHT,
    TEACHER,
    TRIPLETS,
    TWICE,
    VIEWS,
    Shipped,
    Value,
    found,
)
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cosine_similarity, cross_entropy, log_softmax, logsigmoid, normalize

from goal_analysis.api.objectives import value_of
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.language.similarity import COSINE, DOT, NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors, Objective

# --- sentence-transformers --------------------------------------------------------------------------------------------

ST = "sentence-transformers"


class _Given(nn.Sequential):
    """A model whose features are the embeddings."""

    def __init__(self) -> None:
        super().__init__(nn.Identity())


def _with_model(name: str, **options: Any) -> Any:
    return found(ST, name)(_Given(), **options)


def _of_columns(name: str, **options: Any) -> Value:
    return lambda x, y: _with_model(name, **options).compute_loss_from_embeddings([x, y], LABELS)


def _in_batches(name: str, **options: Any) -> Value:
    return lambda x, y: _with_model(name, **options).calculate_loss([[x], [y]])


def _by_labels(name: str, **options: Any) -> Value:
    return lambda x, _: _with_model(name, **options).compute_loss_from_embeddings([normalize(x)], LABELS)


def _as_triplets(name: str, **options: Any) -> Value:
    def value(x: Tensor, y: Tensor) -> Tensor:
        x, y = normalize(x), normalize(y)
        return _with_model(name, **options).compute_loss_from_embeddings([x, y, y.roll(-1, 0)], LABELS)

    return value


def _every_pair(x: Tensor, _: Tensor) -> Tensor:
    i, j = OTHERS.nonzero(as_tuple=True)
    loss = _with_model("ContrastiveLoss", size_average=False)
    return loss.compute_loss_from_embeddings([x[i], x[j]], EQUAL[i, j].int())


def _pairs_of_each_anchor(name: str) -> Value:
    def of_anchor(x: Tensor, i: int) -> Tensor:
        others = torch.arange(COUNT) != i
        pairs = [x[i].expand(COUNT - 1, -1), x[others]]
        return _with_model(name).compute_loss_from_embeddings(pairs, EQUAL[i, others].int())

    return lambda x, _: torch.stack([of_anchor(x, i) for i in range(COUNT)]).mean()


def _tension(x: Tensor, y: Tensor) -> Tensor:
    i, j = torch.ones_like(EQUAL).nonzero(as_tuple=True)
    features = [{"sentence_embedding": x[i]}, {"sentence_embedding": y[j]}]
    return _with_model("ContrastiveTensionLoss")(features, (i == j).double())


def _tension_in_batch(x: Tensor, _: Tensor) -> Tensor:
    return _with_model("ContrastiveTensionLossInBatchNegatives").double()([{"sentence_embedding": x}], LABELS)


def _embeddings_of_a_teacher(name: str, metric: str) -> Value:
    def value(x: Tensor, y: Tensor) -> Tensor:
        loss = found(ST, name)
        made = loss.__new__(loss)
        nn.Module.__init__(made)
        made.projection, made.distance_metric = None, metric
        return made.compute_loss_from_embeddings([x], [y])

    return value


def _every_graded_pair(x: Tensor, y: Tensor) -> Tensor:
    """A product of the scores' grades, of every row with every column."""
    i, j = torch.ones_like(EQUAL).nonzero(as_tuple=True)
    return _with_model("CosineSimilarityLoss").compute_loss_from_embeddings([x[i], y[j]], TEACHER[i, j])


def _against_all(name: str) -> Value:
    """Every row with its positive and, as hard negatives, all other columns."""
    order = torch.stack([torch.arange(COUNT).roll(-i) for i in range(COUNT)])

    def value(x: Tensor, y: Tensor) -> Tensor:
        columns = [y[order[:, k]] for k in range(COUNT)]
        return _with_model(name).compute_loss_from_embeddings([x, *columns], TEACHER.gather(1, order))

    return value


class _Guide(nn.Module):
    """A teacher of these scores: the rows' embeddings are the scores, those of the columns one-hot."""

    def forward(self, features: dict[str, Any]) -> dict[str, Tensor]:
        return {"sentence_embedding": TEACHER if features["rows"] else torch.eye(COUNT, dtype=TEACHER.dtype)}


def _guided(name: str) -> Value:
    """The class, whose models would have to have tokenizers, with what its constructor sets."""

    def value(x: Tensor, y: Tensor) -> Tensor:
        loss = found(ST, name)
        made = loss.__new__(loss)
        nn.Module.__init__(made)
        made.model, made.guide, made.must_retokenize, made.gather_across_devices = _Given(), _Guide(), False, False
        made.temperature, made.margin, made.margin_strategy = 0.01, 0.0, "absolute"
        made.contrast_anchors = made.contrast_positives = made.show_progress_bar = False
        made.similarity_fct, made.cross_entropy_loss = nn.CosineSimilarity(dim=-1), nn.CrossEntropyLoss()
        made.mini_batch_size = 4
        features = [{"sentence_embedding": x, "rows": True}, {"sentence_embedding": y, "rows": False}]
        if name == "GISTEmbedLoss":
            return made(features, LABELS)
        return made.calculate_loss([[x], [y]], [[made.guide(one)["sentence_embedding"]] for one in features])

    return value


UNIT = "embeddings of unit length"
ANY_LENGTH = "distances of embeddings of any length by default"
UNCONTRASTED = "contrast_anchors=False, contrast_positives=False"
CONTRASTED = "by default two anchors, and two positives, are negatives of each other too"
OTHER_COLUMNS = "all other columns as negatives"
OF_ST: tuple[Shipped, ...] = (
    Shipped(ST, "AdaptiveLayerLoss", why="another loss on the output of several layers"),
    Shipped(ST, "AnglELoss", why="reads the embeddings as complex numbers, and a score of every pair"),
    Shipped(
        ST,
        "BatchAllTripletLoss",
        _by_labels("BatchAllTripletLoss"),
        "batch_all_triplet(margin=5)",
        given=UNIT,
        why=ANY_LENGTH,
    ),
    Shipped(
        ST,
        "BatchHardSoftMarginTripletLoss",
        _by_labels("BatchHardSoftMarginTripletLoss"),
        "triplet_soft_margin",
        given=UNIT,
        why=ANY_LENGTH,
    ),
    Shipped(
        ST,
        "BatchHardTripletLoss",
        _by_labels("BatchHardTripletLoss"),
        "batch_hard_triplet(margin=5)",
        given=UNIT,
        why=ANY_LENGTH,
    ),
    Shipped(
        ST,
        "BatchSemiHardTripletLoss",
        _by_labels("BatchSemiHardTripletLoss"),
        replace(value_of("semi_hard_triplet(margin=5)"), similarity=NEGATIVE_EUCLIDEAN),
        line="semi_hard_triplet(margin=5)",
        given=UNIT,
        why="distances that are not squared, as FaceNet's are; of any length by default",
    ),
    Shipped(
        ST,
        "CachedGISTEmbedLoss",
        _guided("CachedGISTEmbedLoss"),
        "guided_info_nce",
        TAUGHT,
        given=UNCONTRASTED,
        why=CONTRASTED,
    ),
    Shipped(
        ST,
        "CachedMultipleNegativesRankingLoss",
        _in_batches("CachedMultipleNegativesRankingLoss"),
        "info_nce(tau=20, anchors=rows)",
        PAIRS,
    ),
    Shipped(
        ST,
        "CachedMultipleNegativesSymmetricRankingLoss",
        _in_batches("CachedMultipleNegativesSymmetricRankingLoss"),
        "info_nce(tau=20)",
        PAIRS,
    ),
    Shipped(
        ST,
        "CoSENTLoss",
        _pairs_of_each_anchor("CoSENTLoss"),
        "cosent",
        given="the pairs of one anchor at a time, labels 0 and 1",
        why="compares the pairs of different anchors too, and scores of any grade",
    ),
    Shipped(
        ST,
        "ContrastiveLoss",
        _every_pair,
        "contrastive_cosine_squared(reduction=sum)",
        given="size_average=False, every pair of the set",
        why="a mean over the pairs that it is given",
    ),
    Shipped(
        ST,
        "ContrastiveTensionLoss",
        _tension,
        "negative_sampling(reduction=sum)",
        PAIRS,
        given="every pair of the batch",
        why="seven random negatives a sentence, by a data loader of its own",
    ),
    Shipped(
        ST,
        "ContrastiveTensionLossInBatchNegatives",
        _tension_in_batch,
        "info_nce(tau=20)",
        TWICE,
        why="two copies of a model embed the sentences, and the scale is learned",
    ),
    Shipped(
        ST,
        "CosineSimilarityLoss",
        _every_graded_pair,
        "cosine_regression",
        TAUGHT,
        factor=1 / COUNT,
        given="every pair",
        why="a mean over pairs, of labels in single precision",
    ),
    Shipped(ST, "DenoisingAutoEncoderLoss", why="the text that a decoder makes of the embedding"),
    Shipped(ST, "DistillKLDivLoss", _against_all("DistillKLDivLoss"), "distilled_softmax", TAUGHT, given=OTHER_COLUMNS),
    Shipped(
        ST,
        "EmbedDistillLoss",
        _embeddings_of_a_teacher("EmbedDistillLoss", "cosine"),
        "negative_cosine",
        PAIRS,
        given='distance_metric="cosine", a teacher\'s embeddings as columns',
        why="1 is added to the value, and the teacher learns nothing",
    ),
    Shipped(
        ST,
        "GISTEmbedLoss",
        _guided("GISTEmbedLoss"),
        "guided_info_nce",
        TAUGHT,
        given=UNCONTRASTED,
        why=CONTRASTED,
    ),
    Shipped(
        ST,
        "GlobalOrthogonalRegularizationLoss",
        why="squares the mean of all similarities of the batch, and cuts their mean square at 1/d",
    ),
    Shipped(
        ST,
        "MSELoss",
        lambda x, y: _embeddings_of_a_teacher("MSELoss", "mse")(normalize(x), normalize(y)),
        "negative_cosine",
        PAIRS,
        factor=2 / DIM,
        given=f"{UNIT}, a teacher's as columns",
        why="a mean over coordinates, of embeddings of any length by default; 1 − cos in place of −cos",
    ),
    Shipped(ST, "MarginMSELoss", _against_all("MarginMSELoss"), "margin_mse", TAUGHT, given=OTHER_COLUMNS),
    Shipped(ST, "Matryoshka2dLoss", why="another loss on several lengths and layers of the embeddings"),
    Shipped(ST, "MatryoshkaLoss", why="another loss on several lengths of the embeddings"),
    Shipped(
        ST,
        "MegaBatchMarginLoss",
        _in_batches("MegaBatchMarginLoss", use_mini_batched_version=False),
        "mega_batch_margin",
        PAIRS,
        given="use_mini_batched_version=False",
    ),
    Shipped(
        ST,
        "MultipleNegativesRankingLoss",
        _of_columns("MultipleNegativesRankingLoss"),
        "info_nce(tau=20, anchors=rows)",
        PAIRS,
    ),
    Shipped(
        ST,
        "MultipleNegativesRankingLoss",
        _of_columns("MultipleNegativesRankingLoss", hardness_mode="in_batch_negatives", hardness_strength=9.0),
        "hardness_weighted_info_nce",
        PAIRS,
        given='hardness_mode="in_batch_negatives", hardness_strength=9',
    ),
    Shipped(
        ST,
        "MultipleNegativesSymmetricRankingLoss",
        _of_columns("MultipleNegativesSymmetricRankingLoss"),
        "info_nce(tau=20)",
        PAIRS,
    ),
    Shipped(
        ST,
        "OnlineContrastiveLoss",
        _pairs_of_each_anchor("OnlineContrastiveLoss"),
        "online_contrastive",
        given="the pairs of one anchor at a time",
        why="compares with the hardest pairs of the whole batch, and sums",
    ),
    Shipped(ST, "SoftmaxLoss", why="a classifier on the concatenated embeddings, not on a similarity"),
    Shipped(
        ST,
        "TripletLoss",
        _as_triplets("TripletLoss"),
        "batch_all_triplet(margin=5, reduction=mean_each)",
        TRIPLETS,
        given=UNIT,
        why=ANY_LENGTH,
    ),
)


# --- torch ------------------------------------------------------------------------------------------------------------

TORCH = "torch"
SIGNS = torch.where(OWN, 1.0, -1.0).double()


def _of_scores(value: Callable[[Tensor], Tensor]) -> Value:
    return lambda x, y: value(x @ y.T)


def _given_triplets(loss: nn.Module) -> Value:
    return lambda x, y: loss(normalize(x), normalize(y), normalize(y).roll(-1, 0))


def _embedded_pairs(loss: nn.Module) -> Value:
    def value(x: Tensor, y: Tensor) -> Tensor:
        i, j = torch.ones_like(OWN).nonzero(as_tuple=True)
        return loss(x[i], y[j], SIGNS[i, j])

    return value


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return -scores(NEGATIVE_EUCLIDEAN, normalize(x), normalize(y))


def _with_weights(x: Tensor, y: Tensor) -> Tensor:
    """Logits of a linear layer, whose weights are the columns."""
    layer = found(TORCH, "LinearCrossEntropyLoss")(DIM, COUNT, dtype=x.dtype)
    return functional_call(layer, {"linear.weight": y}, (x, torch.arange(COUNT)))


def _of_logits(line: str) -> Objective:
    """A loss of cosines on scores without a range."""
    return replace(value_of(line), similarity=DOT)


LOGITS = "logits x·y"
COLUMNS_OF = torch.where(EQUAL, torch.arange(COUNT), COUNT).sort(1)[0]
PADDED = COLUMNS_OF.where(COLUMNS_OF < COUNT, -1)
"""The columns that match a row, and −1 for the rest."""
NUMBERS = "a regression of numbers; `cosine_regression` squares the errors"
OF_TORCH: tuple[Shipped, ...] = (
    Shipped(TORCH, "AdaptiveLogSoftmaxWithLoss", why="a tree of softmaxes over classes, by how frequent they are"),
    Shipped(
        TORCH,
        "BCELoss",
        _of_scores(lambda s: nn.BCELoss(reduction="sum")(s.sigmoid(), OWN.double())),
        "negative_sampling(reduction=sum)",
        PAIRS,
        given=f'sigmoids of {LOGITS}, reduction="sum"',
        why="a mean over all pairs by default",
    ),
    Shipped(
        TORCH,
        "BCEWithLogitsLoss",
        _of_scores(lambda s: nn.BCEWithLogitsLoss(reduction="sum")(s, OWN.double())),
        "negative_sampling(reduction=sum)",
        PAIRS,
        given=f'{LOGITS}, reduction="sum"',
        why="a mean over all pairs by default",
    ),
    Shipped(TORCH, "CTCLoss", why="alignments of sequences"),
    Shipped(
        TORCH,
        "CosineEmbeddingLoss",
        _embedded_pairs(nn.CosineEmbeddingLoss(reduction="sum")),
        "contrastive_cosine(pos_margin=1, neg_margin=0, reduction=sum, anchors=rows)",
        PAIRS,
        given='every pair, reduction="sum"',
        why="a mean over all pairs by default",
    ),
    Shipped(
        TORCH,
        "CrossEntropyLoss",
        _of_scores(lambda s: nn.CrossEntropyLoss()(s, torch.arange(COUNT))),
        "n_pair",
        PAIRS,
        given=LOGITS,
    ),
    Shipped(TORCH, "GaussianNLLLoss", why="a regression of numbers with a variance"),
    Shipped(
        TORCH,
        "HingeEmbeddingLoss",
        lambda x, y: nn.HingeEmbeddingLoss(reduction="sum")(_distances(x, y), SIGNS),
        "hinge_embedding(reduction=sum)",
        PAIRS,
        given='distances of unit vectors, reduction="sum"',
        why="a mean over all pairs by default",
    ),
    Shipped(TORCH, "HuberLoss", why=NUMBERS),
    Shipped(
        TORCH,
        "KLDivLoss",
        _of_scores(lambda s: nn.KLDivLoss(reduction="batchmean")(log_softmax(s, 1), TEACHER.softmax(1))),
        "distilled_softmax",
        TAUGHT,
        given=f'log-softmax of {LOGITS} and softmax of a teacher\'s, reduction="batchmean"',
        why="a mean over all pairs by default",
    ),
    Shipped(TORCH, "L1Loss", why=NUMBERS),
    Shipped(
        TORCH,
        "LinearCrossEntropyLoss",
        _with_weights,
        "n_pair",
        PAIRS,
        given="columns as the layer's weights",
    ),
    Shipped(
        TORCH,
        "MSELoss",
        lambda x, y: nn.MSELoss()(normalize(x) @ normalize(y).T, TEACHER),
        "cosine_regression",
        TAUGHT,
        factor=1 / COUNT,
        given="cosines of all pairs",
        why="a mean over all pairs, of any numbers",
    ),
    Shipped(
        TORCH,
        "MarginRankingLoss",
        _of_scores(lambda s: nn.MarginRankingLoss(margin=1)(s[OWN], s[NEXT], torch.ones(COUNT, dtype=s.dtype))),
        "slic(beta=1)",
        TRIPLETS,
        given=f"{LOGITS}, margin=1",
        why="a margin of 0 by default",
    ),
    Shipped(
        TORCH,
        "MultiLabelMarginLoss",
        _of_scores(lambda s: nn.MultiLabelMarginLoss()(s, PADDED)),
        _of_logits("triplet(margin=1)"),
        ITSELF,
        line="triplet(margin=1)",
        factor=1 / COUNT,
        given=LOGITS,
        why="divides by the number of classes",
    ),
    Shipped(
        TORCH,
        "MultiLabelSoftMarginLoss",
        _of_scores(lambda s: nn.MultiLabelSoftMarginLoss()(s, OWN.double())),
        "negative_sampling(reduction=sum)",
        PAIRS,
        factor=1 / COUNT**2,
        given=LOGITS,
        why="a mean over all pairs",
    ),
    Shipped(
        TORCH,
        "MultiMarginLoss",
        _of_scores(lambda s: nn.MultiMarginLoss()(s, torch.arange(COUNT))),
        _of_logits("triplet(margin=1)"),
        PAIRS,
        line="triplet(margin=1)",
        factor=1 / COUNT,
        given=LOGITS,
        why="divides by the number of classes",
    ),
    Shipped(
        TORCH,
        "NLLLoss",
        _of_scores(lambda s: nn.NLLLoss()(log_softmax(s, 1), torch.arange(COUNT))),
        "n_pair",
        PAIRS,
        given=f"log-softmax of {LOGITS}",
    ),
    Shipped(TORCH, "PoissonNLLLoss", why="a regression of counts"),
    Shipped(TORCH, "SmoothL1Loss", why=NUMBERS),
    Shipped(
        TORCH,
        "SoftMarginLoss",
        _of_scores(lambda s: nn.SoftMarginLoss(reduction="sum")(s, SIGNS)),
        "negative_sampling(reduction=sum)",
        PAIRS,
        given=f'{LOGITS}, reduction="sum"',
        why="a mean over all pairs by default",
    ),
    Shipped(
        TORCH,
        "TripletMarginLoss",
        _given_triplets(nn.TripletMarginLoss()),
        "batch_all_triplet(margin=1, reduction=mean_each)",
        TRIPLETS,
        given=UNIT,
        why="adds 10⁻⁶ to every difference of coordinates",
    ),
    Shipped(
        TORCH,
        "TripletMarginWithDistanceLoss",
        _given_triplets(nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: 1 - cosine_similarity(a, b))),
        "triplet(margin=1, anchors=rows, reduction=mean_each)",
        TRIPLETS,
        given="distance_function=lambda a, b: 1 - cosine_similarity(a, b)",
    ),
)


# --- open_clip --------------------------------------------------------------------------------------------------------

CLIP = "open_clip"


def _clip(x: Tensor, y: Tensor) -> Tensor:
    x, y, loss = normalize(x), normalize(y), found(CLIP, "ClipLoss")
    if loss is not None:
        return loss()(x, y, torch.tensor(20.0, dtype=x.dtype))
    at = torch.arange(len(x))
    return (cross_entropy(20 * x @ y.T, at) + cross_entropy(20 * y @ x.T, at)) / 2


def _sigmoids(x: Tensor, y: Tensor) -> Tensor:
    x, y, loss = normalize(x), normalize(y), found(CLIP, "SigLipLoss")
    if loss is not None:
        return loss()(x, y, torch.tensor(10.0, dtype=x.dtype), torch.tensor(-10.0, dtype=x.dtype))
    return -logsigmoid(SIGNS * (10 * x @ y.T - 10)).sum() / len(x)


def _distilled(x: Tensor, y: Tensor) -> Tensor:
    """CLIP's loss, and the cross entropies of both axes against a teacher whose rows are its scores."""
    x, y, loss = normalize(x), normalize(y), found(CLIP, "DistillClipLoss")
    scale, identity = torch.tensor(20.0, dtype=x.dtype), torch.eye(COUNT, dtype=x.dtype)
    if loss is not None:
        return sum(loss()(x, y, scale, TEACHER, identity, scale))
    s = scale * x @ y.T
    axes = ((s, TEACHER), (s.T, TEACHER.T))
    return _clip(x, y) + sum(cross_entropy(of, (scale * to).softmax(1)) for of, to in axes) / 2


def _clip_and_distilled() -> Objective:
    """The terms of both losses; distillation is times a squared temperature, CLIP's is not."""
    clip, distilled = value_of("info_nce(tau=20)"), value_of("distilled_softmax(temperature=0.05)")
    undone = tuple(replace(term, outer=400 * term.outer) for term in distilled.terms)
    settings = (*clip.hyperparameters, *distilled.hyperparameters)
    return replace(
        distilled, terms=(*clip.terms, *undone), hyperparameters=settings, similarity=COSINE, anchors=Anchors.BOTH
    )


LEARNED = "the scale is learned, from 1/0.07 on"
OF_CLIP: tuple[Shipped, ...] = (
    Shipped(CLIP, "ClipLoss", _clip, "info_nce(tau=20)", PAIRS, given="logit_scale=20", why=LEARNED),
    Shipped(
        CLIP,
        "CoCaLoss",
        _clip,
        "info_nce(tau=20)",
        PAIRS,
        given="the contrastive part, logit_scale=20",
        why="a loss of generated captions is added",
    ),
    Shipped(
        CLIP,
        "DistillClipLoss",
        _distilled,
        _clip_and_distilled(),
        TAUGHT,
        line="info_nce(tau=20) + 400·distilled_softmax(temperature=0.05, anchors=both)",
        given="both of its values, added, both scales 20",
        why="the teacher's entropy is added to the value; the scale is learned",
    ),
    Shipped(
        CLIP,
        "SigLipLoss",
        _sigmoids,
        "siglip",
        PAIRS,
        given="logit_scale=10, logit_bias=-10",
        why="scale and bias are learned, from 10 and −10 on",
    ),
)


# --- lightly ----------------------------------------------------------------------------------------------------------

LIGHTLY = "lightly"
VIEW = torch.arange(COUNT).repeat(2)


def _of_views(name: str, written: Callable[[Tensor], Tensor], **options: Any) -> Value:
    def value(x: Tensor, y: Tensor) -> Tensor:
        loss = found(LIGHTLY, name)
        z = normalize(torch.cat((x, y)))
        return written(z @ z.T) if loss is None else loss(**options)(x, y)

    return value


def _ntxent(tau: float) -> Callable[[Tensor], Tensor]:
    def value(s: Tensor) -> Tensor:
        others = s.masked_fill(torch.eye(2 * COUNT, dtype=torch.bool), -torch.inf)
        return cross_entropy(tau * others, torch.arange(2 * COUNT).roll(COUNT))

    return value


def _regions_of_branches(x: Tensor, y: Tensor, of_x: Tensor, of_y: Tensor, name: str = "DetConBLoss") -> Tensor:
    """Of three images with three regions each, the same in both views."""
    loss = found(LIGHTLY, name)
    if loss is not None:
        views, masks = [z.view(3, 3, -1) for z in (x, y, of_x, of_y)], torch.arange(3).expand(3, 3)
        return loss()(*(views if name == "DetConBLoss" else views[:2]), masks, masks)
    z, targets = normalize(torch.cat((x, y))), normalize(torch.cat((of_x, of_y)))
    return 2 * _ntxent(10)(z @ targets.T)


def _decoupled(s: Tensor) -> Tensor:
    same = VIEW[:, None] == VIEW
    own = s[same & ~torch.eye(2 * COUNT, dtype=torch.bool)]
    return (torch.logsumexp(10 * s.masked_fill(same, -torch.inf), 1) - 10 * own).mean()


def _negative_cosine(x: Tensor, y: Tensor) -> Tensor:
    loss = found(LIGHTLY, "NegativeCosineSimilarity")
    return -cosine_similarity(x, y).mean() if loss is None else loss()(x, y)


REGIONS = "every mask once in each view"
TWO_MEANS = "a mean of either view, added; weighs regions less that share a mask"
NO_PAIRS = "not similarities of pairs"
SPREAD = f"variances and covariances of the coordinates, {NO_PAIRS}"
DIRECTIONS = "the distribution of the batch along random directions, and the mean of the views"
PROTOTYPES = "distributions over prototypes, and their mean over the batch"
ASSIGNED = "assignments to prototypes, balanced over the batch"
TAUGHT_CLASSES = "a distribution over the classes of a head, against a teacher's that is centred over batches"
OF_LIGHTLY: tuple[Shipped, ...] = (
    Shipped(LIGHTLY, "BarlowTwinsLoss", why=f"correlations of the coordinates, {NO_PAIRS}", measured=True),
    Shipped(LIGHTLY, "CAPILoss", why=ASSIGNED),
    Shipped(LIGHTLY, "DCLLoss", _of_views("DCLLoss", _decoupled), "dcl", VIEWS),
    Shipped(
        LIGHTLY, "DCLWLoss", why="weighs a positive by its share in a softmax over those of all anchors", measured=True
    ),
    Shipped(LIGHTLY, "DINOLoss", why=TAUGHT_CLASSES),
    Shipped(
        LIGHTLY,
        "DetConBLoss",
        _regions_of_branches,
        "info_nce(tau=10, anchors=rows)",
        BRANCHES,
        factor=2,
        given=REGIONS,
        why=TWO_MEANS,
    ),
    Shipped(
        LIGHTLY,
        "DetConSLoss",
        lambda x, y: _regions_of_branches(x, y, x, y, "DetConSLoss"),
        "info_nce(tau=10, anchors=rows)",
        VIEWS,
        factor=2,
        given=REGIONS,
        why=TWO_MEANS,
    ),
    Shipped(
        LIGHTLY,
        "DirectCLRLoss",
        _of_views("DirectCLRLoss", _ntxent(2)),
        "info_nce(tau=2, anchors=rows)",
        VIEWS,
        why="of the first 64 coordinates alone, by default",
    ),
    Shipped(LIGHTLY, "EMPSSLLoss", why=f"the coding rate of the coordinates, {NO_PAIRS}"),
    Shipped(LIGHTLY, "FroSSLLoss", why=f"the norm of the covariance of the coordinates, {NO_PAIRS}"),
    Shipped(LIGHTLY, "IBOTPatchLoss", why=f"{TAUGHT_CLASSES}, of patches"),
    Shipped(LIGHTLY, "IBOTPlusPlusPatchLoss", why=f"{TAUGHT_CLASSES}, of patches"),
    Shipped(
        LIGHTLY,
        "KoLeoLoss",
        why="a regulariser without positives, the logarithm of the distance to the nearest; not in the catalog",
        measured=True,
    ),
    Shipped(LIGHTLY, "LeJEPALoss", why=DIRECTIONS),
    Shipped(LIGHTLY, "LeWMLoss", why="the prediction of a next frame's embedding, and a distribution along directions"),
    Shipped(
        LIGHTLY,
        "MACLLoss",
        why="a temperature that depends on the mean similarity of the positives of the batch",
        measured=True,
    ),
    Shipped(LIGHTLY, "MMCRLoss", why=f"singular values of the views and of their means, {NO_PAIRS}"),
    Shipped(LIGHTLY, "MSNLoss", why=PROTOTYPES),
    Shipped(LIGHTLY, "NTXentLoss", _of_views("NTXentLoss", _ntxent(2)), "info_nce(tau=2, anchors=rows)", VIEWS),
    Shipped(LIGHTLY, "NegativeCosineSimilarity", _negative_cosine, "negative_cosine", PAIRS),
    Shipped(LIGHTLY, "PMSNCustomLoss", why=PROTOTYPES),
    Shipped(LIGHTLY, "PMSNLoss", why=PROTOTYPES),
    Shipped(LIGHTLY, "PatchKernelAlignmentLoss", why="the alignment of an image's kernel of patches with a teacher's"),
    Shipped(LIGHTLY, "SwaVLoss", why=ASSIGNED),
    Shipped(LIGHTLY, "TiCoLoss", why="a second moment of the coordinates over all batches so far", measured=True),
    Shipped(LIGHTLY, "VICRegLLoss", why=f"{SPREAD}, those of patches too"),
    Shipped(LIGHTLY, "VICRegLoss", why=SPREAD, measured=True),
    Shipped(LIGHTLY, "VISRegLoss", why=DIRECTIONS),
    Shipped(LIGHTLY, "WMSELoss", why="whitens the embeddings by the covariance of the batch"),
    Shipped(
        LIGHTLY,
        "hypersphere_loss.HypersphereLoss",
        why="the logarithm of a mean over all pairs of a view, not over those of one anchor",
        measured=True,
    ),
)

SHIPPED: tuple[Shipped, ...] = (*OF_PML, *OF_ST, *OF_TORCH, *OF_CLIP, *OF_LIGHTLY)
