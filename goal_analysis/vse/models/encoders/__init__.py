"""Encoders of images and of captions, by their names; a user's own join `IMAGE_ENCODERS` and `TEXT_ENCODERS`."""

from collections.abc import Callable

from torch import nn

from goal_analysis.vse.models.encoders.networks import network_of
from goal_analysis.vse.models.encoders.open_clip import OpenClipText, OpenClipVision
from goal_analysis.vse.models.encoders.pooling import pooled
from goal_analysis.vse.models.encoders.pretrained import LanguageModel, VisionModel
from goal_analysis.vse.models.encoders.trained import BagOfWords, Convolution, Linear, Recurrent, Regions, Transformer

IMAGE_ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "regions": pooled(Regions, "gpo", 0.2),
    "convolution": pooled(Convolution, "max"),
    "timm": pooled(network_of("timm")),
    "torchvision": pooled(network_of("torchvision")),
    "hugging_face": pooled(VisionModel),
    "open_clip": pooled(OpenClipVision),
}
"""What builds every image encoder, by its name, from the shape of one image, the statistics of all, and options.

It embeds images as unit vectors, one row an image.
"""

TEXT_ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "bag_of_words": BagOfWords,
    "recurrent": pooled(Recurrent, "gpo"),
    "transformer": pooled(Transformer),
    "hugging_face": pooled(LanguageModel, "own"),
    "open_clip": pooled(OpenClipText),
}
"""What builds every text encoder, by its name, from the tokenizer and options.

It embeds captions as unit vectors, one row a caption.
"""
