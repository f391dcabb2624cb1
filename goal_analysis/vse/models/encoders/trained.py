"""Encoders that are trained from nothing: of features, of pictures, and of captions."""

import math
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from goal_analysis.declarations import Words
from goal_analysis.vse.models.encoders.pooling import (
    Dropout,
    Images,
    Local,
    Pictures,
    Share,
    all_there,
    read_both_ways,
    sinusoids,
    unit,
)
from goal_analysis.vse.models.text import UNKNOWN, Tokenizer, Tokens, Vocabulary

LEAST = 1e-6  # a feature with a lesser deviation does not vary, and is only centred

Statistics = tuple[Tensor, Tensor]  # mean and deviation of every feature, or of every channel of pictures


class Standardise(nn.Module):
    """(x − mean)/deviation by feature or by channel of pictures; saved with the model but not trained."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...], statistics: Statistics | None = None) -> None:
        super().__init__()
        features = shape[0] if len(shape) == 3 else shape[-1]
        mean, deviation = statistics or (torch.zeros(features), torch.ones(features))
        kept = {"mean": mean, "deviation": torch.where(deviation > LEAST, deviation, torch.ones_like(deviation))}
        for name, given in kept.items():
            if given.shape != (features,):
                got = f"statistics: got the {name} of shape {tuple(given.shape)} for images of shape {shape}"
                raise ValueError(f"{got} but expected {(features,)}")
            behind = (1, 1) if len(shape) == 3 else ()
            self.register_buffer(name, given.to(torch.get_default_dtype()).reshape(features, *behind))

    def forward(self, images: Images) -> Float[Tensor, "images ..."]:
        """The standardised images."""
        return (images - self.mean) / self.deviation


FEATURES = "features, (features,) or (regions, features); pictures go through convolution, timm or torchvision"


class Linear(nn.Module):
    """x ↦ unit(A·dropout(x) + b), or with ``hidden`` unit(A·dropout(relu(B·dropout(x) + c)) + b), x standardised."""

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        dropout: Share = 0.0,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        check_images("linear", shape, FEATURES)
        layers: list[nn.Module] = [Standardise(shape, statistics), Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(shape[-1], hidden), nn.ReLU(), Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or shape[-1], dim))

    def forward(self, images: Images) -> Float[Tensor, "images dim"]:
        """Unit vectors of images."""
        return unit(self.layers(images.mean(1) if images.ndim == 3 else images))


def check_images(encoder: str, shape: tuple[int, ...], expected: str = "pictures, (3, height, width)") -> None:
    """Refuse images of another kind: pictures, or where something else is expected, features."""
    if len(shape) not in ((1, 2) if expected == FEATURES else (3,)):
        raise ValueError(f"{encoder}: got images of shape {shape} but expected {expected}")


class Regions(nn.Module):
    """r ↦ A·x + b + C·relu(B·x + c), x = dropout(standardised r), for every region; A·x + b if ``hidden`` is 0. With
    ``batch_norm`` regions are normalised before the relu. With both and GPO it is the encoder of VSE∞ (Chen et al.,
    CVPR 2021, https://arxiv.org/abs/2011.04305).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        dropout: Share = 0.0,
        hidden: int = 0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        check_images("regions", shape, FEATURES)
        self.dim = dim
        self.given = nn.Sequential(Standardise(shape, statistics), Dropout(dropout))
        self.linear = nn.Linear(shape[-1], dim)
        normalised = (nn.BatchNorm1d(hidden),) if batch_norm and hidden else ()
        layers = (nn.Linear(shape[-1], hidden), *normalised, nn.ReLU(), nn.Linear(hidden, dim)) if hidden else ()
        self.perceptron = nn.Sequential(*layers)

    def forward(self, images: Images) -> Local:
        """The elements, all of which are there."""
        x = self.given(images if images.ndim == 3 else images[:, None])
        elements = self.linear(x)
        if len(self.perceptron):
            elements = elements + self.perceptron(x.flatten(0, 1)).view_as(elements)
        return all_there(elements)


RATIO = 4 / 3  # the most that a cut is wider than high, or higher than wide

Crop = Annotated[float | int, Gt(0), Le(1), Words("a number above 0, and 1 at most")]
Flip = Annotated[float | int, Ge(0), Le(1), Words("a probability")]


class Augmentation(nn.Module):
    """In training, every picture cut at random and scaled back, and mirrored with the probability ``flip``. A cut's
    area is uniform from the share ``crop`` on, its place uniform, its width over its height log-uniform, up to
    1/``crop`` and 4:3.
    """

    def __init__(self, crop: Crop, flip: Flip) -> None:
        super().__init__()
        self.crop, self.flip = crop, flip

    def forward(self, images: Pictures) -> Pictures:
        """The pictures, which are cut and mirrored in training alone."""
        if not self.training or (self.crop == 1 and self.flip == 0):
            return images
        area, shape, across, down, mirror = torch.rand(5, len(images), device=images.device, dtype=images.dtype)
        area = self.crop + (1 - self.crop) * area
        root = torch.exp((shape - 0.5) * math.log(min(RATIO, 1 / self.crop)))
        width, height = (area.sqrt() * root).clamp_max(1), (area.sqrt() / root).clamp_max(1)
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0] = torch.where(mirror < self.flip, -width, width)
        theta[:, 1, 1] = height
        theta[:, 0, 2] = (2 * across - 1) * (1 - width)
        theta[:, 1, 2] = (2 * down - 1) * (1 - height)
        grid = affine_grid(theta, list(images.shape), align_corners=False)
        return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


