"""The positives of a batch as groups of rows and columns that match each other, and the tiles of its scores.

Groups take O(N) memory, however many pairs they make, where a list of the pairs takes as many numbers and a mask N².
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

DENSE = 8
"""From one pair in so many on, a mask is the better form."""

FEW = 2**14
"""Pairs, with those that fill groups up, which are worked on at once whatever the groups' sizes."""

GROUPED = 1024
"""Rows, or columns, of the groups of a block, and sixteen times as many on a GPU."""

GATHERED = 128
"""Rows, or columns, whose embeddings are gathered at a time, and many times as many on a GPU."""

WHOLE = 2048
"""Rows and columns up to which all scores are kept."""

PART = 2**20
"""Scores of which the weights are made at a time, then."""

CHUNK = 2**17
"""Scores that are worked on at a time: what a core's own cache holds."""

TILE = (1024, 2048)
"""Rows and columns of a tile of more scores: a few megabytes, which a processor's cache holds."""

GPU_TILE = (16384, 8192)
"""The same on a GPU, where a tile costs dozens of launches: half a gibibyte in float32."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some groups of pairs: in each every row matches every column, and smaller ones are filled up with repetitions.

    Args:
        rows: shape ``(groups, rows)``.
        columns: shape ``(groups, columns)``.
        members: shape ``(groups, rows, columns)``; which are no repetitions.
        filled: whether there are repetitions.
        run: the rows and the columns, where group i is row i of these with column i.
    """

    rows: Tensor
    columns: Tensor
    members: Tensor
    filled: bool = True
    run: tuple[slice, slice] | None = None

    @property
    def transposed(self) -> Block:
        """The same with the columns as rows."""
        run = None if self.run is None else (self.run[1], self.run[0])
        return Block(self.columns, self.rows, self.members.mT, self.filled, run)

    @property
    def several(self) -> Tensor | None:
        """Which are no repetitions; None where every row matches one column."""
        return self.members if self.run is None else None

    def of_rows(self, values: Tensor) -> Tensor:
        """What the rows have of numbers of all rows, shape ``(groups, rows, …)``."""
        return values[self.rows] if self.run is None else values[self.run[0]].unsqueeze(1)

    def of_anchors(self, values: Tensor) -> Tensor:
        """What the rows have of one number each, shape ``(groups, rows, 1)``."""
        return values[self.rows].unsqueeze(2) if self.run is None else values[self.run[0]].view(-1, 1, 1)

    def add_to_rows(self, total: Tensor, values: Tensor) -> None:
        """Add numbers of the rows, zero where they repeat, to those of all rows."""
        if self.run is None:
            total.index_add_(0, self.rows.flatten(), values.flatten(0, 1))
        else:
            total[self.run[0]] += values.squeeze(1)

    def add_to_anchors(self, total: Tensor, values: Tensor) -> None:
        """Add what the pairs of every row, zero where they repeat, come to."""
        if self.run is None:
            total.index_add_(0, self.rows.flatten(), values.sum(2).flatten())
        else:
            total[self.run[0]] += values.flatten()

    def subtract_product(self, to: Tensor, weights: Tensor, e: Tensor) -> None:
        """Subtract W·E from a gradient of the rows, for weights of the pairs."""
        if self.run is not None:
            to[self.run[0]].addcmul_(weights.view(-1, 1), e[self.run[1]].to(to.dtype), value=-1)
        else:
            for part in self.parts():
                made = (weights[part] @ e[self.columns[part]].to(to.dtype)).flatten(0, 1)
                to.index_add_(0, self.rows[part].flatten(), made, alpha=-1)

    def within(self, rows: slice, weights: Tensor) -> tuple[Block, Tensor]:
        """The groups that have any of these rows, and the weights of their pairs."""
        if self.run is None:
            inside = ((self.rows >= rows.start) & (self.rows < rows.stop)).any(1)
            return Block(self.rows[inside], self.columns[inside], self.members[inside], self.filled), weights[inside]
        first, second = (side.start for side in self.run)
        start, stop = (min(max(end - first, 0), len(self.rows)) for end in (rows.start, rows.stop))
        run, part = (slice(first + start, first + stop), slice(second + start, second + stop)), slice(start, stop)
        return Block(self.rows[part], self.columns[part], self.members[part], self.filled, run), weights[part]

    def parts(self) -> list[slice]:
        """Runs of the groups whose embeddings are gathered at a time."""
        groups, rows, columns = self.members.shape
        at_once = max(1, GATHERED * (64 if self.rows.is_cuda else 1) // max(rows, columns))
        return [slice(first, first + at_once) for first in range(0, groups, at_once)]

    def read(self, matrix: Tensor) -> Tensor:
        """The numbers of the pairs in a whole matrix, shape ``(groups, rows, columns)``."""
        found = matrix.view(-1)[self.places(matrix.shape[1])]
        return found if self.run is None else found.clone().view(-1, 1, 1)

    def subtract(self, matrix: Tensor, weights: Tensor) -> None:
        """Subtract weights of the pairs, zero where they repeat, in a whole matrix."""
        flat, places = matrix.view(-1), self.places(matrix.shape[1])
        if isinstance(places, slice):
            flat[places] -= weights.flatten()
        else:
            flat.index_add_(0, places.flatten(), weights.flatten(), alpha=-1)

    def places(self, width: int) -> Tensor | slice:
        """Where the pairs stand in a flattened matrix of so many columns."""
        if self.run is None:
            return self.rows.unsqueeze(2) * width + self.columns.unsqueeze(1)
        first = self.run[0].start * width + self.run[1].start
        return slice(first, first + (len(self.rows) - 1) * (width + 1) + 1, width + 1)


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs (row, column) that match; all others are negatives.

    Args:
        shape: how many rows and columns there are.
        groups: of every row and of every column, and how many there are: those of one group match.
        first: the column that matches row 0, where row i matches column first + i and no other.
    """

    shape: tuple[int, int]
    groups: tuple[Tensor, Tensor, int] | None
    device: torch.device | str | None = None
    first: int = 0

    @classmethod
    def of_diagonal(cls, n: int, device: torch.device | str | None = None) -> Pairs:
        """Column i matches row i and no other."""
        return cls((n, n), None, device)

    @classmethod
    def of_ids(cls, row_ids: Tensor, column_ids: Tensor) -> Pairs | None:
        """Equal ids match; None where the pairs are so many that a mask is the better form.

        >>> Pairs.of_ids(torch.tensor([7, 8, 7]), torch.tensor([7, 7, 9])).counts
        (tensor([2, 0, 2]), tensor([2, 2, 0]))
        """
        rows, columns = len(row_ids), len(column_ids)
        values, group = torch.unique(torch.cat([row_ids, column_ids]), return_inverse=True)
        if rows == columns == len(values) and torch.equal(row_ids, column_ids):
            return cls.of_diagonal(rows, row_ids.device)
        found = cls((rows, columns), (group[:rows], group[rows:], len(values)), row_ids.device)
        count = int((found.sizes[0] * found.sizes[1]).sum())
        return found if count <= max(rows * columns // DENSE, rows + columns) else None

    @cached_property
    def sizes(self) -> tuple[Tensor, Tensor]:
        """How many rows and how many columns every group has."""
        assert self.groups is not None  # the diagonal has none
        of_rows, of_columns, groups = self.groups
        return torch.bincount(of_rows, minlength=groups), torch.bincount(of_columns, minlength=groups)

    @cached_property
    def counts(self) -> tuple[Tensor, Tensor] | None:
        """How many pairs every row and every column has; None where each has one."""
        return self.groups and (self.sizes[1][self.groups[0]], self.sizes[0][self.groups[1]])

    def strip(self, top: int, bottom: int) -> Pairs:
        """Those of a run of rows, counted from its first."""
        if bottom - top == self.shape[0]:
            return self
        groups = self.groups and (self.groups[0][top:bottom], *self.groups[1:])
        return Pairs((bottom - top, self.shape[1]), groups, self.device, self.first + top)

    @cached_property
    def blocks(self) -> list[Block]:
        """Every pair once."""
        if self.groups is None:
            rows, first = self.shape[0], self.first
            i = torch.arange(rows, device=self.device).unsqueeze(1)
            members = torch.ones((rows, 1, 1), dtype=torch.bool, device=self.device)
            run = (slice(0, rows), slice(first, first + rows))
            return [Block(i, i + first if first else i, members, False, run)]
        group = (self.sizes[0] * self.sizes[1]).nonzero()[:, 0]
        sides = []
        for of, size in zip(self.groups[:2], self.sizes, strict=True):
            order, start = torch.sort(of, stable=True).indices, size.cumsum(0) - size
            sides.append((order, start[group], size[group]))
        if not len(group):
            return []
        most = [int(length.max()) for *_, length in sides]
        if len(group) * most[0] * most[1] <= FEW:
            return [_block(sides)]
        sizes = torch.stack([length for *_, length in sides]).cpu().double().log2().ceil().long().to(self.device)
        of_size, found = sizes[0] * 64 + sizes[1], []
        for rows, columns in (divmod(size, 64) for size in of_size.unique().tolist()):
            at_once = min(GROUPED >> max(rows, columns), 2 * FEW >> (rows + columns))
            at_once = max(1, at_once * (16 if group.is_cuda else 1))
            for part in (of_size == rows * 64 + columns).nonzero()[:, 0].split(at_once):
                found.append(_block([(order, start[part], length[part]) for order, start, length in sides]))
        return found


def _block(sides: list[tuple[Tensor, Tensor, Tensor]]) -> Block:
    """The block of some groups: the rows in the order of the groups, where each begins and its length; columns too."""
    found, inside = [], []
    for order, start, length in sides:
        place = torch.arange(int(length.max()), device=order.device)
        there = place < length[:, None]
        inside.append(there)
        found.append(order[start[:, None] + place * there])
    members = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)
    return Block(found[0], found[1], members, not bool(members.all()))


@dataclass(frozen=True)
class Tile:
    """A block of the score matrix.

    Args:
        down: its rows.
        across: its columns.
        places: where pairs that match stand in it, flattened.
    """

    down: slice
    across: slice
    places: list[Tensor | slice]

    def mask(self, matrix: Tensor, value: float) -> None:
        """Put a value where pairs match."""
        flat = matrix.view(-1)
        for place in self.places:
            flat[place] = value


@dataclass(frozen=True, eq=False)
class Rank:
    """What one of several ranks does of a batch that all of them have: the gradients of its own embeddings.

    Args:
        rows: its own.
        columns: likewise.
        gathered: what all ranks have of a tensor, one after the other in a new first axis; called by all ranks alike.
    """

    rows: slice
    columns: slice
    gathered: Callable[[Tensor], Tensor]

    @property
    def transposed(self) -> Rank:
        """The same with rows and columns exchanged."""
        return Rank(self.columns, self.rows, self.gathered)


def tiles(pairs: Pairs, size: tuple[int, int], part: tuple[slice, slice] | None = None) -> Iterator[Tile]:
    """The score matrix, or some rows and columns of it, in blocks of at most this size, row by row."""
    rows, columns = pairs.shape
    down, across = part or (slice(0, rows), slice(0, columns))
    for top, bottom in pairwise([*range(down.start, down.stop, size[0]), down.stop]):
        strip = pairs.strip(top, bottom)
        for left, right in pairwise([*range(across.start, across.stop, size[1]), across.stop]):
            places = [_within(block, left, right, columns) for block in strip.blocks]
            yield Tile(slice(top, bottom), slice(left, right), places)


def _within(block: Block, left: int, right: int, columns: int) -> Tensor | slice:
    """Where those pairs of a block stand that are in these columns."""
    if right - left == columns:
        return block.places(columns)
    width = right - left
    if block.run is None:
        inside = ((block.columns >= left) & (block.columns < right)).unsqueeze(1).expand(block.members.shape)
        return (block.rows.unsqueeze(2) * width + block.columns.unsqueeze(1) - left)[inside]
    first = block.run[1].start
    start, stop = max(first, left), min(block.run[1].stop, right)
    place = (start - first) * width + start - left
    return slice(place, place + (stop - start - 1) * (width + 1) + 1, width + 1) if start < stop else slice(0, 0)


def tile_size(x: Tensor, y: Tensor, kept: int = 1) -> tuple[int, int]:
    """Rows and columns of the tiles in which the scores of embeddings are made.

    Args:
        x: of the rows.
        y: of the columns.
        kept: how many numbers are kept of each score of a tile.
    """
    rows, columns, (height, width) = len(x), len(y), GPU_TILE
    if x.is_cuda:
        height //= kept
        return (rows, columns) if rows <= height and columns <= width else (height, width)
    if rows <= WHOLE and columns <= WHOLE:
        return min(rows, max(1, PART // columns)), columns
    return TILE


def chunks(matrix: Tensor) -> list[slice]:
    """Runs of the rows of a tile that are worked on at a time; on a GPU all of them."""
    rows, columns = matrix.shape
    height = rows if matrix.is_cuda else max(1, CHUNK // max(columns, 1))
    return [slice(top, min(top + height, rows)) for top in range(0, rows, max(height, 1))]
