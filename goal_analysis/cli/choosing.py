"""What the commands' arguments name: losses of the catalog, of a user's file, or given as a formula."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from goal_analysis.declarations import number_of, read_toml
from goal_analysis.symbolic.objective import SymbolicLoss
from goal_analysis.symbolic.parsing.declaration import loss_from_mapping, losses_from_mapping
from losses_catalog import catalog

MOST_BYTES = 1_000_000
"""A larger file is no catalog of losses."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

CatalogOption = Annotated[
    Path | None, typer.Option("--catalog", metavar="FILE", help="A TOML file of losses of your own.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter's value; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def refuse(message: object) -> NoReturn:
    """End with the exit code of a command that was not understood."""
    typer.echo(str(message), err=True)
    raise typer.Exit(2)


def settings_of(assignments: Sequence[str] | None) -> dict[str, float]:
    """The values of ``NAME=VALUE`` arguments; a value may be a fraction such as 1/3."""
    settings: dict[str, float] = {}
    for assignment in assignments or ():
        name, _, value = (part.strip() for part in assignment.partition("="))
        try:
            number = number_of(value)
        except ValueError:
            refuse(f"--set: got {assignment!r} but expected NAME=VALUE with a number, such as tau=10 or tau=1/3")
        if name in settings:
            refuse(f"--set: got {name} twice but expected every name once")
        settings[name] = number
    return settings


def losses(own: Path | None) -> tuple[SymbolicLoss, ...]:
    """The catalog, with the losses of the user's file in front."""
    return (*_read(own), *catalog) if own else catalog


def _read(path: Path) -> tuple[SymbolicLoss, ...]:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            refuse(f"{path}: got more than {MOST_BYTES:,} bytes but expected a catalog of losses")
        read = losses_from_mapping(read_toml(text.decode("utf-8")))
    except (OSError, ValueError, TypeError) as problem:
        refuse(f"{path}: {problem}")
    known = {loss.name for loss in catalog}
    for loss in read:
        if loss.name in known:
            refuse(f"{path}: got the loss {loss.name!r}, which the catalog has; expected another name")
    return read


def named(name: str, own: Path | None) -> SymbolicLoss:
    """The loss of that name; a wrong name lists near ones."""
    known = {loss.name: loss for loss in losses(own)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
        expected = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(known)}"
        refuse(f"got the loss {name!r}, which is not in the catalog; {expected}")
    return known[name]


def of_formula(formula: str, settings: dict[str, float]) -> SymbolicLoss:
    """The loss that a formula of s_p, s_n and the names of ``settings`` declares."""
    declaration = {"formula": formula, "hyperparameters": settings, "title": "Your formula"}
    try:
        return loss_from_mapping("formula", declaration)
    except (ValueError, TypeError) as problem:
        unknown = "unknown name" in str(problem)
        refuse(f"{problem}\nA hyperparameter of the formula needs a value: --set NAME=VALUE" if unknown else problem)
