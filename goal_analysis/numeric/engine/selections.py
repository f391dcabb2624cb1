"""Selections: which of an anchor's pairs are aggregated at all.

A selection of (similarities (anchors, candidates), members, the other side's similarity (anchors, 1)) returns which
pairs it keeps; no gradient flows through the choice. ``depends`` says how that depends on the scores: "not", "order"
(of the scores alone), "threshold" or "random"; without it, whether the weights are a gradient stays open.
``meets_positive`` says that it compares with the positive; an objective without positives refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class TopK:
    """The k largest, of fewer members all of them; k is at least 1."""

    k: int = 5
    name: ClassVar[str] = "top_k"
    depends: ClassVar[str] = "order"

    def __post_init__(self) -> None:
        if self.k < 1 or self.k != int(self.k):
            raise ValueError(f"selection top_k: k: got {self.k} but expected a whole number of at least 1")
        object.__setattr__(self, "k", int(self.k))

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        """Which of the pairs are kept; of equal ones the first."""
        order = torch.sort(s.detach().masked_fill(~members, -torch.inf), dim=1, descending=True, stable=True).indices
        return torch.zeros_like(members).scatter(1, order[:, : self.k], True) & members


@dataclass(frozen=True)
class SemiHard:
    """Negatives with 0 < s_p − s_n ≤ margin, which is finite and at least 0: in the right order, but too close.

    "FaceNet: A Unified Embedding for Face Recognition and Clustering" (Schroff, Kalenichenko and Philbin, 2015,
    https://arxiv.org/abs/1503.03832).
    """

    margin: float | int = 0.2
    name: ClassVar[str] = "semi_hard"
    depends: ClassVar[str] = "threshold"
    meets_positive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_nonnegative(self.name, "margin", self.margin)

    @property
    def bounds(self) -> tuple[str, ...]:
        """Formulas of s_p and s_n that are above zero where a pair is kept."""
        return ("s_p - s_n", f"{self.margin!r} - s_p + s_n")

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        """Which of the pairs are kept."""
        assert other is not None  # negatives meet a positive
        ahead = other.detach() - s.detach()
        return members & (ahead > 0) & (ahead <= self.margin)


@dataclass(frozen=True)
class MaskAbove:
    """Negatives with s_n ≤ s_p + margin, which is at least 0: those that are much more alike pass for positives.

    "Qwen3 Embedding: Advancing Text Embedding and Reranking Through Foundation Models" (Zhang et al., 2025,
    https://arxiv.org/abs/2506.05176).
    """

    margin: float | int = 0.1
    name: ClassVar[str] = "mask_above"
    depends: ClassVar[str] = "threshold"
    meets_positive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_nonnegative(self.name, "margin", self.margin)

    @property
    def bounds(self) -> tuple[str, ...]:
        """Formulas that are above zero where a pair is kept."""
        return (f"s_p - s_n + {self.margin!r}",)

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        """Which of the pairs are kept."""
        assert other is not None  # negatives meet a positive
        return members & (s.detach() <= other.detach() + self.margin)


@dataclass(frozen=True)
class SelectivelyHard:
    """The largest, or all where |s_p − s_n| < ε, with ε finite and at least 0, for the hardest positive and negative.

    There the gradient of the hardest triplet almost vanishes, and all negatives take its place: "Selectively Hard
    Negative Mining for Alleviating Gradient Vanishing in Image-Text Matching" (Li, Guo, Wang, Feng and Du, 2025,
    https://arxiv.org/abs/2303.00181).
    """

    epsilon: float | int = 0.01
    name: ClassVar[str] = "selectively_hard"
    depends: ClassVar[str] = "threshold"
    meets_positive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_nonnegative(self.name, "epsilon", self.epsilon)

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        """Which of the pairs are kept."""
        assert other is not None  # negatives meet a positive
        s = s.detach().masked_fill(~members, -torch.inf)
        largest, at = s.max(1, keepdim=True)
        close = (other.detach() - largest).abs() < self.epsilon
        return (torch.zeros_like(members).scatter(1, at, True) | close) & members


@dataclass(frozen=True)
class DistanceWeighted:
    """One negative, drawn so that all distances are equally likely.

    P(n | a) ∝ 1/q(d) with d = √(2 − 2s), raised to ``cutoff`` at least, and q(d) ∝ dᵐ⁻²(1 − d²/4)^((m−3)/2), the
    density of distances on the unit sphere in m = ``dim`` ≥ 2 dimensions; s are cosines. Negatives from ``reach`` on
    are not drawn, as a margin loss would not feel them. The generator is on the device of the similarities.

    "Sampling Matters in Deep Embedding Learning" (Wu, Manmatha, Smola and Krähenbühl, 2017,
    https://arxiv.org/abs/1706.07567).
    """

    dim: int = 512
    cutoff: float | int = 0.5
    reach: float | int = 1.4
    generator: torch.Generator | None = None
    name: ClassVar[str] = "distance_weighted"
    depends: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        if self.dim != int(self.dim) or self.dim < 2:
            raise ValueError(f"selection {self.name}: dim: got {self.dim} but expected a whole number of at least 2")
        if not 0 < self.cutoff < 2:
            raise ValueError(f"selection {self.name}: cutoff: got {self.cutoff} but expected a number in (0, 2)")
        if not 0 < self.reach <= 2:
            raise ValueError(f"selection {self.name}: reach: got {self.reach} but expected a number in (0, 2]")

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        """Which of the pairs are kept: one of every row that has one within reach."""
        chances = self.chances(s.detach(), members)
        drawable = chances.any(1, keepdim=True)
        if not chances.numel():
            return members
        drawn = torch.multinomial(chances + ~drawable, 1, generator=self.generator)
        return torch.zeros_like(members).scatter(1, drawn, True) & drawable

    def chances(self, s: Tensor, members: Tensor) -> Tensor:
        """P(n | a), of the shape of the similarities; zeros for an anchor without negatives within reach."""
        distance = (2 - 2 * s).clamp_min(0).sqrt()
        d = distance.clamp_min(self.cutoff)
        log_q = (self.dim - 2) * d.log() + (self.dim - 3) / 2 * torch.log1p(-d * d / 4)
        drawable = members & (distance < self.reach)
        empty = ~drawable.any(1, keepdim=True)
        logits = (-log_q).masked_fill(~drawable, -torch.inf).masked_fill(empty, 0)
        return torch.softmax(logits, 1).masked_fill(~drawable, 0)


def check_nonnegative(owner: str, name: str, value: float | int) -> None:
    """Raise a ValueError unless a number is finite and at least zero."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"selection {owner}: {name}: got {value} but expected a finite number of at least 0")
