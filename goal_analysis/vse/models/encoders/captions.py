"""Encoders of captions that are trained from nothing: a bag of words, a recurrent network, and a transformer."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.pooling import Dropout, Local, Share, sinusoids, unit
from goal_analysis.vse.models.text import UNKNOWN, Tokenizer, Tokens, Vocabulary


class BagOfWords(nn.Module):
    """c ↦ unit(A·dropout(t) + b), t the TF-IDF of the caption's words: unit(t), tᵥ = (1 + ln count(v, c))·idf(v).

    idf(v) = 1 + ln((1 + captions)/(1 + captions with v)) over the captions that the `Vocabulary` was built on. Words
    that it has not are passed over; a caption of them alone is unit(b). Dropout leaves out a word wherever it stands.
    With ``hidden`` there is a layer of so many rectified units.

    See "Term-weighting approaches in automatic text retrieval" (Salton and Buckley, Information Processing & Management
    24, 1988, https://doi.org/10.1016/0306-4573(88)90021-0).
    """

    idf: Tensor

    def __init__(self, tokenizer: Tokenizer, *, dim: int = 512, dropout: Share = 0.0, hidden: int = 0) -> None:
        super().__init__()
        if not isinstance(tokenizer, Vocabulary):
            raise ValueError(f"bag_of_words: got {type(tokenizer).__name__} as tokenizer but expected Vocabulary")
        seen = torch.tensor(tokenizer.document_frequencies, dtype=torch.get_default_dtype())
        unseen = torch.zeros(UNKNOWN + 1)
        self.register_buffer("idf", torch.cat((unseen, 1 + ((1 + tokenizer.captions) / (1 + seen)).log())))
        bound = 1 / math.sqrt(len(tokenizer))  # as nn.Linear begins
        width = hidden or dim
        self.weight = nn.Parameter(torch.empty(len(tokenizer), width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        self.dropout = Dropout(dropout)
        rest = (nn.ReLU(), Dropout(dropout), nn.Linear(hidden, dim)) if hidden else ()
        self.rest = nn.Sequential(*rest)

    def weights(self, tokens: Tokens) -> Float[Tensor, "captions longest"]:
        """TF-IDF at the first place of every word of a caption, and 0 at its others; rows of unit length."""
        same = tokens.ids[:, :, None] == tokens.ids[:, None, :]
        again = same.tril(-1).any(2)
        weights = (1 + same.sum(2).to(self.idf.dtype).log()) * self.idf[tokens.ids]
        return unit(weights.masked_fill(again | ~tokens.mask, 0))

    def forward(self, tokens: Tokens) -> Float[Tensor, "captions dim"]:
        """Unit vectors of captions."""
        weights = self.dropout(self.weights(tokens)).to(self.weight.dtype)
        summed = nn.functional.embedding_bag(tokens.ids, self.weight, per_sample_weights=weights, mode="sum")
        return unit(self.rest(summed + self.bias))


class WordVectors(nn.Embedding):
    """A vector a word; in training, the share ``forget`` of the words is read as unknown."""

    def __init__(self, tokenizer: Tokenizer, width: int, forget: Share) -> None:
        super().__init__(len(tokenizer), width)
        self.forget = forget

    def forward(self, input: Int64[Tensor, "captions longest"]) -> Float[Tensor, "captions longest width"]:
        """The vectors of the words."""
        if self.training and self.forget:
            out = torch.rand(input.shape, device=input.device) < self.forget
            input = input.masked_fill(out & (input > UNKNOWN), UNKNOWN)
        return super().forward(input)


class Recurrent(nn.Module):
    """Word vectors through a GRU of both ways, whose two states are averaged; every word's is an element.

    ``words`` is the width of the word vectors, ``dropout`` is theirs; in training, ``forget`` is the share of words
    that are read as unknown. Captions are packed, so that nothing is computed for the padding.

    With GPO it is the encoder of VSE∞: "Learning the Best Pooling Strategy for Visual Semantic Embedding" (Chen, Hu,
    Wu, Jiang and Wang, CVPR 2021, https://arxiv.org/abs/2011.04305).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        dim: int = 512,
        words: int = 300,
        dropout: Share = 0.0,
        forget: Share = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vectors = WordVectors(tokenizer, words, forget)
        nn.init.uniform_(self.vectors.weight, -0.1, 0.1)  # as VSE++ and its successors begin
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(words, dim, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tokens) -> Local:
        """The elements, zero at the padding, and where there is a word."""
        vectors = self.dropout(self.vectors(tokens.ids))
        lengths, longest = tokens.lengths.cpu(), tokens.ids.shape[1]
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        both, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=longest)
        return torch.stack(both.chunk(2, dim=2)).mean(0), tokens.mask


def layers_of(dim: int, layers: int, heads: int, dropout: Share) -> nn.TransformerEncoder:
    """Layers of self-attention with normalisation first and at the end; their perceptrons are 4·dim wide."""
    if dim % heads:
        raise ValueError(f"heads: got {heads} but expected a divisor of dim, {dim}")
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, float(dropout), activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)


class Transformer(nn.Module):
    """Word vectors and the sinusoids of their places through self-attention; every word's is an element.

    ``heads`` divide ``dim``; in training, ``forget`` is the share of words that are read as unknown.

    See "Attention Is All You Need" (Vaswani et al., NeurIPS 2017, https://arxiv.org/abs/1706.03762).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        dim: int = 512,
        layers: int = 2,
        heads: int = 8,
        dropout: Share = 0.1,
        forget: Share = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vectors = WordVectors(tokenizer, dim, forget)
        self.layers = layers_of(dim, layers, heads, dropout)

    def forward(self, tokens: Tokens) -> Local:
        """The elements, and where there is a word."""
        vectors = self.vectors(tokens.ids)
        places = sinusoids(vectors.shape[1], self.dim, vectors)
        return self.layers(vectors + places, src_key_padding_mask=~tokens.mask), tokens.mask
