"""Scorers: models that score an image with a caption by something else than a dot product of two vectors."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from goal_analysis.vse.models.encoders.pooling import Elements
from goal_analysis.vse.models.scorers.cross_attention import CrossAttention
from goal_analysis.vse.models.scorers.fusion import Fusion
from goal_analysis.vse.models.text import Tokens


@runtime_checkable
class CrossModalScorer(Protocol):
    """A module that scores images with captions; built with encoders that give elements, and options."""

    def score(self, images: Float[Tensor, "images ..."], tokens: Tokens) -> Float[Tensor, "images captions"]:
        """The scores of every image with every caption."""
        ...

    def score_pairs(
        self,
        images: Float[Tensor, "images ..."],
        tokens: Tokens,
        rows: Int64[Tensor, " pairs"],
        columns: Int64[Tensor, " pairs"],
    ) -> Float[Tensor, " pairs"]:
        """The scores of image ``rows[k]`` with caption ``columns[k]``."""
        ...

    def score_elements(
        self, regions: Elements, words: Elements, rows: Int64[Tensor, " pairs"], columns: Int64[Tensor, " pairs"]
    ) -> Float[Tensor, " pairs"]:
        """The same from what the encoders gave."""
        ...


SCORERS = (("cross_attention", CrossAttention), ("fusion", Fusion))
"""Every scorer with its name."""
