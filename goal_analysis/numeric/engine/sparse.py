"""A weight matrix of few entries, and its product with embeddings: deterministic whatever repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from goal_analysis.numeric.engine.pairs import Block


@dataclass(frozen=True, eq=False)
class SparseWeights:
    """The entries of W that are not zero; entries of one pair add up.

    Args:
        row: shape ``(entries,)``.
        column: shape ``(entries,)``.
        weight: shape ``(entries,)``.
        less: blocks of pairs, with what W loses there.
    """

    row: Tensor
    column: Tensor
    weight: Tensor
    less: list[tuple[Block, Tensor]]

    def of_rows(self, rows: slice) -> SparseWeights:
        """W with zero in other rows."""
        inside = (self.row >= rows.start) & (self.row < rows.stop)
        less = [block.within(rows, less) for block, less in self.less]
        return SparseWeights(self.row[inside], self.column[inside], self.weight[inside], less)

    def times(self, columns: Tensor, rows: int) -> Tensor:
        """W·Y for Y of shape ``(columns, dim)``: every row a sum over its entries, in their order."""
        order = torch.sort(self.row, stable=True)
        starts = torch.searchsorted(order.values, torch.arange(rows, device=self.row.device))
        weight = self.weight[order.indices].to(columns.dtype)
        indices = self.column[order.indices]
        to = torch.nn.functional.embedding_bag(indices, columns, starts, mode="sum", per_sample_weights=weight)
        for block, less in self.less:
            block.subtract_product(to, less, columns)
        return to

    @property
    def transposed(self) -> SparseWeights:
        """Wᵀ."""
        less = [(block.transposed, less.mT) for block, less in self.less]
        return SparseWeights(self.column, self.row, self.weight, less)

    def map(self, function: Callable[[Tensor], Tensor]) -> SparseWeights:
        """The same with other weights."""
        less = [(block, function(less)) for block, less in self.less]
        return SparseWeights(self.row, self.column, function(self.weight), less)


BLOCK = 64
"""Candidates whose maximum is taken first."""


def largest_of_rows(s: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every row, and the first column where it stands.

    It is looked for in blocks, whose maxima are quick on a CPU, and then in the one block that holds it.
    """
    width = s.shape[1]
    if width <= 2 * BLOCK or s.is_cuda:
        value, at = s.max(1)
        return value, at
    blocks = width // BLOCK
    maxima = [s[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK)).amax(2)]
    if blocks * BLOCK < width:
        maxima.append(s[:, blocks * BLOCK :].amax(1, keepdim=True))
    block = torch.cat(maxima, 1).max(1, keepdim=True).indices
    inside = (block * BLOCK + torch.arange(BLOCK, device=s.device)).clamp_max_(width - 1)
    value, at = s.gather(1, inside).max(1, keepdim=True)
    return value[:, 0], inside.gather(1, at)[:, 0]


def largest_of_columns(s: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every column, and the first row where it stands."""
    height = s.shape[0]
    if height <= 2 * BLOCK:
        value, at = s.max(0)
        return value, at
    blocks = height // BLOCK
    maxima = [s[: blocks * BLOCK].unflatten(0, (blocks, BLOCK)).amax(1)]
    if blocks * BLOCK < height:
        maxima.append(s[blocks * BLOCK :].amax(0, keepdim=True))
    block = torch.cat(maxima).T.contiguous().max(1).indices
    inside = (block * BLOCK + torch.arange(BLOCK, device=s.device)[:, None]).clamp_max_(height - 1)
    value, at = s.gather(0, inside).T.contiguous().max(1)
    return value, inside.gather(0, at[None])[0]
