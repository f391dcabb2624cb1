"""Many runs: `compare`, `study`, `discover` and `status`; where the runs are made, and how such a command ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer import Argument, Option

import goal_analysis as ga
from goal_analysis.cli import options
from goal_analysis.cli.options import Files, Number, Text, Texts, counted, refuse, written_to
from goal_analysis.cli.pictures import draw_kinds
from goal_analysis.cli.runs import ExperimentArgument, chosen_experiment
from goal_analysis.files import folder_name, folder_names, write_whole
from goal_analysis.study import TUNED

if TYPE_CHECKING:
    from goal_analysis.study.driver import Driver
    from goal_analysis.study.tuning import Outcome
    from goal_analysis.symbolic.objective import Objective
    from goal_analysis.vse.loop.experiment import Experiment

PAIRS = ("constant", "linear", "sigmoid", "relative_linear", "relative_sigmoid")
PUBLISHED = tuple(f"{triplet}/{pair}" for triplet in ("constant", "nca", "circular") for pair in PAIRS)
"""The published grid, on hardest negatives."""

SOFT = ("nca(tau=12)/linear@softmax:12", "nca(tau=12)/sigmoid@softmax:12", "constant/linear@softmax:12")
"""Softmax-mined."""

FAMILIES = {"known": options.KNOWN, "published": PUBLISHED, "soft": SOFT, "all": PUBLISHED + SOFT}
DEFAULT = ("constant/linear", "nca/linear", "constant/sigmoid", *SOFT)

PROBES = 4  # of an epoch, in the runs of a study's comparison

ConfirmOption = Annotated[
    Texts,
    Option("--confirm", metavar="DIR/NAME", help="Compare on these data too, on which nothing is chosen; repeatable."),
]
JobsOption = Annotated[
    Number, counted("--jobs", help="Runs at once, each on one thread; by default one, or as many as have room.")
]


@dataclass(frozen=True)
class Base:
    """The options that say data, model and training of all runs of a study."""

    data: Annotated[
        Texts, Option(metavar="DIR/NAME", help="Search on these data; repeatable. By default on the experiment's.")
    ] = None
    file: ExperimentArgument = None
    preset: Annotated[Text, Option(help="An experiment of the package; bag_of_words by default.")] = None
    assignments: options.AssignmentsOption = None

    def experiments(self) -> tuple[Experiment, dict[str, Mapping[str, Any]]]:
        """The experiment on the first data, and all data by name."""
        names = self.data or [None]
        return self._on(names[0]), self.data_of(names)

    def data_of(self, names: Iterable[str | None]) -> dict[str, Mapping[str, Any]]:
        """The data of these names, as the experiment reads them, by the name that tables have of them; each is read."""
        found: dict[str, Mapping[str, Any]] = {}
        for experiment in map(self._on, names):
            experiment.load_data()
            if found.setdefault(experiment.data_name, experiment.data) != experiment.data:
                refuse(f"--data: got two data sets called {experiment.data_name!r} but expected names that differ")
        return found

    def _on(self, data: str | None) -> Experiment:
        chosen = None if self.file else self.preset or "bag_of_words"
        return chosen_experiment(self.file, chosen, data, options.BASELINES[1], 0, self.assignments or ())


@dataclass(frozen=True)
class Engines:
    """The options that say where runs are made, and how what came of them is printed."""

    jobs: JobsOption = None
    engine: Annotated[str, Option(help="local, processes of this machine, or ray, a cluster of Ray.")] = "local"
    address: Annotated[
        Text, Option(metavar="HOST:PORT", help="Of Ray's head; by default one is looked for, or begun here.")
    ] = None
    gpus_per_run: Annotated[float | None, Option(min=0, help="With --engine ray: 0.25 is four on a device.")] = None
    as_json: options.JsonOption = False


@contextmanager
def driving(output: Path, engines: Engines) -> Iterator[Driver]:
    """The driver of the study in a folder, `interruptible`; exit code 1 where the study cannot go on."""
    from goal_analysis.study.driver import Driver
    from goal_analysis.study.engine import LocalProcesses

    options.expect_among("--engine", engines.engine, ("local", "ray"))
    for option, given in (("--address", engines.address), ("--gpus-per-run", engines.gpus_per_run)):
        if engines.engine == "local" and given is not None:
            refuse(f"{option}: got {given!r} beside --engine local but expected it with --engine ray")
    with options.interruptible(output):
        try:
            if engines.engine == "ray":
                from goal_analysis.study.cluster import RayCluster

                runs_on = RayCluster(engines.address, engines.gpus_per_run)
            else:
                runs_on = LocalProcesses()
            with Driver(output, runs_on, engines.jobs, partial(typer.echo, err=engines.as_json), sys.argv) as driver:
                yield driver
        except (OSError, ValueError) as problem:
            typer.echo(str(problem), err=True)
            raise typer.Exit(1) from None


@options.taking(Engines)
def compare(
    engines: Engines,
    files: Annotated[Files, Argument(metavar="[EXPERIMENT.toml]...", help="Files of experiments.")] = None,
    presets: Annotated[Texts, Option("--preset", help="An experiment of the package; repeatable.")] = None,
    objectives: Annotated[
        Texts, Option("--objective", help="Train with this objective, not the experiment's; repeatable.")
    ] = None,
    data: options.DataOption = None,
    seeds: Annotated[int, counted(help="How many seeds: 0 to N − 1.")] = 5,
    baseline: Annotated[Text, Option(help="Differences are to this one; by default the first.")] = None,
    split: Annotated[str, Option(help="Compare the runs' best models on dev, test or train.")] = "dev",
    assignments: options.AssignmentsOption = None,
    output: Annotated[Path, written_to(metavar="DIR", help="The folder of the runs.")] = Path("comparison"),
) -> None:
    """Train objectives over seeds, and say what is within noise.

    A run that is done is not run again, so the same command goes on after an interruption. A run's model is that of its
    best epoch on dev, whatever the split.

    \b
    goal-analyze compare --preset bag_of_words --objective vse_pp --objective nca/linear@softmax:12 --jobs 2
    """
    sources = [*(files or ()), *(presets or ())]
    if not sources:
        refuse("got no experiment but expected files or --preset")
    options.check_names(presets or (), objectives or ())
    from goal_analysis.api.runs import experiment_of, measured_on
    from goal_analysis.study.driver import by_seed, seed_jobs

    experiments: dict[str, Experiment] = {}
    measures = []
    for source in sources:
        for objective in objectives or [None]:
            experiment = experiment_of(source, data, objective, assignments=assignments or ())
            name = f"{experiment.name}: {objective}" if objective and len(sources) > 1 else objective or experiment.name
            if name in experiments:
                refuse(f"got {name} twice but expected every experiment and objective once")
            experiments[name] = experiment
        last = next(reversed(experiments.values()))
        measures.append(measured_on(split, last))  # refused before the first run where there is no such split
    first = baseline or next(iter(experiments))
    options.expect_among("--baseline", first, experiments)
    jobs = seed_jobs(output, experiments, seeds)  # refused where a folder has another experiment's run
    with driving(output, engines) as driver:
        driver.expect(len(jobs), baseline=jobs[first, 0].folder.parent.name)
        try:
            failures = driver.run(jobs.values())
        finally:  # after Ctrl-C too
            written = _print_comparison(by_seed(jobs, measures[0]), first, split, engines.as_json)
    raise typer.Exit(0 if written and not failures else 1)


def _print_comparison(found: Mapping[str, Mapping[int, float]], first: str, split: str, as_json: bool) -> bool:
    from goal_analysis.study.comparison import COLUMNS, compare

    if first not in found:
        typer.echo(f"got no finished run of the baseline {first}", err=True)
        return False
    comparison = compare(found, first)
    if as_json:
        typer.echo(comparison.table.to_json(orient="records", indent=2))
        return True
    options.print_table(COLUMNS, [dict(zip(COLUMNS, cells, strict=True)) for cells in comparison.cells()])
    typer.echo("\n".join([f"{split} RSUM. {comparison.caption}", *comparison.statements()]))
    return True


@options.taking(Base, Engines)
def study(
    base: Base,
    engines: Engines,
    objectives: Annotated[
        Texts, Option("--objective", help="Study this objective beside the baselines; repeatable.")
    ] = None,
    family: Annotated[Text, Option(help="Study many objectives at once: known, published, soft or all.")] = None,
    budget: Annotated[int, counted(help="Tuning trials of every objective.")] = 8,
    seeds: Annotated[int, counted(help="Seeds of the comparison.")] = 5,
    tuned: Annotated[
        Texts, Option("--tune", metavar="WHAT", help=f"What is tuned; by default all of {', '.join(TUNED)}.")
    ] = None,
    confirm: ConfirmOption = None,
    baseline: Annotated[str, Option(help="Differences are to this objective.")] = options.BASELINES[1],
    output: Annotated[Path, written_to(metavar="STUDY", help="The study's folder.")] = Path("study"),
) -> None:
    """Tune objectives with equal budgets, then compare over seeds.

    InfoNCE and VSE++ are always among them. Trials train on four fifths of the training images, and the rest chooses;
    with several data sets their mean does. A run that is done is not run again, so the same command goes on after an
    interruption; it begins failed runs again. Runs of the comparison log four times an epoch what the weights do, and
    STUDY/report.html shows it.

    \b
    goal-analyze study --data data/f30k_precomp --family published --jobs 8 -o f30k
    goal-analyze study --data data/f30k_precomp --preset vse_infty --objective nca/linear@softmax:12
    """
    options.expect_among("--family", family, FAMILIES)
    for name in tuned or ():
        options.expect_among("--tune", name, TUNED)
    more = [*FAMILIES.get(family or "", ()), *(objectives or ())] or DEFAULT
    options.check_names([base.preset], [baseline, *more])
    from goal_analysis.study.report import report as page  # first: its extra holds the others

    experiment, data = base.experiments()
    also_on = base.data_of(confirm or ())
    from goal_analysis.api.objectives import text_of
    from goal_analysis.study.driver import COMPARISON
    from goal_analysis.study.search import Setting, storage
    from goal_analysis.study.tuning import TEXT, run_study, tuning_of
    from goal_analysis.vse.loop.experiment import Experiment

    training, pairs = experiment.training, len(experiment.load_data().train)
    # A probe takes about half a step of a small model, so all of them about 2 % of a run.
    between = max(1, pairs // (training.batch_size * training.accumulate) // PROBES)
    values = {name: ga.objective(name).objective for name in (baseline, *reversed(options.BASELINES), *more)}
    with driving(output, engines) as driver:
        setting = Setting(output, storage(driver), experiment, data, text_of, options.objective_of)
        searches = [tuning_of(name, value, setting, budget, tuned or TUNED) for name, value in values.items()]
        outcome = run_study(driver, searches, seeds, also_on, training.probe_steps or between)
        for place, inner in enumerate(folder_names(outcome.comparisons).values()):
            runs = [output / COMPARISON / inner / folder_name(one.runs) for one in outcome.contenders]
            shown = page(runs, ga.objective, Experiment.load_data, baseline, command=sys.argv)
            write_whole(output / (f"report-{inner}.html" if place else "report.html"), shown)
    _end(outcome, output / TEXT, f"Written to {output}/, with the page {output / 'report.html'}", engines)


@options.taking(Base, Engines)
def discover(
    base: Base,
    engines: Engines,
    budget: Annotated[int, counted(help="Trials of the search.")] = 200,
    baseline_budget: Annotated[
        Number, counted(help="Trials of every baseline's search; by default as many as of the search.")
    ] = None,
    integrable: Annotated[
        bool | None,
        Option("--integrable/--not-integrable", help="Search only gradients of a loss, or only others."),
    ] = None,
    finalists: Annotated[int, counted(help="How many of the best are compared over fresh seeds.")] = 3,
    seeds: Annotated[int, counted(help="Fresh seeds of the comparison.")] = 5,
    baselines: Annotated[
        Texts, Option("--baseline", help="Tune this objective as a baseline; repeatable. By default --family known.")
    ] = None,
    confirm: ConfirmOption = None,
    output: Annotated[Path, written_to(metavar="FOLDER", help="The folder of the discovery.")] = Path("discovery"),
) -> None:
    """Search for objectives, and compare the best over fresh seeds.

    The baselines, by default the eight losses of `study --family known`, are tuned with the same budget: their scales,
    and the same numbers of the training as for any objective. Differences are to the first. Trials train on four fifths
    of the training images, and the rest chooses; with several data sets their mean does. A run that is done is not run
    again, so the same command goes on after an interruption; it begins failed runs again.

    \b
    goal-analyze discover --data data/f30k_precomp --budget 200 --jobs 8 -o found
    goal-analyze discover --data data/f30k_precomp --data data/ucm_precomp --confirm data/f8k_precomp
    goal-analyze discover --data data/f30k_precomp --not-integrable --baseline info_nce --baseline vse_pp
    """
    options.check_names([base.preset], baselines or ())
    from goal_analysis.api.objectives import text_of
    from goal_analysis.recombination.verdict import verdict
    from goal_analysis.study.discovery import any_objective, first_trials, losses_of_retrieval
    from goal_analysis.study.search import Search, Setting, storage
    from goal_analysis.study.tuning import DISCOVERY, run_study, tuning_of
    from losses_catalog import catalog

    own, data = base.experiments()
    also_on = base.data_of(confirm or ())
    named = {text: ga.objective(text).objective for text in baselines or options.KNOWN}

    def accepts(objective: Objective) -> str:
        found = integrable if integrable is None else verdict(objective).integrable
        return "" if found is integrable else f"integrable: {found}, but {integrable} was asked for"

    losses = losses_of_retrieval(catalog)
    first = tuple(first_trials(losses, own.training))[: max(1, budget // 2)]
    with driving(output, engines) as driver:
        setting = Setting(output, storage(driver), own, data, text_of, options.objective_of)
        search = Search("found", any_objective(losses), setting, budget, first, accepts=accepts, space=str(integrable))
        equal = baseline_budget or budget
        searches = [tuning_of(name, value, setting, equal, samples=True) for name, value in named.items()]
        found = run_study(driver, searches, seeds, also_on, found=search, finalists=finalists)
        for contender in found.contenders:
            draw_kinds(replace(contender.objective, title=contender.name), contender.name, output)
    _end(found, output / DISCOVERY, f"Written to {output}/", engines)


def _end(outcome: Outcome, text: Path, said: str, engines: Engines) -> NoReturn:
    """Print what was found, and end with 1 where not all came to an end."""
    if engines.as_json:
        typer.echo(outcome.table.to_json(orient="records", indent=2))
    else:
        options.print_markdown(text.read_text("utf-8") + said)
    raise typer.Exit(1 if outcome.failures else 0)


def status(
    folder: Annotated[Path, Argument(metavar="STUDY", help="The folder of study, discover or compare.")],
    as_json: options.JsonOption = False,
) -> None:
    """Print how far a study is, its best run, and the time left.

    \b
    goal-analyze status f30k
    """
    from goal_analysis.study.driver import read_progress

    progress, driven = read_progress(folder)
    if as_json:
        options.print_json({**asdict(progress), "waiting": progress.waiting, "driven": driven})
        return
    typer.echo("\n".join([str(progress), *(f"  running: {name}" for name in progress.running)]))
    rests = "the same command goes on from there" if progress.done < progress.runs else "all is done"
    typer.echo(f"Driven by {progress.driver}" if driven else f"No process drives it; {rests}")
