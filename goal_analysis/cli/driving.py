"""What commands that drive many runs share: where the runs are made, and how the command ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goal_analysis.cli.options import BASELINES, AssignmentsOption, JsonOption, interruptible, refuse
from goal_analysis.cli.train import chosen_experiment

if TYPE_CHECKING:
    from goal_analysis.study.driver import Driver
    from goal_analysis.vse.loop.experiment import Experiment

ENGINES = ("local", "ray")

ConfirmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--confirm", metavar="DIR/NAME", help="Compare on these data too, on which nothing is chosen; repeatable."
    ),
]

JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Runs at once, each on one thread; by default one, or as many as have room."),
]


@dataclass(frozen=True)
class Base:
    """The options that say data, model and training of all runs of a study."""

    data: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR/NAME", help="Search on these data; repeatable. By default on the experiment's."),
    ] = None
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[EXPERIMENT.toml]", help="A file that says model and training, in place of a preset."),
    ] = None
    preset: Annotated[str | None, typer.Option(help="An experiment of the package; bag_of_words by default.")] = None
    assignments: AssignmentsOption = None

    def experiments(self) -> tuple[Experiment, dict[str, Mapping[str, Any]]]:
        """The experiment on the first data, and all data by name."""
        first = (self.data or [None])[0]
        return self._on(first), self.data_of(self.data or [None])

    def data_of(self, names: Iterable[str | None]) -> dict[str, Mapping[str, Any]]:
        """The data of these names, as the experiment reads them, by the name that tables have of them; each is read."""
        found: dict[str, Mapping[str, Any]] = {}
        for name in names:
            experiment = self._on(name)
            experiment.load_data()
            if found.setdefault(experiment.data_name, experiment.data) != experiment.data:
                refuse(f"--data: got two data sets called {experiment.data_name!r} but expected names that differ")
        return found

    def _on(self, data: str | None) -> Experiment:
        chosen = None if self.file else self.preset or "bag_of_words"
        return chosen_experiment(self.file, chosen, data, BASELINES[1], 0, self.assignments or ())


@dataclass(frozen=True)
class Engines:
    """The options that say where runs are made, and how what came of them is printed."""

    jobs: JobsOption = None
    engine: Annotated[str, typer.Option(help="local: processes of this machine; or ray: a cluster of Ray's.")] = "local"
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of Ray's head; by default it is looked for, or begun here.")
    ] = None
    gpus_per_run: Annotated[float | None, typer.Option(min=0, help="With --engine ray, 0.25 for four on a device.")] = (
        None
    )
    as_json: JsonOption = False


@contextmanager
def driving(output: Path, engines: Engines) -> Iterator[Driver]:
    """The driver of the study in a folder, which says every run that ended.

    A SIGTERM or SIGHUP that would end the process is as Ctrl-C: the runs are ended, what is left is said, and the exit
    code is its. Where the study cannot go on, the exit code is 1.
    """
    from goal_analysis.study.driver import Driver
    from goal_analysis.study.engine import LocalProcesses

    if engines.engine not in ENGINES:
        refuse(f"--engine: got {engines.engine!r} but expected one of {', '.join(ENGINES)}")
    for option, given in (("--address", engines.address), ("--gpus-per-run", engines.gpus_per_run)):
        if engines.engine == "local" and given is not None:
            refuse(f"{option}: got {given!r} beside --engine local but expected it with --engine ray")
    with interruptible(output):
        try:
            if engines.engine == "ray":
                from goal_analysis.study.cluster import RayCluster

                runs_on = RayCluster(engines.address, engines.gpus_per_run)
            else:
                runs_on = LocalProcesses()
            with Driver(output, runs_on, engines.jobs, lambda line: typer.echo(line, err=engines.as_json)) as driver:
                yield driver
        except (OSError, ValueError) as problem:
            typer.echo(str(problem), err=True)
            raise typer.Exit(1) from None
