"""Objectives that are called as sentence-transformers' losses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.numeric.caching import GradientCache
from goal_analysis.recombination.adapters import SURROGATE
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.symbolic.language.similarity import COSINE


class SentenceObjective(nn.Module):
    """An objective in the place of `MultipleNegativesRankingLoss`, for `SentenceTransformerTrainer`.

    The columns of the data set are (anchor, positive) or (anchor, positive, negative, …). The rows of the scores are
    the anchors, the columns all other texts: anchor i matches positive i, and every other text of the batch is a
    negative of it. A whole number per row in the column ``label`` says which rows belong together: positives of the
    same number are positives of each other's anchors, and no negatives. Formulas that read ``y_n`` find 1 at the
    further columns of an anchor's own row, and 0 elsewhere.

    What it returns is the objective's surrogate: its gradient trains, and its curve means nothing. Where no gradient
    is asked for, as in evaluation, it is the loss if the objective has one (of the process's own rows), so that
    ``eval_loss`` may choose the best model; if not, a warning says that it may not. Embeddings are normalised first
    where the objective's similarity is the cosine.

    Args:
        model: the `SentenceTransformer` that is trained.
        objective: what trains it; `AcrossProcesses` around it where several processes share a batch.
        chunk: how many texts are embedded at once, see `GradientCache`; by default a column of the batch.

    >>> import goal_analysis as ga
    >>> model = nn.Identity()  # in the place of a SentenceTransformer: what it reads has the embeddings already
    >>> loss = SentenceObjective(model, ga.objective("nca(tau=1)/constant"))
    >>> anchors, positives = torch.eye(2, requires_grad=True), torch.eye(2)
    >>> loss([{"sentence_embedding": anchors}, {"sentence_embedding": positives}]).backward()
    >>> anchors.grad
    tensor([[0.0000, 0.1345],
            [0.1345, 0.0000]])
    """

    def __init__(
        self, model: nn.Module, objective: GradientObjective | AcrossProcesses, chunk: int | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.chunk = chunk
        self._warned = False

    def forward(
        self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """The surrogate of a batch; without gradients its loss, where there is one.

        Args:
            sentence_features: what the model reads, for every column of the data set.
            labels: shape ``(rows,)``; which rows belong together, or none.

        Raises:
            ValueError: fewer than two columns; a ``chunk`` inside of `AdaptiveLayerLoss`; labels that are no whole
                numbers; what the objective refuses.
        """
        embed = self.model if self.chunk is None else self._in_chunks(self.chunk)
        columns = [embed(features)["sentence_embedding"] for features in sentence_features]
        if len(columns) < 2 or len({len(e) for e in columns}) > 1:
            got = f"{len(columns)} columns of {' and '.join(str(len(e)) for e in columns)} rows"
            raise ValueError(f"sentence_features: got {got} but expected (anchor, positive, …), of as many rows each")
        if self.objective.similarity == COSINE:
            columns = [nn.functional.normalize(embeddings, dim=1) for embeddings in columns]
        anchors, candidates = columns[0], torch.cat(columns[1:])
        rows, negatives = len(anchors), len(candidates) - len(anchors)
        own: Any = self.objective.objective if isinstance(self.objective, AcrossProcesses) else self.objective
        carried = {}
        if own is self.objective and own.objective.reads_carried:
            further = torch.eye(rows, device=anchors.device).repeat(1, len(columns) - 1)
            carried["carried"] = further.index_fill(1, torch.arange(rows, device=anchors.device), 0)
        if labels is None and not negatives:
            return self._value(own, anchors, candidates, **carried)
        rank, ranks = self.objective.place if isinstance(self.objective, AcrossProcesses) else (0, 1)
        ids = torch.arange(rows, device=anchors.device) * ranks + rank if labels is None else labels.to(anchors.device)
        if ids.shape != (rows,) or ids.is_floating_point() or ids.dtype == torch.bool:
            got = f"a tensor of {ids.dtype} of shape {tuple(ids.shape)}"
            raise ValueError(f"labels: got {got} but expected whole numbers of shape ({rows},), or none")
        ids = ids.long()
        # Labels mean the same on every rank, and have the even ids; what belongs to no anchor is of its rank alone.
        of_no_anchor = torch.arange(negatives, device=ids.device) * ranks + rank
        return self._value(own, anchors, candidates, 2 * ids, torch.cat((2 * ids, 2 * of_no_anchor + 1)), **carried)

    def _in_chunks(self, chunk: int) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """What embeds in chunks, inside of `MatryoshkaLoss` too, which shortens what the model gives."""

        def kept(found: dict[str, Tensor]) -> dict[str, Tensor]:  # the tokens' own embeddings would fill the memory
            return dict.fromkeys(("sentence_embedding", "token_embeddings"), found["sentence_embedding"])

        shortening: Any = self.model.forward
        if type(shortening).__name__ != "ForwardDecorator":
            return GradientCache(self.model, chunk, kept)
        if not hasattr(shortening, "cache_dim"):
            raise ValueError(f"chunk: got {chunk} inside of AdaptiveLayerLoss but expected none: it reads every layer")
        shortening.fn = GradientCache(shortening.fn, chunk, kept)
        shortening.fn.of = self.model  # whose buffers are looked after
        return self.model

    def _value(self, own: Any, *batch: Tensor, **carried: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self.objective(*batch, **carried)
        try:
            return own.value(*batch, **carried)
        except ValueError as problem:
            surrogate = self.objective(*batch, **carried)  # which says what is wrong with the batch, if anything
            if not self._warned:
                self._warned = True
                warnings.warn(f"{problem}: {SURROGATE}", stacklevel=4)
            return surrogate

    def get_config_dict(self) -> dict[str, Any]:
        """What the card of a trained model says of its loss."""
        return {"objective": repr(self.objective)}
