"""Losses as users declare them in TOML: tables of formulas, read into values and written back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from goal_analysis.symbolic.language.aggregators import AGGREGATORS, EACH, Aggregator, Pool, Side, softmax_active
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE
from goal_analysis.symbolic.objective import Anchors, Reduction, SymbolicLoss, Term
from goal_analysis.symbolic.parsing.declaration_table import Table, formula_in
from goal_analysis.symbolic.parsing.declared_hyperparameter import declared_hyperparameters, hyperparameters_to_mapping
from goal_analysis.symbolic.parsing.declared_names import ANCHORS_OF, REDUCTION_OF, SIMILARITY_OF
from goal_analysis.symbolic.typesetting import plain

Symbols = Mapping[str, sp.Symbol]
_SIDES = {"positives": (s_p, x_p), "negatives": (s_n, x_n)}
_KINDS = ("title", "reference", "similarity", "anchors", "reduction", "proxies", "note")
_FIELDS = ("formula", "terms", *_SIDES, "hyperparameters", *_KINDS)
_POOLS = {pool.name.lower(): pool for pool in Pool}
_AGGREGATORS = {aggregator.name: aggregator for aggregator in AGGREGATORS}
_SOFTMAX_ACTIVE = "softmax_active"


def losses_from_mapping(mapping: Mapping[str, Any]) -> tuple[SymbolicLoss, ...]:
    """Read a document of losses, ``{"losses": {name: declaration}}``.

    Args:
        mapping: the document; `loss_from_mapping` says what a declaration holds.

    Raises:
        ValueError: a name or a number is not one of those that are accepted.
        TypeError: a field holds something of another type.

    >>> [loss.name for loss in losses_from_mapping({"losses": {"difference": {"formula": "s_n - s_p"}}})]
    ['difference']
    """
    tables = Table(mapping, "losses", ("losses",)).table("losses")
    return tuple(loss_from_mapping(name, tables[name]) for name in tables)


def loss_from_mapping(name: str, mapping: Mapping[str, Any]) -> SymbolicLoss:
    """Read the declaration of a loss.

    The short form is a ``formula`` of s_p and s_n, applied to each triplet, or to what the aggregators that
    ``positives`` and ``negatives`` name make of them. The long form is a list of ``terms``: an ``outer``
    formula of gap, x_p and x_n, and the sides ``positives`` and ``negatives``, each an aggregator's name or
    a table of ``aggregator``, ``inner``, ``pool`` and, for softmax_active, ``temperature``.

    Args:
        name: an identifier.
        mapping: either form, with ``hyperparameters`` (a number, whose domain is ``(0, inf)`` if it is
            positive and else the reals, or a table of ``default``, ``domain`` and ``meaning``), ``title``,
            ``reference``, ``similarity``, ``anchors``, ``reduction``, ``proxies`` and ``note``.

    Raises:
        FormulaError: a formula is not understood; it shows the place.
        ValueError: a name or a number is not one of those that are accepted.
        TypeError: a field holds something of another type.

    >>> loss = loss_from_mapping("nca", {"formula": "softplus(tau*gap)/tau", "hyperparameters": {"tau": 10}})
    >>> loss.expression(), loss.hyperparameters[0].domain
    (softplus(tau*(s_n - s_p))/tau, Interval.open(0, oo))
    """
    table = Table(mapping, f"loss {name!r}", _FIELDS)
    hyperparameters = declared_hyperparameters(table.table("hyperparameters"))
    symbols = {h.name: h.symbol for h in hyperparameters}
    if ("formula" in table) == ("terms" in table):
        given = "both formula and terms" if "terms" in table else "neither formula nor terms"
        raise ValueError(f"{table.where}: got {given} but expected one of them")
    terms = (_short_term(table, symbols),) if "formula" in table else _long_terms(table, symbols)
    return SymbolicLoss(
        name=name,
        title=table.text("title", name),
        terms=terms,
        hyperparameters=hyperparameters,
        reference=table.texts("reference"),
        similarity=table.choice("similarity", SIMILARITY_OF, COSINE),
        anchors=table.choice("anchors", ANCHORS_OF, Anchors.BOTH),
        reduction=table.choice("reduction", REDUCTION_OF, Reduction.MEAN),
        proxies=table.flag("proxies"),
        note=table.text("note", ""),
    )


def loss_to_mapping(loss: SymbolicLoss) -> dict[str, Any]:
    """Write a loss in the long form, so that `loss_from_mapping` reads an equal one.

    Args:
        loss: any whose formulas and aggregators have names.

    Raises:
        ValueError: the loss holds something that declarations cannot say.

    >>> from goal_analysis.symbolic.language.primitives import hinge
    >>> term = Term(outer=hinge(gap), negatives=EACH(s_n))
    >>> loss_to_mapping(SymbolicLoss(name="hinged", title="Hinged", terms=(term,)))["terms"]
    [{'outer': 'hinge(x_n - x_p)', 'negatives': {'inner': 's_n', 'aggregator': 'each'}}]
    """
    mapping: dict[str, Any] = {
        "title": loss.title,
        "terms": [_term_to_mapping(term) for term in loss.terms],
        "hyperparameters": hyperparameters_to_mapping(loss.hyperparameters),
        "reference": list(loss.reference),
        "similarity": loss.similarity.name,
        "anchors": loss.anchors.name.lower(),
        "reduction": loss.reduction.value,
        "proxies": loss.proxies,
        "note": loss.note,
    }
    problem = f"loss {loss.name!r}: got what declarations cannot say"
    try:
        read_back = loss_from_mapping(loss.name, mapping)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{problem}: {error}") from error
    if read_back != loss:
        raise ValueError(f"{problem}: it reads back as {read_back}")
    return mapping


def _short_term(table: Table, symbols: Symbols) -> Term:
    outer = formula_in(table, "formula", {**symbols, "s_p": x_p, "s_n": x_n, "gap": gap})
    sides: dict[str, Side] = {}
    for side, (variable, aggregated) in _SIDES.items():
        if aggregated in outer.free_symbols:
            sides[side] = _side(table, side, symbols, keys=()) if side in table else EACH(variable)
        elif side in table:
            raise ValueError(f"{table.where}: got {side} but expected none, as the formula has no {variable}")
    if not sides:
        raise ValueError(f"{table.where}: formula: got {outer} but expected a formula of s_p or s_n")
    return Term(outer=outer, **sides)


def _long_terms(table: Table, symbols: Symbols) -> tuple[Term, ...]:
    for side in _SIDES:
        if side in table:
            raise ValueError(f"{table.where}: got {side} beside terms but expected it in each of the terms")
    return tuple(_long_term(term, symbols) for term in table.tables("terms", ("outer", *_SIDES)))


def _long_term(table: Table, symbols: Symbols) -> Term:
    outer = formula_in(table, "outer", {**symbols, "x_p": x_p, "x_n": x_n, "gap": gap})
    return Term(outer=outer, **{side: _side(table, side, symbols) for side in _SIDES if side in table})


def _side(table: Table, side: str, symbols: Symbols, keys: tuple[str, ...] = ("inner",)) -> Side:
    value, variable = table[side], _SIDES[side][0]
    fields = {"aggregator": value} if isinstance(value, str) else value
    this = Table(fields, f"{table.where}: {side}", ("aggregator", "pool", "temperature", *keys))
    inner = formula_in(this, "inner", {**symbols, variable.name: variable}) if "inner" in this else variable
    return _aggregator(this, symbols)(inner, this.choice("pool", _POOLS, Pool.OWN))


def _aggregator(table: Table, symbols: Symbols) -> Aggregator:
    aggregator = table.choice("aggregator", {**_AGGREGATORS, _SOFTMAX_ACTIVE: None}, EACH)
    if aggregator is None:
        return softmax_active(formula_in(table, "temperature", symbols))
    if "temperature" in table:
        raise ValueError(f"{table.where}: got a temperature but expected it for {_SOFTMAX_ACTIVE} alone")
    return aggregator


def _term_to_mapping(term: Term) -> dict[str, Any]:
    sides = {"positives": term.positives, "negatives": term.negatives}
    given = {name: _side_to_mapping(side) for name, side in sides.items() if side is not None}
    return {"outer": plain(term.outer), **given}


def _side_to_mapping(side: Side) -> dict[str, Any]:
    mapping = {"inner": plain(side.inner), "aggregator": side.aggregator.name}
    if side.pool is not Pool.OWN:
        mapping["pool"] = side.pool.name.lower()
    if side.aggregator.parameters:
        mapping["temperature"] = plain(side.aggregator.parameters[0])
    return mapping
