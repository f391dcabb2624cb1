"""Objectives as users give them: a line, a formula, TOML, the name of its file, ``module:name``, or a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from goal_analysis.declarations import one_of, text_of_file
from goal_analysis.recombination.parts import Parts
from goal_analysis.symbolic.objective import Objective

FIELDS = ("similarity", "direction", "reduction", "anchors")
"""What keywords set besides the mining and the hyperparameters."""


def value_of(given: Any, known: Parts, /, **keywords: Any) -> Objective:
    """The value of an objective.

    Args:
        given: text, a path, a value, or a module that trains with one.
        known: what names stand for.
        keywords: ``similarity``, ``direction``, ``reduction``, ``anchors``, ``mining``, and hyperparameters by name.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        TypeError: what is given is no objective.
        OSError: the file cannot be read.
    """
    fields = {name: keywords.pop(name) for name in FIELDS if name in keywords}
    mining = keywords.pop("mining", None)
    read = _reader(str(given) if isinstance(given, Path) else given, known)
    is_formula = isinstance(given, str) and re.search(r"\b(s_p|s_n|gap)\b", given)
    found = read(keywords if is_formula else {})
    names = [h.name for h in found.hyperparameters]
    for name in keywords:
        if name not in names:
            expected = one_of((*names, *FIELDS, "mining"), name)
            raise ValueError(f"{found.owner}: got a value for {name!r} but expected one of {expected}")
    if keywords:
        found = read(keywords)
    if mining is not None:
        from goal_analysis.recombination.recombine import recombine

        name = f"{found.name}@{mining}" if isinstance(mining, str) and "@" not in found.name else None
        found = recombine(found, mining=mining, name=name)
    if fields.get("direction") is not None:
        from goal_analysis.recombination.text import direction_of

        fields["direction"] = direction_of(fields["direction"])
    return replace(found, **fields) if fields else found


def text_of(given: Any, known: Parts) -> str:
    """The line, or the TOML declaration, that `value_of` reads as this objective; text stays as it is.

    Raises:
        ValueError: the objective holds something that text cannot say; or as `value_of`.
    """
    found = value_of(given, known)
    if isinstance(given, str | Path):
        text = str(given)
        return text_of_file(Path(text)).rstrip() + "\n" if text.endswith(".toml") and "\n" not in text else text
    from goal_analysis.recombination.text import written

    return written(found, known)


def _reader(given: Any, known: Parts) -> Callable[[Mapping[str, Any]], Objective]:
    if not isinstance(given, str):
        value = getattr(given, "objective", given)
        if not isinstance(value, Objective):
            expected = "text such as info_nce(tau=12), a path or an Objective"
            raise TypeError(f"objective: got {given!r:.100} but expected {expected}")
        return value.with_settings
    for loss in known.losses:
        if loss.name == given:  # which needs no torch
            return loss.with_settings
    from goal_analysis.recombination.text import from_toml, parse_objective

    if "\n" in given or given.endswith(".toml"):
        return from_toml(given if "\n" in given else text_of_file(Path(given)), known).with_settings
    return lambda settings: parse_objective(given, known, settings)
