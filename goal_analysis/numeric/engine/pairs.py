"""Which pairs of a batch match, by the places of every anchor's positives, and the tiles of its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions, Term

DENSE = 4
SLOTS = 64
"""From one slot in so many scores on, and from so many slots an anchor on, the whole matrix is the better form."""

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


@dataclass(eq=False)  # one is made at each call, and a frozen one takes longer
class Pairs:
    """Which pairs match; all others are negatives. The rows are anchors, and behind them perhaps the columns."""

    shape: tuple[int, int]  # rows and columns
    anchors: int  # how many there are
    matched: tuple[Tensor, ...] = ()  # what rows and columns match, shape ``(…, slots)``; empty where i matches i
    members: Tensor | None = None  # which slots of all anchors hold one, others repeat one; None where all do
    complete: bool = True  # whether every anchor has a positive and a negative
    device: torch.device | str | None = None

    @classmethod
    def of(
        cls,
        functions: Functions,
        shape: tuple[int, int],
        row_ids: Tensor | None = None,
        column_ids: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> Pairs:
        """Equal ids match; column i comes with row i where the columns have no ids, and is its match without any.

        >>> Pairs.of(Functions(()), (3, 3), torch.tensor([7, 8, 7]), torch.tensor([7, 7, 9])).counts
        tensor([2, 0, 2, 2, 2, 0])
        """
        anchors = shape[0] + shape[1] * functions.columns
        if row_ids is None:
            return cls(shape, anchors, complete=shape[0] > 1, device=device)
        runs = [_runs(row_ids, row_ids if column_ids is None else column_ids)]
        if column_ids is None and runs[0][3:] == (1, 1):
            return cls(shape, anchors, complete=shape[0] > 1, device=device)
        if functions.columns and column_ids is not None:
            runs.append(_runs(column_ids, row_ids))
        slots = torch.arange(max(1, *(most for *_, most in runs)), device=device)
        found = [_slots(slots, *run) for run in runs]
        if functions.columns and column_ids is None:
            found *= 2  # a batch whose pairs are the same from either side
        matched, members = zip(*found, strict=True)
        filled = all(least == len(slots) for *_, least, _ in runs)
        complete = all(least > 0 and most < n for (*_, least, most), n in zip(runs, reversed(shape), strict=False))
        return cls(shape, anchors, matched, None if filled else torch.cat(members), complete, device)

    @cached_property
    def at(self) -> Tensor | None:
        """What every anchor matches, shape ``(anchors, slots)``; None where i matches i."""
        return torch.cat(self.matched) if self.matched else None

    @cached_property
    def counts(self) -> Tensor | None:
        """How many positives every anchor has; None where each has one."""
        return None if self.several is None else self.several.sum(1)

    @property
    def several(self) -> Tensor | None:
        """Which slots hold a positive; None where every anchor has one positive."""
        return self.members if self.members is not None or self.at is None else torch.ones_like(self.at).bool()

    @property
    def slots(self) -> tuple[int, int]:
        """The shape of what every anchor's positives have."""
        return self.anchors, self.matched[0].shape[1] if self.matched else 1

    def filled(self, s: Tensor, middle: float) -> Tensor:
        """The scores of the positives, and the middle of the range in slots that hold none."""
        return s if self.members is None else s.masked_fill(~self.members, middle)

    def negatives(self, like: Tensor) -> Tensor | float:
        """How many negatives every anchor has."""
        rows, columns = self.shape
        if self.counts is None:
            return float(columns - 1)
        opposite = torch.full_like(self.counts, columns)
        opposite[rows:] = rows
        return (opposite - self.counts).to(like.dtype)

    def present(self, term: Term, like: Tensor) -> Tensor | None:
        """Which anchors have what a term needs; None where all have."""
        if self.complete:
            return None
        there = torch.ones(self.anchors, dtype=torch.bool, device=like.device)
        if term.positives is not None and self.counts is not None:
            there = self.counts > 0
        own = term.negatives is not None and term.negatives.pool == "own"
        return there & torch.as_tensor(self.negatives(like) > 0, device=like.device) if own else there

    def strip(self, top: int, bottom: int) -> Pairs:
        """Those of a run of rows, which alone are anchors."""
        if bottom - top == self.shape[0]:
            return self
        at = torch.arange(self.anchors, device=self.device)[:, None] if self.at is None else self.at
        members, shape = None if self.members is None else self.members[top:bottom], (bottom - top, self.shape[1])
        return Pairs(shape, bottom - top, (at[top:bottom],), members, self.complete, self.device)

    def entries(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The row, the column and the weight of the slots with any weight."""
        anchor, slot = weights.nonzero(as_tuple=True)
        is_row, rows = anchor < self.shape[0], self.shape[0]
        own = anchor.where(is_row, anchor - rows)
        at = own if self.at is None else self.at[anchor, slot]
        return own.where(is_row, at), at.where(is_row, own), weights[anchor, slot]

    @property
    def partners(self) -> Tensor:
        """Where what an anchor matches stands, with the rows before the columns, shape ``(anchors, slots)``."""
        i, rows = torch.arange(self.anchors, device=self.device)[:, None], self.shape[0]
        at = i - rows * (i >= rows) if self.at is None else self.at
        return at + rows * (i < rows)

    @cached_property
    def places(self) -> Tensor:
        """Where the slots stand in the flattened matrix of scores, shape ``(anchors, slots)``."""
        (rows, columns), i = self.shape, torch.arange(max(self.shape), device=self.device)[:, None]
        of_rows = torch.add(self.matched[0], i if rows >= columns else i[:rows], alpha=columns)
        if len(self.matched) == 1:
            return of_rows
        return torch.cat((of_rows, torch.add(i if rows <= columns else i[:columns], self.matched[1], alpha=columns)))

    def read(self, s: Tensor) -> Tensor:
        """The scores of the positives, from the whole matrix; of a diagonal alone of the shape ``(anchors,)``."""
        if self.matched:
            return s.take(self.places)
        diagonal = s.diagonal()
        return diagonal.clone() if self.anchors == self.shape[0] else torch.cat((diagonal, diagonal))

    def mask(self, matrix: Tensor, value: float) -> None:
        """Put a value where pairs match."""
        rows = self.shape[0]
        if not self.matched:
            matrix.fill_diagonal_(value)
        elif self.complete or self.members is None:
            matrix.scatter_(1, self.matched[0], value)
        else:  # some have no positive to repeat
            matrix.view(-1).index_fill_(0, self.places[:rows][self.members[:rows]], value)

    def subtract(self, matrix: Tensor, weights: Tensor) -> None:
        """Subtract weights of the positives, zero where there is none, in a whole matrix."""
        if self.matched:
            matrix.view(-1).index_add_(0, self.places.flatten(), weights.flatten(), alpha=-1)
            return
        matrix.diagonal().sub_(weights.view(-1) if self.anchors == self.shape[0] else weights.view(2, -1).sum(0))


def _runs(of: Tensor, among: Tensor) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """An order where what each one matches is a run, where that begins, how long it is and its bounds."""
    ordered, order = among.sort(stable=True)
    first = torch.searchsorted(ordered, of)
    counts = torch.searchsorted(ordered, of, right=True) - first
    least, most = (int(n) for n in torch.aminmax(counts))
    return order, first[:, None], counts[:, None], least, most


def _slots(slots: Tensor, order: Tensor, first: Tensor, counts: Tensor, least: int, most: int) -> tuple[Tensor, Tensor]:
    """What each one matches, in slots of which those that hold none repeat the first, and which hold one."""
    members = slots < counts
    places = slots + first if least == slots.shape[0] else (slots + first).where(members, first)
    return order.take(places if least else places.clamp_max_(len(order) - 1)), members


@dataclass(frozen=True)
class Tile:
    """A block of the score matrix."""

    down: slice  # its rows
    across: slice  # its columns
    anchors: list[slice]  # of each axis, those of the tile
    parts: list[tuple[Tensor, Tensor]]  # of each axis, which slots of its anchors stand here, and where, flattened

    def mask(self, matrix: Tensor, value: float) -> None:
        """Put a value where pairs match."""
        matrix.view(-1)[self.parts[0][1]] = value

    def read(self, matrix: Tensor, into: Tensor) -> None:
        """Put the numbers of the positives, shape ``(anchors, slots)``, into those of all anchors."""
        for anchors, (inside, places) in zip(self.anchors, self.parts, strict=True):
            into[anchors].masked_scatter_(inside, matrix.view(-1)[places])

    def subtract(self, matrix: Tensor, weights: Tensor) -> None:
        """Subtract weights of all positives where they stand."""
        for anchors, (inside, places) in zip(self.anchors, self.parts, strict=True):
            matrix.view(-1).index_add_(0, places, weights[anchors][inside], alpha=-1)


@dataclass(frozen=True, eq=False)
class Rank:
    """What one of several ranks does of a batch that all of them have: the gradients of its own embeddings.

    ``gathered`` is called by all ranks alike, and has what all have of a tensor in a new first axis.
    """

    rows: slice  # its own
    columns: slice  # likewise
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
        for left, right in pairwise([*range(across.start, across.stop, size[1]), across.stop]):
            yield _tile(pairs, slice(top, bottom), slice(left, right))


def _tile(pairs: Pairs, down: slice, across: slice) -> Tile:
    (rows, _), width, anchors, parts = pairs.shape, across.stop - across.start, [], []
    for axis, (own, other) in enumerate(((down, across), (across, down))):
        if axis and pairs.anchors == rows:
            break
        anchors.append(slice(own.start + axis * rows, own.stop + axis * rows))
        i = torch.arange(own.stop - own.start, device=pairs.device)[:, None]
        at = (i + own.start if pairs.at is None else pairs.at[anchors[axis]]) - other.start
        inside = (at >= 0) & (at < other.stop - other.start)
        inside = inside if pairs.members is None else inside & pairs.members[anchors[axis]]
        parts.append((inside, (at * width + i if axis else i * width + at)[inside]))
    return Tile(down, across, anchors, parts)


def tile_size(x: Tensor, y: Tensor, kept: int = 1) -> tuple[int, int]:
    """Rows and columns of the tiles in which scores are made, of which so many numbers each are ``kept``."""
    rows, columns, (height, width) = len(x), len(y), GPU_TILE
    if x.is_cuda:
        height //= kept
        return (rows, columns) if rows <= height and columns <= width else (height, width)
    if rows <= WHOLE and columns <= WHOLE:
        return min(rows, max(1, PART // columns)), columns
    return TILE


def chunks(*matrices: Tensor) -> Iterable[tuple[Any, ...]]:
    """Runs of the rows of a tile that are worked on at a time, and what these matrices have there; on a GPU all."""
    rows, columns = matrices[0].shape
    if rows * columns <= CHUNK or matrices[0].is_cuda:
        return ((slice(0, rows), *matrices),)
    ends = [*range(0, rows, max(CHUNK // columns, 1)), rows]
    return ((slice(*run), *(matrix[slice(*run)] for matrix in matrices)) for run in pairwise(ends))
