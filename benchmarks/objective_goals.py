"""What objectives are to cost, and which rows of `objectives.py` exceed it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

DIM = 1024
"""Of the embeddings that the multiples of a matmul are for: in float32, on one thread of a CPU."""

TIMES = {"hardest": {2048: 1.35, 8192: 1.15, 16384: 1.1}, "soft": {2048: 4.8, 8192: 4.3}}
"""Multiples of one matmul by N."""

MEMORY = {"hardest": 3.0, "soft": 5.0}
"""Multiples of an N×D matrix, where scores are made in tiles: above N = 2048."""

OPPONENTS = {
    "hardest": ("VSE++ in ten lines", {32: 1.0, 512: 0.6}),
    "soft": ("InfoNCE in ten lines", {64: 1.1, 256: 1.0}),
}
"""Multiples of what ten lines of torch cost, from this N on."""

CAPTIONS = ", 5 captions"
MASKED, MASKED_OPPONENT = 1.15, 1.1
"""What other captions may cost, as a multiple of the same without ids and of the opponent with an id mask."""


def missed(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A sentence for every goal that rows of a CPU's float32 table exceed.

    Args:
        rows: the cells: dtype, N, D, case, matmul ms, 25 %, median, 75 %, extra / ND, extra / N², error, rounds.
    """
    cells = {(int(row[1]), int(row[2]), row[3]): row for row in rows if row[0] == "float32"}
    medians = {key: float(row[6]) for key, row in cells.items() if row[4] != "–"}
    for (n, dim, case), median in medians.items():
        kind, masked = case.split()[0], case.endswith(CAPTIONS)
        if kind not in OPPONENTS:
            continue
        goal = TIMES[kind].get(n) if dim == DIM and not masked else None
        if goal is not None and median > goal:
            yield f"N = {n}, {case}: {median:g} matmuls against {goal:g}."
        extra = float(cells[n, dim, case][8])
        if dim == DIM and n > 2048 and extra > MEMORY[kind]:
            yield f"N = {n}, {case}: {extra:g} ND of memory against {MEMORY[kind]:g}."
        opponent, goals = OPPONENTS[kind]
        least = [goal for start, goal in goals.items() if n >= start]
        against = [(opponent, least[-1])] if least and not masked else []
        if masked:
            against = [(opponent + CAPTIONS, MASKED_OPPONENT), (case.removesuffix(CAPTIONS), MASKED)]
        for other, goal in against:
            of_other = medians.get((n, dim, other))
            if of_other is not None and median > goal * of_other:
                yield f"N = {n}, D = {dim}, {case}: {median / of_other:.2f} × {other} against {goal:g}."
