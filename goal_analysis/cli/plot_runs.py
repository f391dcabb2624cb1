"""The pictures of ``goal-analyze plot --run``: what runs logged, and what their best model does on dev."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from goal_analysis.cli.options import refuse
from goal_analysis.cli.plot_model import pictures_of_model

if TYPE_CHECKING:  # torch and matplotlib are loaded when the command runs
    from matplotlib.figure import Figure

    from goal_analysis.pictures.run_frames import Records

PROBED = ("effective_negatives", "push_share", "active_share")
"""What is drawn of the probes of several objectives beside each other."""


def plot_runs(folders: Sequence[Path], data: str | None, output: Path, form: str) -> list[Path]:
    """Draw and write what the runs logged, and what the best model of the best of them does.

    Args:
        folders: of the runs.
        data: in place of what the runs were trained on.
        output: where pictures go.
        form: ``png``, ``svg`` or ``pdf``.

    Returns:
        The files.
    """
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.style import style

    try:
        runs = [_records(folder) for folder in folders]
    except (OSError, ValueError) as problem:
        refuse(problem)
    with style():
        figures = _of_logs(runs)
        best = max(zip(folders, runs, strict=True), key=lambda pair: max(_rsums(pair[1]), default=-1.0))[0]
        try:
            figures |= pictures_of_model(best, data)
        except (OSError, ValueError) as problem:
            typer.echo(f"left out what the model of {best} does: {problem}", err=True)
    if not figures:
        refuse("got runs without a finished epoch but expected one at least")
    written = []
    try:
        for name, figure in figures.items():
            written.append(output / f"{name}.{form}")
            save(figure, written[-1])
    except OSError as problem:
        refuse(problem)
    return written


def _records(folder: Path) -> Records:
    from goal_analysis.pictures.run_frames import Records
    from goal_analysis.vse.folder.run_folder import read_log, read_run

    experiment = read_run(folder)["experiment"]
    return Records(str(experiment["objective"]), int(experiment["seed"]), read_log(folder))


def _rsums(run: Records) -> list[float]:
    return [float(record["rsum"]) for record in run.records if record["kind"] == "epoch"]


def _of_logs(runs: Sequence[Records]) -> dict[str, Figure]:
    from goal_analysis.pictures.canvas import panels, single_panel
    from goal_analysis.pictures.run_figures import draw_curves, draw_quantiles, draw_ranking
    from goal_analysis.pictures.run_frames import log_frame, ranking_frame

    figures: dict[str, Figure] = {}
    epochs, probes = log_frame(runs, "epoch"), log_frame(runs, "probe")
    if len(epochs):
        figure, axes = panels(1, 3)
        for ax, quantity in zip(axes[0], ("rsum", "i2t_r1", "t2i_r1"), strict=True):
            draw_curves(epochs, ax, quantity)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=2)
        figures["retrieval"] = figure
        found: dict[str, dict[int, float]] = defaultdict(dict)
        for run in runs:
            if _rsums(run):
                found[run.objective][run.seed] = max(_rsums(run))
        figure, ax = single_panel(6.4, 1.2 + 0.32 * len(found))
        draw_ranking(ranking_frame(found), ax)
        figures["ranking"] = figure
    if len(probes):
        figure, axes = panels(1, 3)
        for ax, quantity in zip(axes[0], PROBED, strict=True):
            draw_curves(probes, ax, quantity, "step")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=2)
        figures["weights"] = figure
        names = list(dict.fromkeys(probes["objective"]))
        figure, axes = panels(len(names), 2)
        for row, name in zip(axes, names, strict=True):
            for ax, quantity in zip(row, ("s", "w"), strict=True):
                draw_quantiles(probes[probes["objective"] == name], ax, quantity)
            row[0].set_ylabel(f"{name}\n{row[0].get_ylabel()}")
        figures["quantiles"] = figure
    return figures
