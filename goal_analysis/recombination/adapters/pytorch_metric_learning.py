"""Objectives under the call of pytorch-metric-learning's losses; all rows are anchors, whatever ``anchors`` says.

The candidates are ``ref_emb``, or the embeddings themselves, none compared with itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from pytorch_metric_learning.losses import BaseMetricLossFunction, CrossBatchMemory, SelfSupervisedLoss
from pytorch_metric_learning.reducers import ThresholdReducer
from torch import Tensor, nn

from goal_analysis.numeric.engine.dense import handed, own_positive, slots, weight_matrix
from goal_analysis.numeric.engine.functions import Term
from goal_analysis.numeric.engine.geometry import alike
from goal_analysis.numeric.functions import functions_of
from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective, MovingScores, check_finite, lengths, unit_vectors
from goal_analysis.recombination.recombine import recombine
from goal_analysis.symbolic.language.similarity import COSINE, DOT
from goal_analysis.symbolic.objective import Anchors, Reduction


class MetricObjective(BaseMetricLossFunction):
    """An objective as a loss of pytorch-metric-learning, for its trainers, miners, reducers and wrappers.

    What it returns is the objective's surrogate: its gradient trains, and its curve means nothing. Embeddings are
    normalised first where the objective's similarity is the cosine, as the library's own distances do.

    Of an ``indices_tuple``, triplets (a, p, n) take the place of the objective's mining, each of weight 1. Pairs
    (a, p, a, n) say which pairs there are, and the objective mines among them: with the mining ``all`` every positive
    of an anchor meets every negative of it, as where the library turns pairs to triplets.

    Args:
        objective: what trains. Its own reduction holds unless a ``reducer`` is given.
        reducer: one of the library's, over the anchors that have a positive and a negative: the mean of them, or
            weights of classes. None that leaves out losses by their value, which a surrogate does not have.

    Raises:
        ValueError: a reducer that reads values: `ThresholdReducer`, `AvgNonZeroReducer`.

    >>> import goal_analysis as ga
    >>> loss = MetricObjective(ga.objective("nca(tau=1)/constant"))
    >>> x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], requires_grad=True)
    >>> loss(x, torch.tensor([0, 0, 1])).backward()
    >>> x.grad
    tensor([[ 0.0000, -0.0730],
            [-0.2449,  0.3265],
            [ 0.3351,  0.0000]])
    """

    def __init__(self, objective: GradientObjective, reducer: nn.Module | None = None) -> None:
        if any(isinstance(part, ThresholdReducer) for part in (reducer.modules() if reducer else ())):
            raise ValueError(
                f"reducer: got {type(reducer).__name__}, which leaves out losses by their value, but expected one that "
                "does not, such as MeanReducer or SumReducer: the value of a surrogate means nothing"
            )
        value = objective.objective
        if value.learned or value.reads_carried or value.grouped is not None:
            raise ValueError(
                f"{value.owner}: got learned hyperparameters, grouped proxies or a formula of what pairs carry, but "
                "expected none: miners and reducers of the library know embeddings and labels alone"
            )
        super().__init__(reducer=reducer)
        self.objective = objective
        self.reduces_itself = reducer is None

    def compute_loss(
        self,
        embeddings: Float[Tensor, "anchors dim"],
        labels: Tensor | None,
        indices_tuple: Sequence[Tensor] | None,
        ref_emb: Float[Tensor, "candidates dim"] | None,
        ref_labels: Tensor | None,
    ) -> dict[str, dict[str, Any]]:
        """The surrogates of the anchors, or the objective's reduction of them, as the library's reducers read it.

        Args:
            embeddings: the anchors.
            labels: shape ``(anchors,)``; none where ``indices_tuple`` says it all.
            indices_tuple: what a miner of the library found, or none.
            ref_emb: the candidates; none in version 3, or the embeddings in version 2, for these among each other.
            ref_labels: shape ``(candidates,)``.

        Raises:
            ValueError: neither labels nor indices; indices that the labels contradict; a number that is not finite.
        """
        if ref_emb is None or ref_emb is embeddings:
            ref_emb, ref_labels = embeddings, labels
        matches = _matches(labels, ref_labels, indices_tuple, (len(embeddings), len(ref_emb)), ref_emb is embeddings)
        triplets = tuple(indices_tuple) if indices_tuple is not None and len(indices_tuple) == 3 else None
        objective = self.objective.objective if triplets is None else recombine(self.objective.objective, mining="all")
        reduction = objective.reduction if self.reduces_itself else Reduction.SUM
        functions = functions_of(replace(objective, anchors=Anchors.ROWS, reduction=reduction))
        if triplets is not None:
            meet = partial(_given, triplets)
            functions = replace(functions, terms=tuple(replace(term, meet=meet) for term in functions.terms))
        named, refuse = (("embeddings", embeddings), ("ref_emb", ref_emb)), self.objective.refuse_nonfinite
        for name, e in named if refuse else ():
            check_finite(name, e)
        similarity = self.objective.similarity
        if similarity == COSINE:
            similarity = DOT
            embeddings, ref_emb = (unit_vectors(e, lengths(e), name, refuse) for name, e in named)
        acting = self.objective.objective.direction or similarity
        with torch.autocast(embeddings.device.type, enabled=False):
            s = MovingScores.apply(*alike(embeddings, ref_emb), similarity, acting)
        with torch.no_grad():
            w = weight_matrix(functions, s.detach(), matches.positives, matches.negatives)
        surrogates = (w * s).sum(1)
        if self.reduces_itself:
            return {"loss": {"losses": surrogates.sum(), "indices": None, "reduction_type": "already_reduced"}}
        (present,) = (matches.positives.any(1) & matches.negatives.any(1)).nonzero(as_tuple=True)
        if not len(present):
            return self.zero_losses() if hasattr(self, "zero_losses") else {}  # which is version 3's nothing
        return {"loss": {"losses": surrogates[present], "indices": present, "reduction_type": "element"}}


class _WithObjectives:
    """A wrapper of version 2, which knows losses by their names, with objectives among them."""

    @classmethod
    def supported_losses(cls) -> list[str]:
        """The losses that may be inside."""
        return [*super().supported_losses(), MetricObjective.__name__]  # pyright: ignore[reportAttributeAccessIssue]


class ObjectiveMemory(_WithObjectives, CrossBatchMemory):
    """pytorch-metric-learning's `CrossBatchMemory` with an objective inside."""


