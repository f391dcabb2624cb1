"""``goal-analyze explore``: the weights of losses and objectives on a page, with sliders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import goal_analysis as ga
from goal_analysis.cli.options import CatalogOption, SetOption, progress_bar, refuse, settings_of
from goal_analysis.cli.plot import chosen_objectives


def explore(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OBJECTIVE]...", help="Names that `list` prints, or objectives such as nca/linear."),
    ] = None,
    formula: Annotated[
        str | None, typer.Option("--formula", help="Show the loss of one triplet that a formula of s_p and s_n says.")
    ] = None,
    assignments: SetOption = None,
    own: CatalogOption = None,
    batch: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE.npy", help="Embeddings to lay over the weights: (2, pairs, dim); or twice (pairs, dim)."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of one --batch (embeddings, dim): .npy, or a text.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page.")] = Path(
        "explore.html"
    ),
) -> None:
    """Write a page on which the weights of losses and objectives move with their hyperparameters.

    The page needs no network. It has a slider for every hyperparameter, the weights at any triplet, and the line that
    trains with what the sliders say.

    \b
    goal-analyze explore circle nca/linear -o weights.html
    goal-analyze explore info_nce --batch images.npy --batch texts.npy
    goal-analyze explore --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    """
    if not names and formula is None:
        refuse("got nothing to explore but expected losses or objectives, or --formula")
    if labels and not batch:
        refuse("--labels: got labels without embeddings but expected --batch too")
    chosen = chosen_objectives(names or [], False, formula, settings_of(assignments), own)
    from goal_analysis.files import write_whole
    from goal_analysis.study.report.exploring import explore as page

    shown = {formula if formula and one is chosen[-1] else one.name: ga.GradientObjective(one) for one in chosen}
    with progress_bar("deriving", len(shown)) as advance:

        def objective_of(text: str) -> ga.GradientObjective:
            advance(text)
            return shown[text]

        write_whole(output, page(shown, objective_of, batch or (), labels, sys.argv))
    typer.echo(f"written to {output}")
