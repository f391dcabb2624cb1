"""``goal-analyze compare``: train experiments × objectives × seeds in parallel processes, and compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.driving import Engines, driving
from goal_analysis.cli.options import AssignmentsOption, DataOption, check_names, print_table, refuse, taking

if TYPE_CHECKING:
    from goal_analysis.vse.loop.experiment import Experiment


@taking(Engines)
def compare(
    engines: Engines,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[EXPERIMENT.toml]...", help="Files of experiments.")
    ] = None,
    presets: Annotated[
        list[str] | None, typer.Option("--preset", help="An experiment of the package; repeatable.")
    ] = None,
    objectives: Annotated[
        list[str] | None,
        typer.Option("--objective", help="Train with this objective, not the experiment's; repeatable."),
    ] = None,
    data: DataOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds: 0 to N − 1.")] = 5,
    baseline: Annotated[str | None, typer.Option(help="Differences are to this one; by default the first.")] = None,
    split: Annotated[str, typer.Option(help="Compare the runs' best models on dev, test or train.")] = "dev",
    assignments: AssignmentsOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the runs.")] = Path(
        "comparison"
    ),
) -> None:
    """Train every experiment with every objective over seeds, and say what is within noise.

    A run that is done is not run again, so the same command goes on after any end. A run's model is that of its best
    epoch on dev, whatever the split.

    \b
    goal-analyze compare --preset bag_of_words --objective vse_pp --objective nca/linear@softmax:12 --jobs 2
    """
    if not files and not presets:
        refuse("got no experiment but expected files or --preset")
    sources = [*(files or ()), *(presets or ())]
    check_names(presets or (), objectives or ())
    from goal_analysis.api.objectives import text_of
    from goal_analysis.api.runs import experiment_of, measured_on
    from goal_analysis.study.runs import by_seed, seed_jobs

    experiments: dict[str, Experiment] = {}
    measures = []
    for source in sources:
        experiment = experiment_of(source, data, assignments=assignments or ())
        for objective in objectives or [experiment.objective]:
            name = _name(experiment, objective, len(sources) > 1, bool(objectives))
            if name in experiments:
                refuse(f"got {name} twice but expected every experiment and objective once")
            experiments[name] = replace(experiment, objective=text_of(objective))
        measures.append(measured_on(split, experiment))  # refused before the first run where there is no such split
    first = baseline or next(iter(experiments))
    if first not in experiments:
        refuse(f"--baseline: got {first!r} but expected one of {', '.join(experiments)}")
    jobs = seed_jobs(output, experiments, seeds)  # refused where a folder has another experiment's run
    with driving(output, engines) as driver:
        driver.expect(len(experiments) * seeds)
        try:
            failures = driver.run(jobs.values())
        finally:  # after Ctrl-C too
            written = _print_comparison(by_seed(jobs, measures[0]), first, split, engines.as_json)
    raise typer.Exit(0 if written and not failures else 1)


def _print_comparison(found: Mapping[str, Mapping[int, float]], first: str, split: str, as_json: bool) -> bool:
    """Print what came of the runs that are done; False where the baseline has none."""
    from goal_analysis.study.comparison import COLUMNS, compare

    if first not in found:
        typer.echo(f"got no finished run of the baseline {first}", err=True)
        return False
    comparison = compare(found, first)
    if as_json:
        typer.echo(comparison.table.to_json(orient="records", indent=2))
    else:
        print_table(COLUMNS, [dict(zip(COLUMNS, cells, strict=True)) for cells in comparison.cells()])
        typer.echo(f"{split} RSUM. {comparison.caption}")
        for statement in comparison.statements():
            typer.echo(statement)
    return True


def _name(experiment: Experiment, objective: object, several: bool, replaced: bool) -> str:
    if not replaced:
        return experiment.name
    return f"{experiment.name}: {objective}" if several else str(objective)
