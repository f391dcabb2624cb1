"""Records as tables on the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH = 120
"""Characters a line where neither a terminal nor COLUMNS says how many."""


def line_width() -> int:
    """Characters a line."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def print_table(columns: Sequence[str], records: Iterable[Mapping[str, object]], wrapped: Sequence[str] = ()) -> None:
    """Print one line a record.

    Args:
        columns: keys of the records, which are the headings too.
        records: values by key; yes and no for booleans, two digits for floats.
        wrapped: the columns that may take several lines.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column not in wrapped, min_width=18 if column in wrapped else None)
    for record in records:
        table.add_row(*(_cell(record[column]) for column in columns))
    Console(width=line_width()).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else str(value)
