"""TOML and JSON that others wrote, within bounds that keep reading them quick and what is read shallow."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

MOST_IN_A_LINE = 10_000
"""Characters of a line of TOML."""

DEEPEST = 50
"""Tables and lists within one another: what is deeper cannot even be shown in a message."""

# Such a key takes time by the square of the number of its parts.
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{DEEPEST}}}""")


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML document.

    Raises:
        ValueError: no TOML, a line that is too long, or tables that are nested too deeply.

    >>> read_toml("a.b = 1")
    {'a': {'b': 1}}
    """
    longest = max(map(len, text.split("\n")), default=0)
    if longest > MOST_IN_A_LINE:
        raise ValueError(f"got a line of {longest:,} characters but expected up to {MOST_IN_A_LINE:,}")
    if _LONG_KEY.search(text):
        raise ValueError(f"got a key whose tables are nested deeper than {DEEPEST}")
    try:
        return _shallow(tomllib.loads(text))
    except RecursionError:
        raise ValueError("got tables or lists that are nested too deeply") from None


def read_json(text: str) -> Any:
    """What a JSON document holds.

    Raises:
        ValueError: no JSON, or nested too deeply.

    >>> read_json("[1]")
    [1]
    """
    try:
        return _shallow(json.loads(text))
    except RecursionError:
        raise ValueError("got objects or lists that are nested too deeply") from None


def _shallow(found: Any) -> Any:
    level, deep = [found] if isinstance(found, dict | list) else [], 0
    while level:
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
        deep += 1
        if deep > DEEPEST:
            raise ValueError(f"got tables or lists that are nested deeper than {DEEPEST}")
    return found
