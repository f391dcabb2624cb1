"""What the page says of an objective: what is derived of it, its formulas typeset, its surfaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import sympy as sp
from latex2mathml.converter import convert
from markupsafe import Markup, escape

from goal_analysis.pictures.charts import Chart, weight_chart
from goal_analysis.recombination.minings import mining_of, mining_text
from goal_analysis.recombination.names import LINE
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.typesetting import latex
from goal_analysis.symbolic.typesetting.pages import Page, Row, latex_label

ObjectiveOf = Callable[[str], GradientObjective]


@dataclass(frozen=True)
class ObjectiveSection:
    """An objective on the page."""

    text: str
    verdict: str = "not known"
    pages: tuple[Page, ...] = ()
    chart: Chart | None = None  # of its weights, where they can be drawn
    relative: tuple[str, ...] = ()  # the relative similarities, which the chart takes to be 0
    batch: str = ""  # what is laid over the chart
    trouble: str = ""  # why there is less than there should be


Laid = tuple[pd.DataFrame, str]
"""Triplets that are laid over a chart, ``s_p``, ``s_n``, ``hardest``; and what they are."""


def objective_sections(
    texts: Iterable[str], objective_of: ObjectiveOf, batch: Callable[[GradientObjective], Laid] | None = None
) -> tuple[ObjectiveSection, ...]:
    """What the page says of the objectives that these lines or files name, each once, with a batch laid over it."""
    section = cache(lambda text: _section(text, objective_of, batch))
    return tuple({text: section(text) for text in texts}.values())


def _section(
    text: str, objective_of: ObjectiveOf, batch: Callable[[GradientObjective], Laid] | None
) -> ObjectiveSection:
    try:
        objective = objective_of(text)
        description = objective.describe()
    except (OSError, ValueError) as problem:
        return ObjectiveSection(text, trouble=f"its formulas are not known: {problem}")
    field = description.weights
    laid, said = batch(objective) if batch else (None, "")
    line = _line(text, [h.name for h in field.hyperparameters])
    try:
        drawn, trouble = weight_chart(text, field, laid, line), ""
    except ValueError as problem:
        drawn, trouble = None, f"its weights cannot be drawn: {problem}"
    return ObjectiveSection(
        text=text,
        verdict=description.verdict.said,
        pages=description.pages,
        chart=drawn,
        relative=tuple(r.symbol.name for r in field.relative),
        batch=said,
        trouble=trouble,
    )


def _line(text: str, settings: Sequence[str]) -> dict[str, Any]:
    """The parts of a line around its settings; of a formula or a declaration, which no line says, the text alone."""
    match = None if re.search(r"\b(s_p|s_n|gap)\b", text) else LINE.fullmatch(text)
    if match is None:
        return {"text": text, "head": "", "words": [], "rest": ""}
    head, of_head, pair, _, mining = match.groups()
    said = [word.strip() for word in (of_head or "").strip(":()").split(",") if word.strip()]
    words = [word for word in said if word.partition("=")[0].strip() not in settings]
    rest = (f"/{pair}" if pair else "") + (f"@{mining_text(mining_of(mining.strip()))}" if mining else "")
    return {"text": text, "head": head, "words": words, "rest": rest}


def mathml(formula: sp.Expr | str) -> Markup:
    """A formula, or LaTeX, as MathML, which browsers typeset themselves."""
    text = formula if isinstance(formula, str) else latex(formula)
    return Markup(convert(text.replace(r"\mathbf{1}", r"\;𝟏")))  # browsers have no bold, and 0.5·1[x > 0] has no 0.51


def breakable(name: str) -> Markup:
    """A long name, which a narrow page breaks after a separator rather than within a word."""
    return Markup(re.sub(r"(?<=[/@,;:=])", "<wbr>", escape(name)))


def cells(row: Row) -> tuple[Markup, Markup]:
    """A label and its value."""
    if isinstance(row.value, sp.Expr):
        return mathml(latex_label(row)), mathml(row.value)
    if isinstance(row.value, bool):
        return escape(row.label), escape("yes" if row.value else "no")
    if isinstance(row.value, float):
        return mathml(sp.Symbol(row.label)), escape(f"{row.value:g}")
    return escape(row.label), escape(row.value)
