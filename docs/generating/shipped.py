"""What is known of a loss as libraries ship it, read off the two pages that say what was compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import goal_analysis as ga

DOCS = Path(__file__).parents[1]
SHIPPED, ORACLES = DOCS / "losses-as-shipped.md", DOCS / "oracles.md"


def comparisons(loss: ga.Objective, classes: Sequence[str]) -> list[str]:
    """A line for every class that was measured, and for every one that was compared with it number by number.

    Args:
        loss: of the catalog.
        classes: what libraries call it.
    """
    found = []
    for library, title, said in measured():
        if title.partition("(")[0] in classes:
            anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            found.append(
                f"- [`{title}`](../../{SHIPPED.name}#{anchor}) of {library}, measured as a black box. "
                f"Integrable: {said['integrable']}. Nearest is {_unlinked(said['nearest'])}."
            )
    for name, ours, theirs, batch in compared():
        if name.startswith(f"[{loss.name}]"):
            settings = f"; ours with {ours}" if ours else ""
            found.append(f"- {theirs} is [the same to 10⁻⁹](../../{ORACLES.name}) on {batch}{settings}.")
    if not found and classes:
        return [f"Libraries call it {', '.join(f'`{name}`' for name in classes)}, which was not compared."]
    return found or ["No library that was compared ships it."]


def _unlinked(text: str) -> str:
    return re.sub(r"\[(\w+)\]\([^)]*\)", r"\1", text)


@cache
def measured() -> list[tuple[str, str, dict[str, str]]]:
    """The library, the title and what was found of every section of the page of losses as they are shipped."""
    found, library = [], ""
    for part in re.split(r"\n(?=##)", SHIPPED.read_text("utf-8")):
        title = part.splitlines()[0].lstrip("# ")
        if part.startswith("## "):
            library = title.partition(",")[0]
        elif part.startswith("### "):
            found.append((library, title, dict(re.findall(r"^- (\w+): (.*)$", part, re.MULTILINE))))
    return found


@cache
def compared() -> list[list[str]]:
    """The rows of the tables of what has to be set for a library's class to be a loss: loss, ours, class, batch."""
    rows = re.findall(r"^\| (.*) \|$", ORACLES.read_text("utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows if row.count("|") == 3 and row.startswith("[")]
