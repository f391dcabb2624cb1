"""The demo's training: objectives on the embedded scenes, compared, drawn and reported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from goal_analysis.cli.compare import compare
from goal_analysis.cli.options import INTERRUPTED
from goal_analysis.cli.plot_loss import Wanted, draw_beside
from goal_analysis.cli.plot_runs import plot_runs
from goal_analysis.cli.train import loaded_data, trained_objective
from goal_analysis.files import write_whole

RETRIEVING = (
    "vse_pp",
    "info_nce(scale=12)",
    "constant/constant@softmax:12",
    "circular(tau=12)/constant@softmax:12",
    "nca(tau=12)/constant@top_k:5",
)
"""The baseline is VSE++'s loss, on hardest negatives; then InfoNCE, other triplet weights with its mining, and its with
another mining. All learn from pixels within `SMALL`; linear and sigmoid pair weights need longer."""

SEEDS = 3
"""Of every objective."""

SMALL = (
    "data.train=800",
    "data.dev=200",
    "data.test=1",
    "model.image.width=16",
    "training.epochs=5",
    "training.epochs_on_all=3",
    "training.batch_size=100",
    "training.probe_steps=10",
)
"""Settings over the preset `scenes`, for half a minute a run on one thread; every run counts by its best epoch."""


def retrieved(
    output: Path,
    processes: int,
    seeds: int = SEEDS,
    settings: Sequence[str] = SMALL,
    objectives: Sequence[str] = RETRIEVING,
) -> bool:
    """Train objectives from the pixels of the embedded scenes over seeds, and print how well each retrieves.

    Args:
        output: the folder of the runs; those that are done there are not run again.
        processes: runs at once.
        seeds: 0 to so many, of every objective.
        settings: over those of the preset.
        objectives: the first is the baseline.

    Returns:
        Whether all runs ended well.

    Raises:
        KeyboardInterrupt: by the user; what is done is printed before.
    """
    typer.echo(f"  {len(objectives)} objectives over {seeds} seeds; {objectives[0]} is the baseline")
    try:
        compare(
            presets=["scenes"],
            objectives=list(objectives),
            seeds=seeds,
            assignments=list(settings),
            output=output,
            processes=processes,
        )
    except typer.Exit as end:
        if end.exit_code == INTERRUPTED:
            raise KeyboardInterrupt from None
        return end.exit_code == 0
    return True


def drawn(runs: Path, output: Path) -> None:
    """Draw the objectives' weights beside each other, and what the runs that are done logged.

    Args:
        runs: the folder of the runs.
        output: where the pictures go.
    """
    folders = sorted(result.parent for result in runs.rglob("result.json"))
    if not folders:
        return
    written = [draw_beside([Wanted(text) for text in RETRIEVING], output, "png")]
    written += plot_runs(folders, None, output, "png")
    typer.echo(f"  {len(written)} pictures in {output}/")


def reported(output: Path, queries: int = 6) -> None:
    """Write the page on the runs, and say so; or why there is none.

    Args:
        output: the demo's folder.
        queries: images, and captions, whose retrieval is shown; 0 is quicker.
    """
    from goal_analysis.study.report import report

    file = output / "report.html"
    try:
        page = report([output], trained_objective, loaded_data, RETRIEVING[0], queries, sys.argv)
        write_whole(file, page)
    except (OSError, ValueError) as problem:
        typer.echo(f"  no report: {problem}", err=True)
    else:
        typer.echo(f"  {file}: the runs so far, on one page that needs no network")
