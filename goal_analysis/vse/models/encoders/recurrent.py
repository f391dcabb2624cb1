"""Captions through a recurrent network that reads them both ways."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.dropout import Dropout, check_share
from goal_analysis.vse.models.encoders.pooling import Pooled, pooled
from goal_analysis.vse.models.text import UNKNOWN, Tokenizer, Tokens


def forgotten(ids: Int64[Tensor, "captions longest"], share: float | int) -> Int64[Tensor, "captions longest"]:
    """The numbers with about this share of the words made unknown at random."""
    out = torch.rand(ids.shape, device=ids.device) < share
    return ids.masked_fill(out & (ids > UNKNOWN), UNKNOWN)


class Recurrent(nn.Module):
    """Word vectors through a GRU of both ways, whose two states are averaged; every word's is an element.

    Captions are packed, so that nothing is computed for the padding.

    Args:
        tokenizer: of the captions.
        dim: of the elements, and of the GRU either way.
        words: the width of the word vectors.
        dropout: of the word vectors, from 0 to below 1.
        forget: in training, the share of words that are read as unknown.
    """

    def __init__(self, tokenizer: Tokenizer, dim: int, words: int, dropout: float | int, forget: float | int) -> None:
        super().__init__()
        self.dim = dim
        self.forget = check_share("forget", forget)
        self.vectors = nn.Embedding(len(tokenizer), words)
        nn.init.uniform_(self.vectors.weight, -0.1, 0.1)  # as VSE++ and its successors begin
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(words, dim, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tokens) -> tuple[Float[Tensor, "captions longest dim"], Bool[Tensor, "captions longest"]]:
        """The elements, zero at the padding, and where there is a word."""
        ids = forgotten(tokens.ids, self.forget) if self.training and self.forget else tokens.ids
        vectors = self.dropout(self.vectors(ids))
        packed = nn.utils.rnn.pack_padded_sequence(
            vectors, tokens.lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        longest = tokens.ids.shape[1]
        both, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=longest)
        return torch.stack(both.chunk(2, dim=2)).mean(0), tokens.mask


def recurrent_encoder(
    tokenizer: Tokenizer,
    *,
    dim: int = 512,
    words: int = 300,
    dropout: float | int = 0.0,
    forget: float | int = 0.0,
    pooling: str = "gpo",
    drop: float | int = 0.0,
) -> Pooled:
    """The encoder of captions by a GRU, as that of VSE∞.

    See "Learning the Best Pooling Strategy for Visual Semantic Embedding" (Chen, Hu, Wu, Jiang and Wang, CVPR 2021,
    https://arxiv.org/abs/2011.04305).

    Args:
        tokenizer: of the captions.
        dim: of the embedding, and of the GRU either way.
        words: the width of the word vectors.
        dropout: of the word vectors, from 0 to below 1.
        forget: in training, the share of words that are read as unknown, from 0 to below 1.
        pooling: one of `goal_analysis.vse.models.encoders.pooling.POOLINGS`.
        drop: in training, the share of a caption's elements that is left out of the pooling.

    Raises:
        ValueError: an unknown pooling, or a share out of its range.
    """
    return pooled(Recurrent(tokenizer, dim, words, dropout, forget), pooling, dim, drop)
