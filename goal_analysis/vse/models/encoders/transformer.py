"""Captions through a small transformer."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.dropout import check_share
from goal_analysis.vse.models.encoders.pooling import Pooled, pooled, sinusoids
from goal_analysis.vse.models.encoders.recurrent import forgotten
from goal_analysis.vse.models.text import Tokenizer, Tokens


def layers_of(dim: int, layers: int, heads: int, dropout: float | int) -> nn.TransformerEncoder:
    """A stack of self-attention, normalised before each of its parts and at the end, four times as wide inside.

    Raises:
        ValueError: no layer, a width that the heads do not divide, or a dropout outside of [0, 1).
    """
    if layers < 1:
        raise ValueError(f"layers: got {layers} but expected 1 or more")
    if heads < 1 or dim % heads:
        raise ValueError(f"heads: got {heads} but expected a divisor of dim, {dim}")
    check_share("dropout", dropout)
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, float(dropout), activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)


class Transformer(nn.Module):
    """Word vectors and the sinusoids of their places through self-attention; every word's is an element.

    Args:
        tokenizer: of the captions.
        dim: of the elements and everything inside.
        layers: of self-attention.
        heads: of every layer, a divisor of ``dim``.
        dropout: inside every layer, from 0 to below 1.
        forget: in training, the share of words that are read as unknown.
    """

    def __init__(
        self, tokenizer: Tokenizer, dim: int, layers: int, heads: int, dropout: float | int, forget: float | int
    ) -> None:
        super().__init__()
        self.dim = dim
        self.forget = check_share("forget", forget)
        self.vectors = nn.Embedding(len(tokenizer), dim)
        self.layers = layers_of(dim, layers, heads, dropout)

    def forward(self, tokens: Tokens) -> tuple[Float[Tensor, "captions longest dim"], Bool[Tensor, "captions longest"]]:
        """The elements, and where there is a word."""
        ids = forgotten(tokens.ids, self.forget) if self.training and self.forget else tokens.ids
        vectors = self.vectors(ids)
        places = sinusoids(ids.shape[1], self.dim, vectors)
        return self.layers(vectors + places, src_key_padding_mask=~tokens.mask), tokens.mask


def transformer_encoder(
    tokenizer: Tokenizer,
    *,
    dim: int = 512,
    layers: int = 2,
    heads: int = 8,
    dropout: float | int = 0.1,
    forget: float | int = 0.0,
    pooling: str = "mean",
    drop: float | int = 0.0,
) -> Pooled:
    """The encoder of captions by self-attention.

    See "Attention Is All You Need" (Vaswani et al., NeurIPS 2017, https://arxiv.org/abs/1706.03762).

    Args:
        tokenizer: of the captions.
        dim: of the embedding and everything inside.
        layers: of self-attention.
        heads: of every layer, a divisor of ``dim``.
        dropout: inside every layer, from 0 to below 1.
        forget: in training, the share of words that are read as unknown, from 0 to below 1.
        pooling: one of `goal_analysis.vse.models.encoders.pooling.POOLINGS`.
        drop: in training, the share of a caption's elements that is left out of the pooling.

    Raises:
        ValueError: heads that do not divide ``dim``, an unknown pooling, or a share out of its range.
    """
    return pooled(Transformer(tokenizer, dim, layers, heads, dropout, forget), pooling, dim, drop)
