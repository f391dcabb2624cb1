"""What commands that drive many runs share: where the runs are made, and how the command ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.options import INTERRUPTED, refuse

if TYPE_CHECKING:
    from goal_analysis.study.driver import Driver

ENGINES = ("local", "ray")

JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Runs at once, each on one thread; by default one, or as many as have room."),
]
EngineOption = Annotated[str, typer.Option(help="local: processes of this machine; or ray: a cluster of Ray's.")]
AddressOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Of Ray's head; by default it is looked for, or begun here.")
]
GpusOption = Annotated[
    float | None, typer.Option("--gpus-per-run", min=0, help="With --engine ray, 0.25 for four on a device.")
]


@contextmanager
def driving(
    output: Path, jobs: int | None, engine: str, address: str | None, gpus_per_run: float | None, as_json: bool
) -> Iterator[Driver]:
    """The driver of the study in a folder, which says every run that ended.

    A SIGTERM or SIGHUP that would end the process is as Ctrl-C: the runs are ended, what is left is said, and the exit
    code is its. Where the study cannot go on, the exit code is 1.
    """
    from goal_analysis.study.driver import Driver
    from goal_analysis.study.engine import LocalProcesses

    if engine not in ENGINES:
        refuse(f"--engine: got {engine!r} but expected one of {', '.join(ENGINES)}")
    for option, given in (("--address", address), ("--gpus-per-run", gpus_per_run)):
        if engine == "local" and given is not None:
            refuse(f"{option}: got {given!r} beside --engine local but expected it with --engine ray")
    signals = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
    ending = [number for number in signals if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ending:
            signal.signal(number, signal.default_int_handler)
        if engine == "ray":
            from goal_analysis.study.cluster import RayCluster

            runs_on = RayCluster(address, gpus_per_run)
        else:
            runs_on = LocalProcesses()
        with Driver(output, runs_on, jobs, lambda line: typer.echo(line, err=as_json)) as driver:
            yield driver
    except KeyboardInterrupt:
        typer.echo(f"Interrupted; what is done stays in {output}/, and the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (OSError, ValueError) as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
