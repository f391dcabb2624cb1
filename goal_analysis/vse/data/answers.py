"""Which captions are right for which images: their own, equal ones, those judged, and those that a teacher finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from goal_analysis.numeric.matches import Matches

Equal = Literal["positives", "masked", "negatives"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Right answers: a caption's own image, and the ``judged`` pairs. Where another caption of an image has the same
    words, whatever their case, ``equal`` says if it is right (``positives``), neither (``masked``) or wrong
    (``negatives``).
    """

    image_of: Int64[np.ndarray, " captions"]
    texts: Int64[np.ndarray, " captions"]
    equal: Equal = "negatives"
    judged: Int64[np.ndarray, "2 pairs"] | None = None

    @classmethod
    def of(
        cls,
        captions: Sequence[str],
        image_of: Int64[np.ndarray, " captions"],
        equal: Equal,
        judged: Int64[np.ndarray, "2 pairs"] | None = None,
    ) -> Answers:
        """The answers of these captions, whose words decide which are equal."""
        folded = [" ".join(caption.casefold().split()) for caption in captions]
        numbers = {text: number for number, text in enumerate(dict.fromkeys(folded))}
        return cls(image_of, np.array([numbers[text] for text in folded], dtype=np.int64), equal, judged)

    @property
    def equal_captions(self) -> int:
        """How many captions have the words of a caption of another image."""
        images = np.bincount(self._pairs % self._count, minlength=self._count)  # that each text describes
        return int((images[self.texts] > 1).sum())

    def right(self, images: slice) -> Bool[Tensor, "strip captions"]:
        """Which captions are right for these images."""
        rows = np.arange(images.start, images.stop)
        found = self._same(rows) if self.equal == "positives" else rows[:, None] == self.image_of
        if self.judged is not None:
            rows, captions = self.judged[:, (self.judged[0] >= images.start) & (self.judged[0] < images.stop)]
            found[rows - images.start, captions] = True
        return torch.from_numpy(found)

    def wrong(self, images: slice) -> Bool[Tensor, "strip captions"]:
        """Which captions are wrong for these images."""
        found = self.right(images)
        if self.equal == "masked":
            found |= torch.from_numpy(self._same(np.arange(images.start, images.stop)))
        return ~found

    def matches(self, image_ids: Int[Tensor, " images"], places: Int[Tensor, " texts"]) -> Matches:
        """The matches of a batch, by its images' rows and its captions' places; what people judged does not count."""
        of, texts = (torch.from_numpy(numbers).to(places.device)[places] for numbers in (self.image_of, self.texts))
        own = image_ids[:, None] == of
        if self.equal == "negatives":
            return Matches(own, ~own)
        known, pairs = torch.from_numpy(self._pairs).to(places.device), image_ids[:, None] * self._count + texts
        same = known[torch.searchsorted(known, pairs).clamp(max=len(known) - 1)] == pairs
        return Matches(same if self.equal == "positives" else own, ~same)

    @cached_property
    def _count(self) -> int:
        return int(self.texts.max()) + 1

    @cached_property
    def _pairs(self) -> Int64[np.ndarray, " pairs"]:
        """The pairs of an image and a text that describes it, each as a number, in order."""
        return np.unique(self.image_of * self._count + self.texts)

    def _same(self, rows: Int64[np.ndarray, " strip"]) -> Bool[np.ndarray, "strip captions"]:
        """Which captions have the words of one of the image's own; the rows follow one another."""
        here = np.isin(self.image_of, rows)
        found = np.zeros((len(rows), self._count), dtype=bool)
        found[self.image_of[here] - rows[0], self.texts[here]] = True
        return found[:, self.texts]


@dataclass(frozen=True, eq=False)
class TaughtMatches:
    """Matches without negatives that a teacher finds too much alike: those with t_kl > min(t_kk, t_ll) − margin, t
    being the teacher's similarity. GISTEmbed (Solatorio, 2024, https://arxiv.org/abs/2402.16829), with the margin of
    NV-Retriever (Moreira et al., 2024, https://arxiv.org/abs/2407.15831). Both directions have one mask here.
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
