"""Pages as text, Markdown, LaTeX and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.typesetting.pages import Page


def to_plain(pages: Sequence[Page]) -> str:
    """Aligned text."""
    width = max(len(row.label) for page in pages for row in page.rows)
    blocks = (
        "\n".join([page.title, *(f"  {row.label:<{width}}  {_words(row.value, plain)}" for row in page.rows)])
        for page in pages
    )
    return "\n\n".join(blocks)


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
    lines = [rf"  {_LATEX_LABELS[row.key]} &= {latex(row.value)}" for row in rows]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


_LATEX_LABELS = {
    "outer": r"\Phi",
    "negatives": "h(s_n)",
    "positives": "k(s_p)",
    "triplet_weight": "T(s_p, s_n)",
    "positive_pair_weight": "P^{+}(s_p)",
    "negative_pair_weight": "P^{-}(s_n)",
    "positive_weight": "w^{+}(s_p, s_n)",
    "negative_weight": "w^{-}(s_p, s_n)",
    "potential": "U(s_p, s_n)",
    "loss": "L(s_p, s_n)",
} | {
    f"{name}{i}": rf"{symbol}_{{{i}}}"
    for i in range(1, 10)
    for name, symbol in (("outer", r"\Phi"), ("negatives", "h"), ("positives", "k"))
}


def to_data(pages: Sequence[Page]) -> dict[str, str | float | bool]:
    """Keys and values, formulas as text that `parse` reads back."""
    return {
        row.key: plain(row.value) if isinstance(row.value, sp.Expr) else row.value
        for page in pages
        for row in page.rows
    }


def _words(value: sp.Expr | str | float | bool, write: Callable[[sp.Expr], str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return write(value) if isinstance(value, sp.Expr) else str(value)
