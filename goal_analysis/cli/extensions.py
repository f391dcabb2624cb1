"""A user's own Python files, which put data sets, encoders and scorers into the tables of the package."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import goal_analysis
from goal_analysis.cli.options import refuse

EXTENSIONS = "GOAL_ANALYSIS_EXTENSIONS"
"""The variable that names the files to a command, and to the processes that a command starts."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"goal-analysis {goal_analysis.__version__}")
        raise typer.Exit


def load_extensions(
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--extension",
            envvar=EXTENSIONS,
            metavar="FILE.py",
            help="Python of your own that adds data sets, encoders or scorers; repeatable.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is.")
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
