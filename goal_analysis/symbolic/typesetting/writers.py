"""Pages as text, Markdown, LaTeX and data."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.integrability import Integrability
from goal_analysis.symbolic.language import display
from goal_analysis.symbolic.objective import SymbolicLoss
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.typesetting.pages import Page, Row, integrability_page, loss_page, weights_page
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField


def to_plain(pages: Sequence[Page], width: int | None = None) -> str:
    """Aligned text.

    Args:
        pages: what to write.
        width: where long values go on in the next line; by default nowhere.
    """
    labels = max(len(row.label) for page in pages for row in page.rows)

    def line(row: Row) -> str:
        text = f"  {row.label:<{labels}}  {_words(row.value, plain)}"
        if width is None or len(text) <= width or labels + 24 > width:
            return text
        return "\n".join(
            textwrap.wrap(
                text, width, subsequent_indent=" " * (labels + 4), break_long_words=False, break_on_hyphens=False
            )
        )

    return "\n\n".join("\n".join([page.title, *map(line, page.rows)]) for page in pages)


def to_markdown(pages: Sequence[Page]) -> str:
    """A table for every page, formulas in LaTeX."""

    def cell(value: str) -> str:
        return value.replace("|", r"\|").replace("\n", " ")

    def table(page: Page) -> str:
        rows = (f"| {cell(row.label)} | {cell(_words(row.value, lambda e: f'${latex(e)}$'))} |" for row in page.rows)
        return "\n".join([f"### {page.title}", "", "| | |", "| --- | --- |", *rows])

    return "\n\n".join(map(table, pages))


def to_latex(pages: Sequence[Page]) -> str:
    """The formulas, one line each, in an aligned environment; words are left out."""
    rows = (row for page in pages for row in page.rows if isinstance(row.value, sp.Expr))
    lines = [rf"  {latex_label(row)} &= {latex(row.value)}" for row in rows]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def latex_label(row: Row) -> str:
    """What stands before a row's formula, in LaTeX."""
    return row.latex_label or _LATEX_LABELS.get(row.key, rf"\text{{{row.label}}}")


_LATEX_LABELS = {
    "triplet_weight": "T(s_p, s_n)",
    "positive_pair_weight": "P^{+}(s_p)",
    "negative_pair_weight": "P^{-}(s_n)",
    "positive_weight": "w^{+}(s_p, s_n)",
    "negative_weight": "w^{-}(s_p, s_n)",
    "potential": "U(s_p, s_n)",
    "loss": "L(s_p, s_n)",
}


def to_data(pages: Sequence[Page]) -> dict[str, str | float | bool | None]:
    """Keys and values, formulas as text that `parse` reads back."""
    return {
        row.key: plain(row.value) if isinstance(row.value, sp.Expr) else row.value
        for page in pages
        for row in page.rows
    }


def _words(value: sp.Expr | str | float | bool | None, write: Callable[[sp.Expr], str]) -> str:
    if value is None:
        return "open"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return write(value) if isinstance(value, sp.Expr) else str(value)


@display.markdown.register
def _(loss: SymbolicLoss) -> str:
    return to_markdown([loss_page(loss)])


@display.markdown.register
def _(field: WeightField) -> str:
    return to_markdown([weights_page(field)])


@display.markdown.register
def _(decomposition: Decomposition) -> str:
    return to_markdown([loss_page(decomposition.loss), weights_page(decomposition)])


@display.markdown.register
def _(verdict: Integrability) -> str:
    return to_markdown([integrability_page(verdict)])


@display.line.register
def _(loss: SymbolicLoss) -> str:
    return f"Objective({loss.name}: {plain(loss.expression())})"


@display.line.register
def _(weight: TripletWeight) -> str:
    return f"TripletWeight({weight.name}: T = {plain(weight.expression)})"


@display.line.register
def _(weights: PairWeights) -> str:
    return f"PairWeights({weights.name}: P⁺ = {plain(weights.positive)}, P⁻ = {plain(weights.negative)})"


@display.line.register
def _(field: WeightField) -> str:
    return f"WeightField({_weights(field)})"


@display.line.register
def _(decomposition: Decomposition) -> str:
    return f"Decomposition({_weights(decomposition.field)})"


@display.line.register
def _(verdict: Integrability) -> str:
    found = "" if verdict.loss is None else f"; L = {plain(verdict.loss)}"
    return f"Integrability({_words(verdict.integrable, plain)}: {verdict.reason}{found})"


def _weights(field: WeightField) -> str:
    named = {"w⁺": field.positive, "w⁻": field.negative}
    if field.factors is not None:
        named = {"T": field.factors.triplet, "P⁺": field.factors.positive, "P⁻": field.factors.negative}
    return f"{field.name}: " + ", ".join(f"{name} = {plain(weight)}" for name, weight in named.items())
