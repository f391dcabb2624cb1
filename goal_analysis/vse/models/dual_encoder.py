"""Models that embed: a dual encoder, and one that has a scorer re-rank its first answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from goal_analysis.vse.models.encoders.pooling import Images, unit
from goal_analysis.vse.models.text import Tokens

Pairs = Int64[Tensor, " pairs"]  # numbers of images, or of captions
PairScores = Callable[[Tensor, Tensor], Tensor]
"""The scores of image ``rows[k]`` with caption ``columns[k]``, shape ``(pairs,)``."""


class RetrievalModel(nn.Module):
    """A model that is trained and evaluated. Where it ``embeds``, a score is the dot product of `embed_images` and
    `embed_texts`; otherwise it says `pair_scores`. Where ``top`` is not 0, these re-rank so many of every query's
    candidates.
    """

    embeds: bool = True
    of_elements: bool = False  # whether it scores what the encoders give of an image's regions and a caption's words
    top: int = 0
    image: Any
    text: Any

    @property
    def dual(self) -> RetrievalModel:
        """What finds the candidates: the model itself where it does not re-rank."""
        return self

    def embed_images(self, images: Images) -> Float[Tensor, "images dim"]:
        """Unit vectors of images."""
        return self.image(images)

    def embed_texts(self, tokens: Tokens) -> Float[Tensor, "captions dim"]:
        """Unit vectors of captions."""
        return self.text(tokens)

    def pair_scores(self, images: Images, tokens: Tokens) -> PairScores:
        """What scores pairs of these images and captions, each of which is read once, and re-ranks the first."""
        raise NotImplementedError

    def score(self, images: Images, tokens: Tokens) -> Float[Tensor, "images captions"]:
        """The scores of every image with every caption, before any are re-ranked."""
        if self.embeds:
            return self.embed_images(images) @ self.embed_texts(tokens).T
        shape = len(images), len(tokens)
        pairs = torch.ones(shape, dtype=torch.bool, device=images.device).nonzero(as_tuple=True)
        return self.pair_scores(images, tokens)(*pairs).reshape(shape)

    def forward(self, images: Images, tokens: Tokens, ids: Any = None) -> Any:
        """Both embeddings, the images first, or the scores of all pairs."""
        if self.embeds:
            return self.embed_images(images), self.embed_texts(tokens)
        return self.score(images, tokens)


class DualEncoder(RetrievalModel):
    """An encoder of images and one of captions, of the same width."""

    def __init__(self, image: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.image, self.text = image, text


class Mined(NamedTuple):
    """What a `Reranking` gives of a batch."""

    images: Tensor
    texts: Tensor
    scores: Tensor
    chosen: Tensor


class Reranking(RetrievalModel):
    """A dual encoder, and a scorer beside it: s = x·y + g·f.

    Both are trained by the objective: f alone on its positives and on the ``negatives`` of every image and caption that
    are hardest by x·y. f is a `Matching`; or a scorer of regions v and words e, f(A·v + a, B·e + b), where A and B are
    the identity at the start. No gradient of f reaches v or e, so that the dual encoder is what it would be by itself.
    g, the ``share``, is not learnt. In evaluation the ``top`` candidates of every query are put in a new order.

    In the manner of "Align before Fuse" (Li et al., NeurIPS 2021, https://arxiv.org/abs/2107.07651).
    """

    scorer: Any

    def __init__(self, scorer: Any, negatives: int = 2, top: int = 10, share: float | int = 0.2) -> None:
        super().__init__()
        self.scorer = scorer
        if scorer.of_elements:
            self.of_regions, self.of_words = _identity(self.image.local.dim), _identity(self.text.local.dim)
        self.negatives, self.top, self.share = negatives, top, float(share)

    @property
    def image(self) -> Any:
        """The encoder of images."""
        return self.scorer.image

    @property
    def text(self) -> Any:
        """The encoder of captions."""
        return self.scorer.text

    @property
    def dual(self) -> DualEncoder:
        """The dual encoder of both."""
        return DualEncoder(self.image, self.text).train(self.training)

    def forward(self, images: Images, tokens: Tokens, ids: Any = None) -> Mined:
        """Embeddings of a batch of pairs, and the scores of those that count; an image's captions are positives."""
        x, y, score = self._read(images, tokens)
        chosen = choose_hardest(x.detach() @ y.detach().T, ids[:, None] == ids[None, :], self.negatives)
        rows, columns = chosen.nonzero(as_tuple=True)
        found = score(rows, columns)
        scores = torch.zeros_like(chosen, dtype=found.dtype).index_put((rows, columns), found)
        return Mined(x, y, scores, chosen)

    def pair_scores(self, images: Images, tokens: Tokens) -> PairScores:
        """What gives s of pairs of these images and captions."""
        x, y, score = self._read(images, tokens)
        return lambda rows, columns: (x[rows] * y[columns]).sum(1) + self.share * score(rows, columns)

    def _read(self, images: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor, PairScores]:
        if not self.scorer.of_elements:
            return self.image(images), self.text(tokens), self.scorer.pair_scores(images, tokens)
        (v, there_v), (e, there_e) = self.image.elements(images), self.text.elements(tokens)
        regions = self.of_regions(v.detach()), there_v
        words = self.of_words(e.detach()), there_e

        def score(rows: Tensor, columns: Tensor) -> Tensor:
            return self.scorer.score_elements(regions, words, rows, columns)

        return unit(self.image.pooling(v, there_v)), unit(self.text.pooling(e, there_e)), score


def _identity(dim: int) -> nn.Linear:
    found = nn.Linear(dim, dim)
    nn.init.eye_(found.weight)
    nn.init.zeros_(found.bias)
    return found


NUMBERS_AT_A_TIME = 2**22  # numbers that one tensor of a strip has at most, or as many as one row has


def score_in_strips(score: Callable[[Tensor], Any], order: Pairs, size: int) -> Any:
    """What ``score`` gives for all rows, a strip of their ``order`` at a time; a row takes ``size`` numbers."""
    strips = order.split(max(1, NUMBERS_AT_A_TIME // max(size, 1)))
    again = torch.is_grad_enabled() and len(strips) > 1
    found = [checkpoint(score, strip, use_reentrant=False) if again else score(strip) for strip in strips]
    if isinstance(found[0], Tensor):
        return torch.cat(found)[order.argsort()]
    return {name: torch.cat([part[name] for part in found])[order.argsort()] for name in found[0]}


def choose_hardest(
    similarities: Float[Tensor, "rows columns"], positives: Bool[Tensor, "rows columns"], count: int
) -> Bool[Tensor, "rows columns"]:
    """The positives, and so many of the most similar negatives of every row and of every column."""
    among = similarities.masked_fill(positives, -torch.inf)
    chosen = positives.clone()
    for axis in (1, 0):
        hardest = among.topk(min(count, among.shape[axis]), axis).indices
        chosen |= torch.zeros_like(positives).scatter(axis, hardest, True)
    return chosen


def rank_first_anew(
    scores: Float[Tensor, "rows columns"], score_pairs: PairScores, top: int
) -> Float[Tensor, "rows columns"]:
    """Scores that rank the first ``top`` of every row by the scorer (finite), and the others behind them as before."""
    scores = scores.double()  # so that the step between the two parts costs no digits
    top = min(top, scores.shape[1])
    columns = scores.topk(top, dim=1).indices
    rows = torch.arange(len(scores), device=scores.device)[:, None].expand_as(columns)
    fresh = score_pairs(rows.flatten(), columns.flatten())
    if fresh.shape != (columns.numel(),):
        raise ValueError(f"score_pairs: got shape {tuple(fresh.shape)} but expected ({columns.numel()},)")
    fresh = fresh.reshape(columns.shape).to(scores)
    above = scores.amax(1, keepdim=True) - fresh.amin(1, keepdim=True) + 1
    return scores.scatter(1, columns, fresh + above)
