"""``goal-analyze list``: the losses of the catalog by family, with their weights and their verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

import goal_analysis as ga
from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import CatalogOption, JsonOption, losses, print_json, print_table, with_progress
from goal_analysis.declarations import one_of

COLUMNS = ("name", "shape", "separable", "integrable", "reference")
OWN = "your own"
ANSWERS = {"yes": True, "no": False, "open": None}


def list_losses(
    own: CatalogOption = None,
    family: Annotated[str | None, typer.Option(help="triplets, pairs, softmax, sets, rankings, proxies …")] = None,
    integrable: Annotated[str | None, typer.Option(help="yes, no or open.")] = None,
    separable: Annotated[str | None, typer.Option(help="yes, no or open.")] = None,
    proxies: Annotated[str | None, typer.Option(help="yes: of class proxies, or no.")] = None,
    year: Annotated[str | None, typer.Option(metavar="YEAR[-YEAR]", help="Of the paper, such as 2020-2024.")] = None,
    library: Annotated[str | None, typer.Option(help="A library that has the loss, or what one calls it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the losses with their shape, and whether their weights separate and are integrable.

    \b
    goal-analyze list
    goal-analyze list --family softmax --integrable no
    goal-analyze list --library sentence-transformers --year 2024-2026
    goal-analyze list --catalog my_losses.toml --json
    """
    records = kept(lambda: list(with_progress(summaries(losses(own)), "deriving", len(losses(own)))), "list", own)
    asked = {"integrable": integrable, "separable": separable, "proxies": proxies}
    wanted = {what: _one_of(what, value, ANSWERS) for what, value in asked.items() if value is not None}
    chosen = [record for record in records if all(record[what] is answer for what, answer in wanted.items())]
    if family is not None:
        _one_of("family", family, {record["family"]: None for record in records})
        chosen = [record for record in chosen if record["family"] == family]
    if year is not None:
        first, last = _years(year)
        chosen = [record for record in chosen if record["year"] and first <= record["year"] <= last]
    if library is not None:
        named = _called(library)
        chosen = [record for record in chosen if record["name"] in named]
    if as_json:
        print_json(chosen)
    else:
        print_summary(chosen)


def summaries(chosen: Iterable[ga.Objective]) -> Iterator[dict[str, Any]]:
    """One record a loss, derived."""
    from goal_analysis.symbolic.typesetting.pages import shape, to_data, weights_page
    from losses_catalog import families

    family_of = {loss: family for family, members in families.items() for loss in members}
    for loss in chosen:
        decomposition = ga.decompose(loss)
        verdict = ga.integrability(decomposition)
        published = re.match(r"[a-z]+(\d{4})", next(iter(loss.reference), ""))
        yield {
            "name": loss.name,
            "title": loss.title,
            "family": family_of.get(loss, OWN),
            "year": int(published[1]) if published else None,
            "proxies": loss.proxies,
            "shape": shape(loss),
            "separable": decomposition.separable,
            "integrable": verdict.integrable,
            "reason": verdict.reason,
            **to_data([weights_page(decomposition)]),
            "reference": ", ".join(loss.reference),
        }


def print_summary(records: list[dict[str, Any]]) -> None:
    """Print the records of every family as a table, each with its first reference."""
    for family in dict.fromkeys(record["family"] for record in records):
        typer.echo(family)
        print_table(
            COLUMNS,
            (
                {key: "open" if value is None else value for key, value in record.items()}
                | {"reference": _author_and_year(record["reference"])}
                for record in records
                if record["family"] == family
            ),
            wrapped=("shape",),
        )
    typer.echo(f"{len(records)} loss{'es' if len(records) != 1 else ''}")


def _author_and_year(references: str) -> str:
    key = re.match(r"([a-z]+)(\d{4})", references)
    return f"{key[1].capitalize()} {key[2]}" if key else references


def _one_of(what: str, given: str, accepted: Mapping[str, Any]) -> Any:
    if given not in accepted:
        raise ValueError(f"{what}: got {given!r} but expected one of {one_of(accepted, given)}")
    return accepted[given]


def _years(given: str) -> tuple[int, int]:
    """The first and the last year of ``2020`` or ``2020-2024``."""
    match = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", given)
    if match is None:
        raise ValueError(f"year: got {given!r} but expected a year such as 2020, or two such as 2020-2024")
    return int(match[1]), int(match[2] or match[1])


def _called(given: str) -> set[str]:
    """The losses that a library has, or that libraries call so."""
    from losses_catalog import libraries

    found = set(libraries.get(given, {}).values())
    found |= {name for of in libraries.values() for kind, name in of.items() if kind.lower() == given.lower()}
    if not found:
        classes = {kind for of in libraries.values() for kind in of}
        raise ValueError(f"library: got {given!r} but expected one of {one_of([*libraries, *classes], given)}")
    return found
