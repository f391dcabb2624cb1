"""``goal-analyze compose``: put one objective together, and describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import (
    Choice,
    JsonOption,
    chosen_objective,
    json_of,
    line_width,
    parts,
    refuse,
    taking,
)


@taking(Choice)
def compose(
    choice: Choice,
    as_toml: Annotated[bool, typer.Option("--as-toml", help="Print a declaration that --toml reads.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compose an objective, and say what it is: its weights, and of which loss it is the gradient, if of any.

    \b
    goal-analyze compose "nca(tau=12)/linear@softmax:12"
    goal-analyze compose --triplet nca --pair linear --mining top_k:5 --set tau=12 --json
    goal-analyze compose --triplet-formula "sigmoid(a*(s_n - s_p))" --pair linear --set a=10
    goal-analyze compose nca/linear --as-toml > mine.toml
    goal-analyze compose --toml mine.toml
    """
    if as_toml and as_json:
        refuse("got --as-toml and --json but expected at most one")
    width = line_width()

    def said() -> str:
        chosen = chosen_objective(choice)
        from goal_analysis.recombination.text import line_of, to_toml

        if as_toml:
            return to_toml(chosen.objective, parts(choice.own)).removesuffix("\n")
        description = chosen.describe()
        if not as_json:
            return description.to_plain(width)
        name = line_of(chosen.objective, parts(choice.own)) or chosen.name
        return json_of({"objective": name, **description.to_json()})

    typer.echo(
        kept(said, "compose", choice.toml and Path(choice.toml), *vars(choice).values(), as_toml, as_json, width)
    )
