"""``goal-analyze train``: train an experiment from a file or a preset, and go on after any end."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import goal_analysis as ga
from goal_analysis.cli.options import DataOption, SkipBadOption, check_names, interruptible, refuse

if TYPE_CHECKING:  # torch is loaded when the command runs
    from lightning_fabric import Fabric

    from goal_analysis.vse.data.split import RetrievalData
    from goal_analysis.vse.loop.experiment import Experiment
    from goal_analysis.vse.loop.training import Report

ExperimentArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[EXPERIMENT.toml]", help="A file that says data, model, objective and training."),
]
PresetOption = Annotated[str | None, typer.Option(help="An experiment that comes with the package.")]


def train(
    file: ExperimentArgument = None,
    preset: PresetOption = None,
    data: DataOption = None,
    objective: Annotated[
        str | None, typer.Option(help="Such as info_nce(tau=12), circle/linear or nca/linear@softmax:12.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of weights, batches and dropout.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Such as training.epochs=15; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="RUN", help="The folder of the run.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with the run in this folder.")] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1, help="Devices of this machine, with one process each; by default 1, or what torchrun says."
        ),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines; by default 1, or what torchrun says.")] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write a log for TensorBoard to RUN/tensorboard too.")
    ] = False,
    skip_bad: SkipBadOption = False,
    as_toml: Annotated[
        bool, typer.Option("--as-toml", help="Print the experiment as a file to change and to train, and end.")
    ] = False,
) -> None:
    """Train image-text retrieval with an objective, and write the run's log, checkpoints and result.

    \b
    goal-analyze train experiment.toml -o runs/mine
    goal-analyze train --preset bag_of_words --data data/flickr8k_precomp --objective "circle(gamma=80)"
    goal-analyze train --resume runs/mine
    goal-analyze train --preset vse_infty --as-toml > mine.toml
    """
    from goal_analysis.vse.folder.run_folder import read_run

    if resume is not None:
        if file or preset or data or objective or seed is not None or assignments or output or skip_bad:
            refuse("--resume: got settings too but expected the run's own, as its folder has them")
        experiment, folder = read_run(resume).experiment, resume
    else:
        besides = [*(assignments or ()), *(["data.skip_bad=true"] if skip_bad else [])]
        experiment = chosen_experiment(file, preset, data, objective, seed, besides)
        folder = output or Path("runs") / f"{experiment.name}-{experiment.seed}"
    if as_toml:
        from goal_analysis.recombination.text import toml_text

        typer.echo(toml_text(experiment.mapping()), nl=False)
        return
    trained_with, loaded = ga.objective(experiment.objective), experiment.load_data()
    from goal_analysis.vse.loop.processes import start_fabric

    fabric = start_fabric(accelerator, experiment.training.precision, *processes(devices, nodes))
    run(experiment, trained_with, loaded, folder, fabric, tensorboard)


def chosen_experiment(
    file: Path | None,
    preset: str | None,
    data: str | None = None,
    objective: str | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
) -> Experiment:
    """The experiment of a file or a preset, with what else was set."""
    from goal_analysis.vse.loop.experiment import presets

    if (file is None) == (preset is None):
        given = f"got {'both' if file else 'neither'} an experiment's file and a preset"
        refuse(f"{given} but expected one; presets are {', '.join(presets())}")
    check_names([preset] if preset else [], [objective] if objective else [])
    from goal_analysis.api.runs import experiment_of

    return experiment_of(file or preset or "", data, objective, seed, assignments)


def processes(devices: int | None, nodes: int | None) -> tuple[int, int]:
    """The processes of a machine, and the machines: as asked for, or as torchrun started them, or 1."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    machines = int(os.environ.get("WORLD_SIZE", local)) // local
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return devices or 1, nodes or 1
    for name, asked, started in (("--devices", devices, local), ("--nodes", nodes, machines)):
        if asked not in (None, started):
            refuse(f"{name}: got {asked} but expected {started}, as torchrun started them, or nothing")
    return local, machines


def run(
    experiment: Experiment,
    objective: ga.GradientObjective,
    loaded: RetrievalData,
    folder: Path,
    fabric: Fabric,
    tensorboard: bool,
) -> None:
    """Train the experiment in the folder, show its progress, and say how it ended."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from goal_analysis.vse.folder.run import run_experiment
    from goal_analysis.vse.loop.health import OutOfMemory, TrainingTrouble
    from goal_analysis.vse.loop.processes import RankError, WorkerError
    from goal_analysis.vse.loop.training import tensorboard_log

    options = experiment.training
    steps = options.epochs * (len(loaded.train) // (options.batch_size * options.accumulate))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed}/{task.total}"),
        TextColumn("{task.fields[rsum]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = fabric.is_global_zero and sys.stderr.isatty()
    with (
        interruptible(folder),
        Progress(*columns, console=Console(stderr=True), disable=not shown) as bar,
    ):
        task = bar.add_task(experiment.name, total=steps, rsum="")
        logs: list[Report] = []

        def report(record: Mapping[str, Any]) -> None:
            for log in logs:
                log(record)
            bar.update(task, completed=record["step"])
            if record["kind"] == "epoch":
                said = f"dev RSUM {record['rsum']:.1f}"
                bar.update(task, rsum=said)
                if bar.disable:
                    typer.echo(f"epoch {record['epoch']}/{options.epochs}: {said}")
            elif record["kind"] == "trouble":
                typer.echo(f"step {record['step']}: {record['trouble']}: {record['cause']}", err=True)

        try:
            if tensorboard and fabric.is_global_zero:
                logs.append(tensorboard_log(folder))
            progress = run_experiment(experiment, objective, loaded, folder, fabric, sys.argv, report)
        except TrainingTrouble as problem:
            typer.echo(f"{folder}: stopped at {problem}", err=True)
            raise typer.Exit(1) from None
        except (OSError, ValueError, OutOfMemory, RankError, WorkerError) as problem:
            said = str(problem)
            typer.echo(said if said.startswith((f"{folder}:", f"{folder}/")) else f"{folder}: {said}", err=True)
            raise typer.Exit(1) from None
    if fabric.is_global_zero:
        why = f" ({progress.stopped})" if progress.stopped else ""
        typer.echo(f"best dev RSUM {progress.best_rsum:.1f} at step {progress.best_step}{why}; written to {folder}/")