GROUPS = 8  # of channels, normalised together; so an image's embedding does not depend on the others of its batch


class Convolution(nn.Module):
    """Three convolutions, of strides 4, 2 and 1, that double the channels from ``width`` on; every place left is an
    element.

    In training, ``crop`` is the least share of a picture that is cut, and ``flip`` the probability to mirror, 0 where
    captions tell left from right. Two channels say where in the picture a place is: "An intriguing failing of
    convolutional neural networks and the CoordConv solution" (Liu et al., NeurIPS 2018,
    https://arxiv.org/abs/1807.03247).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        statistics: Statistics | None = None,
        *,
        dim: int = 512,
        width: int = 32,
        crop: Crop = 1.0,
        flip: Flip = 0.0,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 16:
            expected = "pictures, (channels, height, width), of 16 × 16 or more"
            raise ValueError(f"convolution: got images of shape {shape} but expected {expected}")
        if width < GROUPS or width % GROUPS:
            raise ValueError(f"width: got {width} but expected a multiple of {GROUPS}")
        self.dim = dim
        self.given = nn.Sequential(Standardise(shape, statistics), Augmentation(crop, flip))
        channels = (shape[0] + 2, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for (before, after), (size, stride) in zip(pairwise(channels), ((6, 4), (3, 2), (3, 1)), strict=True):
            convolution = nn.Conv2d(before, after, size, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.GroupNorm(GROUPS, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(channels[-1], dim)

    def forward(self, images: Pictures) -> Local:
        """The elements, all of which are there."""
        down, across = (torch.linspace(-1, 1, n, dtype=images.dtype, device=images.device) for n in images.shape[2:])
        places = torch.stack(torch.meshgrid(down, across, indexing="ij")).expand(len(images), -1, -1, -1)
        placed = torch.cat((self.given(images), places), 1)
        elements = self.linear(self.layers(placed).flatten(2).transpose(1, 2))
        return all_there(elements)


class BagOfWords(nn.Module):
    """c ↦ unit(A·dropout(t) + b), t the TF-IDF of the caption's words: unit(t), tᵥ = (1 + ln count(v, c))·idf(v).

    idf(v) = 1 + ln((1 + captions)/(1 + captions with v)) over the captions that the `Vocabulary` was built on. Words
    that it has not are passed over. With ``hidden`` there is a layer of so many rectified units. "Term-weighting
    approaches in automatic text retrieval" (Salton and Buckley, 1988, https://doi.org/10.1016/0306-4573(88)90021-0).
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
        words = tokens.ids.float()
        same = (words[:, :, None] - words[:, None, :]).eq_(0)  # in numbers, which are counted sooner than truths
        weights = (1 + same.sum(2).to(self.idf.dtype).log()) * self.idf[tokens.ids]
        again = same.tril_(-1).sum(2) > 0
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
    """Word vectors of the width ``words`` through a GRU of both ways, whose two states are averaged; every word's is an
    element. In training, the share ``forget`` of the words is read as unknown. With GPO it is the encoder of VSE∞ (Chen
    et al., CVPR 2021, https://arxiv.org/abs/2011.04305).
    """

    def __init__(
        self, tokenizer: Tokenizer, *, dim: int = 512, words: int = 300, dropout: Share = 0.0, forget: Share = 0.0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.vectors = WordVectors(tokenizer, words, forget)
        nn.init.uniform_(self.vectors.weight, -0.1, 0.1)  # as VSE++ and its successors begin
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(words, dim, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tokens) -> Local:
        """The elements, zero at the padding, and where there is a word."""
        return read_both_ways(self.gru, self.dropout(self.vectors(tokens.ids)), tokens.lengths), tokens.mask


def layers_of(dim: int, layers: int, heads: int, dropout: Share) -> nn.TransformerEncoder:
    """Layers of self-attention with normalisation first and at the end; their perceptrons are 4·dim wide."""
    if dim % heads:
        raise ValueError(f"heads: got {heads} but expected a divisor of dim, {dim}")
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, float(dropout), activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)


class Transformer(nn.Module):
    """Word vectors and the sinusoids of their places through self-attention; every word's is an element. ``forget`` is
    as for `Recurrent`. "Attention Is All You Need" (Vaswani et al., NeurIPS 2017, https://arxiv.org/abs/1706.03762).
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
