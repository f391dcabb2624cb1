"""Objectives as users declare them in TOML, read into values and written back.

triplet = "nca"          # a name, or a table: formula, hyperparameters, name
pair = "linear"          # a name, or a table: positive, negative, hyperparameters, relative, name
mining = "softmax:12"
similarity = "cosine"
direction = "cosine"     # by default the similarity's own
reduction = "sum"
anchors = "both"

[settings]
tau = 12
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from goal_analysis.declarations import Table, read_toml
from goal_analysis.recombination.composition.compact import changed_settings
from goal_analysis.recombination.composition.minings import direction_of, direction_text, mining_of, mining_text
from goal_analysis.recombination.composition.parts import TWIN, Parts, side_by_side, twin_of
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.language.similarity import COSINE
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.parsing.declaration import (
    ANCHORS_OF,
    REDUCTION_OF,
    SIMILARITY_OF,
    pair_weights_from_mapping,
    pair_weights_to_mapping,
    triplet_weight_from_mapping,
    triplet_weight_to_mapping,
)
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

MAX_CHARACTERS = 100_000
"""Characters of a declaration."""

KEYS = ("triplet", "pair", "mining", "similarity", "direction", "reduction", "anchors", "settings")


def from_toml(text: str, parts: Parts = Parts()) -> GradientObjective:  # noqa: B008 - a frozen value
    """The objective that a TOML document declares.

    Args:
        text: the document; only ``triplet`` and ``pair`` are needed.
        parts: what the names of weights stand for.

    Raises:
        FormulaError: a formula is not understood; it shows the place.
        ValueError: no TOML, or a key, a name or a number that is not one of those that are accepted.
        TypeError: a key holds something of another type.

    >>> from_toml('''
    ... mining = "softmax:12"
    ... triplet = { formula = "sigmoid(tau*(s_n - s_p))", hyperparameters = { tau = 10 } }
    ... pair = { positive = "1 - s_p", negative = "s_n" }
    ... ''').field.positive
    (1 - s_p)*sigmoid(tau*(s_n - s_p))
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"objective: got {len(text):,} characters but expected up to {MAX_CHARACTERS:,}")
    try:
        document = read_toml(text)
    except ValueError as problem:
        raise ValueError(f"objective: got what is no TOML: {problem}") from None
    table = Table(document, "objective", KEYS)
    settings = table.table("settings")
    t, p = _weights(table, parts)
    return GradientObjective(
        t,
        p,
        mining_of(table.text("mining", "hardest")),
        table.choice("similarity", SIMILARITY_OF, COSINE),
        direction_of(table.text("direction")) if "direction" in table else None,
        table.choice("reduction", REDUCTION_OF, Reduction.SUM),
        table.choice("anchors", ANCHORS_OF, Anchors.BOTH),
        {name: float(settings.number(name)) for name in settings},
    )


def to_toml(objective: GradientObjective, parts: Parts = Parts()) -> str:  # noqa: B008 - a frozen value
    """The TOML document that `from_toml` reads as this objective.

    Args:
        objective: any whose formulas have names.
        parts: weights that are written as names; all others are written as formulas.

    Raises:
        ValueError: the objective holds something that declarations cannot say.

    >>> from losses_catalog.weights import constant_pair, nca_triplet
    >>> print(to_toml(GradientObjective(nca_triplet, constant_pair), Parts((nca_triplet,), (constant_pair,))))
    triplet = "nca"
    pair = "constant"
    mining = "hardest"
    similarity = "cosine"
    reduction = "sum"
    anchors = "both"
    """
    triplet, pair = objective.triplet_weight, objective.pair_weights
    named = _name_of_pair(pair, triplet, parts)
    by_name = named is not None and _goes_by_name(triplet, named, parts)
    document: dict[str, Any] = {
        "triplet": triplet.name if by_name else triplet_weight_to_mapping(triplet),
        "pair": pair_weights_to_mapping(pair) if named is None else named,
        "mining": mining_text(objective.mining),
        "similarity": objective.similarity.name,
        **({} if objective.direction is None else {"direction": direction_text(objective.direction)}),
        "reduction": objective.reduction.value,
        "anchors": objective.anchors.name.lower(),
        "settings": changed_settings(objective),
    }
    return "\n".join(_lines(document)) + "\n"


def _weights(table: Table, parts: Parts) -> tuple[TripletWeight, PairWeights]:
    missing = [key for key in ("triplet", "pair") if key not in table]
    if missing:
        raise ValueError(f"{table.where}: got no {missing[0]} but expected a name or a table of formulas")
    triplet, pair = table["triplet"], table["pair"]
    weights = parts.pair(pair) if isinstance(pair, str) else pair_weights_from_mapping(pair)
    if not isinstance(triplet, str):
        return side_by_side(triplet_weight_from_mapping(triplet), weights)
    t, p = side_by_side(parts.triplet(triplet.removesuffix(TWIN)), weights)
    return (twin_of(t, p) if triplet.endswith(TWIN) else t), p


def _name_of_pair(pair: PairWeights, triplet: TripletWeight, parts: Parts) -> str | None:
    """The name of pair weights that stand among the parts, as they are beside this triplet weight."""
    known = next((p for p in parts.pair_weights if p.name == pair.name), None)
    return pair.name if known is not None and pair in (known, side_by_side(triplet, known)[1]) else None


def _goes_by_name(triplet: TripletWeight, pair: str, parts: Parts) -> bool:
    """Whether a triplet weight, or the one whose twin it is, stands among the parts."""
    try:
        return parts.resolved(triplet.name, pair)[0] == triplet
    except (ValueError, NoTwin):
        return False


def _lines(document: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Numbers and texts first, then tables."""
    tables = {key: value for key, value in document.items() if isinstance(value, dict) and value}
    for key, value in document.items():
        if not isinstance(value, dict):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        place = f"{path}{_key(key)}"
        if not all(isinstance(inner, dict) for inner in value.values()):
            yield f"\n[{place}]"
        yield from _lines(value, f"{place}.")


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "a").isalnum() else _value(key)


def _value(value: Any) -> str:
    """A text, a number, a boolean or a list of them; the escapes of JSON are TOML's too, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
