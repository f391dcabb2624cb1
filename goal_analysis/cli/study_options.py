"""What the commands that make many runs have in common: options, the experiment to begin with, and Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.choosing import INTERRUPTED
from goal_analysis.cli.train import chosen_experiment

if TYPE_CHECKING:
    from goal_analysis.vse.loop.experiment import Experiment

BASELINES = ("hinge/constant", "nca(tau=12)/constant@softmax:12")
"""The triplet loss on hardest negatives, which is VSE++'s, and InfoNCE."""

BaseArgument = Annotated[
    Path | None, typer.Argument(metavar="[EXPERIMENT.toml]", help="Instead of a preset: model and training.")
]
BasePresetOption = Annotated[str | None, typer.Option(help="An experiment of the package; bag_of_words by default.")]
AssignmentsOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for train.")]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Runs at once, each on one thread.")]


def base_experiment(
    file: Path | None, preset: str | None, data: str | None, assignments: list[str] | None
) -> Experiment:
    """The experiment whose data, model and training all runs have.

    Raises:
        ValueError: a setting that is not understood.
        OSError: the file cannot be read.
    """
    chosen = None if file else preset or "bag_of_words"
    return chosen_experiment(file, chosen, data, BASELINES[1], 0, assignments or (), False)


def say_interrupted(output: Path) -> None:
    """Say what is left after Ctrl-C."""
    typer.echo(f"Interrupted; what is done stays in {output}/, and the same command goes on from there", err=True)


@contextmanager
def ending_at_an_interrupt(output: Path) -> Iterator[None]:
    """After Ctrl-C, say what is left and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        say_interrupted(output)
        raise typer.Exit(INTERRUPTED) from None
