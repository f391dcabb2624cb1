"""Hyperparameters as users declare them: a number, or a table of default, domain and meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp

from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, interval_text, positive, real
from goal_analysis.symbolic.parsing.declaration_table import Table


def declared_hyperparameters(declared: Table) -> tuple[Hyperparameter, ...]:
    """The hyperparameters of a table.

    Args:
        declared: a number by name, whose domain is ``(0, inf)`` if it is positive and else the reals, or a table of
            ``default``, ``domain`` and ``meaning``.

    Raises:
        ValueError: a name that means something else, or a default outside its domain.
        TypeError: a field holds something of another type.

    >>> declared_hyperparameters(Table({"tau": 10}, "loss 'nca': hyperparameters"))
    (Hyperparameter(name='tau', default=10, domain=Interval.open(0, oo), meaning=''),)
    """
    return tuple(_hyperparameter(declared, name) for name in declared)


def hyperparameters_to_mapping(hyperparameters: Iterable[Hyperparameter]) -> dict[str, dict[str, Any]]:
    """Tables that `declared_hyperparameters` reads back."""
    return {h.name: _fields(h) for h in hyperparameters}


def _hyperparameter(declared: Table, name: str) -> Hyperparameter:
    value, where = declared[name], f"{declared.where}: {name}"
    fields = value if isinstance(value, Mapping) else {"default": value}
    table = Table(fields, where, ("default", "domain", "meaning"))
    default, meaning = table.number("default"), table.text("meaning", "")
    domain = table.interval("domain", positive if default > 0 else real)
    try:
        return Hyperparameter(name, default, domain, meaning)
    except ValueError as error:
        raise ValueError(f"{declared.where}: {error}") from error


def _fields(hyperparameter: Hyperparameter) -> dict[str, Any]:
    default, domain = hyperparameter.default, interval_text(hyperparameter.domain)
    if not isinstance(default, int | float):
        default = float(default) if isinstance(default, sp.Float) else str(default)
    return {"default": default, "domain": domain, "meaning": hyperparameter.meaning}
