"""The page of the command line, made from the Typer app that it is."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

from typer.main import get_command

from goal_analysis.cli import app


def command_line_page() -> str:
    """Every command with its arguments, options and examples."""
    group: Any = get_command(app)
    parts = [
        "# The command line",
        f"{group.help} Exit codes: 0 all is well, 1 a check failed or a run stopped, 2 the command was not understood, "
        "or an extra that it needs is not installed.",
        "```console\n$ goal-analyze COMMAND --help\n```",
        _table(group.params),
        *(command_text(name, command) for name, command in group.commands.items()),
    ]
    return "\n\n".join(parts) + "\n"


def command_text(name: str, command: Any) -> str:
    """The section of one command.

    Args:
        name: on the command line.
        command: of click.
    """
    parameters = [p for p in command.params if not getattr(p, "hidden", False)]
    said, examples = _help_and_examples(command.help or "")
    usage = " ".join(["goal-analyze", name, *(_argument(p) for p in parameters if p.param_type_name == "argument")])
    parts = [f"## {name}", said, f"```console\n$ {usage} [OPTIONS]\n```"]
    if parameters:
        parts.append(_table(parameters))
    if examples:
        parts.append("```console\n" + "\n".join(f"$ {line}" for line in examples) + "\n```")
    return "\n\n".join(parts)


def _table(parameters: list[Any]) -> str:
    return "\n".join(["| | | default |", "| --- | --- | --- |", *map(_row, parameters)])


def _help_and_examples(text: str) -> tuple[str, list[str]]:
    said, _, examples = inspect.cleandoc(text).partition("\b")
    return said.strip(), [line.strip() for line in examples.splitlines() if line.strip()]


def _argument(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()


def _kind(parameter: Any) -> str:
    if hasattr(parameter, "type"):  # before typer 0.24
        name = parameter.type.name.split()[0]
    else:
        annotation = parameter.type_descriptor.annotation
        name = next(iter(get_args(annotation)), annotation).__name__
    return {"int": "INTEGER", "float": "NUMBER", "str": "TEXT"}.get(name, name.upper())


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{_argument(parameter)}`"
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or _kind(parameter)}"
        name = ", ".join(f"`{option}{value if option.startswith('--') else ''}`" for option in parameter.opts)
    said = re.sub(r"\s+", " ", getattr(parameter, "help", None) or "").replace("|", r"\|")
    default = parameter.default
    shown = default is not None and not callable(default) and default not in (False, (), [])
    return f"| {name} | {said} | {f'`{default}`' if shown else ''} |"
