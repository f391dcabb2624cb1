"""The command line `goal-analyze`."""

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main_options() -> None:
    """Take deep-metric-learning losses apart at the gradient."""


def main() -> None:
    """Run the command line."""
    app()
