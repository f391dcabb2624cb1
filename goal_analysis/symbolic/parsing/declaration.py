"""Losses and weights as users declare them in TOML: tables of formulas, read into values and written back."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any

import sympy as sp

from goal_analysis.declarations import Table, Words, naming
from goal_analysis.symbolic.language.aggregators import AGGREGATORS, EACH, SCALED, Aggregator, Pool, Side
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, interval_text, positive, real
from goal_analysis.symbolic.language.primitives import (
    carried_by,
    count_n,
    count_p,
    gap,
    s_n,
    s_p,
    total,
    x_n,
    x_p,
    y_n,
    y_p,
)
from goal_analysis.symbolic.language.similarity import (
    READ,
    Counting,
    RelativeSimilarity,
    other_negative,
    other_positive,
)
from goal_analysis.symbolic.objective import WORDS, Named, Objective, Term
from goal_analysis.symbolic.parsing.arithmetic import Arithmetic, Refused
from goal_analysis.symbolic.parsing.formula import FormulaError, parse
from goal_analysis.symbolic.typesetting import plain
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

Symbols = Mapping[str, sp.Expr]

_SIDES = {"positives": (s_p, x_p), "negatives": (s_n, x_n)}
_KINDS = ("title", "reference", *WORDS, "learned", "proxies", "grouped", "note")
_POOLS = {pool.name.lower(): pool for pool in Pool}
_AGGREGATORS = {aggregator.name: aggregator for aggregator in AGGREGATORS}
_OTHERS = {"positive": other_positive, "negative": other_negative}
_COUNTINGS = {counting.name.lower(): counting for counting in Counting}
_WEIGHTS = {
    TripletWeight: ("triplet weight", {"formula": ("expression", (s_p, s_n))}),
    PairWeights: ("pair weights", {"positive": ("positive", (s_p,)), "negative": ("negative", (s_n,))}),
}
"""What weights are called, and the keys of their formulas with the fields and what they read."""


# --- losses --------------------------------------------------------------------------------------


def losses_from_mapping(mapping: Mapping[str, Any]) -> tuple[Objective, ...]:
    """Read a document of losses, ``{"losses": {name: declaration}}``, each as `loss_from_mapping` does."""
    tables = Table(mapping, "losses", ("losses",)).table("losses")
    return tuple(loss_from_mapping(name, tables[name]) for name in tables)


def loss_of_formula(formula: str, settings: Mapping[str, float]) -> Objective:
    """The loss that a formula of s_p, s_n and the names of ``settings`` declares, which is its name too."""
    declared = {"formula": formula, "hyperparameters": dict(settings), "title": formula}
    return replace(loss_from_mapping("formula", declared), name=" ".join(formula.split()))


def loss_from_mapping(name: str, mapping: Mapping[str, Any]) -> Objective:
    """Read the declaration of a loss.

    The short form is a ``formula`` of s_p and s_n, of each triplet or of the aggregates that ``positives`` and
    ``negatives`` name. The long form is a list of ``terms``: an ``outer`` formula of gap, x_p and x_n, of count_p and
    count_n and of further aggregates, and the sides, each an aggregator's name or a table of ``aggregator``, ``inner``,
    ``pool`` and perhaps ``temperature``. The table ``named`` holds such tables of the further aggregates. Inner
    functions read s_p on the side of the positives, and s_n, or s_n with the own s_p, everywhere else. ``total`` is a
    formula of the sum of an anchor's values of ``outer``. What pairs carry is y_p and y_n.

    A hyperparameter is a number, whose domain is ``(0, inf)`` if it is positive and else the reals, or a table. A
    formula that is not understood is a `FormulaError` with the place; an unknown key, name or value is a ValueError.
    """
    table = Table(mapping, f"loss {name!r}", ("formula", "terms", *_SIDES, "hyperparameters", *_KINDS))
    hyperparameters, symbols = _hyperparameters(table)
    if ("formula" in table) == ("terms" in table):
        given = "both formula and terms" if "terms" in table else "neither formula nor terms"
        raise ValueError(f"{table.where}: got {given} but expected one of them")
    if "terms" in table:
        for side in _SIDES:
            if side in table:
                raise ValueError(f"{table.where}: got {side} beside terms but expected it in each of the terms")
        keys = ("outer", "named", "total", *_SIDES)
        terms = tuple(_term(term, "outer", symbols) for term in table.tables("terms", keys))
    else:
        terms = (_term(table, "formula", symbols),)
    return Objective(
        name=name,
        title=table.read("title", str, name),
        terms=terms,
        hyperparameters=hyperparameters,
        reference=_reference(table),
        **{name: table.choice(name, known) for name, known in WORDS.items() if name in table},
        learned=table.read("learned", str | list[str], ()),
        proxies=table.read("proxies", bool, False),
        grouped=_aggregator(_aggregated(table, "grouped"), symbols) if "grouped" in table else None,
        note=table.read("note", str, ""),
    )


def loss_to_mapping(loss: Objective) -> dict[str, Any]:
    """Write a loss in the long form, so that `loss_from_mapping` reads an equal one; else it is a ValueError."""
    mapping: dict[str, Any] = {
        "title": loss.title,
        "terms": [_said_of_term(term) for term in loss.terms],
        **_said_of_all(loss),
        "similarity": loss.similarity.name,
        "anchors": loss.anchors.name.lower(),
        "reduction": loss.reduction.value,
        "learned": list(loss.learned),
        "proxies": loss.proxies,
        "grouped": loss.grouped and _said_of_aggregator(loss.grouped),
        "note": loss.note,
    }
    return _checked(f"loss {loss.name!r}", loss, mapping, lambda said: loss_from_mapping(loss.name, said))


def _term(table: Table, key: str, symbols: Symbols) -> Term:
    short, others = key == "formula", table.table("named")
    named = tuple(Named(name, _side(others, name, symbols)) for name in others)
    reads = {"s_p": x_p, "s_n": x_n} if short else _by_name(x_p, x_n, *(one.symbol for one in named))
    besides = _by_name(count_p, count_n, y_p, y_n)
    outer = _formula(table, key, {**symbols, **besides, "gap": gap, **reads})
    sides: dict[str, Any] = {side: _side(table, side, symbols, short) for side in _SIDES if side in table}
    for side, (variable, aggregated) in _SIDES.items() if short else ():
        if aggregated in outer.free_symbols:
            sides.setdefault(side, EACH(variable))
        elif side in table:
            raise ValueError(f"{table.where}: got {side} but expected none, as the formula has no {variable}")
    if short and not sides:
        raise ValueError(f"{table.where}: formula: got {outer} but expected a formula of s_p or s_n")
    whole = _formula(table, "total", {**symbols, "total": total}) if "total" in table else None
    return Term(outer=outer, named=named, total=whole, **sides)


def _side(table: Table, side: str, symbols: Symbols, short: bool = False) -> Side:
    variable, this = _SIDES.get(side, (s_n,))[0], _aggregated(table, side, "pool", *(() if short else ("inner",)))
    reads = {**symbols, **_by_name(s_p, y_p, variable, carried_by(variable))}
    inner = _formula(this, "inner", reads) if "inner" in this else variable
    return _aggregator(this, symbols)(inner, this.choice("pool", _POOLS, Pool.OWN))


def _aggregated(table: Table, key: str, *keys: str) -> Table:
    given = {"aggregator": table[key]} if isinstance(table[key], str) else table[key]
    return Table(given, f"{table.where}: {key}", ("aggregator", *keys, "temperature"))


def _aggregator(table: Table, symbols: Symbols) -> Aggregator:
    aggregator = table.choice("aggregator", _AGGREGATORS | SCALED, EACH)
    if not isinstance(aggregator, Aggregator):
        return aggregator(_formula(table, "temperature", symbols))
    if "temperature" in table:
        raise ValueError(f"{table.where}: got a temperature but expected it for {', '.join(SCALED)} alone")
    return aggregator


def _said_of_term(term: Term) -> dict[str, Any]:
    formulas = {"outer": term.outer, "total": term.total}
    sides = {name: getattr(term, name) for name in _SIDES}
    said: dict[str, Any] = {name: plain(formula) for name, formula in formulas.items() if formula is not None}
    said |= {name: _said_of_side(side) for name, side in sides.items() if side is not None}
    return said | ({"named": {one.name: _said_of_side(one.side) for one in term.named}} if term.named else {})


def _said_of_side(side: Side) -> dict[str, Any]:
    pool = {} if side.pool is Pool.OWN else {"pool": side.pool.name.lower()}
    return {"inner": plain(side.inner), **_said_of_aggregator(side.aggregator), **pool}


def _said_of_aggregator(aggregator: Aggregator) -> dict[str, Any]:
    values = (aggregator.name, *map(plain, aggregator.parameters))
    return dict(zip(("aggregator", "temperature"), values, strict=False))


# --- weights -------------------------------------------------------------------------------------


def weight_from_mapping(kind: type[Any], mapping: Mapping[str, Any]) -> Any:
    """Read a `TripletWeight`, of the ``formula`` T, or `PairWeights`, of ``positive``, P⁺, and ``negative``, P⁻.

    A relative similarity is a table of ``contribution`` and ``member``, formulas of s_p, s_n, o_p, o_n and l_p,
    ``other``, the kind of pair that it is a mean over, and ``counting`` and ``nonnegative``; see `RelativeSimilarity`.
    """
    called, formulas = _WEIGHTS[kind]
    relatives = ("relative",) if kind is PairWeights else ()
    table = Table(mapping, called, (*formulas, *relatives, "name", "hyperparameters", "reference"))
    hyperparameters, symbols = _hyperparameters(table)
    declared = table.table("relative")
    relative = tuple(_relative(declared, name, symbols) for name in declared)
    symbols |= _by_name(*(r.symbol for r in relative))
    name = table.read("name", str, "formula")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{table.where}: name: got {name!r} but expected an identifier, such as focal")
    return kind(
        name=name,
        hyperparameters=hyperparameters,
        reference=_reference(table),
        **({"relative": relative} if relatives else {}),
        **{field: _formula(table, key, symbols | _by_name(*reads)) for key, (field, reads) in formulas.items()},
    )


def weight_to_mapping(weight: TripletWeight | PairWeights) -> dict[str, Any]:
    """Write a weight so that `weight_from_mapping` reads an equal one."""
    mapping = {
        **{key: plain(getattr(weight, field)) for key, (field, _) in _WEIGHTS[type(weight)][1].items()},
        "name": weight.name,
        **_said_of_all(weight),
        "relative": {r.symbol.name: _said_of_relative(r) for r in getattr(weight, "relative", ())},
    }
    return _checked(f"weight {weight.name!r}", weight, mapping, lambda said: weight_from_mapping(type(weight), said))


def _relative(declared: Table, name: str, symbols: Symbols) -> RelativeSimilarity:
    known = ("contribution", "other", "member", "counting", "nonnegative")
    table, reads = Table(declared[name], f"{declared.where}: {name}", known), {**symbols, **_by_name(*READ)}
    return RelativeSimilarity(
        symbol=sp.Symbol(name, **{"nonnegative" if table.read("nonnegative", bool, False) else "real": True}),
        contribution=_formula(table, "contribution", reads),
        other=table.choice("other", _OTHERS),
        member=_formula(table, "member", reads),
        counting=table.choice("counting", _COUNTINGS, Counting.ALL),
    )


def _said_of_relative(relative: RelativeSimilarity) -> dict[str, Any]:
    return {
        "contribution": plain(relative.contribution),
        "other": "positive" if relative.other == other_positive else "negative",
        "member": plain(relative.member),
        "counting": relative.counting.name.lower(),
        "nonnegative": bool(relative.symbol.is_nonnegative),
    }


# --- what losses and weights share ---------------------------------------------------------------


def interval_from_text(text: str) -> sp.Interval:
    """Read an interval of two ends, each ``inf`` or a constant formula, the inverse of `interval_text`."""
    match = re.fullmatch(r"\s*([(\[])\s*([^,]*?)\s*,\s*([^,]*?)\s*([)\]])\s*", text)
    if match is None:
        raise ValueError(f"got {text[:60]!r} but expected an interval such as '(0, inf)' or '[-1, 1]'")
    infinite = {"inf": sp.oo, "+inf": sp.oo, "-inf": -sp.oo}
    start, end = (infinite.get(part) or parse(part, {}) for part in match.group(2, 3))
    try:
        if start.is_finite and end.is_finite:
            Arithmetic().checked(end - start)  # SymPy may search for the sign of a hidden zero forever
    except Refused as reason:
        raise ValueError(f"got {text[:60]!r} but expected ends that are clearly apart: {reason}") from None
    interval = sp.Interval(start, end, match[1] == "(", match[4] == ")")
    if not isinstance(interval, sp.Interval):
        raise ValueError(f"got {text!r} but expected an interval whose start lies before its end")
    return interval


def _by_name(*symbols: sp.Symbol) -> dict[str, sp.Expr]:
    return {symbol.name: symbol for symbol in symbols}


def _formula(table: Table, key: str, symbols: Symbols) -> sp.Expr:
    text = str(table.read(key, Annotated[str | int | float, Words("a formula")]))
    try:
        return parse(text, symbols)
    except FormulaError as error:
        raise error.within(f"{table.where}: {key}") from None


def _reference(table: Table) -> tuple[str, ...]:
    given = table.read("reference", str | list[str], [])
    return (given,) if isinstance(given, str) else tuple(given)


def _hyperparameters(table: Table) -> tuple[tuple[Hyperparameter, ...], dict[str, sp.Expr]]:
    declared = table.table("hyperparameters")
    hyperparameters = tuple(_hyperparameter(declared, name) for name in declared)
    return hyperparameters, {h.name: h.symbol for h in hyperparameters}


def _hyperparameter(declared: Table, name: str) -> Hyperparameter:
    given = declared[name] if isinstance(declared[name], Mapping) else {"default": declared[name]}
    table = Table(given, f"{declared.where}: {name}", ("default", "domain", "meaning"))
    default, meaning = table.number("default"), table.read("meaning", str, "")
    default = sp.Rational(default) if isinstance(default, Fraction) else default
    domain, where = positive if default > 0 else real, f"{table.where}: domain"
    text = table.read("domain", str, None)
    try:
        domain = domain if text is None else interval_from_text(text)
        where = declared.where
        return Hyperparameter(name, default, domain, meaning)
    except FormulaError as error:
        raise error.within(where) from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _said_of_all(value: Objective | TripletWeight | PairWeights) -> dict[str, Any]:
    hyperparameters = {
        h.name: {"default": _plain_number(h.default), "domain": interval_text(h.domain), "meaning": h.meaning}
        for h in value.hyperparameters
    }
    return {"hyperparameters": hyperparameters, "reference": list(value.reference)}


def _plain_number(number: Any) -> Any:
    if isinstance(number, int | float):
        return number
    return float(number) if isinstance(number, sp.Float) else str(number)


def _checked(whose: str, value: object, mapping: dict[str, Any], read: Callable[[Any], Any]) -> dict[str, Any]:
    """What a value is said by, without what is empty, once it reads back as the value."""
    problem, mapping = (
        f"{whose}: got what declarations cannot say",
        {key: said for key, said in mapping.items() if said},
    )
    with naming(problem):
        read_back = read(mapping)
    if read_back != value:
        raise ValueError(f"{problem}: it reads back as {read_back}")
    return mapping
