"""From the vectors of an image's regions or a caption's words to one vector: the poolings, and unit rows."""

import math
from collections.abc import Callable
from inspect import Signature, signature
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from jaxtyping import Bool, Float
from torch import Tensor, nn

from goal_analysis.declarations import Words, expect_among
from goal_analysis.vse.models.text import Tokens

LEVELS = 2**16  # the share that is left out is a multiple of 1/65,536

Share = Annotated[float | int, Ge(0), Lt(1), Words("a number from 0 to below 1")]  # of what is left out in training


class Dropout(nn.Module):
    """Dropout (Srivastava et al., JMLR 15, 2014, https://jmlr.org/papers/v15/srivastava14a.html); on a CPU one random
    number of 64 bits decides over four values.
    """

    def __init__(self, share: Share = 0.0) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The values, some of them 0 in training."""
        if not self.training or self.share == 0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, float(self.share))
        out = min(round(self.share * LEVELS), LEVELS - 1)
        drawn = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        left = drawn.view(torch.int16)[: x.numel()].view(x.shape) >= out - LEVELS // 2
        return x * left * (LEVELS / (LEVELS - out))


TEMPERATURE = 0.1  # what the scores of the positions are divided by before their softmax, as in the authors' code
Elements = tuple[Tensor, Tensor]  # `Local` of images beside that of captions, which have other rows and elements
Vectors = Float[Tensor, "rows elements dim"]
Mask = Bool[Tensor, "rows elements"]
Rows = Float[Tensor, "rows dim"]
Local = tuple[Vectors, Mask]  # the elements that an encoder gives, and the mask of those that are there
Images = Float[Tensor, "images ..."]
Pictures = Float[Tensor, "images channels height width"]


def unit(x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
    """The rows over their lengths; zero stays zero."""
    return nn.functional.normalize(x, dim=-1)


def sinusoids(positions: int, dim: int, like: Tensor) -> Float[Tensor, "positions dim"]:
    """Sines and cosines of positions 0, 1, … (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762), as ``like``."""
    even = torch.arange(0, dim, 2, device=like.device, dtype=torch.float64)
    angles = torch.arange(positions, device=like.device)[:, None] * torch.exp(even * (-math.log(10_000) / dim))
    return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)[:, :dim].to(like.dtype)


def all_there(elements: Vectors) -> Local:
    """Elements of which none is padding."""
    return elements, torch.ones(elements.shape[:2], dtype=torch.bool, device=elements.device)


def drop_elements(mask: Mask, share: Share) -> Mask:
    """The mask with about this share of every row's elements taken out at random, and one left at least."""
    chance = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1)
    first = torch.zeros_like(mask).scatter(1, chance.argmax(1, keepdim=True), True)
    return mask & ((chance > share) | first)


class Fixed(nn.Module):
    """A pooling without weights: the mean or the greatest values, or the first or last element that is there."""

    def __init__(self, kind: Literal["mean", "max", "first", "last"]) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, elements: Vectors, mask: Mask) -> Rows:
        """What is pooled of the elements where the mask is true."""
        if self.kind == "max":
            return elements.masked_fill(~mask[:, :, None], -torch.inf).amax(1)
        if self.kind == "mean":
            weights = mask.to(elements.dtype) / mask.sum(1, keepdim=True)
        else:
            places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
            at = (mask * (places if self.kind == "last" else places.flip(0))).argmax(1, keepdim=True)
            weights = torch.zeros_like(mask, dtype=elements.dtype).scatter(1, at, 1)
        return torch.bmm(weights[:, None], elements.masked_fill(~mask[:, :, None], 0))[:, 0]


class Attention(nn.Module):
    """A mean weighted by softmax(v·tanh(U·z)) of each element z (Lin et al., 2017, https://arxiv.org/abs/1703.03130)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, max(dim // 4, 1), bias=False)
        self.score = nn.Linear(self.hidden.out_features, 1, bias=False)

    def forward(self, elements: Vectors, mask: Mask) -> Rows:
        """The weighted mean where the mask is true."""
        elements = elements.masked_fill(~mask[:, :, None], 0)
        scores = self.score(self.hidden(elements).tanh())[:, :, 0]
        weights = scores.masked_fill(~mask, -torch.inf).softmax(1)
        return torch.bmm(weights[:, None], elements)[:, 0]


def read_both_ways(gru: nn.GRU, rows: Vectors, lengths: Tensor) -> Float[Tensor, "rows elements width"]:
    """The mean of both directions' states at every place; nothing is computed behind the lengths, and zero there."""
    packed = nn.utils.rnn.pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
    both, _ = nn.utils.rnn.pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=rows.shape[1])
    return torch.stack(both.chunk(2, dim=2)).mean(0)


