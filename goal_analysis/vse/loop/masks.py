"""Masks of false negatives: pairs that a teacher takes for positives are no negatives of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.vse.data.answers import Answers


@dataclass(frozen=True, eq=False)
class TaughtMatches:
    """The matches of a batch of pairs, without negatives that a teacher finds too much alike.

    Image k and caption l are no negatives where t_kl > min(t_kk, t_ll) − margin: the teacher's similarity is above that
    of the pair of one of them, or less than the margin below. "GISTEmbed: Guided In-sample Selection of Training
    Negatives for Text Embedding Fine-tuning" (Solatorio, 2024, https://arxiv.org/abs/2402.16829), with the margin of
    "NV-Retriever" (Moreira et al., 2024, https://arxiv.org/abs/2407.15831). Both directions have one mask here.

    Args:
        answers: of the split that is trained on.
        images: the teacher's embeddings of its images.
        captions: of its captions.
        margin: from 0.
    """

    answers: Answers
    images: Float[Tensor, "images dim"]
    captions: Float[Tensor, "captions dim"]
    margin: float | int = 0.0

    def __call__(self, image_ids: Int[Tensor, " pairs"], places: Int[Tensor, " pairs"]) -> Matches:
        """From the rows of the images and the places of the captions, of which those of one place are a pair."""
        found = self.answers.matches(image_ids, places)
        t = self.images[image_ids.cpu()] @ self.captions[places.cpu()].T
        own = t.diagonal()
        too_alike = (t > own[:, None] - self.margin) | (t > own[None, :] - self.margin)
        return Matches(found.positives, found.negatives & ~too_alike.to(image_ids.device))
