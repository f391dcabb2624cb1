"""``goal-analyze show``: one loss, or another objective, taken apart."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import goal_analysis as ga
from goal_analysis.cli import options
from goal_analysis.cli.kept import kept


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
    own: options.CatalogOption = None,
    assignments: options.SetOption = None,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the formulas in LaTeX.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show a loss, or another objective: its formula, its weights, whether they are integrable, and what they do.

    \b
    goal-analyze show circle
    goal-analyze show circle --set gamma=80 --latex
    goal-analyze show nca/linear
    goal-analyze show --formula "softplus(tau*(s_n - s_p))/tau" --set tau=10
    goal-analyze show mine --catalog my_losses.toml --json
    """
    options.expect_one({"a loss": loss, "--formula": formula})
    if as_latex + as_markdown + as_json > 1:
        options.refuse("got several of --latex, --markdown and --json but expected at most one")
    settings, width = options.settings_of(assignments), options.line_width()

    def shown() -> str:
        if formula:
            pages = _pages(options.of_formula(formula, settings))
        else:
            pages = _pages(options.objective_of(loss or "", own).with_settings(settings))
        from goal_analysis.symbolic.typesetting.pages import to_data, to_latex, to_markdown, to_plain

        if as_json:
            return options.json_of(to_data(pages))
        return to_latex(pages) if as_latex else to_markdown(pages) if as_markdown else to_plain(pages, width)

    typer.echo(kept(shown, "show", loss, formula, own, settings, as_latex, as_markdown, as_json, width))


def _pages(objective: ga.Objective) -> list[Any]:
    """The pages of a loss, or those of an objective on a batch."""
    if not objective.is_loss:
        return list(ga.describe(objective).pages)
    from goal_analysis.numeric.characteristics import characteristics_page
    from goal_analysis.symbolic.typesetting import pages

    decomposition = ga.decompose(objective)
    return [
        pages.loss_page(objective),
        pages.weights_page(decomposition),
        pages.integrability_page(ga.integrability(decomposition)),
        characteristics_page(ga.characteristics(decomposition)),
    ]
