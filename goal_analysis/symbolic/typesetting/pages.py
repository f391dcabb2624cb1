"""Pages on a loss, an objective or a verdict, in rows, and written as text, Markdown, LaTeX and data."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from goal_analysis.symbolic.analysis.integrability import Integrability
from goal_analysis.symbolic.language import display
from goal_analysis.symbolic.language.aggregators import Pool, Side
from goal_analysis.symbolic.language.hyperparameter import interval_text
from goal_analysis.symbolic.language.primitives import x_n, x_p
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField


@dataclass(frozen=True)
class Row:
    """One line of a page: a key for data, labels for people, and the value, None of an open question."""

    key: str
    label: str
    value: sp.Expr | str | float | bool | None
    latex_label: str = ""


@dataclass(frozen=True)
class Page:
    """A title over rows."""

    title: str
    rows: tuple[Row, ...]


def loss_page(loss: Objective) -> Page:
    """The declared formula, term by term, with hyperparameters at their values."""
    rows = [Row("name", "name", loss.name), Row("shape", "shape", shape(loss))]
    for i, term in enumerate(loss.terms, start=1):
        index = str(i) if len(loss.terms) > 1 else ""
        rows += _term_rows(term, index)
    values = loss.values()
    for h in loss.hyperparameters:
        meaning = f": {h.meaning}" if h.meaning else ""
        rows.append(Row(h.name, h.name, f"{plain(values[h.symbol])} in {interval_text(h.domain)}{meaning}"))
    rows += [
        Row("similarity", "similarity", f"{loss.similarity.name}, {loss.similarity.formula}"),
        Row("anchors", "anchors", loss.anchors.value),
        Row("reduction", "reduction", loss.reduction.words),
        Row("reference", "reference", ", ".join(loss.reference) or "none"),
    ]
    if loss.grouped is not None:
        scale = "".join(f" at scale {plain(sp.sympify(one))}" for one in loss.grouped.parameters)
        rows.append(Row("grouped", "score of a class", f"{loss.grouped.name} over its proxies{scale}"))
    if loss.note:
        rows.append(Row("note", "note", loss.note))
    return Page(loss.title, tuple(rows))


def shape(loss: Objective) -> str:
    """The terms in the pattern φ(A⁻ − A⁺), such as ``φ(logsumexp⁻ − softmin⁺)``."""
    return " + ".join(map(_term_shape, loss.terms))


def _term_shape(term: Term) -> str:
    positives = f"{_aggregator_text(term.positives)}⁺" if term.positives else ""
    negatives = f"{_aggregator_text(term.negatives)}⁻" if term.negatives else ""
    if term.named or (positives and negatives and not term.plain):
        named = (f"{one.name} = {_aggregator_text(one.side)}" for one in term.named)
        return f"Φ({', '.join((*filter(None, (positives, negatives)), *named))})"
    if not positives or not negatives:
        return f"φ({positives or negatives})"
    return f"φ({negatives} − {positives})" if term.reads_gap_alone else f"Φ({positives}, {negatives})"


def _aggregator_text(side: Side) -> str:
    pool = "" if side.pool is Pool.OWN else f" of {side.pool.value}"
    return side.aggregator.name + pool


def _term_rows(term: Term, index: str) -> Iterable[Row]:
    named = [one.symbol for one in term.named]
    yield Row(f"outer{index}", f"Φ{index}", term.effective_outer, rf"\Phi_{{{index}}}" if index else r"\Phi")
    for x, _, side in sorted(term.aggregates, key=lambda aggregate: [x_n, x_p, *named].index(aggregate[0])):
        name, sign, letter, inner = _SIDES.get(x, (str(x), str(x), latex(x), "h"))
        over = f"{sign}{index}: {_aggregator_text(side)} over {name if x in _SIDES else 'pairs'} of"
        aggregator = rf"\operatorname{{{_aggregator_text(side).replace('_', ' ')}}}"
        yield Row(f"{name}{index}", over, side.inner, rf"{letter} = {aggregator}\, {inner}, \quad {inner}")
        if x in _SIDES:
            which = f"{name}{index and ' ' + index}"
            yield Row(f"mining_{name}{index}", f"mining weight of {which}", side.aggregator.mining)


_SIDES = {x_n: ("negatives", "A⁻", "A^{-}", "h"), x_p: ("positives", "A⁺", "A^{+}", "k")}


def weights_page(objective: Decomposition | WeightField) -> Page:
    """The derived weights: T, P⁺ and P⁻ where they exist, else w⁺ and w⁻."""
    field = objective.field if isinstance(objective, Decomposition) else objective
    separable = objective.separable if isinstance(objective, Decomposition) else field.factors is not None
    rows = [Row("separable", "separable", separable)]
    rows += [Row(*_WEIGHTS[name], formula) for name, formula in field.formulas.items()]
    if isinstance(objective, Decomposition) and not objective.separable:
        rows.append(Row("separable_reason", "because", objective.reason))
    return Page("Weights of a triplet", tuple(rows))


_WEIGHTS = {
    "T": ("triplet_weight", "T(s_p, s_n)"),
    "P⁺": ("positive_pair_weight", "P⁺(s_p)"),
    "P⁻": ("negative_pair_weight", "P⁻(s_n)"),
    "w⁺": ("positive_weight", "w⁺(s_p, s_n)"),
    "w⁻": ("negative_weight", "w⁻(s_p, s_n)"),
}


def integrability_page(verdict: Integrability) -> Page:
    """The verdict, its reason, the potential and the loss."""
    rows = [Row("integrable", "integrable", verdict.integrable), Row("reason", "because", verdict.reason)]
    if verdict.potential is not None:
        rows.append(Row("potential", "U(s_p, s_n)", verdict.potential))
    if verdict.loss is not None:
        rows.append(Row("loss", "L(s_p, s_n)", verdict.loss))
    return Page("Integrability", tuple(rows))


def to_plain(pages: Sequence[Page], width: int | None = None) -> str:
    """Aligned text; past ``width`` long values go on in the next line."""
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
    of_function = row.label.replace("⁺", "^{+}").replace("⁻", "^{-}") if row.label.endswith(")") else None
    return row.latex_label or of_function or rf"\text{{{row.label}}}"


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


def _pages(value: Objective | Decomposition) -> list[Page]:
    if isinstance(value, Objective):
        return [loss_page(value) if value.is_loss else weights_page(decompose(value))]
    return [*([loss_page(value.loss)] if value.loss.is_loss else []), weights_page(value)]


def _line(objective: Objective) -> str:
    if objective.is_loss:
        return f"Objective({objective.name}: {plain(objective.expression())})"
    return f"Objective({_weights(decompose(objective).field)})"


display.MARKDOWN.update(
    {
        Objective: lambda objective: to_markdown(_pages(objective)),
        WeightField: lambda field: to_markdown([weights_page(field)]),
        Decomposition: lambda found: to_markdown(_pages(found)),
        Integrability: lambda verdict: to_markdown([integrability_page(verdict)]),
    }
)
display.LINES.update(
    {
        Objective: _line,
        TripletWeight: lambda weight: f"TripletWeight({weight.name}: T = {plain(weight.expression)})",
        PairWeights: lambda w: f"PairWeights({w.name}: P⁺ = {plain(w.positive)}, P⁻ = {plain(w.negative)})",
        WeightField: lambda field: f"WeightField({_weights(field)})",
        Decomposition: lambda found: f"Decomposition({_weights(found.field)})",
        Integrability: lambda verdict: (
            f"Integrability({_words(verdict.integrable, plain)}: {verdict.reason}"
            + ("" if verdict.loss is None else f"; L = {plain(verdict.loss)}")
            + ")"
        ),
    }
)


def _weights(field: WeightField) -> str:
    return f"{field.name}: " + ", ".join(f"{name} = {plain(weight)}" for name, weight in field.formulas.items())
