"""Scores by a transformer that reads an image and a caption as one sequence."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.pooling import Elements, Pooled, unit
from goal_analysis.vse.models.encoders.transformer import layers_of
from goal_analysis.vse.models.scorers.strips import in_strips
from goal_analysis.vse.models.text import Tokens


class Fusion(nn.Module):
    """One stream of regions and words: f = mean_w max_r cos(e_w, v_r) + mean_r max_w cos(e_w, v_r) + a·h + b.

    v and e are regions and words; h is what a vector beside them has gathered after all have attended to each other,
    every element with the vector of its kind. a and b are 0 at the start, so that f begins as the alignment of what the
    encoders give and has not to find it anew.

    It computes a whole transformer for every pair, so it is for small batches and for `Reranking`.

    In the manner of "UNITER: UNiversal Image-TExt Representation Learning" (Chen et al., ECCV 2020,
    https://arxiv.org/abs/1909.11740), whose image-text matching is a·h + b, without its pretraining; the alignment is
    that of "FILIP: Fine-grained Interactive Language-Image Pre-Training" (Yao et al., ICLR 2022,
    https://arxiv.org/abs/2111.07783).

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
        self.gather = nn.Parameter(torch.randn(dim))
        self.kinds = nn.Parameter(torch.randn(2, dim))
        self.layers = layers_of(dim, layers, heads, dropout)
        self.linear = nn.Linear(dim, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

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
        v, e = unit(v), unit(e)
        # Captions of one length stand in one strip, which then has little padding.
        last = (there_e * torch.arange(1, e.shape[1] + 1, device=e.device)).amax(1)[columns]
        order, scale = last.argsort(), v.shape[2] ** 0.5  # so that an element's numbers are about 1

        def strip(some: slice) -> Tensor:
            i, c, longest = rows[order[some]], columns[order[some]], last[order[some]].amax()
            some_v, some_e, masks = v[i], e[c, :longest], (there_v[i], there_e[c, :longest])
            stream = torch.cat(
                (self.gather.expand(len(i), 1, -1), scale * some_v + self.kinds[0], scale * some_e + self.kinds[1]), 1
            )
            padding = ~torch.cat((torch.ones_like(masks[0][:, :1]), *masks), 1)
            gathered = self.layers(stream, src_key_padding_mask=padding)[:, 0]
            return alignment(some_v, some_e, *masks) + self.linear(gathered)[:, 0]

        found = in_strips(strip, len(rows), 4 * (1 + v.shape[1] + e.shape[1]) * v.shape[2])
        return found[order.argsort()]

    def forward(self, images: Float[Tensor, "images ..."], tokens: Tokens) -> Float[Tensor, "images captions"]:
        """`score`."""
        return self.score(images, tokens)


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
