"""``goal-analyze discover``: search for an objective on your data, and compare what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.driving import Base, ConfirmOption, Engines, driving
from goal_analysis.cli.options import KNOWN, check_names, objective_of, taking
from goal_analysis.cli.plot import draw_kinds

if TYPE_CHECKING:
    from goal_analysis.symbolic.objective import Objective


@taking(Base, Engines)
def discover(
    base: Base,
    engines: Engines,
    budget: Annotated[int, typer.Option(min=1, help="Trials of the search.")] = 200,
    baseline_budget: Annotated[
        int | None, typer.Option(min=1, help="Trials of every baseline's search; by default as many as of the search.")
    ] = None,
    integrable: Annotated[
        bool | None,
        typer.Option(
            "--integrable/--not-integrable", help="Search among gradients of a loss alone, or among the others."
        ),
    ] = None,
    finalists: Annotated[int, typer.Option(min=1, help="How many of the best are compared over fresh seeds.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Fresh seeds of the comparison.")] = 5,
    baselines: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Search this objective's scales as a baseline; repeatable. By default KNOWN."),
    ] = None,
    confirm: ConfirmOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder of the discovery.")
    ] = Path("discovery"),
) -> None:
    """Search in the space of objectives, and compare the best few with baselines over seeds that no search has seen.

    The baselines, by default the eight losses that people train with, are searched with the same budget: their scales,
    and all of the training that is searched for any objective. Differences are to the first. Trials train on four
    fifths of the training images and are chosen by the rest; with several data sets by the mean. A run that is done is
    not run again, so the same command goes on after any end. What failed is begun again.

    \b
    goal-analyze discover --data data/f30k_precomp --budget 200 --jobs 8 -o found
    goal-analyze discover --data data/f30k_precomp --data data/ucm_precomp --confirm data/f8k_precomp
    goal-analyze discover --data data/f30k_precomp --not-integrable --baseline info_nce --baseline vse_pp
    """
    check_names([base.preset] if base.preset else [], baselines or ())
    from goal_analysis.api.objectives import text_of
    from goal_analysis.recombination.verdict import verdict
    from goal_analysis.study.discovery.grammar import any_objective, first_trials, losses_of_retrieval
    from goal_analysis.study.search import Search, Setting, storage
    from goal_analysis.study.tuning import DISCOVERY, run_study, tuning_of
    from losses_catalog import catalog

    own, data = base.experiments()
    also_on = base.data_of(confirm or ())
    named = {text: objective_of(text) for text in baselines or KNOWN}

    def accepts(objective: Objective) -> str:
        if integrable is None:
            return ""
        found = verdict(objective).integrable
        return "" if found is integrable else f"integrable: {found}, but {integrable} was asked for"

    losses = losses_of_retrieval(catalog)
    first = tuple(first_trials(losses, own.training))[: max(1, budget // 2)]
    with driving(output, engines) as driver:
        setting = Setting(output, storage(driver), own, data, text_of, objective_of)
        search = Search("found", any_objective(losses), setting, budget, first, accepts=accepts, space=str(integrable))
        equal = baseline_budget or budget
        searches = [tuning_of(name, value, setting, equal, samples=True) for name, value in named.items()]
        found = run_study(driver, searches, seeds, also_on, found=search, finalists=finalists)
        for contender in found.contenders:
            draw_kinds(replace(contender.objective, title=contender.name), contender.name, output)
    if engines.as_json:
        typer.echo(found.table.to_json(orient="records", indent=2))
    else:
        typer.echo((output / DISCOVERY).read_text("utf-8"), nl=False)
        typer.echo(f"Written to {output}/")
    raise typer.Exit(1 if found.failures else 0)
