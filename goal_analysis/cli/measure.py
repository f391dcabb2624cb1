"""``goal-analyze measure``: the weights of any torch loss, found by autograd alone."""

from __future__ import annotations

import ast
from typing import Annotated, Any

import typer

import goal_analysis as ga
from goal_analysis.cli.options import CatalogOption, JsonOption, losses, print_json, print_table, refuse

COLUMNS = ("loss", "distance", "on_triplet", "factor", "settings", "anchors", "ties")


def measure(
    target: Annotated[str, typer.Argument(metavar="LOSS", help="MODULE:NAME, FILE.py:NAME, or an objective.")],
    inputs: Annotated[
        str | None,
        typer.Option(
            help="What it takes: one_set, two_sets, views, scores, similarities, triplets, pairs, groups, multiview, "
            "queries or proxies; else read off its names and tried."
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=VALUE", help="An argument of its constructor or call; may be repeated."),
    ] = None,
    points: Annotated[int, typer.Option(min=3, max=201, help="Grid points along each similarity.")] = 21,
    dim: Annotated[int | None, typer.Option(min=1, help="The dimension of its embeddings.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.")] = None,
    own: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a torch loss: its weights, whether they are a gradient, where it fails, and the nearest known losses.

    It takes (embeddings, labels), (image embeddings, text embeddings), a score matrix, (anchors, positives, negatives)
    or another of the kinds of --inputs, and returns a scalar. A class is constructed first; where it wants a model of
    sentences, around a stand-in.

    \b
    goal-analyze measure pytorch_metric_learning.losses:CircleLoss --with gamma=80
    goal-analyze measure losses.py:my_loss --inputs two_sets --json
    goal-analyze measure info_nce(tau=12)
    """
    how: dict[str, Any] = {"points": points, "dim": dim, "dtype": dtype}
    how["settings"] = dict(map(_assigned, assignments or ()))
    from rich.console import Console

    with Console(stderr=True).status("measuring") as status:
        found = ga.measure(target, inputs, losses=losses(own), progress=status.update, **how)
    if as_json:
        print_json(found.record())
        return
    rows = [n.record() for n in found.nearest]
    typer.echo(found.summary())
    if fitted := [row for row in rows if not row["problem"]]:
        print_table(COLUMNS, fitted, wrapped=("settings", "ties"))
    for row in rows:
        if row["problem"]:
            typer.echo(f"{row['loss']} could not be fitted: {row['problem']}")


def _assigned(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        refuse(f"--with: got {text!r} but expected NAME=VALUE, such as margin=0.2")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, {"true": True, "false": False, "none": None}.get(value.lower(), value)
