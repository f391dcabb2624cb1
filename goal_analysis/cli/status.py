"""``goal-analyze status``: how far a study, a discovery or a comparison is, asked from anywhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.options import JsonOption, print_json


def status(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="The folder of study, discover or compare.")],
    as_json: JsonOption = False,
) -> None:
    """Say how many runs are done, run and wait, which is the best so far, and what the rest will take.

    \b
    goal-analyze status f30k
    """
    from goal_analysis.study.driver import read_progress

    progress, driven = read_progress(folder)
    if as_json:
        print_json({**asdict(progress), "waiting": progress.waiting, "driven": driven})
        return
    typer.echo(str(progress))
    for name in progress.running:
        typer.echo(f"  running: {name}")
    driver = f"Driven by {progress.driver}"
    typer.echo(driver if driven else "No process drives it; the same command goes on from there")
