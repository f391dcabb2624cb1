"""Objectives in one line of text: ``nca(tau=12)/linear@softmax:12``.

    TRIPLET[(name=value, …)]/PAIR[(name=value, …)][@MINER[:number[,number…]]]

A triplet weight's name with ``_twin`` at its end is its integrable twin beside these pair weights. Each weight's
hyperparameters are set in its own parentheses, by its own names; one that both have in common is set once, in either.
Without a miner it is ``hardest``. What the line does not say, `to_toml` does: direction, similarity, reduction and
anchors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from goal_analysis.declarations import number_of, number_text, one_of
from goal_analysis.numeric.similarity import Direction
from goal_analysis.recombination.composition.minings import mining_of, mining_text
from goal_analysis.recombination.composition.parts import OF_PAIR, Parts
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, exact
from goal_analysis.symbolic.language.similarity import COSINE, Similarity
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.weight import TripletWeight

MAX_CHARACTERS = 500
"""Characters of an objective in one line."""

_WEIGHT = r"\s*([^\W\d]\w*)\s*(?:\(([^()]*)\))?\s*"
_OBJECTIVE = re.compile(rf"{_WEIGHT}/{_WEIGHT}(?:@([^@]*))?")
EXAMPLE = "nca(tau=12)/linear@softmax:12"


def parse_objective(
    text: str,
    parts: Parts,
    *,
    similarity: Similarity = COSINE,
    direction: Direction | None = None,
    reduction: Reduction = Reduction.SUM,
    anchors: Anchors = Anchors.BOTH,
    settings: Mapping[str, float | int] | None = None,
) -> GradientObjective:
    """The objective of a line of text.

    Args:
        text: a line as above.
        parts: what the names stand for.
        similarity: see `GradientObjective`, as the others.
        direction: where the weights move embeddings.
        reduction: over the anchors.
        anchors: which axes are queries.
        settings: hyperparameters besides those of the text.

    Raises:
        ValueError: the text, with what of it was not understood and what would be accepted.

    >>> from losses_catalog.weights import pair_weights, triplet_weights
    >>> parse_objective("nca(tau=12)/linear@top_k:3", Parts(triplet_weights, pair_weights)).mining
    TopK(k=3)
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"objective: got {len(text)} characters but expected up to {MAX_CHARACTERS}")
    match = _OBJECTIVE.fullmatch(text)
    if match is None:
        raise ValueError(f"objective: got {text!r} but expected TRIPLET/PAIR@MINING, such as {EXAMPLE}")
    triplet, of_triplet, pair, of_pair, mining = match.groups()
    try:
        t, p = parts.resolved(triplet, pair)
        own = dict(zip((h.name for h in parts.pair(pair).hyperparameters), p.hyperparameters, strict=True))
        said = [
            *_settings(of_triplet, {h.name: h for h in t.hyperparameters}, triplet),
            *_settings(of_pair, own | {h.name: h for h in p.hyperparameters if h.name not in own}, pair),
            *(settings or {}).items(),
        ]
        for name in (names := [name for name, _ in said]):
            if names.count(name) > 1:
                raise ValueError(f"settings: got {name} {names.count(name)} times but expected every one once")
        return GradientObjective(
            t,
            p,
            mining_of(mining) if mining is not None else None,
            similarity,
            direction,
            reduction,
            anchors,
            dict(said),
        )
    except ValueError as problem:
        raise ValueError(f"objective {text!r}: {problem}") from problem


def compact(objective: GradientObjective) -> str:
    """The line that `parse_objective` reads as this objective, where its weights go by their names.

    >>> from losses_catalog.weights import linear_pair, nca_triplet
    >>> compact(GradientObjective(nca_triplet, linear_pair, settings={"tau": 12}))
    'nca(tau=12)/linear'
    """
    t, p = objective.triplet_weight, objective.pair_weights
    changed = changed_settings(objective)
    of_pair = {own_name(h, t): changed[h.name] for h in p.hyperparameters if h.name in changed}
    in_common = {h.name for h in p.hyperparameters}
    of_triplet = {h.name: changed[h.name] for h in t.hyperparameters if h.name in changed and h.name not in in_common}
    mined = mining_text(objective.mining)
    return f"{t.name}{_written(of_triplet)}/{p.name}{_written(of_pair)}" + ("" if mined == "hardest" else f"@{mined}")


def changed_settings(objective: GradientObjective) -> dict[str, float]:
    """The hyperparameters that are not at their defaults."""
    defaults = {h.name: exact(h.default) for h in objective.field.hyperparameters}
    return {name: float(value) for name, value in objective.settings.items() if exact(value) != defaults[name]}


def own_name(h: Hyperparameter, triplet: TripletWeight) -> str:
    """What the pair weights called their hyperparameter before they stood beside this triplet weight."""
    taken = {other.name for other in triplet.hyperparameters if other != h}
    name = h.name
    while name.endswith(OF_PAIR):
        name = name.removesuffix(OF_PAIR)
        if name in taken:
            return name
    return h.name


def _settings(text: str | None, known: Mapping[str, Hyperparameter], owner: str) -> Iterator[tuple[str, float]]:
    """Pairs of a hyperparameter's name in the objective and its value."""
    if not text or not text.strip():
        return
    for assignment in text.split(","):
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ValueError(f"{owner}: got {assignment.strip()!r} but expected NAME=VALUE, such as tau=12")
        if name not in known:
            expected = f"one of {one_of(known, name)}" if known else "none: it has no hyperparameters"
            raise ValueError(f"{owner}: got a value for {name!r} but expected {expected}")
        try:
            number = number_of(value)
        except ValueError as problem:
            raise ValueError(f"{owner}: {name}: {problem}") from None
        yield known[name].name, known[name].check(number, f"{owner}: {name}")


def _written(settings: Mapping[str, float]) -> str:
    inside = ", ".join(f"{name}={number_text(value)}" for name, value in settings.items())
    return f"({inside})" if inside else ""
