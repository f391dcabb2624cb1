"""Scores of embeddings, made in place from their dot products, and what weights of the scores make of embeddings.

A GPU multiplies bfloat16 numbers into float32 itself, as exactly and faster: such embeddings stay as they are there.
The gradient of every similarity here is Σⱼ W′ᵢⱼ·yⱼ − rᵢ·xᵢ with W′ = W·g(s) and r the row's sum of W′, or 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from goal_analysis.numeric.engine.pairs import chunks

CLOSE = 0.01
"""Where ‖x − y‖² is below this share of ‖x‖² + ‖y‖², ‖x‖² − 2x·y + ‖y‖² has lost more than two digits."""

COLLAPSED = 1024
"""Pairs so close that are measured at a time."""

TOLERANCE = 0.02
"""By how much a length may exceed 1 and still count as that of a unit vector."""

DISTANCES = {"negative_squared_euclidean": False, "negative_euclidean": True}
"""The similarities that are distances, and whether the root is taken."""


@dataclass(eq=False)  # one is made at each call, and a frozen one takes longer
class Geometry:
    """The embeddings of a batch and what is measured between them."""

    x: Tensor  # shape ``(rows, dim)``
    y: Tensor  # shape ``(columns, dim)``
    similarity: str  # "dot" (of unit vectors the cosine too) or one of `DISTANCES`
    of_x: Tensor | None = None  # ‖xᵢ‖², where distances are measured
    of_y: Tensor | None = None  # ‖yⱼ‖²
    known: bool = False  # whether somebody has looked that they are unit vectors

    @classmethod
    def of(cls, similarity: str, x: Tensor, y: Tensor, known: bool = False) -> Geometry:
        """The geometry of these embeddings."""
        sizes = (None, None)
        if similarity in DISTANCES:
            sizes = (e.square().sum(1).to(torch.promote_types(e.dtype, torch.float32)) for e in (x, y))
        return cls(x, y, similarity, *sizes, known=known)

    @property
    def unit(self) -> bool:
        """Whether no score is larger in magnitude than those of unit vectors."""
        if self.known:
            return True
        most = 0.0
        for e in (self.x, self.y):
            lengths = torch.linalg.vector_norm(e, dim=1, dtype=torch.promote_types(e.dtype, torch.float32))
            most = max(most, float(lengths.max()) if len(lengths) else 0.0)
        return most <= 1 + TOLERANCE

    def strip(self, top: int, bottom: int) -> Geometry:
        """The same of a run of rows."""
        of_x = None if self.of_x is None else self.of_x[top:bottom]
        return Geometry(self.x[top:bottom], self.y, self.similarity, of_x, self.of_y)

    def score(self, s: Tensor, down: slice, across: slice) -> None:
        """Turn a tile's dot products into scores, in place."""
        if self.of_x is None or self.of_y is None:
            return
        x, y = self.x[down], self.y[across]
        for part, squared in chunks(s):
            sizes = self.of_x[down][part, None] + self.of_y[None, across]
            squared.mul_(-2).add_(sizes)
            for i, j in (at.unbind(1) for at in (squared < sizes.mul_(CLOSE)).nonzero().split(COLLAPSED)):
                ends = x[part][i].to(squared.dtype), y[j].to(squared.dtype)
                squared[i, j] = (ends[0] - ends[1]).square().sum(1)
            (squared.sqrt_() if DISTANCES[self.similarity] else squared).neg_()

    def by_products(self, w: Tensor, s: Tensor) -> None:
        """Turn weights of scores into W′, in place."""
        if not DISTANCES[self.similarity]:
            w.mul_(2)
            return
        for _, weights, scores in chunks(w, s) if w.ndim == 2 else [(None, w, s)]:
            weights.div_(scores).neg_().masked_fill_(scores == 0, 0)


def alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers in one dtype: the wider one of both, and float32 at least."""
    if x.dtype == y.dtype == torch.float32:
        return x, y
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(dtype), y.to(dtype)


def factors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers without their history, as they are multiplied by `product` and `add_product`."""
    as_they_are = x.is_cuda and x.dtype == y.dtype == torch.bfloat16
    return (x.detach(), y.detach()) if as_they_are else alike(x.detach(), y.detach())


def dtype_of_products(x: Tensor) -> torch.dtype:
    """In which factors such as these are multiplied and added up."""
    return torch.promote_types(x.dtype, torch.float32)


def product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """A·B, put into a tensor of `dtype_of_products`."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    else:
        torch.mm(a, b, out.dtype, out=out)


def add_product(to: Tensor, w: Tensor, e: Tensor, fresh: bool = False) -> None:
    """Add W·E to a gradient, or put it there; W is rounded to bfloat16 where E has that, as the gradient will be."""
    if w.dtype == e.dtype:
        to.addmm_(w, e, beta=0 if fresh else 1)
    elif fresh:
        torch.mm(w.to(e.dtype), e, to.dtype, out=to)
    else:
        to += torch.mm(w.to(e.dtype), e, to.dtype)
