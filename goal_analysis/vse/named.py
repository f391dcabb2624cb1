"""Parts of models by their names, built with the options in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from goal_analysis.declarations import one_of, read_options
from goal_analysis.vse.loop.health import within_memory

MOST = 10_000_000  # the largest whole number that an option may be: no width, count or length is larger


def named(known: Sequence[tuple[str, Any]], given: Mapping[str, Any], where: str) -> Any:
    """The value among the known names with their values whose name stands in a table.

    >>> named((("one", 1), ("two", 2)), {"name": "two"}, "number")
    2
    """
    name = given.get("name")
    for other, value in known:
        if other == name:
            return value
    raise ValueError(f"{where}: name: got {name!r} but expected one of {one_of((n for n, _ in known), name)}")


def made(where: str, build: Callable[..., Any], given: Mapping[str, Any], *arguments: Any) -> Any:
    """Call a class or a function with arguments, and with the options in a table besides its ``name``, as
    `read_options` reads them.

    A whole number without bounds of its own is from 1, or 0 if that is its default, to `MOST`. A ValueError names the
    option.
    """
    options = {name: value for name, value in given.items() if name != "name"}
    of = f"{where}: {given['name']}" if "name" in given else where
    options = read_options(build, options, of, after=len(arguments), most=MOST)
    try:
        with within_memory(of, "smaller widths"):
            return build(*arguments, **options)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from problem
