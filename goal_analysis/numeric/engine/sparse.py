"""Sums over the few entries of a weight matrix, and where the largest scores stand."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Candidates whose maximum is taken first."""


def sum_of_entries(row: Tensor, column: Tensor, weight: Tensor, e: Tensor, rows: int) -> Tensor:
    """W·E of a W with these entries: every row a sum over its own, in their order, so that it is deterministic.

    Args:
        row: shape ``(entries,)``; entries of one pair add up.
        column: shape ``(entries,)``.
        weight: shape ``(entries,)``.
        e: shape ``(columns, dim)``.
        rows: of W.
    """
    order = torch.sort(row, stable=True)
    starts = torch.searchsorted(order.values, torch.arange(rows, device=row.device))
    weight = weight[order.indices].to(e.dtype)
    return torch.nn.functional.embedding_bag(column[order.indices], e, starts, mode="sum", per_sample_weights=weight)


def largest(s: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The largest of every row, or with ``dim`` 0 of every column, and the first place where it stands.

    It is looked for in blocks, whose maxima are quick on a CPU, and then in the one block that holds it.
    """
    length = s.shape[dim]
    if length <= 2 * BLOCK or (dim and s.is_cuda):
        value, at = s.max(dim)
        return value, at

    def largest_there(candidates: Tensor) -> tuple[Tensor, Tensor]:
        value, at = (candidates if dim else candidates.T.contiguous()).max(1)
        return value, at.unsqueeze(dim)

    whole, rest = s.split((length // BLOCK * BLOCK, length % BLOCK), dim)
    maxima = [whole.unflatten(dim, (-1, BLOCK)).amax(dim + 1)]
    if length % BLOCK:
        maxima.append(rest.amax(dim, keepdim=True))
    _, block = largest_there(torch.cat(maxima, dim))
    places = torch.arange(BLOCK, device=s.device)
    inside = (block * BLOCK + (places if dim else places[:, None])).clamp_max_(length - 1)
    value, at = largest_there(s.gather(dim, inside))
    return value, inside.gather(dim, at).squeeze(dim)
