"""Scorers: models whose score of an image with a caption is no dot product."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt
from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.models.dual_encoder import Pairs, PairScores, RetrievalModel, score_in_strips
from goal_analysis.vse.models.encoders.pooling import Elements, Images, Pooled, Share, unit
from goal_analysis.vse.models.encoders.trained import layers_of
from goal_analysis.vse.models.matching import Matching
from goal_analysis.vse.models.text import Tokens


class Scorer(RetrievalModel, ABC):
    """A model that scores every pair from the regions of its image and the words, of the same width, of its caption.

    A scorer says `score_elements`. What it computes for less when all pairs are asked for, it says in ``score``.
    """

    embeds = False
    of_elements = True

    def __init__(self, image: Pooled, text: Pooled) -> None:
        super().__init__()
        self.image, self.text = image, text

    @abstractmethod
    def score_elements(
        self, regions: Elements, words: Elements, rows: Pairs, columns: Pairs
    ) -> Float[Tensor, " pairs"]:
        """The scores of the regions of image ``rows[k]`` with the words of caption ``columns[k]``."""

    def pair_scores(self, images: Images, tokens: Tokens) -> PairScores:
        """What scores pairs of these images and captions."""
        return partial(self.score_elements, self.image.elements(images), self.text.elements(tokens))


LEAST = 1e-12  # below it a length counts as this, so that nothing is divided by zero


class CrossAttention(Scorer):
    """SCAN: how well every word is met by the regions it attends to, and every region by the words.

    With cosines s, a word w attends to the regions r with α_rw = softmax_r(λ s̄_rw), s̄_rw = [s_rw]₊/√Σ_w′[s_rw′]₊²,
    and its relevance is R_w = cos(e_w, Σ_r α_rw v_r). The score is the mean of R, or with the pool ``logsumexp`` ln(Σ_w
    exp(μ R_w))/μ, and the mean of that and of the other direction's. λ is ``word_smoothing`` or ``region_smoothing``, μ
    the ``sharpness``; ``queries`` are ``words`` (the paper's text-to-image), ``regions`` (its image-to-text) or
    ``both``. "Stacked Cross Attention for Image-Text Matching" (Lee et al., ECCV 2018,
    https://arxiv.org/abs/1803.08024).
    """

    def __init__(
        self,
        image: Pooled,
        text: Pooled,
        *,
        queries: Literal["both", "words", "regions"] = "both",
        word_smoothing: float | int = 9.0,
        region_smoothing: float | int = 4.0,
        pool: Literal["mean", "logsumexp"] = "mean",
        sharpness: Annotated[float | int, Gt(0)] = 6.0,
    ) -> None:
        super().__init__(image, text)
        self.queries, self.pool = queries, pool
        self.word_smoothing, self.region_smoothing, self.sharpness = word_smoothing, region_smoothing, sharpness

    def score(self, images: Images, tokens: Tokens) -> Float[Tensor, "images captions"]:
        """The scores of every image with every caption, in strips of images that bound the memory."""
        (v, there_v), (e, there_e) = self.image.elements(images), self.text.elements(tokens)
        v, e = unit(v), unit(e)
        gram_e = e @ e.mT

        def strip(rows: Tensor) -> Tensor:
            some = v[rows]
            s = torch.einsum("ird,cwd->icrw", some, e)
            return self._scores(s, (some @ some.mT)[:, None], gram_e, there_v[rows, None], there_e)

        return score_in_strips(strip, torch.arange(len(v), device=v.device), len(e) * v.shape[1] * e.shape[1])

    def score_elements(
        self, regions: Elements, words: Elements, rows: Pairs, columns: Pairs
    ) -> Float[Tensor, " pairs"]:
        """The scores of the regions of image ``rows[k]`` with the words of caption ``columns[k]``."""
        (v, there_v), (e, there_e) = regions, words
        v, e = unit(v), unit(e)

        def strip(some: Tensor) -> Tensor:
            i, c = rows[some], columns[some]
            return self._scores(v[i] @ e[c].mT, v[i] @ v[i].mT, e[c] @ e[c].mT, there_v[i], there_e[c])

        return score_in_strips(strip, torch.arange(len(rows), device=v.device), (v.shape[1] + e.shape[1]) ** 2)

    def _scores(
        self, s: Tensor, gram_v: Tensor, gram_e: Tensor, there_v: Bool[Tensor, "..."], there_e: Bool[Tensor, "..."]
    ) -> Tensor:
        """Scores of pairs from the cosines s of regions (last axis but one) and words (last), and among each."""
        s = s * (there_v[..., :, None] & there_e[..., None, :])
        found = []
        if self.queries != "regions":
            relevance = _relevance(s, gram_v, there_v, self.word_smoothing)
            found.append(self._pooled(relevance, there_e))
        if self.queries != "words":
            relevance = _relevance(s.mT, gram_e, there_e, self.region_smoothing)
            found.append(self._pooled(relevance, there_v))
        return sum(found[1:], found[0]) / len(found)

    def _pooled(self, relevance: Tensor, there: Tensor) -> Tensor:
        if self.pool == "mean":
            return (relevance * there).sum(-1) / there.sum(-1)
        return (self.sharpness * relevance).masked_fill(~there, -torch.inf).logsumexp(-1) / self.sharpness


def _relevance(s: Tensor, gram: Tensor, there: Tensor, smoothing: float | int) -> Tensor:
    """R of every query (last axis), which attends to the keys (last but one). The attended vector a = Σ_k α_k k is
    never made: its cosine with the query is Σ_k α_k s_k/√(αᵀ·gram·α).
    """
    positive = s.relu()
    lengths = torch.linalg.vector_norm(positive, dim=-1, keepdim=True).clamp_min(LEAST)
    logits = (smoothing * positive / lengths).masked_fill(~there[..., :, None], -torch.inf)
    alpha = logits.softmax(-2)
    squared = (torch.einsum("...kl,...lq->...kq", gram, alpha) * alpha).sum(-2)
    return (alpha * s).sum(-2) / squared.clamp_min(LEAST**2).sqrt()


class Fusion(Scorer):
    """One stream of regions and words: f = mean_w max_r cos(e_w, v_r) + mean_r max_w cos(e_w, v_r) + a·h + b.

    h is what a vector beside regions v and words e has gathered after all have attended to each other. a and b are 0 at
    the start, so that f begins as the alignment of what the encoders give. It computes a transformer for every pair, so
    it is for small batches and for `Reranking`. a·h + b is the matching of UNITER (Chen et al., ECCV 2020,
    https://arxiv.org/abs/1909.11740), without its pretraining; the alignment is FILIP's (Yao et al., ICLR 2022,
    https://arxiv.org/abs/2111.07783).
    """

    def __init__(self, image: Pooled, text: Pooled, *, layers: int = 2, heads: int = 8, dropout: Share = 0.1) -> None:
        super().__init__(image, text)
        dim: Any = image.local.dim
        self.gather = nn.Parameter(torch.randn(dim))
        self.kinds = nn.Parameter(torch.randn(2, dim))
        self.layers = layers_of(dim, layers, heads, dropout)
        self.linear = nn.Linear(dim, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def score_elements(
        self, regions: Elements, words: Elements, rows: Pairs, columns: Pairs
    ) -> Float[Tensor, " pairs"]:
        """The scores of the regions of image ``rows[k]`` with the words of caption ``columns[k]``."""
        (v, there_v), (e, there_e) = regions, words
        v, e = unit(v), unit(e)
        # Captions of one length stand in one strip, which then has little padding.
        last = (there_e * torch.arange(1, e.shape[1] + 1, device=e.device)).amax(1)[columns]
        scale = v.shape[2] ** 0.5  # so that an element's numbers are about 1

        def strip(some: Tensor) -> Tensor:
            i, c, longest = rows[some], columns[some], last[some].amax()
            some_v, some_e, masks = v[i], e[c, :longest], (there_v[i], there_e[c, :longest])
            stream = torch.cat(
                (self.gather.expand(len(i), 1, -1), scale * some_v + self.kinds[0], scale * some_e + self.kinds[1]), 1
            )
            padding = ~torch.cat((torch.ones_like(masks[0][:, :1]), *masks), 1)
            gathered = self.layers(stream, src_key_padding_mask=padding)[:, 0]
            return alignment(some_v, some_e, *masks) + self.linear(gathered)[:, 0]

        return score_in_strips(strip, last.argsort(), 4 * (1 + v.shape[1] + e.shape[1]) * v.shape[2])


def alignment(
    v: Float[Tensor, "pairs regions dim"],
    e: Float[Tensor, "pairs words dim"],
    there_v: Bool[Tensor, "pairs regions"],
    there_e: Bool[Tensor, "pairs words"],
) -> Float[Tensor, " pairs"]:
    """mean_w max_r e_w·v_r + mean_r max_w e_w·v_r, over the regions and words that are there."""
    s = v @ e.mT
    of_words = s.masked_fill(~there_v[:, :, None], -torch.inf).amax(1).masked_fill(~there_e, 0)
    of_regions = s.masked_fill(~there_e[:, None, :], -torch.inf).amax(2).masked_fill(~there_v, 0)
    return of_words.sum(1) / there_e.sum(1) + of_regions.sum(1) / there_v.sum(1)


SCORERS: dict[str, Callable[..., RetrievalModel]] = {
    "cross_attention": CrossAttention,
    "fusion": Fusion,
    "hugging_face": Matching,
}
"""What builds every scorer, by its name, from the encoders and options; a user's own join it.

One with a parameter ``shape`` reads images and captions by itself: behind the encoders, which need not give elements,
it takes the shape of an image, the statistics and the tokenizer.
"""
