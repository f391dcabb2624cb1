"""The pictures of ``goal-analyze plot --run``: what runs logged, and what their best model does on dev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import goal_analysis as ga
from goal_analysis.cli.options import refuse

if TYPE_CHECKING:  # torch and matplotlib are loaded when the command runs
    from matplotlib.figure import Figure
    from torch import Tensor

    from goal_analysis.vse.data.split import Split
    from goal_analysis.vse.folder.run import TrainedModel

QUERIES = 4
"""Of the gallery, each way."""


def plot_runs(folders: Sequence[Path], data: str | None, output: Path, form: str) -> list[Path]:
    """Draw what the runs logged, and what the best model does; return the files."""
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.run_figures import best_rsum, figures_of_logs
    from goal_analysis.pictures.style import style
    from goal_analysis.study.report.runs import gather_runs

    groups, faults = gather_runs(folders)
    if not groups:
        refuse("\n".join(faults))
    for fault in faults:
        typer.echo(fault, err=True)
    logs = {run.folder: replace(ga.load_run(run.folder).records, objective=g.label) for g in groups for run in g.runs}
    with style():
        figures = figures_of_logs(list(logs.values()))
        best = max(logs, key=lambda folder: best_rsum(logs[folder]) or -1.0)
        try:
            figures |= _pictures_of_model(best, data)
        except (OSError, ValueError) as problem:
            typer.echo(f"left out what the model of {best} does: {problem}", err=True)
    if not figures:
        refuse("got runs without a finished epoch but expected one at least")
    written = {output / f"{name}.{form}": figure for name, figure in figures.items()}
    for path, figure in written.items():
        save(figure, path)
    return list(written)


def _pictures_of_model(folder: Path, data: str | None) -> dict[str, Figure]:
    """What the best model of a run does on dev: the objective on a batch, recalls, a gallery."""
    import pandas as pd
    import torch

    from goal_analysis.pictures.canvas import panels
    from goal_analysis.pictures.run_figures import draw_recall, gallery_figure
    from goal_analysis.study.report.gallery import gallery_frame, queries_of
    from goal_analysis.vse.folder.run import check_data, load_model
    from goal_analysis.vse.retrieval.metrics import ranks
    from goal_analysis.vse.retrieval.scoring import all_scores, scores_of

    model = load_model(folder)
    if data is None:
        loaded = model.experiment.load_data()
        check_data(folder, loaded)
        split = loaded.dev
    else:
        split = model.load_split("dev", data)
    with torch.no_grad():
        scores = all_scores(scores_of(model.model, split, model.tokenizer), split).float()
    found = ranks(lambda rows: scores[rows], split.image_of, len(scores))
    figures = {"batch": _batch(model, split, scores)}
    figure, [[ax]] = panels()
    by_way = {"captions of images": found.of_captions, "images of captions": found.of_images}
    places = pd.concat(pd.DataFrame({"name": name, "rank": of}) for name, of in by_way.items())
    draw_recall(places, ax, min(100, len(split.images)))
    figures["recall"] = figure
    return figures | {"gallery": gallery_figure(gallery_frame(*queries_of(split, scores, QUERIES)))}


def _batch(model: TrainedModel, split: Split, scores: Tensor) -> Figure:
    """The objective on images of dev, as many as a batch had, each with its first caption."""
    import numpy as np
    import torch

    from goal_analysis.numeric.matches import Matches
    from goal_analysis.pictures import batch_figures
    from goal_analysis.pictures.batch_frames import anchors_frame, pairs_frame, triplets_frame
    from goal_analysis.pictures.canvas import panels
    from goal_analysis.pictures.weight_frames import span_of, surface_frame

    objective = ga.objective(model.experiment.objective)
    rows = np.arange(min(model.experiment.training.batch_size, len(split.images)))
    chosen = scores[torch.from_numpy(rows)][:, torch.from_numpy(np.searchsorted(split.image_of, rows))]
    matches = Matches.of_pairs(len(rows))
    with torch.no_grad():
        pairs = pairs_frame(chosen, objective.weight_matrix(chosen, matches), matches)
    anchors, weights = anchors_frame(pairs), ga.decompose(objective)
    weight = "T" if weights.separable else "w_n"
    surface = surface_frame(weights, weight, count=121, span=span_of(objective.similarity, pairs["s"]))
    figure, axes = panels(2, 2, 3.8, 3.2)
    batch_figures.draw_joint(triplets_frame(pairs), surface, axes[0, 0], weight, objective.similarity)
    batch_figures.draw_weight_distribution(pairs, axes[0, 1])
    batch_figures.draw_shares(anchors, axes[1, 0])
    batch_figures.draw_effective_negatives(anchors, axes[1, 1])
    figure.suptitle(f"{model.experiment.objective} on {len(rows)} pairs of {split.name}", x=0.02, ha="left")
    return figure
