"""Encoders of images and of captions: unit vectors of one width, by one file a kind."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from goal_analysis.vse.models.encoders.captions import (
    BagOfWords,
    hugging_face_encoder,
    recurrent_encoder,
    transformer_encoder,
)
from goal_analysis.vse.models.encoders.features import Linear, region_encoder
from goal_analysis.vse.models.encoders.pictures import convolutional_encoder, timm_encoder, torchvision_encoder
from goal_analysis.vse.models.text import Tokens


@runtime_checkable
class ImageEncoder(Protocol):
    """What embeds images; built with the shape of one image, the statistics of all, and options."""

    def __call__(self, images: Float[Tensor, "images ..."]) -> Float[Tensor, "images dim"]:
        """Unit vectors of images."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """What embeds captions; built with the tokenizer and options."""

    def __call__(self, tokens: Tokens) -> Float[Tensor, "captions dim"]:
        """Unit vectors of captions."""
        ...


IMAGE_ENCODERS = (
    ("linear", Linear),
    ("regions", region_encoder),
    ("convolution", convolutional_encoder),
    ("timm", timm_encoder),
    ("torchvision", torchvision_encoder),
)
"""Every image encoder with its name."""

TEXT_ENCODERS = (
    ("bag_of_words", BagOfWords),
    ("recurrent", recurrent_encoder),
    ("transformer", transformer_encoder),
    ("hugging_face", hugging_face_encoder),
)
"""Every text encoder with its name."""
