"""``goal-analyze list``: every loss of the catalog, with its weights and its verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import typer

import goal_analysis as ga
from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import CatalogOption, JsonOption, losses, print_json, print_table, with_progress

COLUMNS = ("name", "shape", "separable", "integrable", "reference")


def list_losses(own: CatalogOption = None, as_json: JsonOption = False) -> None:
    """List the losses with their shape, and whether their weights separate and are integrable.

    \b
    goal-analyze list
    goal-analyze list --catalog my_losses.toml
    goal-analyze list --json | jq '.[] | select(.integrable | not) | .name'
    """
    records = kept(lambda: list(with_progress(summaries(losses(own)), "deriving", len(losses(own)))), "list", own)
    if as_json:
        print_json(records)
    else:
        print_summary(records)


def summaries(chosen: Iterable[ga.Objective]) -> Iterator[dict[str, object]]:
    """One record a loss, derived."""
    from goal_analysis.symbolic.typesetting.pages import shape, to_data, weights_page

    for loss in chosen:
        decomposition = ga.decompose(loss)
        verdict = ga.integrability(decomposition)
        yield {
            "name": loss.name,
            "title": loss.title,
            "shape": shape(loss),
            "separable": decomposition.separable,
            "integrable": verdict.integrable,
            "reason": verdict.reason,
            **to_data([weights_page(decomposition)]),
            "reference": ", ".join(loss.reference),
        }


def print_summary(records: list[dict[str, object]]) -> None:
    """Print the records as a table, each with its first reference."""
    print_table(
        COLUMNS,
        (
            {key: "open" if value is None else value for key, value in record.items()}
            | {"reference": _author_and_year(str(record["reference"]))}
            for record in records
        ),
        wrapped=("shape",),
    )
    typer.echo(f"{len(records)} losses")


def _author_and_year(references: str) -> str:
    key = re.match(r"([a-z]+)(\d{4})", references)
    return f"{key[1].capitalize()} {key[2]}" if key else references