class GeneralisedPooling(nn.Module):
    """GPO: Σₖ θₖ·max_k(φ), every feature's values in falling order, weighted by their place k with learned weights.

    θ = softmax over k of f(k)/0.1, where f is a bidirectional GRU over the sinusoids of the places. θ depends on the
    number of elements alone, so the GRU reads each number that occurs in a batch once. "Learning the Best Pooling
    Strategy for Visual Semantic Embedding" (Chen, Hu, Wu, Jiang and Wang, CVPR 2021, https://arxiv.org/abs/2011.04305).
    """

    def __init__(self, dim: int, places: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.places = places
        self.gru = nn.GRU(places, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Linear(hidden, 1, bias=False)

    def weights(self, lengths: Tensor, longest: int) -> Float[Tensor, "rows longest"]:
        """θ for rows of these numbers of elements, shape ``(rows, longest)``: zero behind a row's length."""
        kinds, of = lengths.unique(return_inverse=True)
        places = sinusoids(longest, self.places, self.score.weight).expand(len(kinds), -1, -1)
        scores = self.score(read_both_ways(self.gru, places, kinds))[:, :, 0]
        behind = torch.arange(longest, device=lengths.device) >= kinds[:, None]
        return (scores / TEMPERATURE).masked_fill(behind, -torch.inf).softmax(1)[of]

    def forward(self, elements: Vectors, mask: Mask) -> Rows:
        """The weighted sums of the sorted values where the mask is true."""
        return pool_by_place(elements, mask, self.weights(mask.sum(1), mask.shape[1]))


def pool_by_place(elements: Vectors, mask: Mask, weights: Float[Tensor, "rows elements"]) -> Rows:
    """Σₖ θₖ·max_k of every feature: uniform θ gives the mean, θ = (1, 0, …) the greatest value."""
    last = elements.masked_fill(~mask[:, :, None], -torch.inf).transpose(1, 2).contiguous()
    falling = last.sort(dim=2, descending=True).values
    behind = torch.arange(mask.shape[1], device=mask.device) >= mask.sum(1, keepdim=True)
    return torch.bmm(falling.masked_fill(behind[:, None], 0), weights[:, :, None])[:, :, 0]


class Pooled(nn.Module):
    """An encoder of elements, of which the share ``drop`` is left out in training, and their pooling to a unit row."""

    def __init__(self, local: nn.Module, pooling: nn.Module, drop: Share = 0.0) -> None:
        super().__init__()
        self.local, self.pooling, self.drop = local, pooling, drop

    def elements(self, given: Tensor | Tokens) -> Local:
        """The elements, and the mask of those that are there and not left out."""
        elements, mask = self.local(given)
        return elements, drop_elements(mask, self.drop) if self.training and self.drop else mask

    def forward(self, given: Tensor | Tokens) -> Rows:
        """Unit vectors of images or of captions."""
        return unit(self.pooling(*self.elements(given)))


def pooled(local: Callable[..., nn.Module], pooling: str = "mean", drop: Share = 0.0) -> Callable[..., Pooled]:
    """Make a builder of `Pooled` encoders: its options are those of the local part, and ``pooling`` and ``drop``.

    ``pooling`` is a name in `POOLINGS`, or where ``own`` is the default the name that the local part says in its
    ``pooling``; in training, ``drop`` is the share of a row's elements that is left out of it. The local part gives
    elements of the width ``dim`` and their mask. An unknown name is a ValueError.
    """
    known = (*POOLINGS, pooling)

    def encoder(*given: Any, pooling: str = pooling, drop: Share = drop, **options: Any) -> Pooled:
        expect_among("pooling", pooling, known)
        elements: Any = local(*given, **options)
        pooling = elements.pooling if pooling == "own" else pooling
        return Pooled(elements, POOLINGS[pooling](elements.dim), drop)

    own, more = signature(local, eval_str=True), signature(encoder, eval_str=True).parameters
    parameters = [*own.parameters.values(), more["pooling"], more["drop"]]
    encoder.__signature__ = Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return encoder


POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda dim: Fixed("mean"),
    "max": lambda dim: Fixed("max"),
    "first": lambda dim: Fixed("first"),
    "last": lambda dim: Fixed("last"),
    "attention": Attention,
    "gpo": GeneralisedPooling,
}
"""What builds every pooling from the width of the elements, by its name; a user's own join it."""
