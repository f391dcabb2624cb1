"""``goal-analyze measure``: the weights of any torch loss, found by autograd alone."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from goal_analysis.cli.options import CatalogOption, JsonOption, losses, print_table, refuse

NEIGHBOURS = 5
"""How many of the nearest losses are shown."""


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
    from goal_analysis.numeric.measurement import Inputs, UnmeasurableLoss, measure, nearest

    if inputs is not None and inputs.upper() not in Inputs.__members__:
        refuse(f"--inputs: got {inputs!r} but expected one of {', '.join(kind.name.lower() for kind in Inputs)}")
    loss_fn = _imported(target)
    try:
        found = measure(loss_fn, Inputs[inputs.upper()] if inputs else None, points=points, name=target)
        near = nearest(found, losses(own))[:NEIGHBOURS]
    except (UnmeasurableLoss, ValueError) as problem:
        refuse(problem)
    neighbours = [
        {
            "loss": n.loss.name,
            "distance": n.distance,
            "factor": n.factor,
            "settings": ", ".join(f"{name}={value:.5g}" for name, value in n.settings.items()),
            "ties": ", ".join(n.ties),
        }
        for n in near
    ]
    if as_json:
        typer.echo(
            json.dumps({"name": target, **found.findings(), "nearest": neighbours}, ensure_ascii=False, indent=2)
        )
        return
    typer.echo(found.summary())
    print_table(("loss", "distance", "factor", "settings", "ties"), neighbours, wrapped=("settings", "ties"))


def _imported(target: str) -> Callable[..., Any]:
    module, colon, name = target.partition(":")
    if not colon or not name:
        refuse(f"got {target!r} but expected PACKAGE.MODULE:CALLABLE, such as my_package.losses:my_loss")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
        loss_fn = found() if isinstance(found, type) else found
    except (ImportError, AttributeError, TypeError) as problem:
        refuse(f"{target}: {problem}")
    finally:
        sys.path.pop(0)
    if not callable(loss_fn):
        refuse(f"{target}: got {loss_fn!r} but expected a callable")
    return loss_fn
