"""``goal-analyze compose``: one objective put together, and what it is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from goal_analysis.cli.choosing import CatalogOption, JsonOption, SetOption, refuse
from goal_analysis.cli.objective_options import (
    AnchorsOption,
    Choice,
    DirectionOption,
    MiningOption,
    NegativeFormulaOption,
    ObjectiveArgument,
    PairOption,
    PositiveFormulaOption,
    ReductionOption,
    SimilarityOption,
    TomlOption,
    TripletFormulaOption,
    TripletOption,
    chosen_objective,
)
from goal_analysis.cli.objectives import parts
from goal_analysis.cli.tables import line_width


def compose(
    objective: ObjectiveArgument = None,
    triplet: TripletOption = None,
    pair: PairOption = None,
    triplet_formula: TripletFormulaOption = None,
    positive_formula: PositiveFormulaOption = None,
    negative_formula: NegativeFormulaOption = None,
    mining: MiningOption = None,
    direction: DirectionOption = None,
    similarity: SimilarityOption = None,
    reduction: ReductionOption = None,
    anchors: AnchorsOption = None,
    toml: TomlOption = None,
    assignments: SetOption = None,
    own: CatalogOption = None,
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
    from goal_analysis.recombination.composition import compact, to_toml

    if as_toml and as_json:
        refuse("got --as-toml and --json but expected at most one")
    chosen = chosen_objective(
        Choice(
            objective,
            triplet,
            pair,
            triplet_formula,
            positive_formula,
            negative_formula,
            mining,
            direction,
            similarity,
            reduction,
            anchors,
            toml,
            tuple(assignments or ()),
            own,
        )
    )
    if as_toml:
        typer.echo(to_toml(chosen, parts(own)), nl=False)
        return
    description = chosen.describe()
    if as_json:
        record = {"objective": compact(chosen), **description.to_json()}
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        typer.echo(description.to_plain(line_width()))
