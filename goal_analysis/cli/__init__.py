"""The command line ``goal-analyze``; the only place that knows everything.

Exit codes: 0 all is well, 1 a check failed, 2 the command was not understood, or an extra that
it needs is not installed.
"""

from __future__ import annotations

from importlib import import_module

import typer

from goal_analysis.cli.extensions import load_extensions
from goal_analysis.cli.options import refusing

COMMANDS = (
    "list show explore verify measure family compose export data features presets train evaluate retrieve compare "
    "report study discover status plot demo"
)
"""The commands in the order of `--help`; each is the function of its name, or NAME_losses, in the file of its name."""

app = typer.Typer(
    name="goal-analyze",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": str.lower},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Take metric-learning losses apart at the gradient, check the parts, and put them together anew.",
)
app.callback()(load_extensions)
for name in COMMANDS.split():
    module = import_module(f"goal_analysis.cli.{name}")
    app.command(name)(refusing(getattr(module, name, None) or getattr(module, f"{name}_losses")))


def main() -> None:
    """Run the command line."""
    app()
