"""The command line ``goal-analyze``; the only place that knows everything.

Exit codes: 0 all is well, 1 a check failed, 2 the command was not understood, or an extra that
it needs is not installed.
"""

from __future__ import annotations

import typer

from goal_analysis.cli.compare import compare
from goal_analysis.cli.compose import compose
from goal_analysis.cli.demo import demo
from goal_analysis.cli.discover import discover
from goal_analysis.cli.evaluate import evaluate
from goal_analysis.cli.export import export
from goal_analysis.cli.extensions import load_extensions
from goal_analysis.cli.family import family
from goal_analysis.cli.list import list_losses
from goal_analysis.cli.measure import measure_loss
from goal_analysis.cli.options import refusing
from goal_analysis.cli.plot import plot
from goal_analysis.cli.report import report
from goal_analysis.cli.retrieve import retrieve
from goal_analysis.cli.show import show
from goal_analysis.cli.status import status
from goal_analysis.cli.study import study
from goal_analysis.cli.train import train
from goal_analysis.cli.verify import verify_losses

app = typer.Typer(
    name="goal-analyze",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Take metric-learning losses apart at the gradient, check the parts, and put them together anew.",
)
app.callback()(load_extensions)
for name, command in {
    "list": list_losses,
    "show": show,
    "verify": verify_losses,
    "measure": measure_loss,
    "family": family,
    "compose": compose,
    "export": export,
    "train": train,
    "evaluate": evaluate,
    "retrieve": retrieve,
    "compare": compare,
    "report": report,
    "study": study,
    "discover": discover,
    "status": status,
    "plot": plot,
    "demo": demo,
}.items():
    app.command(name)(refusing(command))


def main() -> None:
    """Run the command line."""
    app()
