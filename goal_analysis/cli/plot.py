"""``goal-analyze plot``: pictures of losses and objectives, and of runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import goal_analysis as ga
from goal_analysis.cli.options import CatalogOption, SetOption, losses, objective_of, of_formula, refuse, settings_of
from goal_analysis.files import folder_name
from goal_analysis.pictures import FORMATS, KINDS

COMPARE, ALL = "compare", "all"
SEVERAL = 6
"""From so many losses on, several processes draw."""


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOSS]...", help="Names that `list` prints, or objectives such as nca/linear."),
    ] = None,
    kind: Annotated[str, typer.Option(help="pair, triplet, field, portrait, compare or all.")] = ALL,
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
    form: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
) -> None:
    """Draw the weights of losses and objectives, or what runs did. Every picture is a file.

    \b
    goal-analyze plot circle multi_similarity -o pictures
    goal-analyze plot circle --kind field --set gamma=16 --format svg
    goal-analyze plot --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    goal-analyze plot nca/linear circular/constant --kind compare
    goal-analyze plot --all --format pdf
    goal-analyze plot --run runs/mine-0 --run runs/mine-1
    """
    if form not in FORMATS:
        refuse(f"--format: got {form!r} but expected one of {', '.join(FORMATS)}")
    if kind not in (*KINDS, COMPARE, ALL):
        refuse(f"--kind: got {kind!r} but expected one of {', '.join((*KINDS, COMPARE, ALL))}")
    if runs:
        if names or every or formula or assignments:
            refuse("got --run and losses but expected one of them")
        from goal_analysis.cli.plot_runs import plot_runs

        written = plot_runs(runs, data, output, form)
    else:
        chosen = _chosen(names or [], every, formula, settings_of(assignments), own)
        if kind == COMPARE and len(chosen) < 2:
            refuse(f"--kind compare: got {len(chosen)} loss but expected two or more")
        written = _plot_each(chosen, KINDS if kind == ALL else (kind,), output, form)
    typer.echo(f"{len(written)} {'picture' if len(written) == 1 else 'pictures'} written to {output}/")


def _chosen(
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
    alone = tuple(kind for kind in kinds if kind != COMPARE)
    beside = COMPARE in kinds or (len(kinds) > 1 and len(chosen) > 1)
    tasks = [partial(draw_beside, chosen, folder, form)] if beside else []  # the longest one first
    tasks += [partial(draw_kinds, one, one.name, folder, alone, form) for one in chosen if alone]
    if len(chosen) < SEVERAL:
        return [path for task in tasks for path in task()]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, 8), get_context("spawn")) as pool:
        return [path for drawing in [pool.submit(task) for task in tasks] for path in drawing.result()]


def draw_kinds(
    objective: ga.Objective, name: str, folder: Path, kinds: Sequence[str] = KINDS, form: str = "png"
) -> list[Path]:
    """Draw and write the pictures of one objective, by default of every kind, to files called after it."""
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.weight_figures import figures

    written = []
    for kind, figure in figures(ga.decompose(objective), objective.title, kinds):
        written.append(folder / f"{folder_name(name)}-{kind}.{form}")
        save(figure, written[-1])
    return written


def draw_beside(chosen: Sequence[str | ga.Objective], folder: Path, form: str) -> list[Path]:
    """Draw and write the objectives beside each other."""
    from goal_analysis.pictures.canvas import save

    path = folder / f"compare.{form}"
    save(ga.plot(*chosen, kind=COMPARE), path)
    return [path]
