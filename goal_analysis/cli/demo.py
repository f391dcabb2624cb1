"""``goal-analyze demo``: the main job on what the package embeds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.list import print_summary, summaries
from goal_analysis.writing import write_whole
from losses_catalog import catalog


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")] = Path(
        "demo"
    ),
) -> None:
    """Derive the weights of every loss of the catalog, judge them, and write the table.

    \b
    goal-analyze demo -o demo
    """
    start = time.perf_counter()
    records = list(summaries(catalog))
    print_summary(records)
    write_whole(output / "catalog.json", json.dumps(records, ensure_ascii=False, indent=2) + "\n")
    typer.echo(f"Derived in {time.perf_counter() - start:.1f} s; written to {output / 'catalog.json'}")
