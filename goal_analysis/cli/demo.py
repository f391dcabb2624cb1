"""``goal-analyze demo``: the main job on what the package embeds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.demo_losses import derived, measured, verified
from goal_analysis.cli.demo_objectives import recombined
from goal_analysis.cli.demo_scenes import drawn, reported, retrieved
from goal_analysis.cli.options import INTERRUPTED, JobsOption

RETRIEVAL = "retrieval"
"""The folder of the training runs."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")] = Path("demo"),
    processes: JobsOption = 2,
) -> None:
    """Take the catalog apart, verify it, measure a foreign loss, compose, export, train, compare, draw and report.

    Minutes on two cores; what is done is not done again, so the same command goes on after any end, Ctrl-C too.

    \b
    goal-analyze demo -o demo
    """
    start = time.perf_counter()
    with going_on(output):
        typer.echo("1/6 Deriving the weights of the catalog")
        records = derived(output / "catalog.json")
        typer.echo("2/6 Verifying them against autograd")
        sound = verified(output / "verification.json", records)
        typer.echo("3/6 Measuring a loss that nobody declared, by autograd alone")
        measured(output / "measurement.json")
        typer.echo("4/6 Composing objectives")
        sound &= recombined(output)
        typer.echo("5/6 Training from pixels")
        sound &= retrieved(output / RETRIEVAL, processes)
        typer.echo("6/6 Drawing and reporting")
        drawn(output / RETRIEVAL, output / "pictures")
        reported(output)
    typer.echo(f"Done in {time.perf_counter() - start:.0f} s; open {output / 'report.html'}")
    raise typer.Exit(0 if sound else 1)


@contextmanager
def going_on(output: Path) -> Iterator[None]:
    """Whatever is interrupted inside is said to go on, and reported as far as it came.

    Args:
        output: the demo's folder.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. What is in {output}/ is whole, and the same command goes on from there.", err=True)
        if any((output / RETRIEVAL).rglob("result.json")):
            reported(output, queries=0)
        raise typer.Exit(INTERRUPTED) from None
