"""``goal-analyze list``: the whole catalog, derived and judged."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from goal_analysis.cli.choosing import CatalogOption, JsonOption, losses
from goal_analysis.symbolic.decomposition import decompose
from goal_analysis.symbolic.integrability import integrability
from goal_analysis.symbolic.loss import SymbolicLoss
from goal_analysis.symbolic.pages import shape, to_data, weights_page

COLUMNS = ("name", "shape", "separable", "integrable", "reference")

WIDTH = 110
"""Characters a line where there is no terminal to ask."""


def list_losses(own: CatalogOption = None, as_json: JsonOption = False) -> None:
    """List the losses with their shape, and whether their weights separate and are integrable.

    \b
    goal-analyze list
    goal-analyze list --catalog my_losses.toml
    goal-analyze list --json | jq '.[] | select(.integrable | not) | .name'
    """
    records = summaries(losses(own))
    if as_json:
        typer.echo(json.dumps(list(records), ensure_ascii=False, indent=2))
    else:
        print_summary(records)


def summaries(chosen: Iterable[SymbolicLoss]) -> Iterator[dict[str, str | bool | float]]:
    """One record a loss, derived."""
    for loss in chosen:
        decomposition = decompose(loss)
        verdict = integrability(decomposition)
        yield {
            "name": loss.name,
            "title": loss.title,
            "shape": shape(loss),
            "separable": decomposition.separable,
            "integrable": verdict.integrable,
            "reason": verdict.reason,
            **to_data([weights_page(decomposition)]),
            "reference": ", ".join(loss.reference),
        }


def print_summary(records: Iterable[dict[str, str | bool | float]]) -> None:
    """Print the records as a table."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        table.add_column(column, no_wrap=column != "shape", min_width=18 if column == "shape" else None)
    count = 0
    for record in records:
        cells = (record[column] for column in COLUMNS[:-1])
        source = author_and_year(str(record["reference"]))
        table.add_row(*("yes" if c is True else "no" if c is False else str(c) for c in cells), source)
        count += 1
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    console.print(f"{count} losses", highlight=False)


def author_and_year(references: str) -> str:
    """The first key of the bibliography as people cite it: ``sun2020circle`` is Sun 2020."""
    key = re.match(r"([a-z]+)(\d{4})", references)
    return f"{key[1].capitalize()} {key[2]}" if key else references
