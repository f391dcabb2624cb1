"""Scores by attention between regions and words: stacked cross attention."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.pooling import Elements, Pooled, unit
from goal_analysis.vse.models.scorers.strips import in_strips
from goal_analysis.vse.models.text import Tokens

LEAST = 1e-12
"""Below it a length counts as this, so that nothing is divided by zero."""

QUERIES = ("both", "words", "regions")
POOLS = ("mean", "logsumexp")


class CrossAttention(nn.Module):
    """SCAN: how well every word is met by the regions it attends to, and every region by the words.

    With cosines s between regions v and words e, a word attends to the regions with α_rw = softmax_r(λ s̄_rw), where
    s̄_rw = [s_rw]₊/√Σ_w′[s_rw′]₊², and its relevance is R_w = cos(e_w, Σ_r α_rw v_r). The score is the mean of R over
    the words, or ln(Σ_w exp(μ R_w))/μ. With regions and words exchanged it is that of the other direction; the score
    of both is their mean.

    See "Stacked Cross Attention for Image-Text Matching" (Lee, Chen, Hua, Hu and He, ECCV 2018,
    https://arxiv.org/abs/1803.08024).

    Args:
        image: gives regions.
        text: gives words of the same width.
        queries: ``words`` (the paper's text-to-image), ``regions`` (its image-to-text) or ``both``.
        word_smoothing: λ where words attend to regions.
        region_smoothing: λ where regions attend to words.
        pool: ``mean`` or ``logsumexp``.
        sharpness: μ, above 0.

    Raises:
        ValueError: another word for ``queries`` or ``pool``, or a ``sharpness`` that is not above 0.
    """

    def __init__(
        self,
        image: Pooled,
        text: Pooled,
        *,
        queries: str = "both",
        word_smoothing: float | int = 9.0,
        region_smoothing: float | int = 4.0,
        pool: str = "mean",
        sharpness: float | int = 6.0,
    ) -> None:
        super().__init__()
        for name, given, known in (("queries", queries, QUERIES), ("pool", pool, POOLS)):
            if given not in known:
                raise ValueError(f"cross_attention: {name}: got {given!r} but expected one of {', '.join(known)}")
        if not sharpness > 0:
            raise ValueError(f"cross_attention: sharpness: got {sharpness!r} but expected a number above 0")
        self.image, self.text = image, text
        self.queries, self.pool = queries, pool
        self.word_smoothing, self.region_smoothing, self.sharpness = word_smoothing, region_smoothing, sharpness

    def score(self, images: Float[Tensor, "images ..."], tokens: Tokens) -> Float[Tensor, "images captions"]:
        """The scores of every image with every caption, in strips of images that bound the memory."""
        (v, there_v), (e, there_e) = self.image.elements(images), self.text.elements(tokens)
        v, e = unit(v), unit(e)
        gram_e = e @ e.mT

        def strip(rows: slice) -> Tensor:
            some = v[rows]
            s = torch.einsum("ird,cwd->icrw", some, e)
            return self._scores(s, (some @ some.mT)[:, None], gram_e, there_v[rows, None], there_e)

        return in_strips(strip, len(v), len(e) * v.shape[1] * e.shape[1])

    def score_pairs(
        self,
        images: Float[Tensor, "images ..."],
        tokens: Tokens,
        rows: Int64[Tensor, " pairs"],
        columns: Int64[Tensor, " pairs"],
    ) -> Float[Tensor, " pairs"]:
        """The scores of image ``rows[k]`` with caption ``columns[k]``."""
        return self.score_elements(self.image.elements(images), self.text.elements(tokens), rows, columns)

    def score_elements(
        self, regions: Elements, words: Elements, rows: Int64[Tensor, " pairs"], columns: Int64[Tensor, " pairs"]
    ) -> Float[Tensor, " pairs"]:
        """The scores of the regions of image ``rows[k]`` with the words of caption ``columns[k]``."""
        (v, there_v), (e, there_e) = regions, words
        v, e = unit(v), unit(e)

        def strip(some: slice) -> Tensor:
            i, c = rows[some], columns[some]
            return self._scores(v[i] @ e[c].mT, v[i] @ v[i].mT, e[c] @ e[c].mT, there_v[i], there_e[c])

        return in_strips(strip, len(rows), (v.shape[1] + e.shape[1]) ** 2)

    def forward(self, images: Float[Tensor, "images ..."], tokens: Tokens) -> Float[Tensor, "images captions"]:
        """`score`."""
        return self.score(images, tokens)

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
    """R of every query (last axis), which attends to the keys (last but one) with these cosines among each other.

    The attended vector a = Σ_k α_k k is never made: its cosine with the query is Σ_k α_k s_k/√(αᵀ·gram·α).
    """
    positive = s.relu()
    lengths = torch.linalg.vector_norm(positive, dim=-1, keepdim=True).clamp_min(LEAST)
    logits = (smoothing * positive / lengths).masked_fill(~there[..., :, None], -torch.inf)
    alpha = logits.softmax(-2)
    squared = (torch.einsum("...kl,...lq->...kq", gram, alpha) * alpha).sum(-2)
    return (alpha * s).sum(-2) / squared.clamp_min(LEAST**2).sqrt()
