"""``goal-analyze plot``: pictures of losses and objectives, and of runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import goal_analysis as ga
from goal_analysis.cli.options import (
    CatalogOption,
    SetOption,
    check_runs,
    losses,
    objective_of,
    of_formula,
    refuse,
    settings_of,
    with_progress,
)
from goal_analysis.files import folder_name, folder_names
from goal_analysis.pictures import FILMS, FORMATS, KINDS, OF_LOGS, SEVERAL

if TYPE_CHECKING:  # torch and matplotlib are loaded when the command runs
    from matplotlib.figure import Figure

    from goal_analysis.pictures.run_frames import Records

ALL, FILM = "all", "film"
COMPARE, DIFFERENCE = SEVERAL
OF_MODEL = ("batch", "recall", "gallery")  # of what the best model of runs does
QUERIES = 4  # of the gallery of a run, each way
MANY = 6
"""From so many losses on, several processes draw."""


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOSS]...", help="Names that `list` prints, or objectives such as nca/linear."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help=f"Of losses {', '.join(KINDS)}; of several {COMPARE}, of two {DIFFERENCE}; of runs "
            f"{', '.join((*OF_LOGS, *OF_MODEL, FILM))}; or all, but for {DIFFERENCE} and {FILM}."
        ),
    ] = ALL,
    every: Annotated[bool, typer.Option("--all", help="Draw every loss of the catalog.")] = False,
    formula: Annotated[
        str | None,
        typer.Option("--formula", help="Draw the loss of one triplet that a formula of s_p and s_n says, too."),
    ] = None,
    assignments: SetOption = None,
    own: CatalogOption = None,
    runs: Annotated[
        list[Path] | None, typer.Option("--run", metavar="RUN", help="Draw this run, not losses; may be repeated.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR/NAME", help="With --run: draw its model on these data.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the pictures.")] = Path(
        "plots"
    ),
    form: Annotated[
        str | None,
        typer.Option("--format", help="png (the default), svg or pdf; of a film gif (the default), or mp4 by ffmpeg."),
    ] = None,
) -> None:
    """Draw the weights of losses and objectives, or what runs did. Every picture is a file called after its kind.

    \b
    goal-analyze plot circle multi_similarity -o pictures
    goal-analyze plot circle --kind field --set gamma=16 --format svg
    goal-analyze plot --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    goal-analyze plot circle --kind portrait --format pdf
    goal-analyze plot nca/linear circular/constant --kind compare
    goal-analyze plot circle circle_undetached --kind difference
    goal-analyze plot --all --format pdf
    goal-analyze plot --run runs/mine-0 --run runs/mine-1
    goal-analyze plot --run runs/mine-0 --kind film
    """
    formats = FILMS if kind == FILM else FORMATS
    form = formats[0] if form is None else form
    if form not in formats:
        refuse(f"--format: got {form!r} but expected one of {', '.join(formats)}")
    of_losses, of_runs = (*KINDS, *SEVERAL, ALL), (*OF_LOGS, *OF_MODEL, FILM, ALL)
    if kind not in (of_runs if runs else of_losses):
        without = " without --run" if kind in of_runs else " with --run" if kind in of_losses else ""
        refuse(f"--kind: got {kind!r}{without} but expected one of {', '.join(of_runs if runs else of_losses)}")
    if runs:
        if names or every or formula or assignments:
            refuse("got --run and losses but expected one of them")
        check_runs(runs)
        written = plot_runs(runs, data, output, form, kind)
    else:
        chosen = chosen_objectives(names or [], every, formula, settings_of(assignments), own)
        if kind == COMPARE and len(chosen) < 2:
            refuse(f"--kind compare: got {len(chosen)} loss but expected two or more")
        if kind == DIFFERENCE and len(chosen) != 2:
            refuse(f"--kind difference: got {', '.join(one.name for one in chosen)} but expected two losses")
        written = _plot_each(chosen, KINDS if kind == ALL else (kind,), output, form)
    typer.echo(f"{len(written)} {'picture' if len(written) == 1 else 'pictures'} written to {output}/")


def chosen_objectives(
    names: Sequence[str], every: bool, formula: str | None, settings: dict[str, float], own: Path | None
) -> list[ga.Objective]:
    """The objectives to draw, each with its own settings."""
    if every and names:
        refuse(f"got --all and {names[0]} but expected one of them")
    found = list(losses(own)) if every else [replace(objective_of(name, own), name=name) for name in names]
    if formula is not None:
        found.append(of_formula(formula, settings))
    if not found:
        refuse("got nothing to draw but expected losses, --formula, --all or --run")
    called = [one.name for one in found]
    if len(set(called)) < len(called):
        refuse(f"got {', '.join(called)} but expected every loss once")
    names_of = [{h.name for h in one.hyperparameters} for one in found]
    known = set().union(*names_of)
    for name in settings:
        if name not in known:
            refuse(f"got a value for {name!r} but expected one of {', '.join(sorted(known)) or 'none'}")
    return [
        one.with_settings({name: value for name, value in settings.items() if name in its_own})
        for one, its_own in zip(found, names_of, strict=True)
    ]


def _plot_each(chosen: Sequence[ga.Objective], kinds: Sequence[str], folder: Path, form: str) -> list[Path]:
    """All pictures of every loss, and one of all of them where there are several; of many, a loss a process."""
    alone = tuple(kind for kind in kinds if kind not in SEVERAL)
    beside = kinds[0] if kinds[0] in SEVERAL else COMPARE if len(kinds) > 1 and len(chosen) > 1 else None
    tasks = [partial(draw_beside, chosen, folder, form, beside)] if beside else []  # the longest one first
    tasks += [partial(draw_kinds, one, one.name, folder, alone, form) for one in chosen if alone]
    if len(chosen) < MANY:
        return [path for task in with_progress(tasks, "drawing", len(tasks)) for path in task()]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, 8), get_context("spawn")) as pool:
        drawings = with_progress([pool.submit(task) for task in tasks], "drawing", len(tasks))
        return [path for drawing in drawings for path in drawing.result()]


def draw_kinds(
    objective: ga.Objective, name: str, folder: Path, kinds: Sequence[str] = KINDS, form: str = "png"
) -> list[Path]:
    """Draw and write the pictures of one objective, by default of every kind, to files called after it."""
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.objective_figures import figures

    written = []
    for kind, figure in figures(ga.decompose(objective), objective.title, kinds):
        written.append(folder / f"{folder_name(name)}-{kind}.{form}")
        save(figure, written[-1])
    return written


def draw_beside(chosen: Sequence[str | ga.Objective], folder: Path, form: str, kind: str = COMPARE) -> list[Path]:
    """Draw and write the objectives beside each other, or two with their difference."""
    from goal_analysis.pictures.canvas import save

    path = folder / f"{kind}.{form}"
    save(ga.plot(*chosen, kind=kind), path)
    return [path]


def plot_runs(folders: Sequence[Path], data: str | None, output: Path, form: str, kind: str = ALL) -> list[Path]:
    """Draw what the runs logged, and what the best model does, or one kind of it; return the files."""
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
    if kind == FILM:
        return _films(logs, output, form)
    with style():
        figures = figures_of_logs(list(logs.values())) if kind not in OF_MODEL else {}
        best = max(logs, key=lambda folder: best_rsum(logs[folder]) or -1.0)
        try:
            figures |= _pictures_of_model(best, data) if kind not in OF_LOGS else {}
        except (OSError, ValueError) as problem:
            typer.echo(f"left out what the model of {best} does: {problem}", err=True)
    if not figures:
        refuse("got runs without a finished epoch but expected one at least")
    if kind != ALL:
        if kind not in figures:
            refuse(f"--kind: got {kind!r}, which these runs do not have, but expected one of {', '.join(figures)}")
        figures = {kind: figures[kind]}
    written = {output / f"{name}.{form}": figure for name, figure in figures.items()}
    for path, figure in written.items():
        save(figure, path)
    return list(written)


def _films(logs: dict[Path, Records], output: Path, form: str) -> list[Path]:
    """A film of every run."""
    from goal_analysis.pictures.film import draw_film
    from goal_analysis.pictures.run_frames import log_frame

    names = folder_names(map(str, logs)) if len(logs) > 1 else {}
    written = []
    for folder, run in logs.items():
        objective = ga.load_run(folder).objective.objective
        written.append(output / f"{names[str(folder)] + '-' if names else ''}{FILM}.{form}")
        draw_film(ga.decompose(objective), log_frame([run], "probe"), written[-1], f"{run.objective}, seed {run.seed}")
    return written


def _pictures_of_model(folder: Path, data: str | None) -> dict[str, Figure]:
    """What the best model of a run does on dev: the objective on a batch, recalls, a gallery."""
    import numpy as np
    import pandas as pd
    import torch

    from goal_analysis.numeric.matches import Matches
    from goal_analysis.pictures.batch_figures import batch_figure
    from goal_analysis.pictures.batch_frames import pairs_frame
    from goal_analysis.pictures.canvas import fit, panels
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
    found = ranks(lambda rows: scores[rows], split.image_of, len(scores), answers=split.answers)
    objective = ga.objective(model.experiment.objective)
    rows = np.arange(min(model.experiment.training.batch_size, len(split.images)))  # each with its first caption
    chosen = scores[torch.from_numpy(rows)][:, torch.from_numpy(np.searchsorted(split.image_of, rows))]
    matches = Matches.of_pairs(len(rows))
    with torch.no_grad():
        pairs = pairs_frame(chosen, objective.weight_matrix(chosen, matches), matches)
    of = model.experiment.objective
    figures = {"batch": batch_figure(objective.objective, pairs, f"{of} on {len(rows)} pairs of {split.name}")}
    figure, [[ax]] = panels(1, 1, 3.0, 2.3)
    by_way = {"captions of images": found.of_captions, "images of captions": found.of_images}
    places = pd.concat(pd.DataFrame({"name": name, "rank": of}) for name, of in by_way.items())
    draw_recall(places, ax, min(100, len(split.images)))
    figures["recall"] = fit(figure, f"{of}: what is right among the first K, on {split.name}")
    return figures | {"gallery": gallery_figure(gallery_frame(*queries_of(split, scores, QUERIES)))}
