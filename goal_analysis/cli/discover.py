"""``goal-analyze discover``: search for an objective on your data, and compare what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.driving import Base, Engines, driving
from goal_analysis.cli.options import BASELINES, check_names, objective_of, taking
from goal_analysis.cli.plot import draw_kinds

if TYPE_CHECKING:
    from goal_analysis.symbolic.objective import Objective

HARDEST, INFONCE = BASELINES
NAMED = {"InfoNCE": INFONCE, "hardest triplet": HARDEST}  # the baselines; differences are to the first
PLAIN = {"triplet": "constant", "positive": "constant", "negative": "constant", "direction": "cosine"}
FIRST = (
    PLAIN | {"triplet": "sigmoid", "triplet.tau": 12.0, "triplet.margin": 0.0, "mining": "softmax"},
    PLAIN | {"mining": "softmax", "negative": "polynomial", "negative.first": 1.0, "negative.second": 0.0},
    PLAIN | {"mining": "hardest", "positive": "polynomial", "positive.first": 1.0, "positive.second": 0.0},
)
"""Where a search begins: InfoNCE, and linear pair weights of both minings; at 12, with one caption of an image."""


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
    confirm: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR/NAME", help="Compare the same objectives on these data too; repeatable."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder of the discovery.")
    ] = Path("discovery"),
) -> None:
    """Search in the space of objectives, and compare the best few with baselines over seeds that no search has seen.

    InfoNCE and the triplet loss on hardest negatives are searched with the same budget: their scales, the learning
    rate, and how batches are made. A run that is done is not run again, so the same command goes on after any end.
    What failed is begun again.

    \b
    goal-analyze discover --data data/f30k_precomp --budget 200 --jobs 8 -o found
    goal-analyze discover --data data/f30k_precomp --not-integrable --confirm data/f8k_precomp
    """
    check_names([base.preset] if base.preset else [])
    from goal_analysis.api.objectives import text_of
    from goal_analysis.recombination.verdict import verdict
    from goal_analysis.study.discovery.discovery import TEXT
    from goal_analysis.study.discovery.discovery import discover as discovered
    from goal_analysis.study.discovery.grammar import any_objective, scaled_baseline
    from goal_analysis.study.discovery.search import Search, storage

    own, *others = (base.experiment(name) for name in (None, *(confirm or ())))

    def accepts(objective: Objective) -> str:
        if integrable is None:
            return ""
        found = verdict(objective).integrable
        return "" if found is integrable else f"integrable: {found}, but {integrable} was asked for"

    for experiment in (own, *others):
        experiment.load_data()
    also_on = {other.data_name: other.data for other in others}
    first = tuple(_first(parameters, float(own.training.learning_rate)) for parameters in FIRST)
    with driving(output, engines) as driver:
        store = storage(driver)
        search = Search("found", any_objective, output, store, own, budget, text_of, objective_of, accepts, first)
        equal = (output, store, own, baseline_budget or budget, text_of, objective_of)
        baselines = [Search(name, scaled_baseline(objective_of(text)), *equal) for name, text in NAMED.items()]
        found = discovered(driver, search, baselines, finalists, seeds, also_on)
        for contender in found.contenders:
            draw_kinds(replace(contender.objective, title=contender.name), contender.name, output)
    if engines.as_json:
        tables = [c.table.assign(data=name) for name, c in found.comparisons.items()]
        from pandas import concat

        typer.echo(concat(tables).to_json(orient="records", indent=2))
    else:
        typer.echo((output / TEXT).read_text("utf-8"), nl=False)
        typer.echo(f"Written to {output}/")
    raise typer.Exit(1 if found.failures else 0)


def _first(parameters: Mapping[str, object], rate: float) -> dict[str, object]:
    mining = {"mining.positive_scale": 12.0, "mining.negative_scale": 12.0} if parameters["mining"] == "softmax" else {}
    return {**parameters, **mining, "captions_per_image": 1, "learning_rate": rate}
