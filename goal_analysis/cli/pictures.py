"""What is drawn: `plot`, `explore` and `report`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

import goal_analysis as ga
from goal_analysis.cli import options
from goal_analysis.cli.options import File, Files, Text, Texts, expect_among, refuse, with_progress, written_to
from goal_analysis.files import folder_name, folder_names, write_whole
from goal_analysis.pictures import FILMS, FORMATS, KINDS, OF_LOGS, SEVERAL

if TYPE_CHECKING:  # torch and matplotlib are loaded when a command runs
    from matplotlib.figure import Figure

    from goal_analysis.pictures.run_frames import Records
    from goal_analysis.vse.data.split import RetrievalData
    from goal_analysis.vse.loop.experiment import Experiment

ALL, FILM = "all", "film"
COMPARE, DIFFERENCE = SEVERAL
OF_MODEL = ("batch", "recall", "gallery")  # of what the best model of runs does
QUERIES = 4  # of the gallery of a run, each way
MANY = 6  # from so many losses on, several processes draw

NamesArgument = Annotated[
    Texts, Argument(metavar="[OBJECTIVE]...", help="Names that `list` prints, or objectives such as nca/linear.")
]


def plot(
    names: NamesArgument = None,
    kind: Annotated[
        str,
        Option(
            help=f"Of losses {', '.join(KINDS)}; of several {COMPARE}, of two {DIFFERENCE}; of runs "
            f"{', '.join((*OF_LOGS, *OF_MODEL, FILM))}; or all, but for {DIFFERENCE} and {FILM}."
        ),
    ] = ALL,
    every: Annotated[bool, Option("--all", help="Draw every loss of the catalog.")] = False,
    formula: options.FormulaOption = None,
    assignments: options.SetOption = None,
    own: options.CatalogOption = None,
    runs: Annotated[Files, Option("--run", metavar="RUN", help="Draw this run, not losses; may be repeated.")] = None,
    data: Annotated[Text, Option(metavar="DIR/NAME", help="With --run: draw its model on these data.")] = None,
    output: Annotated[Path, written_to(metavar="DIR", help="The folder of the pictures.")] = Path("plots"),
    form: Annotated[
        Text, Option("--format", help="png (the default), svg or pdf; of a film gif (the default), or mp4 by ffmpeg.")
    ] = None,
) -> None:
    """Draw losses and objectives, or runs, a file for every kind.

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
    expect_among("--format", form, formats)
    form = form or formats[0]
    of_losses, of_runs = (*KINDS, *SEVERAL, ALL), (*OF_LOGS, *OF_MODEL, FILM, ALL)
    expect_among("--kind with --run" if runs else "--kind without --run", kind, of_runs if runs else of_losses)
    if runs:
        if names or every or formula or assignments:
            refuse("got --run and losses but expected one of them")
        options.check_runs(runs)
        written = plot_runs(runs, data, output, form, kind)
    else:
        chosen = chosen_objectives(names or [], every, formula, options.settings_of(assignments), own)
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
    found = [replace(options.objective_of(name, own), name=name) for name in names]
    found = [*(options.losses(own) if every else found)]
    found += [options.objective_of(formula, None, **settings)] if formula else []
    if not found:
        refuse("got nothing to draw but expected losses, --formula, --all or --run")
    called = [one.name for one in found]
    if len(set(called)) < len(called):
        refuse(f"got {', '.join(called)} but expected every loss once")
    names_of = [{h.name for h in one.hyperparameters} for one in found]
    known = set().union(*names_of)
    for name in settings:
        expect_among("--set", name, sorted(known))
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
        return [path for task in with_progress(tasks, "drawing") for path in task()]
    from concurrent.futures import ProcessPoolExecutor

    from goal_analysis.study.engine import server

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, 8), server(["goal_analysis.pictures.objective_figures"])) as pool:
        drawings = with_progress([pool.submit(task) for task in tasks], "drawing")
        return [path for drawing in drawings for path in drawing.result()]


def draw_kinds(
    objective: ga.Objective, name: str, folder: Path, kinds: Sequence[str] = KINDS, form: str = "png"
) -> list[Path]:
    """Draw and write the pictures of one objective, by default of every kind, to files called after it."""
    from goal_analysis.pictures.objective_figures import figures

    drawn = figures(ga.decompose(objective), objective.title, kinds)
    return _saved(((f"{folder_name(name)}-{kind}", figure) for kind, figure in drawn), folder, form)


def draw_beside(chosen: Sequence[str | ga.Objective], folder: Path, form: str, kind: str = COMPARE) -> list[Path]:
    """Draw and write the objectives beside each other, or two with their difference."""
    return _saved([(kind, ga.plot(*chosen, kind=kind))], folder, form)


def _saved(figures: Iterable[tuple[str, Figure]], folder: Path, form: str) -> list[Path]:
    from goal_analysis.pictures.canvas import save

    written = []
    for name, figure in figures:
        written.append(folder / f"{name}.{form}")
        save(figure, written[-1])
    return written


