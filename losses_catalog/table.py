"""The tables of the README, made from the values: `python -m losses_catalog.table` writes them anew."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import sympy as sp

from goal_analysis.files import write_whole
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.aggregators import Pool, Side
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.typesetting import plain
from losses_catalog import catalog, pair_weights, triplet_weights

README = Path(__file__).with_name("README.md")
BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def catalog_table(losses: Iterable[Objective] = catalog) -> str:
    """Every loss with its formula and what follows from it: its weights, and whether they are a gradient."""
    header = ("loss", "s", "of one anchor", "T", "P⁺", "P⁻", "separable", "integrable", "reference")
    return _table(header, map(_loss_row, losses))


def weights_tables() -> str:
    """The weights that come from no loss: the triplet weights, then the pair weights."""
    of_triplets = [(f"`{t.name}`", _code(t.expression), _links(t.reference)) for t in triplet_weights]
    of_pairs = [(f"`{p.name}`", _code(p.positive), _code(p.negative), _links(p.reference)) for p in pair_weights]
    return "\n\n".join(
        (
            _table(("triplet weight", "T", "reference"), of_triplets),
            _table(("pair weights", "P⁺", "P⁻", "reference"), of_pairs),
        )
    )


def formula(loss: Objective) -> str:
    """The loss of one anchor in a line, with the aggregators as functions of a pair.

    >>> from losses_catalog.vse_pp import vse_pp_loss
    >>> formula(vse_pp_loss)
    'hinge(margin + max(s_n) - each(s_p))'
    """
    return " + ".join(map(_with_aggregators, loss.terms))


def with_tables(readme: str, tables: str) -> str:
    """The text of a README with ``tables`` between its two markers.

    Raises:
        ValueError: the markers are not there once each, in order.
    """
    before, *after_begin = readme.split(BEGIN)
    _, *after_end = after_begin[0].split(END) if len(after_begin) == 1 else [""]
    if len(after_end) != 1:
        raise ValueError(f"README: expected {BEGIN!r} and after it {END!r}, each once")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after_end[0]}"


def rewrite(path: Path = README) -> None:
    """Write the tables into a README."""
    write_whole(path, with_tables(path.read_text(encoding="utf-8"), f"{catalog_table()}\n\n{weights_tables()}"))


def _loss_row(loss: Objective) -> tuple[str, ...]:
    decomposition = decompose(loss)
    factors = decomposition.field.factors
    weights = (
        ("does not separate", "", "")
        if factors is None
        else (_code(factors.triplet), _code(factors.positive), _code(factors.negative))
    )
    verdicts = (decomposition.separable, integrability(decomposition).integrable)
    return (
        f"[`{loss.name}`]({loss.name}.py)",
        loss.similarity.formula,
        f"`{formula(loss)}`",
        *weights,
        *({True: "yes", False: "no", None: "open"}[verdict] for verdict in verdicts),
        _links(loss.reference),
    )


def _with_aggregators(term: Term) -> str:
    aggregates = {str(x): _aggregate(side) for x, _, side in term.aggregates}
    return re.sub(r"\w+", lambda word: aggregates.get(word[0], word[0]), plain(term.effective_outer))


def _aggregate(side: Side) -> str:
    pool = [] if side.pool is Pool.OWN else [side.pool.value]
    options = ", ".join((*map(plain, side.aggregator.parameters), *pool))
    return f"{side.aggregator.name}{options and f'[{options}]'}({plain(side.inner)})"


def _links(keys: Iterable[str]) -> str:
    return ", ".join(f"[{key}]({_addresses()[key]})" for key in keys)


@cache
def _addresses() -> dict[str, str]:
    """Where every entry of the bibliography lies."""
    entry = re.compile(r"@\w+\{(\w+),.*?\burl\s*=\s*\{(.*?)\}", re.DOTALL)
    return dict(entry.findall(BIBLIOGRAPHY.read_text(encoding="utf-8")))


def _code(expression: sp.Expr) -> str:
    return f"`{plain(expression)}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    rewrite()
