"""``goal-analyze compose``: one objective put together, and what it is."""

from __future__ import annotations

from typing import Annotated

import typer

from goal_analysis.cli.options import (
    Choice,
    JsonOption,
    choosing_an_objective,
    chosen_objective,
    line_width,
    parts,
    print_json,
    refuse,
)


@choosing_an_objective
def compose(
    choice: Choice,
    as_toml: Annotated[bool, typer.Option("--as-toml", help="Print a declaration that --toml reads.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compose an objective, and say what it is: its weights, whether it is the gradient of a loss, and of which.

    \b
    goal-analyze compose "nca(tau=12)/linear@softmax:12"
    goal-analyze compose --triplet nca --pair linear --mining top_k:5 --set tau=12 --json
    goal-analyze compose --triplet-formula "sigmoid(a*(s_n - s_p))" --pair linear --set a=10
    goal-analyze compose nca/linear --as-toml > mine.toml
    goal-analyze compose --toml mine.toml
    """
    from goal_analysis.recombination.text import line_of, to_toml

    if as_toml and as_json:
        refuse("got --as-toml and --json but expected at most one")
    chosen = chosen_objective(choice)
    if as_toml:
        typer.echo(to_toml(chosen.objective, parts(choice.own)), nl=False)
        return
    description = chosen.describe()
    if as_json:
        name = line_of(chosen.objective, parts(choice.own)) or chosen.name
        print_json({"objective": name, **description.to_json()})
    else:
        typer.echo(description.to_plain(line_width()))
