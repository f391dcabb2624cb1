"""``goal-analyze report``: training runs as one page of HTML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import goal_analysis as ga
from goal_analysis.cli.options import check_runs, progress_bar

if TYPE_CHECKING:
    from goal_analysis.vse.data.split import RetrievalData
    from goal_analysis.vse.loop.experiment import Experiment


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of runs such as compare's.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page.")] = Path(
        "report.html"
    ),
    baseline: Annotated[
        str | None, typer.Option(metavar="OBJECTIVE", help="Differences are to this one; by default the first.")
    ] = None,
    queries: Annotated[
        int, typer.Option(min=0, help="How many images, and how many captions, a gallery shows; 0 shows none.")
    ] = 6,
) -> None:
    """Write one page on training runs: objectives, weights, training curves, results, what is retrieved.

    The page needs no network. Runs that differ by their seed alone are shown as one.

    \b
    goal-analyze report runs/mine -o report.html
    goal-analyze report comparison --baseline vse_pp -o report.html
    """
    check_runs(runs)
    from goal_analysis.files import write_whole
    from goal_analysis.study.report import report as page

    with progress_bar("reading") as advance:

        def objective_of(text: str) -> ga.GradientObjective:
            advance(f"objectives: {text}")
            return ga.objective(text)

        def load(experiment: Experiment) -> RetrievalData:
            advance(f"galleries: {experiment.name}")
            return experiment.load_data()

        write_whole(output, page(runs, objective_of, load, baseline, queries, sys.argv))
    typer.echo(f"written to {output}")
