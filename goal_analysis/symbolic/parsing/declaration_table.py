"""One table of a declaration: its fields by type, and errors that name the place and what is accepted."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import sympy as sp

from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.parsing.formula_error import FormulaError, one_of
from goal_analysis.symbolic.parsing.safe_arithmetic import Arithmetic, Refused

T = TypeVar("T")


class Table:
    """A table and where it stands.

    Args:
        fields: what was given.
        where: the place, for errors.
        known: the keys that are accepted; None for any.

    Raises:
        TypeError: what was given is no table, or has a key that is no text.
        ValueError: a key is unknown.
    """

    def __init__(self, fields: Any, where: str, known: tuple[str, ...] | None = None) -> None:
        if not isinstance(fields, Mapping):
            raise TypeError(f"{where}: got {_short(fields)} but expected a table" + _of(known))
        for key in fields:
            if not isinstance(key, str):
                raise TypeError(f"{where}: got the key {_short(key)} but expected text")
            if known is not None and key not in known:
                raise ValueError(f"{where}: got the key {key!r} but expected one of {one_of(known, key)}")
        self._fields, self.where = fields, where

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def table(self, key: str) -> Table:
        """The table of this key, of any keys; an empty one where it is missing."""
        return Table(self._fields.get(key, {}), f"{self.where}: {key}")

    def tables(self, key: str, known: tuple[str, ...]) -> list[Table]:
        """The tables in the list of this key."""
        value = self._fields[key]
        if not isinstance(value, list | tuple):
            raise self._wrong(key, f"a list of tables{_of(known)}")
        return [Table(fields, f"{self.where}: {key}[{i}]", known) for i, fields in enumerate(value)]

    def text(self, key: str, default: str | None = None) -> str:
        """The text of this key."""
        if key not in self and default is None:
            raise ValueError(f"{self.where}: got no {key} but expected one")
        value = self._fields.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The text, or the list of texts, of this key."""
        value = self._fields.get(key, ())
        values = (value,) if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not all(isinstance(text, str) for text in values):
            raise self._wrong(key, "text or a list of texts")
        return tuple(values)

    def flag(self, key: str) -> bool:
        """True or false, the latter where the key is missing."""
        value = self._fields.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def choice(self, key: str, choices: Mapping[str, T], default: T) -> T:
        """What the name of this key stands for."""
        if key not in self:
            return default
        name = self.text(key)
        if name not in choices:
            raise ValueError(f"{self.where}: {key}: got {name!r} but expected one of {one_of(choices, name)}")
        return choices[name]

    def number(self, key: str) -> float:
        """The number of this key; a text is read as a formula, so that "1/3" is a third."""
        value = self._fields.get(key)
        if isinstance(value, str):
            fraction = formula_in(self, key, {})
            if not fraction.is_Rational:
                raise self._wrong(key, "a number or a fraction such as '1/3'")
            return fraction
        if value is None or isinstance(value, bool) or not isinstance(value, numbers.Real | sp.Number):
            raise self._wrong(key, "a number")
        return value

    def interval(self, key: str, default: sp.Interval) -> sp.Interval:
        """The interval of this key, in the notation of `interval_from_text`."""
        if key not in self:
            return default
        try:
            return interval_from_text(self.text(key))
        except FormulaError as error:
            raise error.within(f"{self.where}: {key}") from None
        except ValueError as error:
            raise ValueError(f"{self.where}: {key}: {error}") from None

    def _wrong(self, key: str, expected: str) -> TypeError:
        given = _short(self._fields[key]) if key in self else "nothing"
        return TypeError(f"{self.where}: {key}: got {given} but expected {expected}")


def formula_in(table: Table, key: str, symbols: Mapping[str, sp.Expr]) -> sp.Expr:
    """The formula of a table's key, of these names.

    Raises:
        FormulaError: the formula is not understood; the error says whose it is.
        ValueError: there is none.
        TypeError: it is no text.
    """
    try:
        return parse(table.text(key), symbols)
    except FormulaError as error:
        raise error.within(f"{table.where}: {key}") from None


def interval_from_text(text: str) -> sp.Interval:
    """Read an interval, the inverse of `interval_text`.

    Args:
        text: two ends, each ``inf`` or a constant formula, between brackets, round where the end is left out.

    Raises:
        ValueError: the text is no interval, or one without inner points.

    >>> interval_from_text("(0, inf)"), interval_from_text("[-1, 1/2]")
    (Interval.open(0, oo), Interval(-1, 1/2))
    """
    match = re.fullmatch(r"\s*([(\[])\s*([^,]*?)\s*,\s*([^,]*?)\s*([)\]])\s*", text)
    if match is None:
        raise ValueError(f"got {_short(text)} but expected an interval such as '(0, inf)' or '[-1, 1]'")
    start, end = (_INFINITE.get(part) or parse(part, {}) for part in match.group(2, 3))
    try:
        if start.is_finite and end.is_finite:
            Arithmetic().checked(end - start)  # SymPy may search for the sign of a hidden zero forever
    except Refused as reason:
        raise ValueError(f"got {_short(text)} but expected ends that are clearly apart: {reason}") from None
    interval = sp.Interval(start, end, match[1] == "(", match[4] == ")")
    if not isinstance(interval, sp.Interval):
        raise ValueError(f"got {text!r} but expected an interval whose start lies before its end")
    return interval


_INFINITE = {"inf": sp.oo, "+inf": sp.oo, "-inf": -sp.oo}


def _of(known: tuple[str, ...] | None) -> str:
    return f" of {', '.join(known)}" if known else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
