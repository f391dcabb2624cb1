"""The gallery of the catalog, to be looked at, and its table, to be sorted and filtered in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from generating.catalog_pictures import KINDS
from losses_catalog.table import weights_tables

if TYPE_CHECKING:
    from generating.catalog_pages import Entry

COLUMNS = ("loss", "family", "year", "integrable", "separable", "proxies", "libraries")
VERDICTS = {"yes": "gradient of a loss", "no": "gradient of no loss", "open": "undecided"}


def gallery_page(entries: Sequence[Entry]) -> str:
    """Every loss as a small picture with its name and its verdict, family by family; and the list of the pages."""
    families = []
    for family, members in groupby(entries, key=lambda entry: entry.family):
        shown = "\n".join(map(_shown, members))
        families.append(f"## {family[0].upper()}{family[1:]}\n\n````{{container}} gallery\n{shown}\n````")
    names = "\n".join(entry.name for entry in entries)
    return (
        "# The catalog\n\n"
        f"Here are {len(entries)} published losses, with weights and verdicts that are derived from their formulas. "
        "A picture shows where descent moves a triplet: the similarity s_p of its positive grows to the right, and s_n "
        "of its negative upwards; darker is stronger. A triplet should move down and to the right. "
        "[The table](table.md) sorts and filters them. The notation is that of "
        "[the concepts](../../concepts/weights.md).\n\n"
        + "\n\n".join(families)
        + f"\n\n```{{toctree}}\n:maxdepth: 1\n:hidden:\n\ntable\n{names}\n```\n"
    )


def _shown(entry: Entry) -> str:
    picture = f"[![{KINDS['small']}: {entry.loss.title}]({entry.name}-small.png)]({entry.name}.md)"
    title = f"[{entry.loss.title}]({entry.name}.md)"
    return f"```{{container}} one\n{picture}\n\n{title}\n\n*{VERDICTS[entry.integrable]}*\n```"


def table_page(entries: Sequence[Entry]) -> str:
    """A row for every loss, and the weights that come from no loss."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}", *map(_row, entries)]
    rows = "\n".join(lines)
    return (
        "# Losses in a table\n\n"
        "A click on a head sorts. *Integrable* says whether the weights are the gradient of a loss, *separable* "
        "whether they are a weight of the triplet times a weight of each pair.\n\n"
        f"```{{container}} sorted\n{rows}\n```\n\n"
        f"## Weights that come from no loss\n\n{weights_tables()}\n"
    )


def _row(entry: Entry) -> str:
    cells = [
        f"[{entry.loss.title}]({entry.name}.md) `{entry.name}`",
        entry.family,
        entry.year,
        entry.integrable,
        _yes(entry.decomposition.separable),
        _yes(entry.loss.proxies),
        ", ".join(entry.classes),
    ]
    return f"| {' | '.join(cells)} |"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "open"}[value]
