"""How autograd is told."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from goal_analysis.recombination.export.fragments.inputs import wide


class Prescribed(torch.autograd.Function):
    """A value with given gradients: of its inputs, first the tensors themselves, then as many gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *given: Tensor) -> Tensor:
        """Return the value and keep the gradients."""
        count = len(given) // 2
        ctx.save_for_backward(*given[count:])
        ctx.dtypes = [x.dtype for x in given[:count]]
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """The gradients, times the upstream gradient."""
        found = [(upstream * g).to(dtype) for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)]
        return (None, *found, *[None] * len(found))


class Sparse(torch.autograd.Function):
    """A value with the gradients W·Y and Wᵀ·X, where W is a list of entries (row, column, weight)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, row: Tensor, column: Tensor, weight: Tensor, value: Tensor) -> Tensor:
        """Return the value and keep the entries."""
        ctx.save_for_backward(x, y, row, column, weight)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        """The gradients, times the upstream gradient."""
        x, y, row, column, weight = ctx.saved_tensors
        weight, (wide_x, wide_y) = upstream * weight, wide(x, y)
        to_x = sparse_product(row, column, weight, wide_y, len(x))
        to_y = sparse_product(column, row, weight, wide_x, len(y))
        return to_x.to(x.dtype), to_y.to(y.dtype), None, None, None, None


def sparse_product(row: Tensor, column: Tensor, weight: Tensor, y: Tensor, rows: int) -> Tensor:
    """W·Y: every row a sum over its entries, in their order whatever repeats."""
    order = torch.sort(row, stable=True)
    starts = torch.searchsorted(order.values, torch.arange(rows, device=row.device))
    return torch.nn.functional.embedding_bag(
        column[order.indices], y, starts, mode="sum", per_sample_weights=weight[order.indices].to(y.dtype)
    )
