"""The command line. Exit codes: 0 all is well, 1 a check failed, 2 it was not understood, or an extra is missing."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

import goal_analysis
from goal_analysis.cli.data import data, features
from goal_analysis.cli.demo import demo
from goal_analysis.cli.kept import EXTENSIONS
from goal_analysis.cli.losses import list_losses, measure, show, verify_losses, weights
from goal_analysis.cli.objectives import compose, export, family
from goal_analysis.cli.options import Files, refuse, refusing
from goal_analysis.cli.pictures import explore, plot, report
from goal_analysis.cli.runs import evaluate, presets, retrieve, train
from goal_analysis.cli.studies import compare, discover, status, study

COMMANDS = (list_losses, show, weights, explore, verify_losses, measure, family, compose, export, data, features)
COMMANDS += (presets, train, evaluate, retrieve, compare, report, study, discover, status, plot, demo)
"""In the order of `--help`; each is the command of its name, or of NAME_losses."""

app = typer.Typer(
    name="goal-analyze",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": str.lower},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Take metric-learning losses apart at the gradient, recombine the parts, and train with the result.",
)
for command in COMMANDS:
    app.command(command.__name__.removesuffix("_losses"))(refusing(command))


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"goal-analysis {goal_analysis.__version__}")
        raise typer.Exit


@app.callback()
def load_extensions(
    files: Annotated[
        Files,
        Option(
            "--extension",
            envvar=EXTENSIONS,
            metavar="FILE.py",
            help="Python of your own that adds data sets, encoders or scorers; repeatable.",
        ),
    ] = None,
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Import each file as the module of its name, before the command runs."""
    for file in files or ():
        path = file.resolve()
        if not path.is_file() or path.suffix != ".py" or not path.stem.isidentifier():
            refuse(f"--extension: got {file} but expected a Python file with the name of a module")
        sys.path.insert(0, str(path.parent))  # where the processes that read images find it too
        try:
            module = importlib.import_module(path.stem)
        except Exception as problem:  # whatever the user's code raises
            refuse(f"--extension: {file}: got {type(problem).__name__}: {problem}")
        if Path(str(module.__file__)).resolve() != path:
            refuse(f"--extension: got {file} but expected another name, for {path.stem} is {module.__file__}")
    if files:
        os.environ[EXTENSIONS] = os.pathsep.join(str(file.resolve()) for file in files)


def main() -> None:
    """Run the command line; an OSError without a file is that of the standard output, which is full or closed."""
    gc.set_threshold(50_000)  # nearly all that a command makes stays until its end
    os.environ.setdefault("SYMPY_CACHE_SIZE", "50000")  # by default it is full after one derivation
    warnings.formatwarning = lambda message, *place: f"{message}\n"  # the place in our code says nothing to users
    try:
        try:
            app()
        finally:
            gc.freeze()  # so that the end does not look through all of it once more
            sys.stdout.flush()
    except TypeError as problem:  # commands refuse theirs
        typer.echo(f"got typer {typer.__version__} beside this click ({problem}) but expected click<8.2", err=True)
        sys.exit(2)
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more is written there at the end
        if isinstance(problem, BrokenPipeError):  # nobody reads on
            sys.exit(1)
        typer.echo(f"{problem.filename or 'standard output'}: {problem.strerror}", err=True)
        sys.exit(2)