def plot_runs(folders: Sequence[Path], data: str | None, output: Path, form: str, kind: str = ALL) -> list[Path]:
    """Draw what the runs logged, and what the best model does, or one kind of it; return the files."""
    from goal_analysis.pictures.run_figures import best_rsum, figures_of_logs
    from goal_analysis.study.report.runs import gather_runs

    groups, faults = gather_runs(folders)
    if not groups:
        refuse("\n".join(faults))
    for fault in faults:
        typer.echo(fault, err=True)
    logs = {run.folder: replace(ga.load_run(run.folder).records, objective=g.label) for g in groups for run in g.runs}
    if kind == FILM:
        return _films(logs, output, form)
    figures = figures_of_logs(list(logs.values())) if kind not in OF_MODEL else {}
    best = max(logs, key=lambda folder: best_rsum(logs[folder]) or -1.0)
    try:
        figures |= _pictures_of_model(best, data) if kind not in OF_LOGS else {}
    except (OSError, ValueError) as problem:
        typer.echo(f"left out what the model of {best} does: {problem}", err=True)
    if not figures:
        refuse("got runs without a finished epoch but expected one at least")
    if kind != ALL and kind not in figures:
        refuse(f"--kind: got {kind!r}, which these runs do not have, but expected one of {', '.join(figures)}")
    return _saved([(name, one) for name, one in figures.items() if kind in (ALL, name)], output, form)


def _films(logs: dict[Path, Records], output: Path, form: str) -> list[Path]:
    from goal_analysis.pictures.run_figures import draw_film
    from goal_analysis.pictures.run_frames import log_frame

    names = folder_names(map(str, logs)) if len(logs) > 1 else {}
    written = []
    for folder, run in logs.items():
        objective = ga.load_run(folder).objective.objective
        written.append(output / f"{names[str(folder)] + '-' if names else ''}{FILM}.{form}")
        draw_film(ga.decompose(objective), log_frame([run], "probe"), written[-1], f"{run.objective}, seed {run.seed}")
    return written


def _pictures_of_model(folder: Path, data: str | None) -> dict[str, Figure]:
    import numpy as np
    import torch

    from goal_analysis.numeric.matches import Matches
    from goal_analysis.pictures.batch import batch_figure, pairs_frame
    from goal_analysis.pictures.run_figures import gallery_figure, recall_figure
    from goal_analysis.study.gallery import gallery_frame, queries_of
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
    objective, of = ga.objective(model.experiment.objective), model.experiment.objective
    rows = np.arange(min(model.experiment.training.batch_size, len(split.images)))  # each with its first caption
    matches = Matches.of_pairs(len(rows))
    with torch.no_grad():
        scores = all_scores(scores_of(model.model, split, model.tokenizer), split).float()
        chosen = scores[torch.from_numpy(rows)][:, torch.from_numpy(np.searchsorted(split.image_of, rows))]
        pairs = pairs_frame(chosen, objective.weight_matrix(chosen, matches), matches)
    found = ranks(lambda rows: scores[rows], split.image_of, len(scores), answers=split.answers)
    by_way = {"captions of images": found.of_captions, "images of captions": found.of_images}
    said = f"{of}: what is right among the first K, on {split.name}"
    return {
        "batch": batch_figure(objective.objective, pairs, f"{of} on {len(rows)} pairs of {split.name}"),
        "recall": recall_figure(by_way, min(100, len(split.images)), said),
        "gallery": gallery_figure(gallery_frame(*queries_of(split, scores, QUERIES))),
    }


def explore(
    names: NamesArgument = None,
    formula: options.FormulaOption = None,
    assignments: options.SetOption = None,
    own: options.CatalogOption = None,
    batch: Annotated[
        Files,
        Option(metavar="FILE.npy", help="Embeddings to lay over the weights: (2, pairs, dim); or twice (pairs, dim)."),
    ] = None,
    labels: Annotated[
        File, Option(metavar="FILE", help="Labels of one --batch (embeddings, dim): .npy, or a text.")
    ] = None,
    output: Annotated[Path, written_to(metavar="FILE.html", help="The page.")] = Path("explore.html"),
) -> None:
    """Write a page of weights with a slider for each hyperparameter.

    The page needs no network. It shows the weights at any triplet, and the line that trains with the values of the
    sliders.

    \b
    goal-analyze explore circle nca/linear -o weights.html
    goal-analyze explore info_nce --batch images.npy --batch texts.npy
    goal-analyze explore --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    """
    if not names and formula is None:
        refuse("got nothing to explore but expected losses or objectives, or --formula")
    if labels and not batch:
        refuse("--labels: got labels without embeddings but expected --batch too")
    chosen = chosen_objectives(names or [], False, formula, options.settings_of(assignments), own)
    from goal_analysis.study.report import explore as page

    shown = {one.name: ga.GradientObjective(one) for one in chosen}
    texts = with_progress(shown, "deriving", len(shown))
    write_whole(output, page(texts, shown.__getitem__, batch or (), labels, sys.argv))
    typer.echo(f"written to {output}")


def report(
    runs: Annotated[list[Path], Argument(metavar="RUN...", help="Runs, or folders of runs such as compare's.")],
    output: Annotated[Path, written_to(metavar="FILE.html", help="The page.")] = Path("report.html"),
    baseline: Annotated[
        Text, Option(metavar="OBJECTIVE", help="Differences are to this one; by default compare's, or the first.")
    ] = None,
    queries: Annotated[
        int, options.counted(min=0, help="How many images, and how many captions, a gallery shows; 0 shows none.")
    ] = 6,
) -> None:
    """Write a page on runs: objectives, curves, results, galleries.

    The page needs no network. Runs that differ by their seed alone are shown as one.

    \b
    goal-analyze report runs/mine -o report.html
    goal-analyze report comparison --baseline vse_pp -o report.html
    """
    options.check_runs(runs)
    from goal_analysis.study.report import report as page

    with options.status_line("reading") as status:

        def objective_of(text: str) -> ga.GradientObjective:
            status.update(f"reading objectives: {text}")
            return ga.objective(text)

        def load(experiment: Experiment) -> RetrievalData:
            status.update(f"reading galleries: {experiment.name}")
            return experiment.load_data()

        write_whole(output, page(runs, objective_of, load, baseline, queries, sys.argv))
    typer.echo(f"written to {output}")
