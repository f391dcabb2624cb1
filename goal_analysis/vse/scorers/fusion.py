"""Scores by a transformer that reads an image and a caption as one sequence."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from goal_analysis.vse.encoders.pooling import Elements, Pooled, unit
from goal_analysis.vse.encoders.transformer import layers_of
from goal_analysis.vse.scorers.strips import in_strips
from goal_analysis.vse.text import Tokens


class Fusion(nn.Module):
    """One stream: a vector that gathers, the regions and the words, each with the vector of its kind, attend to each
    other, and the score is a linear function of what was gathered.

    It computes a whole transformer for every pair, so it is for small batches and for `Reranking`.

    In the manner of "UNITER: UNiversal Image-TExt Representation Learning" (Chen et al., ECCV 2020,
    https://arxiv.org/abs/1909.11740), whose image-text matching head it has, and not its pretraining.

    Args:
        image: gives regions.
        text: gives words of the same width.
        layers: of self-attention.
        heads: of every layer, a divisor of the width.
        dropout: inside every layer, from 0 to below 1.

    Raises:
        ValueError: heads that do not divide the width, or a dropout outside of [0, 1).
    """

    def __init__(
        self, image: Pooled, text: Pooled, *, layers: int = 2, heads: int = 8, dropout: float | int = 0.1
    ) -> None:
        super().__init__()
        self.image, self.text = image, text
        dim = image.local.dim
        assert isinstance(dim, int)
        self.gather = nn.Parameter(torch.randn(dim) / dim**0.5)
        self.kinds = nn.Parameter(torch.randn(2, dim) / dim**0.5)
        self.layers = layers_of(dim, layers, heads, dropout)
        self.linear = nn.Linear(dim, 1)

    def score(self, images: Float[Tensor, "images ..."], tokens: Tokens) -> Float[Tensor, "images captions"]:
        """The scores of every image with every caption, in strips of pairs that bound the memory."""
        rows = torch.arange(len(images), device=tokens.ids.device)
        columns = torch.arange(len(tokens), device=tokens.ids.device)
        pairs = torch.cartesian_prod(rows, columns).reshape(-1, 2)
        return self.score_pairs(images, tokens, pairs[:, 0], pairs[:, 1]).reshape(len(images), len(tokens))

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
        v, e = unit(v) + self.kinds[0], unit(e) + self.kinds[1]
        # Captions of one length stand in one strip, which then has little padding.
        last = (there_e * torch.arange(1, e.shape[1] + 1, device=e.device)).amax(1)[columns]
        order = last.argsort()

        def strip(some: slice) -> Tensor:
            i, c, longest = rows[order[some]], columns[order[some]], last[order[some]].amax()
            gather = self.gather.expand(len(i), 1, -1)
            there = torch.cat((torch.ones_like(there_v[i, :1]), there_v[i], there_e[c, :longest]), 1)
            read = self.layers(torch.cat((gather, v[i], e[c, :longest]), 1), src_key_padding_mask=~there)
            return self.linear(read[:, 0])[:, 0]

        found = in_strips(strip, len(rows), 4 * (1 + v.shape[1] + e.shape[1]) * v.shape[2])
        return found[order.argsort()]

    def forward(self, images: Float[Tensor, "images ..."], tokens: Tokens) -> Float[Tensor, "images captions"]:
        """`score`."""
        return self.score(images, tokens)
