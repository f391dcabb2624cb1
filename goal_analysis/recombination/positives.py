"""The positives of a batch as a list of pairs, found by sorting ids: in O(N) memory, where a mask has N²."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

MOST = 32
"""Positives of one anchor up to which a list is the better form."""

WHOLE = 2048
"""Rows and columns up to which the scores are one tile."""

TILE = (1024, 2048)
"""Rows and columns of a tile of more scores: a few megabytes, which a processor's cache holds."""

GPU_TILE = (16384, 8192)
"""The same on a GPU, where a tile costs dozens of launches: half a gibibyte in float32."""


@dataclass(frozen=True, eq=False)
class Positives:
    """All pairs (image, text) that match, in the order of the images, then of the texts.

    Args:
        row: shape ``(pairs,)``; the image of each.
        column: shape ``(pairs,)``; the text of each.
        by_row: shape ``(images, most)``; the pairs of every image in the order of the texts, filled up with ``pairs``.
        by_column: shape ``(texts, most)``; the same for every text.
        diagonal: whether pair i is image i with text i, and no other pair matches.
    """

    row: Tensor
    column: Tensor
    by_row: Tensor
    by_column: Tensor
    diagonal: bool

    @classmethod
    def of_pairs(cls, n: int, device: torch.device | str | None = None) -> Positives:
        """Text i matches image i and no other."""
        i = torch.arange(n, device=device)
        return cls(i, i, i[:, None], i[:, None], diagonal=True)

    @classmethod
    def of_ids(cls, image_ids: Tensor, text_ids: Tensor) -> Positives | None:
        """Equal ids match; None where an anchor has more than `MOST` positives.

        >>> pairs = Positives.of_ids(torch.tensor([7, 8, 7]), torch.tensor([7, 7, 9]))
        >>> pairs.row, pairs.column, pairs.by_row
        (tensor([0, 0, 2, 2]), tensor([0, 1, 0, 1]), tensor([[0, 1], [4, 4], [2, 3]]))
        """
        device, images = image_ids.device, len(image_ids)
        values, group = torch.unique(torch.cat([image_ids, text_ids]), return_inverse=True)
        of_image, of_text = group[:images], group[images:]
        order = torch.sort(of_text, stable=True).indices
        texts_of = _counts(of_text, len(values))
        times = texts_of[of_image]
        images_of = _counts(of_image, len(values))[of_text]
        if max(_largest(times), _largest(images_of)) > MOST:
            return None
        row = torch.arange(images, device=device).repeat_interleave(times)
        place = torch.arange(len(row), device=device) - _before(times)[row]
        column = order[_before(texts_of)[of_image[row]] + place]
        by_column = torch.sort(column, stable=True).indices
        of_rows = _segments(torch.arange(len(row), device=device), times)
        return cls(row, column, of_rows, _segments(by_column, images_of), diagonal=False)

    def __len__(self) -> int:
        return len(self.row)

    def bounds(self, edges: list[int]) -> list[int]:
        """How many pairs come before each of these rows."""
        if self.diagonal:
            return edges
        return torch.searchsorted(self.row, torch.tensor(edges, device=self.row.device)).tolist()


@dataclass(frozen=True)
class Tile:
    """A block of the score matrix with the positive pairs whose rows it covers.

    Args:
        top: its first row.
        bottom: the row after its last.
        left: its first column.
        right: the column after its last.
        first: of the pairs in these rows.
        last: the pair after those in these rows.
    """

    top: int
    bottom: int
    left: int
    right: int
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, int]:
        """Its rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def within(self, positives: Positives) -> tuple[slice, Tensor]:
        """Which pairs, and at which place of the flattened tile; those outside of it have the place after its last."""
        rows, columns = self.shape
        if positives.diagonal:
            start = max(self.top, self.left)
            stop = max(start, min(self.bottom, self.right))
            at = positives.row[start:stop]
            return slice(start, stop), at * (columns + 1) - (self.top * columns + self.left)
        pairs = slice(self.first, self.last)
        column = positives.column[pairs] - self.left
        place = (positives.row[pairs] - self.top) * columns + column
        return pairs, place.masked_fill((column < 0) | (column >= columns), rows * columns)

    def read(self, positives: Positives, flat: Tensor, place: Tensor, otherwise: Tensor) -> Tensor:
        """The tile's numbers at the places of `within`; what is outside of it stays as it was."""
        if positives.diagonal:
            return flat[place]
        return torch.where(place < len(flat) - 1, flat[place], otherwise)


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


def tiles(positives: Positives, rows: int, columns: int, size: tuple[int, int]) -> Iterator[Tile]:
    """The score matrix in blocks of at most this size, row by row."""
    edges = [*range(0, rows, size[0]), rows]
    before = positives.bounds(edges)
    for (top, bottom), (first, last) in zip(pairwise(edges), pairwise(before), strict=True):
        for left, right in pairwise([*range(0, columns, size[1]), columns]):
            yield Tile(top, bottom, left, right, first, last)


def _counts(group: Tensor, groups: int) -> Tensor:
    return torch.bincount(group, minlength=groups)


def _largest(counts: Tensor) -> int:
    return int(counts.max()) if len(counts) else 0


def _before(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts


def _segments(items: Tensor, times: Tensor) -> Tensor:
    """Consecutive runs of these lengths as rows, filled up with how many items there are."""
    k = torch.arange(max(_largest(times), 1), device=times.device)
    at = _before(times)[:, None] + k
    filled = torch.cat([items, items.new_tensor([len(items)])])
    return filled[at.masked_fill(k >= times[:, None], len(items)).clamp_max(len(items))]
