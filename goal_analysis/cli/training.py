"""A training run on the terminal: its processes, its line of progress, and how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from goal_analysis.cli.choosing import refuse

if TYPE_CHECKING:  # torch is loaded when the command runs
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.vse.data.split import RetrievalData
    from goal_analysis.vse.loop.experiment import Experiment
    from goal_analysis.vse.loop.training import Report


def processes(devices: int | None, nodes: int | None) -> tuple[int, int]:
    """How many processes on how many machines: as asked for, and by default one, or as many as torchrun started."""
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
    objective: GradientObjective,
    loaded: RetrievalData,
    folder: Path,
    devices: int,
    nodes: int,
    accelerator: str,
    tensorboard: bool,
) -> None:
    """Train the experiment in the folder, with a line of progress, and say how it ended; or end with an exit code."""
    from lightning_fabric import Fabric

    from goal_analysis.vse.folder.run import run_experiment
    from goal_analysis.vse.loop.health import OutOfMemory, TrainingTrouble
    from goal_analysis.vse.loop.processes import RankError, WorkerError
    from goal_analysis.vse.loop.training import tensorboard_log

    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=experiment.training.precision,  # pyright: ignore[reportArgumentType]
        )
        fabric.launch()
    except (OSError, ValueError, RuntimeError) as problem:
        refuse(problem)
    options = experiment.training
    steps = options.epochs * (len(loaded.train) // (options.batch_size * options.accumulate))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed}/{task.total}"),
        TextColumn("{task.fields[rsum]}"),
        TimeElapsedColumn(),
    )
    shown = fabric.is_global_zero and sys.stderr.isatty()
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), disable=not shown))
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
                logs.append(stack.enter_context(tensorboard_log(folder)))
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
