"""What the page says of an objective: what is derived of it, its formulas typeset, its surfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sympy as sp
from latex2mathml.converter import convert
from markupsafe import Markup, escape

from goal_analysis.pictures.charts import Chart
from goal_analysis.pictures.weight_chart import weight_chart
from goal_analysis.pictures.weight_frames import moved_frame
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.proof.evaluation import UnsupportedFunction
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
    trouble: str = ""  # why there is less than there should be


def objective_sections(texts: Iterable[str], objective_of: ObjectiveOf) -> tuple[ObjectiveSection, ...]:
    """What the page says of the objectives that these lines or files name, each once."""
    return tuple(_section(text, objective_of) for text in dict.fromkeys(texts))


def _section(text: str, objective_of: ObjectiveOf) -> ObjectiveSection:
    try:
        description = objective_of(text).describe()
    except (OSError, ValueError) as problem:
        return ObjectiveSection(text, trouble=f"its formulas are not known: {problem}")
    relative = tuple(r.symbol.name for r in description.weights.relative)
    try:
        field = description.weights
        settings = {h.name: description.settings[h.name] for h in field.hyperparameters}
        drawn, trouble = weight_chart(text, moved_frame(field, settings), field.similarity), ""
    except UnsupportedFunction as problem:
        drawn, trouble = None, f"its weights cannot be drawn: {problem}"
    return ObjectiveSection(text, description.verdict.said, description.pages, drawn, relative, trouble)


def mathml(formula: sp.Expr | str) -> Markup:
    """A formula, or LaTeX, as MathML, which browsers typeset themselves.

    >>> from goal_analysis.symbolic.language.primitives import s_p
    >>> mathml(1 - s_p)
    Markup('<math ...><mrow><mn>1</mn><mo>&#x02212;</mo><msub><mi>s</mi><mi>p</mi></msub></mrow></math>')
    """
    converted = convert(formula if isinstance(formula, str) else latex(formula))
    # Browsers leave out every mathvariant but one, and 0.5·1[x > 0] would read as 0.51.
    return Markup(converted.replace('<mn mathvariant="bold">1</mn>', "<mn>𝟏</mn>"))


def cells(row: Row) -> tuple[Markup, Markup]:
    """A label and its value."""
    if isinstance(row.value, sp.Expr):
        return mathml(latex_label(row)), mathml(row.value)
    if isinstance(row.value, bool):
        return escape(row.label), escape("yes" if row.value else "no")
    if isinstance(row.value, float):
        return mathml(sp.Symbol(row.label)), escape(f"{row.value:g}")
    return escape(row.label), escape(row.value)
