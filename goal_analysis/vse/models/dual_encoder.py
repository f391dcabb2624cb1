"""Images and captions embedded apart."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.vse.models.text import Tokens


class DualEncoder(nn.Module):
    """Images and captions embedded apart, and scored by the dot product of their unit vectors.

    Args:
        image: an `ImageEncoder`.
        text: a `TextEncoder` of the same width.
    """

    def __init__(self, image: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.image = image
        self.text = text

    def embed_images(self, images: Float[Tensor, "images ..."]) -> Float[Tensor, "images dim"]:
        """Unit vectors of images."""
        return self.image(images)

    def embed_texts(self, tokens: Tokens) -> Float[Tensor, "captions dim"]:
        """Unit vectors of captions."""
        return self.text(tokens)

    def forward(
        self, images: Float[Tensor, "images ..."], tokens: Tokens
    ) -> tuple[Float[Tensor, "images dim"], Float[Tensor, "captions dim"]]:
        """Both, the images first."""
        return self.image(images), self.text(tokens)
