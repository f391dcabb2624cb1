"""Declarations: what users write in TOML, in JSON, as options and as ``--set KEY=VALUE``, read as annotated values.

Pydantic reads them and finds the place of an error; the words of errors are ours.
"""

from __future__ import annotations

import inspect
import json
import math
import numbers
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from functools import cache, lru_cache, wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from goal_analysis.files import regular

P = ParamSpec("P")
T = TypeVar("T")
MOST_BYTES = 1_000_000  # of a file that declares something
MOST_IN_A_LINE = 10_000  # characters of a line of TOML
DEEPEST = 50  # tables and lists within one another: what is deeper cannot even be shown in a message
MOST = 100_000  # runs, answers and whatever else is counted one by one
FEW = 9  # names that are read at a glance
MOST_IN_A_NUMBER = 60  # characters of a number in a text


# --- documents -----------------------------------------------------------------------------------

# Such a key takes time by the square of the number of its parts.
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{DEEPEST}}}""")


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML document; a ValueError where it is none, has too long a line or is nested too deeply."""
    longest = max(map(len, text.split("\n")), default=0)
    if longest > MOST_IN_A_LINE:
        raise ValueError(f"got a line of {longest:,} characters but expected up to {MOST_IN_A_LINE:,}")
    if _LONG_KEY.search(text):
        raise ValueError(f"got a key whose tables are nested deeper than {DEEPEST}")
    return _shallow(tomllib.loads, text)


def text_of_file(path: Path) -> str:
    """The text of a file that declares something; an OSError or a ValueError says which cannot be read, and why."""
    checked = regular(path)
    try:
        with checked.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as problem:
        given = f"{path}: got {str(problem.strerror).lower()}"
        raise type(problem)(f"{given} but expected a file of TOML or JSON") from problem
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: got more than {MOST_BYTES:,} bytes but expected a declaration")
    try:
        return content.decode("utf-8-sig")  # some editors begin with a mark
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path}: got {problem} but expected TOML or JSON in UTF-8") from problem


def read_file(path: Path) -> dict[str, Any]:
    """The tables of a file: JSON if its name ends in ``.json``, else TOML; a ValueError names the file."""
    text = text_of_file(path)
    try:
        found = _shallow(json.loads, text) if path.suffix == ".json" else read_toml(text)
    except ValueError as problem:
        raise ValueError(f"{path}: got {problem} but expected TOML or JSON in UTF-8") from problem
    if not isinstance(found, dict):
        raise ValueError(f"{path}: got {type(found).__name__} but expected an object with tables")
    return found


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Put the name of a file, or of what is read, in front of what a ValueError says."""
    try:
        yield
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def with_settings(given: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Set values such as ``training.epochs=15`` in tables; a value is read as TOML, or else as text."""
    result: dict[str, Any] = dict(given)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        *path, last = (part.strip() for part in key.split("."))
        if not equals or not last or not all(path):
            raise ValueError(f"got {assignment!r} but expected KEY=VALUE, such as training.epochs=15")
        table = result
        for part in path:
            inner = table.get(part, {})
            if not isinstance(inner, Mapping):
                raise ValueError(f"got {assignment!r} but {part} is {inner!r}; expected the key of a table")
            table[part] = dict(inner)
            table = table[part]
        try:
            table[last] = read_toml(f"value = {value.strip()}")["value"]
        except ValueError:
            table[last] = value.strip()
    return result


def _shallow(read: Callable[[str], Any], text: str) -> Any:
    try:
        found = read(text)
    except RecursionError:
        raise ValueError("got tables or lists that are nested too deeply") from None
    level, deep = [found] if isinstance(found, dict | list) else [], 0
    while level:
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
        deep += 1
        if deep > DEEPEST:
            raise ValueError(f"got tables or lists that are nested deeper than {DEEPEST}")
    return found


# --- numbers and names ---------------------------------------------------------------------------

_DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_NUMBER = re.compile(rf"\s*({_DECIMAL})\s*(?:/\s*({_DECIMAL})\s*)?", re.ASCII)


def _fraction_of(text: str) -> Fraction:
    """The exact number that a text such as ``-0.2``, ``1e-3`` or ``1/3`` says; else a ValueError."""
    match = _NUMBER.fullmatch(text) if len(text) <= MOST_IN_A_NUMBER else None
    if match is not None:
        with suppress(ArithmeticError):
            found = Fraction(match[1]) / Fraction(match[2] or 1)
            if float(found) or not found:
                return found
    raise ValueError(f"got {text[:MOST_IN_A_NUMBER]!r} but expected a finite number such as 12, 0.2 or 1/3")


