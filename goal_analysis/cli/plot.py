"""``goal-analyze plot``: pictures of losses and objectives, and of runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.options import CatalogOption, SetOption, losses, objective_of, of_formula, refuse, settings_of
from goal_analysis.files import folder_name
from goal_analysis.pictures import FORMATS, KINDS

if TYPE_CHECKING:
    from goal_analysis.symbolic.objective import Objective

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
        chosen = _wanted(names or [], every, formula, settings_of(assignments), own)
        if kind == COMPARE and len(chosen) < 2:
            refuse(f"--kind compare: got {len(chosen)} loss but expected two or more")
        written = _plot_each(chosen, KINDS if kind == ALL else (kind,), output, form)
    typer.echo(f"{len(written)} {'picture' if len(written) == 1 else 'pictures'} written to {output}/")


def _wanted(
    names: Sequence[str], every: bool, formula: str | None, settings: dict[str, float], catalog: Path | None
) -> list[Wanted]:
    """The objectives to draw, each with its own settings."""
    if every and names:
        refuse(f"got --all and {names[0]} but expected one of them")
    called = [loss.name for loss in losses(catalog)] if every else list(names)
    wanted = [Wanted(name, own=catalog) for name in called]
    if formula is not None:
        wanted.append(Wanted("formula", formula, catalog, tuple(settings.items())))
    if not wanted:
        refuse("got nothing to draw but expected losses, --formula, --all or --run")
    if len({one.name for one in wanted}) < len(wanted):
        refuse(f"got {', '.join(one.name for one in wanted)} but expected every loss once")
    found, known = [], set()
    for one in wanted:
        names_of_it = {h.name for h in one.resolved().hyperparameters}
        known |= names_of_it
        found.append(replace(one, settings=tuple((k, v) for k, v in settings.items() if k in names_of_it)))
        found[-1].resolved()
    for name in settings:
        if name not in known:
            refuse(f"got a value for {name!r} but expected one of {', '.join(sorted(known)) or 'none'}")
    return found


def _plot_each(chosen: Sequence[Wanted], kinds: Sequence[str], folder: Path, form: str) -> list[Path]:
    """All pictures of every loss, and one of all of them where there are several; of many, a loss a process."""
    alone = tuple(kind for kind in kinds if kind != COMPARE)
    beside = COMPARE in kinds or (len(kinds) > 1 and len(chosen) > 1)
    tasks = [partial(draw_beside, chosen, folder, form)] if beside else []  # the longest one first
    tasks += [partial(_draw_one, one, alone, folder, form) for one in chosen if alone]
    if len(chosen) < SEVERAL:
        return [path for task in tasks for path in task()]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, 8), get_context("spawn")) as pool:
        return [path for drawing in [pool.submit(task) for task in tasks] for path in drawing.result()]


@dataclass(frozen=True)
class Wanted:
    """An objective to draw, as text that another process can read: a name, or a formula."""

    name: str
    formula: str | None = None
    own: Path | None = None
    settings: tuple[tuple[str, float], ...] = ()

    def resolved(self) -> Objective:
        """The objective."""
        settings = dict(self.settings)
        if self.formula is not None:
            return of_formula(self.formula, settings)
        return replace(objective_of(self.name, self.own), name=self.name).with_settings(settings)


def _draw_one(wanted: Wanted, kinds: Sequence[str], folder: Path, form: str) -> list[Path]:
    return draw_kinds(wanted.resolved(), wanted.name, folder, kinds, form)


def draw_kinds(
    objective: Objective, name: str, folder: Path, kinds: Sequence[str] | None = None, form: str = "png"
) -> list[Path]:
    """Draw and write the pictures of one objective, by default of every kind, to files called after it."""
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.weight_figures import figures
    from goal_analysis.symbolic.analysis.decomposition import decompose

    written = []
    for kind, figure in figures(decompose(objective), objective.title, KINDS if kinds is None else kinds):
        written.append(folder / f"{folder_name(name)}-{kind}.{form}")
        save(figure, written[-1])
    return written


def draw_beside(chosen: Sequence[Wanted], folder: Path, form: str) -> list[Path]:
    """Draw and write the objectives beside each other."""
    from goal_analysis.pictures.canvas import save
    from goal_analysis.pictures.weight_figures import comparison_figure
    from goal_analysis.symbolic.analysis.decomposition import decompose

    figure = comparison_figure([decompose(one.resolved()) for one in chosen])
    path = folder / f"compare.{form}"
    save(figure, path)
    return [path]
