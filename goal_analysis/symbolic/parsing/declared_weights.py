"""Weights as users declare them in TOML: tables of formulas, read into values and written back."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sympy as sp

from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import (
    Counting,
    RelativeSimilarity,
    least_positive,
    other_negative,
    other_positive,
)
from goal_analysis.symbolic.parsing.declaration_table import Table, formula_in
from goal_analysis.symbolic.parsing.declared_hyperparameter import declared_hyperparameters, hyperparameters_to_mapping
from goal_analysis.symbolic.typesetting import plain
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

Weight = TypeVar("Weight", TripletWeight, PairWeights)
_OTHERS = {"positive": other_positive, "negative": other_negative}
_COUNTINGS = {counting.name.lower(): counting for counting in Counting}
_READ = {symbol.name: symbol for symbol in (s_p, s_n, other_positive, other_negative, least_positive)}
_BESIDES = ("name", "hyperparameters", "reference")


def triplet_weight_from_mapping(mapping: Mapping[str, Any]) -> TripletWeight:
    """Read a triplet weight.

    Args:
        mapping: ``formula``, T of s_p, s_n and ``hyperparameters`` (a number each, or a table of ``default``,
            ``domain`` and ``meaning``), with ``name`` and ``reference``.

    Raises:
        FormulaError: the formula is not understood; it shows the place.
        ValueError: a key, a name or a number is not one of those that are accepted.
        TypeError: a field holds something of another type.

    >>> triplet_weight_from_mapping({"formula": "sigmoid(tau*(s_n - s_p))", "hyperparameters": {"tau": 10}}).arguments
    ('s_n', 's_p')
    """
    table = Table(mapping, "triplet weight", ("formula", *_BESIDES))
    hyperparameters = declared_hyperparameters(table.table("hyperparameters"))
    symbols = {h.name: h.symbol for h in hyperparameters}
    return TripletWeight(
        name=_name(table),
        expression=formula_in(table, "formula", {**symbols, "s_p": s_p, "s_n": s_n}),
        hyperparameters=hyperparameters,
        reference=table.texts("reference"),
    )


def pair_weights_from_mapping(mapping: Mapping[str, Any]) -> PairWeights:
    """Read pair weights.

    Args:
        mapping: ``positive``, P⁺ of s_p, and ``negative``, P⁻ of s_n, of ``hyperparameters`` and of ``relative``
            similarities, with ``name`` and ``reference``. A relative similarity is a table of ``contribution`` and
            ``member``, formulas of s_p, s_n, o_p, o_n and l_p, ``other``, the kind of pair that it is a mean over, and
            ``counting`` and ``nonnegative``; see `RelativeSimilarity`.

    Raises:
        FormulaError: a formula is not understood; it shows the place.
        ValueError: a key, a name or a number is not one of those that are accepted.
        TypeError: a field holds something of another type.

    >>> pair_weights_from_mapping({"positive": "1 - s_p", "negative": "s_n"}).negative
    s_n
    """
    table = Table(mapping, "pair weights", ("positive", "negative", "relative", *_BESIDES))
    hyperparameters = declared_hyperparameters(table.table("hyperparameters"))
    symbols: dict[str, sp.Expr] = {h.name: h.symbol for h in hyperparameters}
    declared = table.table("relative")
    relative = tuple(_relative(declared, name, symbols) for name in declared)
    reads = symbols | {r.symbol.name: r.symbol for r in relative}
    return PairWeights(
        name=_name(table),
        positive=formula_in(table, "positive", {**reads, "s_p": s_p}),
        negative=formula_in(table, "negative", {**reads, "s_n": s_n}),
        hyperparameters=hyperparameters,
        relative=relative,
        reference=table.texts("reference"),
    )


def triplet_weight_to_mapping(weight: TripletWeight) -> dict[str, Any]:
    """Write a triplet weight so that `triplet_weight_from_mapping` reads an equal one.

    Raises:
        ValueError: the weight holds something that declarations cannot say.
    """
    mapping = _without_nothing({"formula": plain(weight.expression), **_besides(weight)})
    return _checked(weight, mapping, triplet_weight_from_mapping)


def pair_weights_to_mapping(weights: PairWeights) -> dict[str, Any]:
    """Write pair weights so that `pair_weights_from_mapping` reads equal ones.

    Raises:
        ValueError: the weights hold something that declarations cannot say.
    """
    relative = {r.symbol.name: _relative_to_mapping(r) for r in weights.relative}
    formulas = {"positive": plain(weights.positive), "negative": plain(weights.negative)}
    mapping = _without_nothing({**formulas, **_besides(weights), "relative": relative})
    return _checked(weights, mapping, pair_weights_from_mapping)


def _name(table: Table) -> str:
    name = table.text("name", "formula")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{table.where}: name: got {name!r} but expected an identifier, such as focal")
    return name


def _relative(declared: Table, name: str, symbols: Mapping[str, sp.Expr]) -> RelativeSimilarity:
    known = ("contribution", "other", "member", "counting", "nonnegative")
    table = Table(declared[name], f"{declared.where}: {name}", known)
    reads = {**symbols, **_READ}
    assumed = {"nonnegative": True} if table.flag("nonnegative") else {"real": True}
    if "other" not in table:
        raise ValueError(f"{table.where}: got no other but expected one of {', '.join(_OTHERS)}")
    return RelativeSimilarity(
        symbol=sp.Symbol(name, **assumed),
        contribution=formula_in(table, "contribution", reads),
        other=table.choice("other", _OTHERS, other_negative),
        member=formula_in(table, "member", reads),
        counting=table.choice("counting", _COUNTINGS, Counting.ALL),
    )


def _relative_to_mapping(relative: RelativeSimilarity) -> dict[str, Any]:
    return {
        "contribution": plain(relative.contribution),
        "other": "positive" if relative.other == other_positive else "negative",
        "member": plain(relative.member),
        "counting": relative.counting.name.lower(),
        "nonnegative": bool(relative.symbol.is_nonnegative),
    }


def _besides(weight: TripletWeight | PairWeights) -> dict[str, Any]:
    written = hyperparameters_to_mapping(weight.hyperparameters)
    return {"name": weight.name, "hyperparameters": written, "reference": list(weight.reference)}


def _without_nothing(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value not in ({}, [])}


def _checked(weight: Weight, mapping: dict[str, Any], read: Callable[[Mapping[str, Any]], Weight]) -> dict[str, Any]:
    problem = f"weight {weight.name!r}: got what declarations cannot say"
    try:
        read_back = read(mapping)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{problem}: {error}") from error
    if read_back != weight:
        raise ValueError(f"{problem}: it reads back as {read_back}")
    return mapping
