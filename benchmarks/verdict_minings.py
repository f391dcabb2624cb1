"""Minings and selections in NumPy, for the oracle, and selections of strangers, which the package is handed too."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from verdict_formulas import number
from verdict_weights import Side


def mined(mining: str | Any, reduction: str = "mean"):
    """The sides of a mining, for how many pairs it is looked at, and how it depends on the scores."""
    name, _, numbers = mining.partition(":") if isinstance(mining, str) else ("", "", "")
    values = [float(x) for x in numbers.split(",") if x]
    counts: tuple = ((1, 1, 1), (2, 3, 1))
    if name == "hardest":
        return (Side("min", "s_p"), Side("max", "s_n")), counts, "not"
    if name == "all":
        return (Side("each", "s_p"), Side("each", "s_n")), ((1, 1, 1), (2, 2, 1)), "not"
    if name == "mean":
        return (Side("mean", "s_p"), Side("mean", "s_n")), counts, "not"
    if name == "softmax":
        scales = (values * 2)[:2] if values else [10.0, 10.0]
        sides = (
            Side("soft_min", "s_p", parameter=f"{b}")
            if b and i == 0
            else Side("soft_max", "s_n", parameter=f"{b}")
            if b
            else Side("mean", "s_p" if i == 0 else "s_n")
            for i, b in enumerate(scales)
        )
        return tuple(sides), counts, "not"
    if name == "top_k":
        k = int(values[0]) if values else 5
        return (Side("min", "s_p"), Side("each_mean", "s_n", selection=TopK(k))), counts, "order"
    if name == "semi_hard":
        m = values[0] if values else 0.2
        side = Side("each", "s_n", selection=SemiHard(m))
        several = ((1, 1, 1), (2, 2, 1)) if reduction == "sum" else ((1, 1, 1), (2, 2, 1), (1, 1, 2), (1, 2, 2))
        return (Side("each", "s_p"), side), several, "threshold"
    if name == "selectively_hard":
        side = Side("each_mean", "s_n", selection=SelectivelyHard(values[0] if values else 0.01))
        return (Side("min", "s_p"), side), counts, "threshold"
    if name == "mask_above":
        side = Side("each", "s_n", selection=MaskAbove(values[0] if values else 0.1))
        return (Side("each", "s_p"), side), ((1, 1, 1), (2, 3, 1), (1, 1, 2), (1, 2, 2)), "threshold"
    if name not in ("", "distance_weighted"):
        raise ValueError(f"got the mining {mining!r} but expected one that the oracle knows")
    return (Side("each", "s_p"), Side("each", "s_n")), counts, "random"


@dataclass(frozen=True)
class TopK:
    """The k largest, in NumPy."""

    k: int

    def __call__(self, s: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which are kept."""
        return np.argsort(np.argsort(-s, axis=1, kind="stable"), axis=1) < self.k


@dataclass(frozen=True)
class SemiHard:
    """0 < s_p − s_n ≤ margin, in NumPy."""

    margin: float

    def __call__(self, s: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which are kept."""
        return (other - s > 0) & (other - s <= self.margin)


@dataclass(frozen=True)
class MaskAbove:
    """s_n ≤ s_p + margin, in NumPy."""

    margin: float

    def __call__(self, s: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which are kept."""
        return s <= other + self.margin


@dataclass(frozen=True)
class SelectivelyHard:
    """The largest, or all where it is close to the positive, in NumPy."""

    epsilon: float

    def __call__(self, s: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which are kept."""
        close = np.abs(other - s.max(1, keepdims=True)) < self.epsilon
        return (np.arange(s.shape[1])[:, None] == s.argmax(1)[:, None]) | close


@dataclass(frozen=True)
class Stranger:
    """A selection of somebody's own."""

    what: str
    number: float
    depends: str
    says_where: bool = False
    name: ClassVar[str] = "strange"

    @property
    def bounds(self) -> tuple[str, ...]:
        """Formulas that are above zero where a pair is kept, if it says them."""
        where = {"above": f"s_n - ({self.number!r})", "violating": f"s_n - s_p + {self.number!r}"}
        return (where[self.what],) if self.says_where else ()

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        """Which of the members are kept."""
        assert other is not None
        kept = torch.zeros_like(members)
        for row, own in enumerate(members):
            of_row = s[row, own].detach().numpy()[None, :, None]
            kept[row, own] = torch.as_tensor(
                self.in_numpy(of_row, other[row].detach().numpy()[None, None])[0, :, 0].copy()
            )
        return kept

    def in_numpy(self, s: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Which are kept, of shape (positives, negatives, anchors)."""
        if self.what == "above":
            return np.broadcast_to(s > self.number, np.broadcast_shapes(s.shape, other.shape))
        if self.what == "violating":
            return s > other - self.number
        if self.what == "second":
            return np.broadcast_to(
                np.argsort(np.argsort(-s, axis=1), axis=1) == min(1, s.shape[1] - 1),
                np.broadcast_shapes(s.shape, other.shape),
            )
        if self.what == "every other":
            return np.broadcast_to(
                (np.arange(s.shape[1]) % 2 == 0)[None, :, None], np.broadcast_shapes(s.shape, other.shape)
            )
        raise ValueError(f"got the selection {self.what!r}")


DECLARED = (("threshold", True), ("threshold", False), ("unknown", False))
"""Whether a selection says how it depends on the scores, and where its threshold lies."""

STRANGERS: tuple[Callable[[random.Random], Stranger], ...] = (
    lambda r: Stranger("above", float(eval(number(r))), *r.choice(DECLARED)),
    lambda r: Stranger("violating", r.choice((0.0, 0.1, 0.2, 0.5, 0.51)), *r.choice(DECLARED)),
    lambda r: Stranger("second", 0.0, r.choice(("order", "unknown"))),
    lambda r: Stranger("every other", 0.0, r.choice(("not", "unknown"))),
)