def number_of(text: str) -> float:
    """The number that a text says as `_fraction_of` reads it, as a float."""
    return float(_fraction_of(text))


def number_text(value: float) -> str:
    """The shortest text that `number_of` reads as this number."""
    return repr(float(value)).removesuffix(".0")


def letters_of(name: str) -> str:
    """What a name says whatever its case, what joins its words, where it is imported from, and that it is a loss."""
    last = re.sub(r".*\.(?=\w)", "", name).replace("+", "p")
    return re.sub(r"[\W_]", "", last).lower().removesuffix("loss")


def one_of(names: Iterable[str], given: object = "", others: Iterable[tuple[str, str]] = ()) -> str:
    """The accepted names for an error, those alike first, few in the order of a tuple; ``others`` are aliases."""
    names = list(names) if isinstance(names, tuple) and len(names) <= FEW else sorted(names)
    letters = {letters_of(other): name for other, name in others if name in names}
    letters |= {letters_of(name): name for name in reversed(names)}
    meant = letters_of(str(given))
    alike = get_close_matches(meant, letters, n=3) or [of for of in letters if len(meant) > 3 and meant in of][:3]
    near = list(dict.fromkeys([*get_close_matches(str(given), names, n=3), *(letters[name] for name in alike)]))
    return ", ".join([*near, *(name for name in names if name not in near)]) or "none"


# --- values --------------------------------------------------------------------------------------


def expect_kind(where: str, given: object, kind: Any, words: str) -> None:
    """Refuse a value that is of none of these classes, and say what is expected."""
    if not isinstance(given, kind):
        raise TypeError(f"{where}: got {given!r:.100} but expected {words}")


def expect_among(where: str, given: object, accepted: Iterable[str]) -> None:
    """Refuse a name that is not among these."""
    names = tuple(accepted)
    if given not in names:
        raise ValueError(f"{where}: got {given!r} but expected one of {one_of(names, given)}")


class Choice(Enum):
    """An enumeration whose error for a wrong value says which are right."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        expect_among(cls.__name__.lower(), value, [one.value for one in cls])


def named(where: str, name: object, known: Mapping[str, T]) -> T:
    """The value of a name; an unknown name is refused."""
    expect_among(where, name, known)
    return known[str(name)]


def checked_door(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which first refuses arguments of another kind than their annotation, if `_KINDS` has it, says."""
    known = inspect.signature(function)

    @wraps(function)
    def door(*arguments: P.args, **keywords: P.kwargs) -> T:
        try:
            bound = known.bind(*arguments, **keywords).arguments
        except TypeError as problem:
            said = str(problem).removeprefix("got ").replace("missing a required argument:", "no")
            expected = f"{function.__name__}({', '.join(known.parameters)})"
            raise TypeError(f"{function.__name__}: got {said} but expected {expected}") from None
        for name, given in bound.items():
            if kind := _KINDS.get(known.parameters[name].annotation):
                expect_kind(name, given, *kind)
        return function(*arguments, **keywords)

    return door


_KINDS: dict[str, tuple[Any, str]] = {
    "bool": (bool, "True or False"),
    "bool | None": (bool | None, "True, False or None"),
    "int": (numbers.Integral, "a whole number"),
    "str": (str, "text"),
    "str | None": (str | None, "text"),
    "str | Path": (str | Path, "text or a path"),
    "str | Path | None": (str | Path | None, "text or a path"),
    **dict.fromkeys(("Iterable[str | Mining]", "str | Iterable[str]", "Sequence[str]"), (Iterable, "a list of texts")),
}


class Words(NamedTuple):
    """What an error says is expected, in the place of what the annotation says: ``Annotated[str, Words("a path")]``."""

    text: str


def read_value(kind: type[T], given: Any, where: str) -> T:
    """What a declaration says, ``given`` at the place ``where``, as a value of any type that pydantic understands.

    Lists become tuples, text paths and tables dataclasses; but no text becomes a number, and no number becomes true.

    >>> read_value(dict[str, list[int]], {"sizes": [3, "4"]}, "model")
    Traceback (most recent call last):
    ...
    ValueError: model: sizes[1]: got '4' but expected a whole number
    """
    from pydantic import ValidationError

    try:
        text = json.dumps(given, default=as_json)
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError(f"{where}: got {_short(given)} but expected what JSON can hold: {problem}") from problem
    try:
        return _adapter(kind).validate_json(text, strict=True, extra="forbid")
    except ValidationError as problem:
        raise ValueError(where + _explained(kind, text, problem.errors(include_url=False))) from None


