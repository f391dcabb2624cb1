"""What objectives are to cost, and where the rows of `objectives.py` exceed it, with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

DIM = 1024
"""Of the embeddings that the goals are for: in float32, on one thread of a CPU."""

HARDEST = {128: 4.5, 512: 2.0, 2048: 1.35, 8192: 1.15, 16384: 1.1}
"""Multiples of one matmul for hardest-negative objectives, by N."""

SOFT = {2048: 4.8, 8192: 4.3}
"""The same for softmax-mined ones."""

MEMORY = {"hardest": 3.0, "soft": 5.0}
"""Multiples of an N×D matrix, where scores are made in tiles: above N = 2048."""

MASKED = 1.08
"""What other captions of an image may cost, as a multiple of the same without ids."""

PLAIN, CAPTIONS = "hardest constant × linear", "hardest constant × linear, 5 captions"

FEW = "of so few rows a matmul takes less than a millisecond, and the rest is calls of torch of a few µs each"
IDS = "ids are found to be equal by sorting, in some thirty calls of torch whose time hardly grows with N"


def missed(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A sentence for every goal that rows of a CPU's float32 table exceed.

    Args:
        rows: the cells: dtype, N, D, case, matmul ms, 25 %, median, 75 %, extra / ND, extra / N², error, rounds.
    """
    cells = {(int(row[1]), int(row[2]), row[3]): row for row in rows if row[0] == "float32"}
    medians = {key: float(row[6]) for key, row in cells.items() if row[4] != "–"}
    for (n, dim, case), median in medians.items():
        kind = case.split()[0]
        goal = _times(kind).get(n) if dim == DIM and case != CAPTIONS else None
        if goal is not None and median > goal:
            yield f"N = {n}, {case}: {median:g} matmuls against {goal:g}; {FEW if n < 512 else 'no reason is known'}."
        extra = float(cells[n, dim, case][8])
        if dim == DIM and n > 2048 and extra > MEMORY.get(kind, extra):
            yield f"N = {n}, {case}: {extra:g} ND of memory against {MEMORY[kind]:g}."
    for (n, dim, case), median in medians.items():
        plain = medians.get((n, dim, PLAIN))
        if case == CAPTIONS and plain is not None and median > MASKED * plain:
            with_ids, without = cells[n, dim, case], cells[n, dim, PLAIN]
            spread = f"the quartiles are {with_ids[5]} to {with_ids[7]} against {without[5]} to {without[7]}"
            why = IDS if n <= 2048 else f"{spread}, of {with_ids[11]} turns alone, and no other reason is known"
            more = f"{100 * (median / plain - 1):.0f} % more than without ids, against {100 * (MASKED - 1):.0f} %"
            yield f"N = {n}, D = {dim}, five captions an image: {more}; {why}."


def _times(kind: str) -> Mapping[int, float]:
    return {"hardest": HARDEST, "soft": SOFT}.get(kind, {})
