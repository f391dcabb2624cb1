"""The pictures of ``goal-analyze plot --run``: what runs logged, and what their best model does on dev."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from goal_analysis.cli.choosing import refuse

if TYPE_CHECKING:  # torch and matplotlib are loaded when the command runs
    from matplotlib.figure import Figure
    from torch import Tensor

    from goal_analysis.plots.gallery import Item, Query
    from goal_analysis.plots.training import Records
    from goal_analysis.vse.data import Split
    from goal_analysis.vse.run import TrainedModel

QUERIES, TOP = 4, 5
"""Of the gallery each way, and what is retrieved for each."""

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
    from goal_analysis.plots.saving import save
    from goal_analysis.plots.style import style

    try:
        runs = [_records(folder) for folder in folders]
    except (OSError, ValueError) as problem:
        refuse(problem)
    with style():
        figures = _of_logs(runs)
        best = max(zip(folders, runs, strict=True), key=lambda pair: max(_rsums(pair[1]), default=-1.0))[0]
        try:
            figures |= _of_model(best, data)
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
    from goal_analysis.plots.training import Records
    from goal_analysis.vse.run_folder import read_log, read_run

    experiment = read_run(folder)["experiment"]
    return Records(str(experiment["objective"]), int(experiment["seed"]), read_log(folder))


def _rsums(run: Records) -> list[float]:
    return [float(record["rsum"]) for record in run.records if record["kind"] == "epoch"]


def _of_logs(runs: Sequence[Records]) -> dict[str, Figure]:
    from goal_analysis.plots.saving import alone, panels
    from goal_analysis.plots.training import (
        draw_curves,
        draw_quantiles,
        draw_ranking,
        log_frame,
        ranking_frame,
    )

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
        figure, ax = alone(6.4, 1.0 + 0.32 * len(found))
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


def _of_model(folder: Path, data: str | None) -> dict[str, Figure]:
    """The pictures that need the model, and the data that it was trained on or other data."""
    import torch

    from goal_analysis.cli.train import chosen_split
    from goal_analysis.plots.gallery import draw_gallery, gallery_size
    from goal_analysis.plots.saving import alone
    from goal_analysis.plots.training import draw_recall, recall_frame
    from goal_analysis.vse.metrics import ranks_of_scores
    from goal_analysis.vse.run import trained
    from goal_analysis.vse.scoring import scores_of, whole

    model = trained(folder)
    split = chosen_split(model.experiment, data, "dev")
    with torch.no_grad():
        scores = whole(scores_of(model.model, split, model.tokenizer), split).float()
    found = ranks_of_scores(scores, split.image_of)
    figures = {"batch": _batch(model, split, scores)}
    figure, ax = alone()
    by_way = {"captions of images": found.of_captions, "images of captions": found.of_images}
    draw_recall(recall_frame(by_way, min(100, len(split.images))), ax)
    figures["recall"] = figure
    queries = _queries(split, scores)
    figure, ax = alone(*gallery_size(queries))
    draw_gallery(queries, ax)
    return figures | {"gallery": figure}


def _batch(model: TrainedModel, split: Split, scores: Tensor) -> Figure:
    """The objective on images of dev, as many as a batch had, each with its first caption."""
    import numpy as np
    import torch

    from goal_analysis.cli.train import trained_objective
    from goal_analysis.numeric.matches import Matches
    from goal_analysis.plots import batch
    from goal_analysis.plots.saving import panels
    from goal_analysis.plots.weights import surface_frame

    objective = trained_objective(model.experiment.objective)
    rows = np.arange(min(model.experiment.training.batch_size, len(split.images)))
    chosen = scores[torch.from_numpy(rows)][:, torch.from_numpy(np.searchsorted(split.image_of, rows))]
    matches = Matches.of_pairs(len(rows))
    with torch.no_grad():
        pairs = batch.pairs_frame(chosen, objective.weight_matrix(chosen, matches), matches)
    anchors = batch.anchors_frame(pairs)
    figure, axes = panels(2, 2, 3.8, 3.2)
    surface = surface_frame(objective.field, "T", objective.settings, count=121)
    batch.draw_joint(batch.triplets_frame(pairs), surface, axes[0, 0])
    batch.draw_weight_distribution(pairs, axes[0, 1])
    batch.draw_shares(anchors, axes[1, 0])
    batch.draw_effective_negatives(anchors, axes[1, 1])
    figure.suptitle(f"{model.experiment.objective} on {len(rows)} pairs of {split.name}", x=0.02, ha="left")
    return figure


def _queries(split: Split, scores: Tensor) -> list[Query]:
    """Images at even distances with the captions found for them, and captions with the images."""
    import numpy as np

    from goal_analysis.plots.gallery import Found, Query

    rows = np.unique(np.linspace(0, len(split.images) - 1, QUERIES).round().astype(int)).tolist()
    queries = []
    for row in rows:
        best = scores[row].topk(min(TOP, scores.shape[1]))
        found = [
            Found(split.captions[c], bool(split.image_of[c] == row), s)
            for s, c in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        queries.append(Query(_picture(split, row), found))
    for row in rows:
        caption = int(np.searchsorted(split.image_of, row))
        best = scores[:, caption].topk(min(TOP, len(scores)))
        found = [
            Found(_picture(split, i), i == row, s)
            for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        queries.append(Query(split.captions[caption], found))
    return queries


def _picture(split: Split, row: int) -> Item:
    """The picture of an image, or where there are features alone, its first caption to know it by."""
    import numpy as np

    shape: Any = split.images.shape
    if len(shape) == 4 and shape[1] == 3:
        return split.images.batch(np.asarray([row]))[0].permute(1, 2, 0).float().numpy()
    return f"[image {row}] {split.captions[int(np.searchsorted(split.image_of, row))]}"
