"""The score matrix in blocks."""

from collections.abc import Iterator


def tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the blocks in which so many scores are made: all at once, or a few megabytes."""
    height, width = (rows, columns) if max(rows, columns) <= 2048 else (1024, 2048)
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))
