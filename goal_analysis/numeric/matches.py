"""Which pairs of a score matrix match: the positives and the negatives of every anchor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from goal_analysis.declarations import expect_kind
from goal_analysis.symbolic.objective import Objective


@dataclass(frozen=True, eq=False)
class Matches:
    """The positives and the negatives of every anchor; a pair may be neither.

    Args:
        positives: shape ``(anchors, candidates)``; whether the candidate matches the anchor.
        negatives: shape ``(anchors, candidates)``; whether the candidate is a negative of the anchor.
        carried: shape ``(anchors, candidates)``; what the pair carries, such as a teacher's score, a label or a rank:
            ``y_p`` and ``y_n`` of formulas, held constant. None where no formula reads it.

    Raises:
        ValueError: the shapes differ, a pair is both, or a carried number is not finite.

    >>> pairs = Matches.of_image_ids(torch.tensor([7, 8, 7]))
    >>> pairs.positives.int()
    tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=torch.int32)
    """

    positives: Bool[Tensor, "anchors candidates"]
    negatives: Bool[Tensor, "anchors candidates"]
    carried: Float[Tensor, "anchors candidates"] | None = None

    def __post_init__(self) -> None:
        for name, mask in (("positives", self.positives), ("negatives", self.negatives)):
            expect_kind(f"matches: {name}", mask, Tensor, "a bool matrix (anchors, candidates)")
            if mask.dtype != torch.bool or mask.ndim != 2:
                got = f"a tensor of {mask.dtype} of shape {tuple(mask.shape)}"
                raise ValueError(f"matches: {name}: got {got} but expected a bool matrix (anchors, candidates)")
        if self.positives.shape != self.negatives.shape:
            raise ValueError(
                f"matches: got positives of shape {tuple(self.positives.shape)} and negatives of shape "
                f"{tuple(self.negatives.shape)} but expected one shape (anchors, candidates)"
            )
        if bool((self.positives & self.negatives).any()):
            raise ValueError("matches: got a pair that is positive and negative but expected one or the other")
        if self.carried is not None:
            y, pairs = self.carried, self.positives | self.negatives
            if y.shape != pairs.shape or not y.is_floating_point():
                got = f"a tensor of {y.dtype} of shape {tuple(y.shape)}"
                raise ValueError(f"matches: carried: got {got} but expected floats of shape {tuple(pairs.shape)}")
            if not y.isfinite()[pairs].all():
                raise ValueError("matches: carried: got one that is not finite but expected a number for every pair")
            object.__setattr__(self, "carried", y.detach())

    @classmethod
    def of_image_ids(cls, image_ids: Int[Tensor, " images"], text_ids: Int[Tensor, " texts"] | None = None) -> Matches:
        """Text j matches image i iff their ids are equal, so the captions of an image are never its negatives.

        Args:
            image_ids: shape ``(images,)``; the rows of the score matrix.
            text_ids: shape ``(texts,)``; the id of the image that each text describes, by default that of image i.
        """
        text_ids = image_ids if text_ids is None else text_ids
        _check_ids("image_ids", image_ids)
        _check_ids("text_ids", text_ids)
        equal = image_ids[:, None] == text_ids[None, :]
        return cls(equal, ~equal)

    @classmethod
    def of_labels(cls, labels: Int[Tensor, " embeddings"]) -> Matches:
        """One set of embeddings against itself: equal labels match; the diagonal is neither positive nor negative."""
        _check_ids("labels", labels)
        equal = labels[:, None] == labels[None, :]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        return cls(equal & ~itself, ~equal)

    @classmethod
    def of_classes(cls, labels: Int[Tensor, " embeddings"], classes: int) -> Matches:
        """Embeddings against one proxy per class: column c is the proxy of class c, from 0 to ``classes − 1``.

        Raises:
            ValueError: a label without a proxy.
        """
        _check_ids("labels", labels)
        if len(labels) and (labels.min() < 0 or labels.max() >= classes):
            raise ValueError(
                f"matches: labels: got values from {int(labels.min())} to {int(labels.max())} "
                f"but expected 0 to {classes - 1}, one proxy a class"
            )
        own = labels[:, None] == torch.arange(classes, device=labels.device)[None, :]
        return cls(own, ~own)

    @classmethod
    def of_pairs(cls, n: int, device: torch.device | str | None = None) -> Matches:
        """Candidate i of n matches anchor i and no other: the diagonal."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"of_pairs: got {n!r} but expected a whole number from 0")
        diagonal = torch.eye(n, dtype=torch.bool, device=device)
        return cls(diagonal, ~diagonal)

    @property
    def transposed(self) -> Matches:
        """The same pairs with candidates as anchors: the other direction of retrieval."""
        return Matches(self.positives.T, self.negatives.T, None if self.carried is None else self.carried.T)

    @property
    def within(self) -> Matches:
        """The embeddings of one side among themselves: two match where either pair does, and none matches itself."""
        itself = torch.eye(len(self.positives), dtype=torch.bool, device=self.positives.device)
        return Matches((self.positives | self.positives.T) & ~itself, self.negatives & self.negatives.T & ~itself)

    @property
    def shape(self) -> tuple[int, int]:
        """``(anchors, candidates)``."""
        anchors, candidates = self.positives.shape
        return anchors, candidates

    def to(self, device: torch.device | str) -> Matches:
        """The same on a device."""
        carried = None if self.carried is None else self.carried.to(device)
        return Matches(self.positives.to(device), self.negatives.to(device), carried)

    @property
    def tables(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The positives, the negatives and what pairs carry, as the engine takes them."""
        return self.positives, self.negatives, self.carried

    def check(self, scores: Tensor, owner: str, grouped: bool = False) -> None:
        """Raise a ValueError that names ``owner`` unless scores have the matches' shape, or grouped as many a class."""
        (rows, columns), (anchors, candidates) = scores.shape, self.shape
        if rows != anchors or (columns % max(candidates, 1) if grouped else columns != candidates):
            some = ", or the same number of columns for every class" if grouped else ""
            raise ValueError(
                f"{owner}: got scores of shape {tuple(scores.shape)} but expected {self.shape}, "
                f"the matches' (anchors, candidates){some}"
            )

    def check_for(self, objective: Objective, scores: Tensor, owner: str | None = None) -> None:
        """The same for an objective, and that pairs carry something where it reads that."""
        owner = owner or objective.owner
        if objective.reads_carried and self.carried is None:
            raise ValueError(
                f"{owner}: got nothing that pairs carry but expected what its formulas read as y_p and y_n: the "
                "argument carried, of shape (anchors, candidates), of the objective or of Matches"
            )
        self.check(scores, owner, objective.grouped is not None)


def _check_ids(name: str, ids: Tensor) -> None:
    if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex():
        got = f"a tensor of {ids.dtype} of shape {tuple(ids.shape)}"
        raise ValueError(f"matches: {name}: got {got} but expected whole numbers of shape (embeddings,)")
