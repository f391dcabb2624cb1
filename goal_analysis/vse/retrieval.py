"""What a model retrieves for one query."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.data import Split
from goal_analysis.vse.evaluation import scores_of
from goal_analysis.vse.text import Tokenizer


def images_of_caption(model: nn.Module, tokenizer: Tokenizer, split: Split, caption: str) -> Float[Tensor, " images"]:
    """The score of every image of the split with a caption.

    Args:
        model: a trained one.
        tokenizer: of its captions.
        split: what is retrieved from.
        caption: the query.

    Raises:
        ValueError: a caption without a word.
    """
    if not caption.strip():
        raise ValueError("caption: got no words but expected a caption")
    images = len(split.images)
    asked = Split(split.name, split.images, (caption,) * images, np.arange(images))
    return _whole(scores_of(model, asked, tokenizer), images)[:, 0]


def captions_of_image(model: nn.Module, tokenizer: Tokenizer, split: Split, image: int) -> Float[Tensor, " captions"]:
    """The score of every caption of the split with an image.

    Args:
        model: a trained one.
        tokenizer: of its captions.
        split: what is retrieved from.
        image: its row.

    Raises:
        ValueError: no such image.
    """
    if not 0 <= image < len(split.images):
        raise ValueError(f"image: got {image} but expected a row from 0 to {len(split.images) - 1}")
    return scores_of(model, split, tokenizer)(slice(image, image + 1))[0].float().cpu()


def _whole(scores, images: int) -> Tensor:
    return torch.cat([scores(slice(top, min(top + 256, images))).float().cpu() for top in range(0, images, 256)])
