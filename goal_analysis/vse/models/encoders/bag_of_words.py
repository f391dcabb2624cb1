"""Captions as bags of words, weighted by TF-IDF and mapped linearly."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.models.encoders.dropout import Dropout
from goal_analysis.vse.models.encoders.pooling import unit
from goal_analysis.vse.models.text import UNKNOWN, Tokenizer, Tokens, Vocabulary


class BagOfWords(nn.Module):
    """c ↦ unit(A·dropout(t) + b), t the TF-IDF of the caption's words: unit(t), tᵥ = (1 + ln count(v, c))·idf(v).

    idf(v) = 1 + ln((1 + captions)/(1 + captions with v)) over the captions that the vocabulary was built on. Words
    that it has not are passed over; a caption of them alone is unit(b). Dropout leaves out a word wherever it stands.

    See "Term-weighting approaches in automatic text retrieval" (Salton and Buckley, Information Processing &
    Management 24, 1988, https://doi.org/10.1016/0306-4573(88)90021-0).

    Args:
        tokenizer: a `Vocabulary`, for it has the frequencies.
        dim: of the embedding.
        dropout: of the words, from 0 to below 1.
        hidden: the width of a hidden layer of rectified units; 0 for none.

    Raises:
        ValueError: a tokenizer of another kind.
    """

    idf: Tensor

    def __init__(self, tokenizer: Tokenizer, *, dim: int = 512, dropout: float | int = 0.0, hidden: int = 0) -> None:
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
