"""``goal-analyze show``: one loss, or another objective, taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from goal_analysis.cli.kept import kept
from goal_analysis.cli.options import (
    CatalogOption,
    JsonOption,
    SetOption,
    json_of,
    line_width,
    objective_of,
    of_formula,
    refuse,
    settings_of,
)

if TYPE_CHECKING:
    from goal_analysis.symbolic.objective import Objective
    from goal_analysis.symbolic.typesetting.pages import Page


def show(
    loss: Annotated[
        str | None,
        typer.Argument(
            metavar="[OBJECTIVE]", help="A name that `list` prints, or an objective such as nca/linear@softmax:12."
        ),
    ] = None,
    formula: Annotated[
        str | None, typer.Option("--formula", help="Show the loss of one triplet that a formula of s_p and s_n says.")
    ] = None,
    own: CatalogOption = None,
    assignments: SetOption = None,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the formulas in LaTeX.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a loss, or another objective: its formula, its weights, whether they are integrable, and what they do.

    \b
    goal-analyze show circle
    goal-analyze show circle --set gamma=80 --latex
    goal-analyze show nca/linear
    goal-analyze show --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    goal-analyze show mine --catalog my_losses.toml --json
    """
    if (loss is None) == (formula is None):
        refuse("got " + ("neither" if loss is None else "both") + " a loss and --formula but expected one of them")
    if as_latex + as_markdown + as_json > 1:
        refuse("got several of --latex, --markdown and --json but expected at most one")
    settings, width = settings_of(assignments), line_width()

    def shown() -> str:
        chosen = of_formula(formula, settings) if formula else objective_of(loss or "", own).with_settings(settings)
        from goal_analysis.symbolic.typesetting.pages import to_data, to_latex, to_markdown, to_plain

        pages = _pages(chosen)
        if as_json:
            return json_of(to_data(pages))
        return to_latex(pages) if as_latex else to_markdown(pages) if as_markdown else to_plain(pages, width)

    typer.echo(kept(shown, "show", loss, formula, own, settings, as_latex, as_markdown, as_json, width))


def _pages(objective: Objective) -> list[Page]:
    """The pages of a loss, or those of an objective on a batch."""
    if not objective.is_loss:
        from goal_analysis.recombination.description import described
        from goal_analysis.recombination.verdict import verdict

        return list(described(objective, verdict(objective)).pages)
    from goal_analysis.numeric.characteristics import characteristics, characteristics_page
    from goal_analysis.symbolic.analysis.decomposition import decompose
    from goal_analysis.symbolic.analysis.integrability import integrability
    from goal_analysis.symbolic.typesetting.pages import integrability_page, loss_page, weights_page

    decomposition = decompose(objective)
    return [
        loss_page(objective),
        weights_page(decomposition),
        integrability_page(integrability(decomposition)),
        characteristics_page(characteristics(decomposition)),
    ]
