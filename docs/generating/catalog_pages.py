"""A page for every loss of the catalog, made from its value: nothing in it is written by hand but its docstring."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping

from goal_analysis.numeric.characteristics import characteristics, characteristics_page
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.typesetting.pages import (
    integrability_page,
    loss_page,
    to_markdown,
    weights_page,
)
from losses_catalog import catalog
from losses_catalog.table import BIBLIOGRAPHY, weights_tables

PICTURE = (
    "The weights over the plane, the field with its curl in colour, a negative's weight at three positives, what the "
    "pairs of a batch get, and where descent carries a triplet"
)


def catalog_pages() -> dict[str, str]:
    """The page of every loss, and the page that lists them, by their paths."""
    entries = bibliography(BIBLIOGRAPHY.read_text("utf-8"))
    found = {f"catalog/{loss.name}.md": loss_text(loss, entries) for loss in catalog}
    names = "\n".join(loss.name for loss in catalog)
    found["catalog/index.md"] = (
        "# The catalog\n\n"
        f"{len(catalog)} published losses, each with what follows from its formula: nobody typed in a weight or a "
        "verdict. The notation is that of [the concepts](../../concepts/weights.md).\n\n"
        f"{_overview()}\n\n## Weights that come from no loss\n\n{weights_tables()}\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n:hidden:\n\n{names}\n```\n"
    )
    return found


def loss_text(loss: Objective, entries: Mapping[str, Mapping[str, str]]) -> str:
    """The page of one loss.

    Args:
        loss: the loss.
        entries: what `bibliography` returns.
    """
    decomposition = decompose(loss)
    verdict = integrability(decomposition)
    following = [
        weights_page(decomposition),
        integrability_page(verdict),
        characteristics_page(characteristics(decomposition)),
    ]
    sections = [
        f"# {loss.title}",
        inspect.getdoc(importlib.import_module(f"losses_catalog.{loss.name}")) or "",
        "## As it is declared",
        _without_title(to_markdown([loss_page(loss)])),
        "## What follows",
        f"![{PICTURE}]({loss.name}.png)\n\n*{PICTURE}, at the defaults.*",
        to_markdown(following),
        "## Reference",
        "\n".join(f"- {citation(entries[key])}" for key in loss.reference),
        "## See for yourself",
        f"```console\n$ goal-analyze show {loss.name}\n$ goal-analyze verify {loss.name}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def bibliography(text: str) -> dict[str, dict[str, str]]:
    r"""The fields of every BibTeX entry, by its key.

    >>> bibliography("@article{a2020b,\n  title = {{On} This},\n  year = {2020},\n}")
    {'a2020b': {'title': 'On This', 'year': '2020'}}
    """
    found = {}
    for key, body in re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", text, re.DOTALL):
        fields = re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", body, re.MULTILINE)
        found[key] = {name: re.sub(r"[{}]", "", value) for name, value in fields}
    return found


def citation(entry: Mapping[str, str]) -> str:
    """An entry in a line, with its address."""
    where = next((entry[name] for name in ("booktitle", "journal") if name in entry), "")
    names = [" ".join(reversed(name.split(", "))) for name in entry["author"].split(" and ")]
    authors = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
    place = f", {where}" if where else ""
    return f"{authors}: *{entry['title']}*{place}, {entry['year']}. <{entry['url']}>"


def _overview() -> str:
    lines = ["| loss | title | separable | integrable |", "| --- | --- | --- | --- |"]
    for loss in catalog:
        decomposition = decompose(loss)
        verdicts = decomposition.separable, integrability(decomposition).integrable
        said = " | ".join("yes" if verdict else "no" for verdict in verdicts)
        lines.append(f"| [`{loss.name}`]({loss.name}.md) | {loss.title} | {said} |")
    return "\n".join(lines)


def _without_title(markdown: str) -> str:
    return markdown.split("\n\n", 1)[1]
