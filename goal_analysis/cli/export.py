"""``goal-analyze export``: an objective as a Python file of torch alone, or a run's model as its libraries read it."""

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
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The file, or a model's folder; - prints an objective."),
    ] = Path("objective.py"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Export an objective as a Python file that imports torch alone, and that checks itself when it is run.

    Its gradients are the objective's, to the last bit. Where a run's folder is named, what the run's model has of
    transformers and sentence-transformers is written as they read it.

    \b
    goal-analyze export "nca(tau=12)/linear@softmax:12" -o objective.py
    goal-analyze export --toml mine.toml -o - | less
    python objective.py
    goal-analyze export runs/mine -o mine
    """
    printed = output == Path("-")
    if not printed and output.exists() and not force:
        refuse(f"--output: got {output}, which is there already, but expected a new file, or --force")
    run = Path(choice.objective or "")
    if choice.objective and (run / "run.json").is_file():
        if printed:
            refuse("--output: got - but expected a folder to write the run's model into")
        from goal_analysis.vse.folder.run import load_model
        from goal_analysis.vse.models.exporting import export_model

        trained = load_model(run)
        typer.echo("\n".join(export_model(trained.model, trained.tokenizer, output)))
        return

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
