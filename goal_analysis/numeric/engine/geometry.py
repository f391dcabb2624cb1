"""Scores of embeddings, made in place from their dot products, and what weights of the scores make of embeddings.

The gradient of every similarity here is Σⱼ W′ᵢⱼ·yⱼ − rᵢ·xᵢ with W′ = W·g(s) and r the row's sum of W′, or 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from goal_analysis.numeric.engine.pairs import GATHERED, Block, chunks
from goal_analysis.numeric.engine.products import dtype_of_products

CLOSE = 0.01
"""Where ‖x − y‖² is below this share of ‖x‖² + ‖y‖², ‖x‖² − 2x·y + ‖y‖² has lost more than two digits."""

COLLAPSED = 1024
"""Pairs so close that are measured at a time."""

TOLERANCE = 0.02
"""By how much a length may exceed 1 and still count as that of a unit vector."""

DISTANCES = {"negative_squared_euclidean": False, "negative_euclidean": True}
"""The similarities that are distances, and whether the root is taken."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """The embeddings of a batch and what is measured between them.

    Args:
        x: shape ``(rows, dim)``.
        y: shape ``(columns, dim)``.
        similarity: "dot" (also for the cosine of unit vectors), "negative_squared_euclidean" or "negative_euclidean".
        of_x: ‖xᵢ‖², where distances are measured.
        of_y: ‖yⱼ‖².
    """

    x: Tensor
    y: Tensor
    similarity: str
    of_x: Tensor | None = None
    of_y: Tensor | None = None

    @classmethod
    def of(cls, similarity: str, x: Tensor, y: Tensor) -> Geometry:
        """The geometry of these embeddings."""
        if similarity not in DISTANCES:
            return cls(x, y, similarity)
        return cls(
            x, y, similarity, *(e.square().sum(1).to(torch.promote_types(e.dtype, torch.float32)) for e in (x, y))
        )

    @property
    def unit(self) -> bool:
        """Whether no score is larger in magnitude than those of unit vectors."""
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
        for part in chunks(s):
            sizes = self.of_x[down][part, None] + self.of_y[None, across]
            self._measure(s[part], sizes, lambda i, j, x=x[part]: (x[i], y[j]))

    def of_pairs(self, block: Block) -> Tensor:
        """The scores of pairs that match, shape ``(groups, rows, columns)``."""
        dtype = dtype_of_products(self.x)
        if block.run is not None:
            down, across = block.run
            ends = zip(self.x[down].split(GATHERED), self.y[across].split(GATHERED), strict=True)
            s = torch.cat([torch.linalg.vecdot(x.to(dtype), y.to(dtype)) for x, y in ends]).view(-1, 1, 1)
        else:
            gathered = ((self.x[block.rows[part]], self.y[block.columns[part]]) for part in block.parts())
            s = torch.cat([x.to(dtype) @ y.to(dtype).mT for x, y in gathered])
        if self.of_x is not None and self.of_y is not None:
            sizes = block.of_anchors(self.of_x) + block.transposed.of_anchors(self.of_y).mT
            rows, columns = block.rows, block.columns
            self._measure(s, sizes, lambda g, i, j: (self.x[rows[g, i]], self.y[columns[g, j]]))
        return s

    def _measure(self, s: Tensor, sizes: Tensor, ends: Callable[..., tuple[Tensor, Tensor]]) -> None:
        squared = s.mul_(-2).add_(sizes)
        close = (squared < sizes.mul_(CLOSE)).nonzero()
        for part in close.split(COLLAPSED):  # a collapsed batch has all pairs there
            x, y = (e.to(squared.dtype) for e in ends(*part.unbind(1)))
            squared[part.unbind(1)] = (x - y).square().sum(1)
        (squared.sqrt_() if DISTANCES[self.similarity] else squared).neg_()

    def by_products(self, w: Tensor, s: Tensor) -> None:
        """Turn weights of scores into W′, in place."""
        if not DISTANCES[self.similarity]:
            w.mul_(2)
            return
        for part in chunks(w) if w.ndim == 2 else [slice(None)]:
            w[part].div_(s[part]).neg_().masked_fill_(s[part] == 0, 0)
