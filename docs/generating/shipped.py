"""What is known of a loss as libraries ship it, read off the committed tables that say what was compared."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import goal_analysis as ga
from losses_catalog import libraries

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "docs" / "losses-as-shipped.md"
COMPARED = ROOT / "benchmarks" / "results" / "coverage.md"


class Row(NamedTuple):
    """A class of a library beside the line that declares it: what both were compared on, and how far they agree."""

    library: str
    name: str
    line: str
    on: str
    agreement: str
    difference: str


def classes_of(loss: ga.Objective) -> dict[str, list[str]]:
    """What libraries call a loss, by library."""
    found = {
        library: [name for name, ours in known.items() if ours == loss.name] for library, known in libraries.items()
    }
    return {library: names for library, names in found.items() if names}


def comparisons(loss: ga.Objective) -> list[str]:
    """A line for every class that was compared with a loss, and for every one that was measured as a black box."""
    found = []
    for row in compared():
        if re.match(r"\w*", row.line)[0] == loss.name:
            differs = f" It differs: {row.difference}." if row.difference else ""
            found.append(
                f"- `{row.name}` of {row.library}, on {row.on}, is `{row.line}`: the gradients of the embeddings agree "
                f"to {row.agreement}.{differs}"
            )
    classes = classes_of(loss)
    for library, title, verdict, nearest in measured():
        if title.partition("(")[0] in classes.get(library.split()[0], []):
            anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            found.append(
                f"- [`{title}`](../../{MEASURED.name}#{anchor}) of {library}, measured as a black box. Integrable: "
                f"{verdict}. Nearest is {nearest}."
            )
    named = ", ".join(f"`{name}` of {library}" for library, names in classes.items() for name in names)
    return found or [f"Not compared: {named}." if named else "No library that was compared ships it."]


@cache
def compared() -> list[Row]:
    """The rows of the table of what libraries ship that declare something; none where it is not in this checkout."""
    found, library = [], ""
    for line in COMPARED.read_text("utf-8").splitlines() if COMPARED.exists() else []:
        if line.startswith("## "):
            library = line.removeprefix("## ")
        row = re.fullmatch(r"\| `([^`]+)` \| `([^`]+)` \| (.*?) \| (.*?) \| (.*?) ?\|", line)
        if row:
            found.append(Row(library, *row.groups()))
    return found


@cache
def measured() -> list[tuple[str, str, str, str]]:
    """Library, title, verdict and nearest loss of every section of the page of losses as they are shipped."""
    found, library = [], ""
    for part in re.split(r"\n(?=##)", MEASURED.read_text("utf-8")):
        title = part.splitlines()[0].lstrip("# ")
        if part.startswith("## "):
            library = title.partition(",")[0]
        elif part.startswith("### "):
            said = dict(re.findall(r"^- (\w+): (.*)$", re.sub(r"\[(\w+)\]\([^)]*\)", r"\1", part), re.MULTILINE))
            found.append((library, title, said["integrable"], said["nearest"]))
    return found
