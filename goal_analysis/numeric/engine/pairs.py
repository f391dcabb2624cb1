"""The positives of a batch as a list of pairs, found by sorting ids, and the tiles of its scores.

A list takes O(N) memory where a mask takes N². What the pairs of one anchor add up to is a segment of the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

DENSE = 16
"""From one pair in so many on, a mask is the better form."""

WHOLE = 2048
"""Rows and columns up to which the scores are one tile."""

TILE = (1024, 2048)
"""Rows and columns of a tile of more scores: a few megabytes, which a processor's cache holds."""

GPU_TILE = (16384, 8192)
"""The same on a GPU, where a tile costs dozens of launches: half a gibibyte in float32."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The pairs of every anchor of one axis.

    Args:
        anchor: shape ``(pairs,)``; of each pair.
        order: shape ``(pairs,)``; the pairs in the order of their anchors; None where they stand in it.
        lengths: shape ``(anchors,)``; how many pairs each has.
        single: whether pair i is the one pair of anchor i.
    """

    anchor: Tensor
    order: Tensor | None
    lengths: Tensor
    single: bool = False

    def of_anchors(self, values: Tensor) -> Tensor:
        """Numbers of the anchors, for every pair."""
        return values if self.single else values[self.anchor]

    def total(self, values: Tensor) -> Tensor:
        """The sum over the pairs of every anchor, in one order whatever repeats."""
        if self.single:
            return values
        ordered = values if self.order is None else values[self.order]
        return torch.segment_reduce(ordered, "sum", lengths=self.lengths, unsafe=True)

    def largest(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The largest value of every anchor's pairs, −∞ without any, and 1 at the first pair that has it."""
        top = values.new_full(self.lengths.shape, -torch.inf).scatter_reduce(0, self.anchor, values, "amax")
        place = torch.arange(len(values), device=values.device)
        tied = place.masked_fill(values != top[self.anchor], len(values))
        first = torch.full_like(self.lengths, len(values)).scatter_reduce(0, self.anchor, tied, "amin")
        return top, (place == first[self.anchor]).to(values.dtype)


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs (row, column) that match, in the order of the rows, then of the columns; all others are negatives.

    Args:
        row: shape ``(pairs,)``.
        column: shape ``(pairs,)``.
        shape: how many rows and columns there are.
        diagonal: whether pair i is row i with column i, and no other pair matches.
    """

    row: Tensor
    column: Tensor
    shape: tuple[int, int]
    diagonal: bool = False

    @classmethod
    def of_diagonal(cls, n: int, device: torch.device | str | None = None) -> Pairs:
        """Column i matches row i and no other."""
        i = torch.arange(n, device=device)
        return cls(i, i, (n, n), diagonal=True)

    @classmethod
    def of_ids(cls, row_ids: Tensor, column_ids: Tensor) -> Pairs | None:
        """Equal ids match; None where the pairs are so many that a mask is the better form.

        >>> pairs = Pairs.of_ids(torch.tensor([7, 8, 7]), torch.tensor([7, 7, 9]))
        >>> pairs.row, pairs.column
        (tensor([0, 0, 2, 2]), tensor([0, 1, 0, 1]))
        """
        device, rows, columns = row_ids.device, len(row_ids), len(column_ids)
        values, group = torch.unique(torch.cat([row_ids, column_ids]), return_inverse=True)
        of_row, of_column = group[:rows], group[rows:]
        columns_of = torch.bincount(of_column, minlength=len(values))
        times = columns_of[of_row]
        count = int(times.sum())
        if count > max(rows * columns // DENSE, rows + columns):
            return None
        if count == rows == columns and torch.equal(row_ids, column_ids):  # one pair a row, and it stands across
            return cls.of_diagonal(rows, device)
        row = torch.arange(rows, device=device).repeat_interleave(times)
        place = torch.arange(count, device=device) - (times.cumsum(0) - times)[row]
        order = torch.sort(of_column, stable=True).indices
        column = order[(columns_of.cumsum(0) - columns_of)[of_row[row]] + place]
        return cls(row, column, (rows, columns))

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def by_row(self) -> Segments:
        """The pairs of every row."""
        return self._singles or Segments(self.row, None, torch.bincount(self.row, minlength=self.shape[0]))

    @cached_property
    def by_column(self) -> Segments:
        """The pairs of every column."""
        if self._singles is not None:
            return self._singles
        order = torch.sort(self.column, stable=True).indices
        return Segments(self.column, order, torch.bincount(self.column, minlength=self.shape[1]))

    @cached_property
    def _singles(self) -> Segments | None:
        return Segments(self.row, None, torch.ones_like(self.row), single=True) if self.diagonal else None

    @property
    def transposed(self) -> Pairs:
        """The same pairs with the columns as rows."""
        if self.diagonal:
            return self
        order = torch.sort(self.column, stable=True).indices
        return Pairs(self.column[order], self.row[order], (self.shape[1], self.shape[0]))

    def masks(self) -> tuple[Tensor, Tensor]:
        """Which pairs match and which do not, as matrices."""
        positives = torch.zeros(self.shape, dtype=torch.bool, device=self.row.device)
        positives[self.row, self.column] = True
        return positives, ~positives

    def strip(self, top: int, bottom: int) -> tuple[slice, Pairs]:
        """Those of a run of rows, counted from its first: which they are, and the pairs."""
        first, last = self.bounds([top, bottom])
        part = slice(first, last)
        return part, Pairs(self.row[part] - top, self.column[part], (bottom - top, self.shape[1]))

    def bounds(self, edges: list[int]) -> list[int]:
        """How many pairs come before each of these rows."""
        if self.diagonal:
            return edges
        return torch.searchsorted(self.row, torch.tensor(edges, device=self.row.device)).tolist()


@dataclass(frozen=True)
class Tile:
    """A block of the score matrix with the pairs whose rows it covers.

    Args:
        top: its first row.
        bottom: the row after its last.
        left: its first column.
        right: the column after its last.
        pairs: those in its rows.
    """

    top: int
    bottom: int
    left: int
    right: int
    pairs: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Its rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def down(self) -> slice:
        """Its rows."""
        return slice(self.top, self.bottom)

    @property
    def across(self) -> slice:
        """Its columns."""
        return slice(self.left, self.right)

    def within(self, pairs: Pairs) -> tuple[slice, Tensor]:
        """Which pairs, and at which place of the flattened tile; those outside of it have the place after its last."""
        rows, columns = self.shape
        if pairs.diagonal:
            start = max(self.top, self.left)
            stop = max(start, min(self.bottom, self.right))
            return slice(start, stop), pairs.row[start:stop] * (columns + 1) - (self.top * columns + self.left)
        column = pairs.column[self.pairs] - self.left
        place = (pairs.row[self.pairs] - self.top) * columns + column
        if columns == pairs.shape[1]:
            return self.pairs, place
        return self.pairs, place.masked_fill((column < 0) | (column >= columns), rows * columns)


def tiles(pairs: Pairs, size: tuple[int, int]) -> Iterator[Tile]:
    """The score matrix in blocks of at most this size, row by row."""
    rows, columns = pairs.shape
    edges = [*range(0, rows, size[0]), rows]
    before = pairs.bounds(edges)
    for (top, bottom), (first, last) in zip(pairwise(edges), pairwise(before), strict=True):
        for left, right in pairwise([*range(0, columns, size[1]), columns]):
            yield Tile(top, bottom, left, right, slice(first, last))


def tile_size(x: Tensor, y: Tensor, kept: int = 1) -> tuple[int, int]:
    """Rows and columns of the tiles in which the scores of embeddings are made.

    Args:
        x: of the rows.
        y: of the columns.
        kept: how many numbers are kept of each score of a tile.
    """
    rows, columns, (height, width) = len(x), len(y), GPU_TILE
    whole, tile = ((height // kept, width), (height // kept, width)) if x.is_cuda else ((WHOLE, WHOLE), TILE)
    return (rows, columns) if rows <= whole[0] and columns <= whole[1] else tile
