"""Experiments as values: data, model, objective and training, read from TOML, with what a user sets over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from goal_analysis.symbolic.parsing.document import read_json, read_toml
from goal_analysis.vse.loop.training_options import TrainingOptions, check, check_keys, options_from_mapping

MOST_BYTES = 1_000_000
"""A larger file is no experiment."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One training run, but for the machine that it runs on.

    Args:
        name: an identifier.
        data: what `goal_analysis.vse.data.load` takes: ``name`` and its options.
        model: what `goal_analysis.vse.models.model.build_model` takes.
        objective: the line that names it, such as ``nca/linear@softmax:12``, or the name of a TOML file.
        training: how it is trained.
        seed: of the weights at the start, the order of the batches, and dropout.
    """

    name: str
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    objective: str
    training: TrainingOptions
    seed: int = 0

    @property
    def data_name(self) -> str:
        """What tables call the data."""
        return Path(str(self.data["name"])).name

    def mapping(self) -> dict[str, Any]:
        """What `experiment_from_mapping` reads."""
        return asdict(self)


def experiment_from_mapping(given: Mapping[str, Any], where: str = "experiment") -> Experiment:
    """The experiment that a TOML file or a run's record declares.

    Args:
        given: tables ``data``, ``model`` and ``training``, and ``name``, ``objective`` and ``seed``.
        where: what errors begin with.

    Raises:
        ValueError: a missing or unknown key, a value of another type or out of its range; says what is accepted.
    """
    known = tuple(f.name for f in fields(Experiment))
    check_keys(given, known, where)
    missing = [name for name in ("data", "model", "objective") if name not in given]
    if missing:
        raise ValueError(f"{where}: got no {missing[0]} but expected {', '.join(known)}")
    for name, kind in (("data", Mapping), ("model", Mapping), ("objective", str), ("training", Mapping)):
        if not isinstance(given.get(name, {}), kind):
            expected = "a table" if kind is Mapping else "a text"
            raise ValueError(f"{where}: {name}: got {given[name]!r} but expected {expected}")
    of = given["data"].get("name")
    check(f"{where}: data: name", of, isinstance(of, str) and bool(of), "the name of a data set or a path")
    skip_bad = given["data"].get("skip_bad", False)
    check(f"{where}: data: skip_bad", skip_bad, isinstance(skip_bad, bool), "true or false")
    seed, name = given.get("seed", 0), given.get("name", "experiment")
    check(f"{where}: seed", seed, type(seed) is int and 0 <= seed < 2**32, "a whole number from 0 to 2³² − 1")
    check(f"{where}: name", name, isinstance(name, str) and name.isprintable() and bool(name), "a printable text")
    return Experiment(
        name=name,
        data=dict(given["data"]),
        model=dict(given["model"]),
        objective=given["objective"],
        training=options_from_mapping(given.get("training", {}), f"{where}: training"),
        seed=seed,
    )


def read_experiment(path: Path) -> dict[str, Any]:
    """The tables of a TOML or JSON file, for `with_settings` and `experiment_from_mapping`.

    Raises:
        ValueError: neither TOML nor, by its name, JSON in UTF-8; or a file of more than a megabyte.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: got more than {MOST_BYTES:,} bytes but expected an experiment")
    try:
        text = content.decode("utf-8")
        found = read_json(text) if path.suffix == ".json" else read_toml(text)
    except ValueError as problem:  # what decoding, TOML and JSON raise are ValueErrors
        raise ValueError(f"{path}: got {problem} but expected TOML or JSON in UTF-8") from problem
    if not isinstance(found, dict):
        raise ValueError(f"{path}: got {type(found).__name__} but expected an object with the tables of an experiment")
    return found


def presets() -> tuple[str, ...]:
    """The names of the experiments that come with the package."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in _presets().iterdir() if f.name.endswith(".toml")))


def preset(name: str) -> dict[str, Any]:
    """The tables of an experiment that comes with the package.

    Raises:
        ValueError: an unknown name, listing those that are known.
    """
    if name not in presets():
        raise ValueError(f"preset: got {name!r} but expected one of {', '.join(presets())}")
    return tomllib.loads((_presets() / f"{name}.toml").read_text("utf-8"))


def with_settings(given: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """The tables with values such as ``training.epochs=15`` set; a value is read as TOML has it, else as a text.

    Raises:
        ValueError: no ``=``, or a key that leads through something that is no table.

    >>> with_settings({"training": {"epochs": 25}}, ["training.epochs=15", "model.text.name=recurrent"])
    {'training': {'epochs': 15}, 'model': {'text': {'name': 'recurrent'}}}
    """
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
        table[last] = _value(value.strip())
    return result


def _value(text: str) -> Any:
    try:
        return read_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _presets() -> Any:
    return resources.files("goal_analysis.vse.loop") / "presets"
