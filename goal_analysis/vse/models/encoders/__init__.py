"""Encoders of images and of captions, by their names; a user's own join `IMAGE_ENCODERS` and `TEXT_ENCODERS`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from goal_analysis.vse.models.encoders.captions import (
    BagOfWords,
    hugging_face_encoder,
    recurrent_encoder,
    transformer_encoder,
)
from goal_analysis.vse.models.encoders.features import Linear, region_encoder
from goal_analysis.vse.models.encoders.pictures import convolutional_encoder, timm_encoder, torchvision_encoder

IMAGE_ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "regions": region_encoder,
    "convolution": convolutional_encoder,
    "timm": timm_encoder,
    "torchvision": torchvision_encoder,
}
"""What builds every image encoder, by its name, from the shape of one image, the statistics of all, and options.

It embeds images as unit vectors, one row an image.
"""

TEXT_ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "bag_of_words": BagOfWords,
    "recurrent": recurrent_encoder,
    "transformer": transformer_encoder,
    "hugging_face": hugging_face_encoder,
}
"""What builds every text encoder, by its name, from the tokenizer and options.

It embeds captions as unit vectors, one row a caption.
"""