def read_options(
    build: Callable[..., Any], given: Mapping[str, Any], where: str, *, after: int = 0, most: int | None = None
) -> dict[str, Any]:
    """The options of a function by its annotations ``after`` the first; whole numbers are at ``most`` so large."""
    parameters = list(inspect.signature(build, eval_str=True).parameters.values())[after:]
    options = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    declared = make_dataclass(
        "Options",
        [(p.name, _option_kind(p, most), field() if p.default is p.empty else field(default=None)) for p in options],
        kw_only=True,
        namespace={"__pydantic_config__": {"arbitrary_types_allowed": True}},
    )
    takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
    free = {name: given[name] for name in given if name not in {p.name for p in options}} if takes_more else {}
    own = {name: value for name, value in given.items() if name not in free}
    found = read_value(declared, own, where)
    return {name: getattr(found, name) for name in own} | free


def check_counts(**given: int) -> None:
    """Refuse counts by their names, unless each is a whole number from 1 to `MOST`."""
    from annotated_types import Ge, Le

    kind: Any = Annotated[int, Ge(1), Le(MOST)]
    for name, count in given.items():
        read_value(kind, count, name)


def check_fields(value: Any) -> None:
    """Refuse a dataclass of which a field does not hold what its annotation says; for its ``__post_init__``."""
    for name, kind in _fields_of(type(value)).items():
        read_value(kind, getattr(value, name), name)


class Table(dict[str, Any]):
    """A table of ``known`` keys, or any, that is read key by key, because what one key may hold depends on others."""

    def __init__(self, given: Any, where: str, known: Iterable[str] | None = None) -> None:
        known = None if known is None else tuple(known)
        if not isinstance(given, Mapping):
            raise ValueError(f"{where}: got {_short(given)} but expected a table" + _of(known))
        for key in given:
            if not isinstance(key, str):
                raise ValueError(f"{where}: got the key {_short(key)} but expected text")
            if known is not None and key not in known:
                raise ValueError(f"{where}: {_unknown(key, known)}")
        super().__init__(given)
        self.where = where

    def read(self, key: str, kind: Any, default: Any = ...) -> Any:
        """The value of a key as `read_value` reads it; a ValueError where there is neither one nor a default."""
        if key in self:
            return read_value(kind, self[key], f"{self.where}: {key}")
        if default is ...:
            raise ValueError(f"{self.where}: got no {key} but expected {_words(kind)}")
        return default

    def number(self, key: str) -> Any:
        """The number of a key; of a text such as ``"1/3"``, a `Fraction`."""
        value = self.get(key)
        try:
            found = _fraction_of(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if isinstance(found, bool) or not isinstance(found, numbers.Real):
            given = _short(value) if key in self else "nothing"
            expected = "a number or a fraction such as '1/3'" if isinstance(value, str) else "a number"
            raise ValueError(f"{self.where}: {key}: got {given} but expected {expected}")
        return found

    def choice(self, key: str, choices: Mapping[str, T], default: Any = ...) -> T:
        """What the name of a key stands for."""
        name = self.read(key, Literal[*choices], default)
        return choices[name] if key in self else default

    def table(self, key: str) -> Table:
        """The table of a key, of any keys; an empty one where it is missing."""
        return Table(self.get(key, {}), f"{self.where}: {key}")

    def tables(self, key: str, known: tuple[str, ...]) -> list[Table]:
        """The tables in the list of a key."""
        if not isinstance(self[key], list | tuple):
            given = f"{self.where}: {key}: got {_short(self[key])}"
            raise ValueError(f"{given} but expected a list of tables{_of(known)}")
        return [Table(inner, f"{self.where}: {key}[{i}]", known) for i, inner in enumerate(self[key])]


@lru_cache(256)
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@cache
def _fields_of(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in fields(kind)}


def as_json(value: Any) -> Any:
    """What JSON can hold of a value, for the ``default`` of `json.dumps`; a TypeError where that is nothing."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    for kind, write in _WRITTEN:
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"got {value!r:.100} but expected what JSON can hold")


_WRITTEN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Mapping, dict),
    (Path, str),
    (Enum, lambda member: member.value),
    (Set, list),
    (numbers.Integral, int),
    (numbers.Real, float),
)


def _option_kind(parameter: inspect.Parameter, most: int | None) -> Any:
    from annotated_types import Ge, Le

    kind = Any if parameter.annotation is parameter.empty else parameter.annotation
    if most is None or kind not in (int, int | None):
        return kind
    whole = Annotated[int, Ge(0 if parameter.default == 0 else 1), Le(most)]
    return whole if kind is int else Union[whole, None]  # noqa: UP007 - | has no Annotated


# --- errors --------------------------------------------------------------------------------------


def _explained(kind: Any, text: str, errors: Sequence[Any]) -> str:
    """The first of pydantic's errors in the house's words, from the place on; unknown keys go first."""
    strange, missing = "unexpected_keyword_argument", "missing"
    error = next((error for error in errors if error["type"] == strange), errors[0])
    place, steps, given = "", list(error["loc"]), json.loads(text)
    if error["type"] == "json_invalid":  # half a character, or too deep
        return f": got {_short(given)} but expected what JSON in UTF-8 can hold ({error['ctx']['error']})"
    while steps and (inner := _inner(kind, steps[0])) is not None:
        if len(steps) == 1 and error["type"] == missing:
            if isinstance(steps[0], int):  # a list that is too short
                break
            return f"{place}: got no {steps[0]} but expected {_words(inner)}"
        place += f"[{steps[0]}]" if isinstance(steps[0], int) else f": {steps[0]}"
        kind, given = inner, given[steps.pop(0)]
    bare = _bare(kind)
    if error["type"] == strange and len(steps) == 1 and is_dataclass(bare):
        return f"{place}: {_unknown(steps[0], _fields_of(bare))}"
    if error["type"] == "value_error" and not steps:
        return f"{place}: {error['ctx']['error']}"
    return f"{place}: got {_short(given)} but expected {_words(kind, given=given)}"


def _bare(kind: Any) -> Any:
    """An annotation without what is noted beside it and without None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        return _bare(members[0]) if len(members) == 1 else kind
    return kind


def _inner(kind: Any, step: str | int) -> Any:
    """The annotation of what a value of this one has at a step; None where that is not known, as in a union."""
    kind = _bare(kind)
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if is_dataclass(kind):
        return _fields_of(kind).get(str(step))
    if not isinstance(origin, type) or not inner:
        return None
    if issubclass(origin, Mapping):
        return inner[1]
    if not isinstance(step, int) or not issubclass(origin, Sequence | Set):
        return None
    return (*inner, None)[min(step, len(inner))] if origin is tuple and ... not in inner else inner[0]


_ONE_AND_MANY = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    Path: ("a path", "paths"),
    Any: ("anything", "anything"),
}


