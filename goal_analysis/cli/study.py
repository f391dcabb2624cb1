"""``goal-analyze study``: tune objectives with equal budgets on your data, and compare them."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import goal_analysis as ga
from goal_analysis.cli.driving import Base, ConfirmOption, Engines, driving
from goal_analysis.cli.options import BASELINES, KNOWN, check_names, objective_of, refuse, taking
from goal_analysis.study import TUNED

if TYPE_CHECKING:
    from goal_analysis.vse.loop.experiment import Experiment

PUBLISHED = tuple(
    f"{triplet}/{pair}"
    for triplet, pair in product(
        ("constant", "nca", "circular"), ("constant", "linear", "sigmoid", "relative_linear", "relative_sigmoid")
    )
)
"""The published grid, on hardest negatives."""

SOFT = ("nca(tau=12)/linear@softmax:12", "nca(tau=12)/sigmoid@softmax:12", "constant/linear@softmax:12")
"""Softmax-mined."""

REPORT = "report.html"

PROBES = 4
"""Of an epoch, in the runs of the comparison."""

FAMILIES = {"known": KNOWN, "published": PUBLISHED, "soft": SOFT, "all": PUBLISHED + SOFT}
DEFAULT = ("constant/linear", "nca/linear", "constant/sigmoid", *SOFT)


@taking(Base, Engines)
def study(
    base: Base,
    engines: Engines,
    objectives: Annotated[
        list[str] | None, typer.Option("--objective", help="Study this objective beside the baselines; repeatable.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Study many objectives at once: known, published, soft or all.")
    ] = None,
    budget: Annotated[int, typer.Option(min=1, help="Tuning trials of every objective.")] = 8,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the comparison.")] = 5,
    tuned: Annotated[
        list[str] | None,
        typer.Option("--tune", metavar="WHAT", help=f"What is tuned; by default all of {', '.join(TUNED)}."),
    ] = None,
    confirm: ConfirmOption = None,
    baseline: Annotated[str, typer.Option(help="Differences are to this objective.")] = BASELINES[1],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STUDY", help="The study's folder.")] = Path(
        "study"
    ),
) -> None:
    """Tune objectives with equal budgets, compare them over seeds, and say what is within noise.

    InfoNCE and the triplet loss on hardest negatives are always among them. Trials train on four fifths of the training
    images, and are chosen by the rest; of several data sets by the mean. A run that is done is not run again, so the
    same command goes on after any end; it begins again what failed. Runs of the comparison log four times an epoch what
    the weights do, and STUDY/report.html shows it.

    \b
    goal-analyze study --data data/f30k_precomp --family published --jobs 8 -o f30k
    goal-analyze study --data data/f30k_precomp --preset vse_infty --objective nca/linear@softmax:12
    """
    if family is not None and family not in FAMILIES:
        refuse(f"--family: got {family!r} but expected one of {', '.join(FAMILIES)}")
    for name in tuned or ():
        if name not in TUNED:
            refuse(f"--tune: got {name!r} but expected one of {', '.join(TUNED)}")
    more = [*FAMILIES.get(family or "", ()), *(objectives or ())] or DEFAULT
    check_names([base.preset] if base.preset else [], [baseline, *more])
    from goal_analysis.study.report import report as page  # first: its extra holds the others

    experiment, data = base.experiments()
    also_on = base.data_of(confirm or ())
    from goal_analysis.api.objectives import text_of
    from goal_analysis.files import folder_name, folder_names, write_whole
    from goal_analysis.study.runs import COMPARISON
    from goal_analysis.study.search import Setting, storage
    from goal_analysis.study.tuning import TEXT, run_study, tuning_of
    from goal_analysis.vse.loop.experiment import Experiment

    probe_steps = experiment.training.probe_steps or _between_probes(experiment, len(experiment.load_data().train))
    values = {name: ga.objective(name).objective for name in (baseline, *reversed(BASELINES), *more)}
    with driving(output, engines) as driver:
        setting = Setting(output, storage(driver), experiment, data, text_of, objective_of)
        searches = [tuning_of(name, value, setting, budget, tuned or TUNED) for name, value in values.items()]
        outcome = run_study(driver, searches, seeds, also_on, probe_steps)
        for place, inner in enumerate(folder_names(outcome.comparisons).values()):
            runs = [output / COMPARISON / inner / folder_name(one.runs) for one in outcome.contenders]
            shown = page(runs, ga.objective, Experiment.load_data, baseline, command=sys.argv)
            write_whole(output / (f"report-{inner}.html" if place else REPORT), shown)
    if engines.as_json:
        typer.echo(outcome.table.to_json(orient="records", indent=2))
    else:
        typer.echo((output / TEXT).read_text("utf-8"), nl=False)
        typer.echo(f"Written to {output}/, with the page {output / REPORT}")
    raise typer.Exit(1 if outcome.failures else 0)


def _between_probes(experiment: Experiment, pairs: int) -> int:
    """Steps between two probes; one takes about half a step of a small model, so all of them about 2 % of a run."""
    training = experiment.training
    return max(1, pairs // (training.batch_size * training.accumulate) // PROBES)
