"""``goal-analyze measure``: the weights of any torch loss, found by autograd alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from goal_analysis.api.objectives import measure
from goal_analysis.cli.options import CatalogOption, JsonOption, losses, print_json, print_table

if TYPE_CHECKING:
    from goal_analysis.numeric.measurement import Measurement


def measure_loss(
    target: Annotated[str, typer.Argument(metavar="PACKAGE.MODULE:CALLABLE", help="Imported and called.")],
    inputs: Annotated[
        str | None,
        typer.Option(help="What it takes: one_set, two_sets, scores, triplets or queries; else read off its names."),
    ] = None,
    points: Annotated[int, typer.Option(min=3, max=201, help="Grid points along each similarity.")] = 21,
    own: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a torch loss: its weights, whether they separate and are a gradient, and the nearest known losses.

    The callable takes (embeddings, labels), (image embeddings, text embeddings), a score matrix, or (anchors,
    positives, negatives), and returns a scalar. A class is constructed without arguments first.

    \b
    goal-analyze measure pytorch_metric_learning.losses:CircleLoss
    goal-analyze measure my_package.losses:my_loss --inputs two_sets --json
    """
    found = measure(target, inputs, points=points, losses=losses(own))
    rows = neighbours(found)
    if as_json:
        print_json({"name": target, **found.findings(), "nearest": rows})
        return
    typer.echo(found.summary())
    print_table(tuple(rows[0]), rows, wrapped=("settings", "ties"))


def neighbours(found: Measurement) -> list[dict[str, Any]]:
    """A record for each of the nearest losses."""
    return [
        {
            "loss": near.loss.name,
            "distance": near.distance,
            "factor": near.factor,
            "settings": ", ".join(f"{name}={value:.5g}" for name, value in near.settings.items()),
            "ties": ", ".join(near.ties),
        }
        for near in found.nearest
    ]
