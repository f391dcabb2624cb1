"""Values by their names, and what they make of the options in a table, with errors that say what is accepted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from goal_analysis.vse.loop.health import within_memory

MOST = 10_000_000
"""The largest whole number that an option may be: no width, count or length is larger."""


def named(known: Sequence[tuple[str, Any]], given: Mapping[str, Any], where: str) -> Any:
    """What has the name that stands in a table.

    Args:
        known: names with their values.
        given: the table, with a ``name``.
        where: what errors begin with.

    Raises:
        ValueError: an unknown name, listing those that are known.

    >>> named((("one", 1), ("two", 2)), {"name": "two"}, "number")
    2
    """
    for name, value in known:
        if name == given.get("name"):
            return value
    names = ", ".join(name for name, _ in known)
    raise ValueError(f"{where}: name: got {given.get('name')!r} but expected one of {names}")


def made(where: str, build: Callable[..., Any], given: Mapping[str, Any], *arguments: Any) -> Any:
    """What a class or a function makes of arguments and of the options in a table.

    Every option is of the type it is annotated with. A whole number is at least 1, or 0 if that is its default, and at
    most `MOST`.

    Args:
        where: what errors begin with.
        build: takes the arguments first, and options by name.
        given: the table: a ``name``, which is passed over, and options.
        arguments: the first ones.

    Raises:
        ValueError: an unknown or missing option, a value of another type or out of its range.
        OutOfMemory: what is made does not fit.
    """
    signature = inspect.signature(build)
    options = {name: value for name, value in given.items() if name != "name"}
    parameters = dict(list(signature.parameters.items())[len(arguments) :])
    check_options(f"{where}: {given.get('name')}", options, tuple(parameters))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise ValueError(f"{where}: {given.get('name')}: got no {name} but expected {', '.join(parameters)}")
    check_values(where, build, options, MOST)
    try:
        with within_memory(f"{where}: {given.get('name')}", "smaller widths"):
            return build(*arguments, **options)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from problem


def check_values(where: str, build: Callable[..., Any], options: Mapping[str, Any], most: int | None = None) -> None:
    """Refuse values of another type than a class or a function says, and whole numbers out of their range.

    Args:
        where: what errors begin with.
        build: has the options, with their types and defaults.
        options: by name.
        most: the largest whole number, the least being 1, or 0 if that is its default; None leaves the range to it.

    Raises:
        ValueError: the first such option, with what it may be.
    """
    parameters = inspect.signature(build).parameters
    kinds = get_type_hints(build.__init__ if inspect.isclass(build) else build)
    for name, value in options.items():
        accepted = get_args(kinds[name]) if isinstance(kinds[name], UnionType) else (kinds[name],)
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
            said = " or ".join(k.__name__ for k in accepted if k is not NoneType)
            raise ValueError(f"{where}: {name}: got {value!r} but expected {said}")
        least = 0 if parameters[name].default == 0 else 1
        if most is not None and accepted == (int,) and not least <= value <= most:
            expected = f"{least} or more" if value < least else f"{most:,} or less"
            raise ValueError(f"{where}: {name}: got {value} but expected {expected}")


def check_options(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse names that are not known.

    Raises:
        ValueError: an unknown name, listing those that are known.
    """
    for name in given:
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "none"
            raise ValueError(f"{where}: got the option {name!r} but expected {expected}")
