"""A weight matrix of few entries, and its product with embeddings: deterministic whatever repeats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SparseWeights:
    """The entries of W that are not zero; entries of one pair add up.

    Args:
        row: shape ``(entries,)``.
        column: shape ``(entries,)``.
        weight: shape ``(entries,)``.
    """

    row: Tensor
    column: Tensor
    weight: Tensor

    def times(self, columns: Tensor, rows: int) -> Tensor:
        """W·Y for Y of shape ``(columns, dim)``: every row a sum over its entries, in their order."""
        order = torch.sort(self.row, stable=True)
        starts = torch.searchsorted(order.values, torch.arange(rows, device=self.row.device))
        weight = self.weight[order.indices].to(columns.dtype)
        indices = self.column[order.indices]
        return torch.nn.functional.embedding_bag(indices, columns, starts, mode="sum", per_sample_weights=weight)

    @property
    def transposed(self) -> SparseWeights:
        """Wᵀ."""
        return SparseWeights(self.column, self.row, self.weight)