class SelfSupervisedObjective(_WithObjectives, SelfSupervisedLoss):
    """pytorch-metric-learning's `SelfSupervisedLoss` with an objective inside: row i of both views is one sample."""


def _given(
    triplets: tuple[Tensor, ...], term: Term, s: Tensor, positives: Tensor, negatives: Tensor, middle: float, _: Tensor
) -> Iterator[tuple]:
    """The triplets that a miner of the library found, each as often as it was found, in the place of mining."""
    anchor, positive, negative = triplets

    def times(rows: Tensor, columns: Tensor) -> Tensor:
        return s.new_zeros(s.shape).index_put((rows, columns), s.new_ones(len(rows)), accumulate=True)

    of_positives = times(anchor, positive)
    if term.positives is None or term.negatives is None:
        counts = of_positives if term.negatives is None else times(anchor, negative)
        sides = [handed(side, s, counts > 0, middle) for side in (term.positives, term.negatives)]
        p, n = (h if h.members is None else replace(h, factor=h.factor * counts) for h in sides)
        yield p, n, lambda *parts: sum(part for part in parts if part is not None)
        return
    for column, present in slots(of_positives > 0):
        own = (positive == column[anchor, 0]) & present[anchor, 0]
        counts = times(anchor[own], negative[own])
        p = own_positive(term.positives, s, column, present, torch.ones_like(s), middle)
        n = handed(term.negatives, s, counts > 0, middle, p.x)
        n = replace(n, factor=n.factor * counts)
        yield p, n, lambda pull, push, column=column: push.scatter_add(1, column, pull)


def _matches(
    labels: Tensor | None,
    ref_labels: Tensor | None,
    indices: Sequence[Tensor] | None,
    shape: tuple[int, int],
    one_set: bool,
) -> Matches:
    every = None
    if labels is not None and ref_labels is not None:
        every = Matches.of_labels(labels) if one_set else Matches.of_image_ids(labels, ref_labels)
    if indices is None:
        if every is None:
            lacking = "labels or one" if labels is None else "the ref_labels of ref_emb beside labels"
            raise ValueError(f"got no indices_tuple but expected {lacking}")
        return every
    if len(indices) not in (3, 4):
        raise ValueError(f"indices_tuple: got a tuple of {len(indices)} but expected triplets, of 3, or pairs, of 4")
    anchors, of_positives, *_, of_negatives = indices
    positives = _mask((anchors, of_positives), shape)
    negatives = _mask((indices[0 if len(indices) == 3 else 2], of_negatives), shape)
    if every is None:
        return Matches(positives, negatives)
    for what, given, allowed in (("positive", positives, every.positives), ("negative", negatives, every.negatives)):
        for pair in (given & ~allowed).nonzero()[:1].tolist():
            raise ValueError(f"indices_tuple: got {tuple(pair)} as a {what} pair but expected one by the labels")
    return every if len(indices) == 3 else Matches(positives, negatives)


def _mask(pairs: tuple[Tensor, Tensor], shape: tuple[int, int]) -> Tensor:
    for part, size, of in zip(pairs, shape, ("anchors", "candidates"), strict=True):
        if len(part) and (int(part.min()) < 0 or int(part.max()) >= size):
            raise ValueError(f"indices_tuple: got {int(part.max())} but expected indices of {size} {of}, from 0")
    mask = torch.zeros(shape, dtype=torch.bool, device=pairs[0].device)
    mask[pairs] = True
    return mask