def _words(kind: Any, many: bool = False, given: Any = "") -> str:
    if kind in _ONE_AND_MANY:
        return _ONE_AND_MANY[kind][many]
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        own = next((note.text for note in kind.__metadata__ if isinstance(note, Words)), None)
        return own or _bounded(_words(inner[0], many, given), kind.__metadata__)
    if origin is Literal or (isinstance(origin, type) and issubclass(origin, Enum)):
        names = inner or [member.value for member in kind]
        return f"{'any' if many else 'one'} of {one_of(map(str, names), given)}"
    if origin in (Union, UnionType):
        members = [m for m in inner if m is not NoneType and not (m is int and float in inner)]
        return " or ".join(dict.fromkeys(_words(member, many, given) for member in members))
    if is_dataclass(kind):
        return "tables" if many else "a table" + _of(tuple(_fields_of(kind)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "tables" if many else "a table"
    if isinstance(origin, type) and issubclass(origin, Sequence | Set):
        head = "lists" if many else "a list"
        if origin is tuple and inner and ... not in inner:
            return f"{head} of {len(inner)}: {', '.join(map(_words, inner))}"
        return f"{head} of {_words(inner[0], many=True)}" if inner else head
    return getattr(kind, "__name__", str(kind))


def _bounded(words: str, notes: Iterable[Any]) -> str:
    flat = [inner for note in notes for inner in (getattr(note, "metadata", None) or [note])]
    bound = {name: getattr(note, name) for note in flat for name in _BOUNDS if getattr(note, name, None) is not None}
    if bound.get("lt") == math.inf:
        words = words.replace("a number", "a finite number")
        del bound["lt"]
    if {"ge", "le"} <= bound.keys():
        words += f" from {bound.pop('ge'):,} to {bound.pop('le'):,}"
    return words + "".join(_BOUNDS[name].format(value) for name, value in bound.items())


_BOUNDS = {
    "ge": " of at least {:,}",
    "gt": " above {:,}",
    "le": " of at most {:,}",
    "lt": " below {:,}",
    "multiple_of": ", a multiple of {}",
    "min_length": ", at least {} long",
    "max_length": ", at most {} long",
    "pattern": " that matches {}",
}


def _unknown(key: object, known: Iterable[str]) -> str:
    names = one_of(known, key)
    return f"got the key {_short(key)} but expected {names if names == 'none' else f'one of {names}'}"


def _of(known: tuple[str, ...] | None) -> str:
    return f" of {', '.join(known)}" if known else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
