"""Objectives as text and as TOML, read into values and written back.

    LOSS[(name=value, …)][/PAIR[(name=value, …)]][@MINING]          circle(gamma=80)    circle(gamma=80)/linear
    TRIPLET[(name=value, …)]/PAIR[(name=value, …)][@MINING]         nca(tau=12)/linear@softmax:12

Settings behind a colon, as in ``nca:tau=12/linear@softmax:12``, are the same and need no quotes in a shell. Among those
of the first may be which axes are anchors and what their losses are reduced to, as in ``circle(gamma=80, anchors=both,
reduction=sum)``. A loss stands for itself; with pair weights or a mining behind it,
these take the place of its own. A triplet weight needs pair weights, and without a mining it is ``hardest``; its name
with ``_twin`` at the end is its integrable twin beside them. Pair weights may be those of a loss, by its name. A
formula of s_p and s_n is a loss of every triplet. What a Python module has is named ``module:name`` or
``file.py:name``: an `Objective`, with whatever aggregators, selections, directions and similarities it is made of.
"""

import importlib.util
import json
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from goal_analysis.declarations import Table, expect_kind, naming, number_of, number_text, read_toml
from goal_analysis.numeric.similarity import Direction, direction, direction_regularized
from goal_analysis.recombination import names
from goal_analysis.recombination.minings import mining_in, mining_of, mining_text
from goal_analysis.recombination.parts import Parts, weights_of_loss
from goal_analysis.recombination.recombine import composed, recombine
from goal_analysis.symbolic.language.hyperparameter import exact
from goal_analysis.symbolic.objective import WORDS, Objective
from goal_analysis.symbolic.parsing import declaration
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

MAX_CHARACTERS = 500
"""Characters of an objective in one line."""

MAX_DECLARATION = 100_000
"""Characters of a declaration."""

EXAMPLE = "circle(gamma=80), nca(tau=12)/linear@softmax:12"

KEYS = ("objective", "triplet", "pair", "mining", *names.FIELDS, "settings")


