"""``goal-analyze export``: one objective as a Python file that needs torch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import Choice, chosen_objective, refuse, taking
from goal_analysis.files import write_whole


@taking(Choice)
def export(
    choice: Choice,
    name: Annotated[str | None, typer.Option(help="The name of the objective in the file.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file that is written; - prints it.")
    ] = Path("objective.py"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Export an objective as a Python file that imports torch alone, and that checks itself when it is run.

    Its gradients are the objective's, to the last bit.

    \b
    goal-analyze export "nca(tau=12)/linear@softmax:12" -o objective.py
    goal-analyze export --toml mine.toml -o - | less
    python objective.py
    """
    printed = output == Path("-")
    if not printed and output.exists() and not force:
        refuse(f"--output: got {output}, which is there already, but expected a new file, or --force")

    def exported() -> str:
        chosen = chosen_objective(choice)
        from goal_analysis.recombination.export import export as source_of

        return source_of(chosen, name)

    source = kept(exported, "export", choice.toml and Path(choice.toml), *vars(choice).values(), name)
    if printed:
        typer.echo(source, nl=False)
        return
    write_whole(output, source)
    typer.echo(f"written to {output}; `python {output}` checks it")
