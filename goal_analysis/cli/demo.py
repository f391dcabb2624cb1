"""``goal-analyze demo``: the main job on what the package embeds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.list import print_summary, summaries
from goal_analysis.cli.verify import DTYPES, made_up_batches, print_verifications, verifications
from goal_analysis.writing import write_whole
from losses_catalog import catalog


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")] = Path("demo"),
) -> None:
    """Derive the weights of every loss of the catalog, judge them, and verify them against autograd.

    \b
    goal-analyze demo -o demo
    """
    start = time.perf_counter()
    typer.echo("Deriving the weights of the catalog")
    derived = list(summaries(catalog))
    print_summary(derived)
    _write(output / "catalog.json", derived)
    typer.echo("Verifying them against autograd")
    verified = []
    for record in verifications(catalog, made_up_batches(), DTYPES[:3]):
        verified.append(record)
        typer.echo(f"  {len(verified)}/{len(catalog)} {record['loss']}")
    print_verifications(verified)
    _write(output / "verification.json", verified)
    typer.echo(f"Done in {time.perf_counter() - start:.0f} s; written to {output}/")
    raise typer.Exit(0 if all(record["verified"] for record in verified) else 1)


def _write(path: Path, records: list[dict[str, object]]) -> None:
    write_whole(path, json.dumps(records, ensure_ascii=False, indent=2) + "\n")