def parse_objective(
    text: str, parts: Parts, settings: Mapping[str, float | int] | None = None, **fields: Any
) -> Objective:
    """The objective of a line of text, as above, with ``settings`` and ``fields`` besides; what is not understood is a
    ValueError. Of a formula, ``settings`` names all hyperparameters.
    """
    expect_kind("objective", text, str, f"text such as {EXAMPLE}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"objective: got {len(text)} characters but expected up to {MAX_CHARACTERS}")
    if re.search(r"\b(s_p|s_n|gap)\b", text):
        return _with_fields(declaration.loss_of_formula(text, settings or {}), fields)
    match = names.LINE.fullmatch(text)
    if match is None:
        here = names.called(text, [loss.name for loss in parts.losses], parts.classes)
        expected = here or f"a loss, or TRIPLET/PAIR@MINING, such as {EXAMPLE}"
        raise ValueError(f"objective: got {text!r} but expected {expected}")
    head, of_head, pair, of_pair, mining = match.groups()
    with naming(f"objective {text!r}"):
        found = _unset(head, pair, None if mining is None else mining.strip(), parts)
        own, of_weights = names.said_in(of_head, head), names.said_in(of_pair, pair or "")
        words = [(name, word) for name, word in own if name in names.IN_LINE]
        numbers = [(name, value) for name, value in own if name not in names.IN_LINE]
        said = [*_settings(numbers, found, head), *_settings(of_weights, found, pair or "", parts)]
        said += (settings or {}).items()
        for name, count in Counter(name for name, _ in (*words, *said)).items():
            if count > 1:
                raise ValueError(f"settings: got {name} {count} times but expected every one once")
        return _with_fields(_with_fields(found.with_settings(dict(said)), dict(words)), fields)


def _unset(head: str, pair: str | None, mining: str | None, parts: Parts) -> Objective:
    losses = {loss.name: loss for loss in parts.losses}
    triplets, pairs = ([weight.name for weight in of] for of in (parts.triplet_weights, parts.pair_weights))
    names.check_names(head, pair, losses, triplets, pairs, parts.classes)
    mined = None if mining is None else mining_text(mining_of(mining))
    name = head + (f"/{pair}" if pair else "") + (f"@{mined}" if mined else "")
    if pair is not None and ":" not in head and head not in losses:
        return composed(*parts.resolved(head, pair), mined or "hardest", name.removesuffix("@hardest"))
    own = getattr(found := imported(head), "objective", found) if ":" in head else losses[head]
    if not isinstance(own, Objective):
        raise ValueError(f"{head}: got {own!r} but expected an Objective")
    weights = None if pair is None else parts.pair(pair)
    if weights is None and mined is None:
        return replace(own, name=name)
    return recombine(own, pair=weights, mining=mined, name=name)


def imported(target: str) -> Any:
    """What ``module:name`` or ``file.py:name`` names; its module is run. A ValueError where there is none."""
    module, _, name = target.rpartition(":")
    try:
        if module.endswith(".py"):
            return attrgetter(name)(_module_of(Path(module).resolve()))
        sys.path.insert(0, str(Path.cwd()))
        try:
            return pkgutil.resolve_name(target)
        finally:
            sys.path.pop(0)
    except Exception as problem:  # the code that is imported is anybody's
        plain = isinstance(problem, ImportError | AttributeError | OSError | SyntaxError)
        raise ValueError(f"{target}: {'' if plain else f'{type(problem).__name__}: '}{problem}") from problem


@lru_cache(maxsize=64)
def _module_of(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"got no file {path} but expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _settings(
    said: list[tuple[str, str]], objective: Objective, owner: str, parts: Parts | None = None
) -> Iterator[tuple[str, float]]:
    known = {h.name: h for h in objective.hyperparameters}
    if said and parts is not None:  # pair weights call their hyperparameters by their own names
        for h in parts.pair(owner).hyperparameters:
            known[h.name] = known.get(h.name + names.OF_PAIR, known.get(h.name, h))
    return names.settings_in(said, known, owner)


def _with_fields(objective: Objective, fields: Mapping[str, Any]) -> Objective:
    given = {name: value for name, value in fields.items() if value is not None}
    if isinstance(given.get("direction"), str):
        given["direction"] = direction_of(given["direction"])
    return replace(objective, **given) if given else objective


def line_of(objective: Objective, parts: Parts, ignoring: tuple[str, ...] = ()) -> str | None:
    """The line that `parse_objective` reads as this objective, but for the fields that are ignored, or None."""
    try:
        base = parse_objective(objective.name, parts)
    except (ValueError, TypeError):
        return None
    defaults = {h.name: exact(h.default) for h in base.hyperparameters}
    settings = {h.name: float(h.default) for h in objective.hyperparameters if defaults.get(h.name) != exact(h.default)}
    of_line = {name: getattr(objective, name) for name in names.IN_LINE}
    try:
        same = replace(base.with_settings(settings), **of_line, **{name: getattr(objective, name) for name in ignoring})
    except ValueError:
        return None
    if _plain(same) != _plain(objective):
        return None
    said = [f"{name}={number_text(value)}" for name, value in settings.items()]
    if objective.learned != base.learned:
        said.append(f"learned={'+'.join(objective.learned)}")
    for name, words in ((name, WORDS[name]) for name in names.IN_LINE if name in WORDS):
        said += [f"{name}={word}" for word, v in words.items() if v is of_line[name] is not getattr(base, name)]
    inside = ", ".join(said)
    if not inside:
        return objective.name
    head = re.match(rf"{names.MODULE}|\w+", objective.name)
    assert head is not None
    return f"{head[0]}({inside}){objective.name[head.end() :]}"


def _plain(objective: Objective) -> Objective:
    """The objective without its title, and with exact numbers, of which 12 and 12.0 are one."""
    exactly = tuple(replace(h, default=exact(h.default)) for h in objective.hyperparameters)
    return replace(objective, title="", hyperparameters=exactly)


def direction_of(text: Any) -> Direction:
    """The direction of a text: its name, and after a colon the strength of ``direction_regularized``."""
    if isinstance(text, Direction):
        return text
    expect_kind("direction", text, str, "a name or a Direction")
    name, colon, strength = (part.strip() for part in text.partition(":"))
    found = direction(name)
    if not colon:
        return found
    if not isinstance(found.gradients, partial):
        raise ValueError(f"direction {name}: got the number {strength!r} but expected none")
    return direction_regularized(number_of(strength))


def direction_text(direction: Direction) -> str:
    """The text that `direction_of` reads as this direction; a ValueError where it has none."""
    strength = direction.gradients.args if isinstance(direction.gradients, partial) else ()
    text = ":".join([direction.name, *map(number_text, strength)])
    if direction_of(text).formula != direction.formula:
        raise ValueError(f"direction: got {direction.name!r} but expected one of `DIRECTIONS`: others have no text")
    return text


def from_toml(text: str, parts: Parts = Parts()) -> Objective:  # noqa: B008 - a frozen value
    """The objective that a TOML document declares.

    It has ``objective``, a line; or ``triplet``, ``pair`` and ``mining``, where weights are names or tables of
    formulas; or the ``terms`` or the ``formula`` of a loss. Besides, ``similarity``, ``direction``, ``reduction``,
    ``anchors`` and ``settings``. What is not accepted is a ValueError; of a formula, a FormulaError shows the place.
    """
    if len(text) > MAX_DECLARATION:
        raise ValueError(f"objective: got {len(text):,} characters but expected up to {MAX_DECLARATION:,}")
    with naming("objective: got what is no TOML"):
        document = read_toml(text)
    return from_mapping(document, parts)


def from_mapping(document: Mapping[str, Any], parts: Parts) -> Objective:
    """The objective that the tables of a declaration say; see `from_toml`."""
    if "terms" in document or "formula" in document:
        loss = dict(document)
        return declaration.loss_from_mapping(loss.pop("name", "declared"), loss)
    table = Table(document, "objective", KEYS)
    settings = table.table("settings")
    fields = {name: table.choice(name, words) for name, words in WORDS.items() if name in table}
    fields |= {"learned": table.read("learned", str | list[str], None), "direction": table.read("direction", str, None)}
    numbers = {name: float(settings.number(name)) for name in settings}
    if "objective" in table:
        for key in ("triplet", "pair", "mining"):
            if key in table:
                raise ValueError(f"{table.where}: got {key} beside objective but expected it in the line")
        return parse_objective(table.read("objective", str), parts, numbers, **fields)
    mining = table.read("mining", str, "hardest")
    given = []
    for key, kind in (("triplet", TripletWeight), ("pair", PairWeights)):
        if key not in table:
            raise ValueError(f"{table.where}: got no {key} but expected a name or a table of formulas")
        given.append(table[key] if isinstance(table[key], str) else declaration.weight_from_mapping(kind, table[key]))
    t, p = parts.resolved(*given)
    named = all(isinstance(one, str) for one in given)
    name = f"{t.name}/{p.name}" + ("" if mining == "hardest" else f"@{mining_text(mining_of(mining))}")
    found = composed(t, p, mining, name if named else f"declared {name}")
    return _with_fields(found.with_settings(numbers), fields)


def to_toml(objective: Objective, parts: Parts = Parts()) -> str:  # noqa: B008 - a frozen value
    """The TOML document that `from_toml` reads as this objective; a ValueError where declarations cannot say it."""
    line = line_of(objective, parts, ("similarity", "direction"))
    if line is not None:
        plain = parse_objective(line, parts)
        document: dict[str, Any] = {"objective": line}
    else:
        mining = mining_in(objective)
        if mining is None or len(objective.terms) != 1 or objective.terms[0].triplet is None:
            return toml_text(declaration.loss_to_mapping(objective))
        triplet, pair = weights_of_loss(replace(objective, name="declared"))
        plain = composed(triplet, pair, mining)
        of = {"triplet": declaration.weight_to_mapping(triplet), "pair": declaration.weight_to_mapping(pair)}
        document = {**of, "mining": mining_text(mining)}
    written = {
        "similarity": objective.similarity.name,
        "direction": None if objective.direction is None else direction_text(objective.direction),
        "reduction": objective.reduction.value,
        "anchors": objective.anchors.name.lower(),
        "learned": list(objective.learned),
    }
    document |= {k: v for k, v in written.items() if v is not None and getattr(plain, k) != getattr(objective, k)}
    return toml_text(document)


def toml_text(document: Mapping[str, Any]) -> str:
    """The TOML document of tables; what is None is left out."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Numbers and texts first, then tables, then lists of tables."""
    many = {k for k, v in document.items() if isinstance(v, list | tuple) and v and isinstance(v[0], dict)}
    tables = many | {k for k, v in document.items() if isinstance(v, dict)}
    yield from (f"{_key(k)} = {_value(v)}" for k, v in document.items() if k not in tables and v is not None)
    for key in sorted((k for k in document if k in tables), key=many.__contains__):
        place = f"{path}{_key(key)}"
        for table in document[key] if key in many else [document[key]]:
            if key in many or not all(isinstance(inner, dict) for inner in table.values()):
                yield f"\n[[{place}]]" if key in many else f"\n[{place}]"
            yield from _lines(table, f"{place}.")


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "a").isalnum() else _value(key)


def _value(value: Any) -> str:
    """A text, a number, a boolean or a list of them; the escapes of JSON are TOML's too, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
