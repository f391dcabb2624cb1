"""What commands share: their options, losses and objectives by name or by parts, and tables on the terminal."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_type_hints

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from goal_analysis.api import parts_with, text_of_file, value_of
from goal_analysis.declarations import MOST_BYTES, number_of, read_toml
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.parsing.declaration import (
    loss_from_mapping,
    losses_from_mapping,
    pair_weights_from_mapping,
    triplet_weight_from_mapping,
)
from losses_catalog import catalog

if TYPE_CHECKING:  # torch is loaded when a command needs it
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.recombination.parts import Parts
    from goal_analysis.symbolic.weight import PairWeights, TripletWeight

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

WIDTH = 120
"""Characters a line where neither a terminal nor COLUMNS says how many."""

BASELINES = ("vse_pp", "info_nce(tau=12)")
"""The triplet loss on hardest negatives, and InfoNCE."""

NEEDS_VALUE = "A hyperparameter of a formula needs a value: --set NAME=VALUE"

CatalogOption = Annotated[
    Path | None, typer.Option("--catalog", metavar="FILE", help="A TOML file of losses of your own.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter's value; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Runs at once, each on one thread.")]
DataOption = Annotated[
    str | None, typer.Option(metavar="DIR/NAME", help="Data in place of the experiment's, or `scenes`.")
]
SkipBadOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Leave out rows that cannot be used, and count them; every picture is decoded once for that."
    ),
]
BaseArgument = Annotated[
    Path | None, typer.Argument(metavar="[EXPERIMENT.toml]", help="Instead of a preset: model and training.")
]
BasePresetOption = Annotated[str | None, typer.Option(help="An experiment of the package; bag_of_words by default.")]
AssignmentsOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for train.")]

_Text = str | None


def refuse(problem: object) -> NoReturn:
    """End with the exit code of a command that was not understood."""
    said = str(problem)
    typer.echo(f"{said}\n{NEEDS_VALUE}" if "unknown name" in said else said, err=True)
    raise typer.Exit(2)


def say_interrupted(output: Path) -> None:
    """Say what is left after Ctrl-C."""
    typer.echo(f"Interrupted; what is done stays in {output}/, and the same command goes on from there", err=True)


@contextmanager
def ending_at_an_interrupt(output: Path) -> Iterator[None]:
    """After Ctrl-C, say what is left and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        say_interrupted(output)
        raise typer.Exit(INTERRUPTED) from None


def settings_of(assignments: Sequence[str] | None) -> dict[str, float]:
    """The values of ``NAME=VALUE`` arguments; a value may be a fraction such as 1/3."""
    settings: dict[str, float] = {}
    for assignment in assignments or ():
        name, _, value = (part.strip() for part in assignment.partition("="))
        try:
            number = number_of(value)
        except ValueError:
            refuse(f"--set: got {assignment!r} but expected NAME=VALUE with a number, such as tau=10 or tau=1/3")
        if name in settings:
            refuse(f"--set: got {name} twice but expected every name once")
        settings[name] = number
    return settings


def read_text(path: str) -> str:
    """The text of a file, or of the standard input for a dash.

    Raises:
        ValueError: the file is no UTF-8.
        OSError: it cannot be read.
    """
    return sys.stdin.read(MOST_BYTES + 1) if path == "-" else text_of_file(Path(path))


@lru_cache(maxsize=8)
def losses(own: Path | None = None) -> tuple[Objective, ...]:
    """The catalog, with the losses of the user's file in front; ends with exit code 2 where that is not understood."""
    if own is None:
        return catalog
    try:
        text = read_text(str(own))
        if len(text) > MOST_BYTES:
            refuse(f"{own}: got more than {MOST_BYTES:,} bytes but expected a catalog of losses")
        read = losses_from_mapping(read_toml(text))
    except (OSError, ValueError, TypeError) as problem:
        refuse(f"{own}: {problem}")
    known = {loss.name for loss in catalog}
    for loss in read:
        if loss.name in known:
            refuse(f"{own}: got the loss {loss.name!r}, which the catalog has; expected another name")
    return (*read, *catalog)


def parts(own: Path | None = None) -> Parts:
    """What names stand for: the weights and losses of the catalog, and the losses of a user's file."""
    return parts_with(losses(own))


def objective_of(
    text: str, own: Path | None = None, settings: Mapping[str, float] | None = None, **fields: Any
) -> Objective:
    """The objective of a line such as ``circle(gamma=80)/linear``, of a file ``*.toml``, or of what that holds.

    Args:
        text: the line, the file's name, or the declaration.
        own: a file of losses that have names too.
        settings: hyperparameters besides those of the text.
        fields: as for `goal_analysis.api.value_of`.

    Raises:
        ValueError: what was not understood, and what would be accepted.
        OSError: the file cannot be read.
    """
    return value_of(text, parts(own), **(settings or {}), **fields)


def named(text: str, own: Path | None = None) -> Objective:
    """The same; ends with exit code 2 where it is not understood."""
    try:
        return objective_of(text, own)
    except (ValueError, TypeError, OSError) as problem:
        refuse(problem)


def of_formula(formula: str, settings: Mapping[str, float]) -> Objective:
    """The loss that a formula of s_p, s_n and the names of ``settings`` declares."""
    declaration = {"formula": formula, "hyperparameters": dict(settings), "title": "Your formula"}
    try:
        return loss_from_mapping("formula", declaration)
    except (ValueError, TypeError) as problem:
        refuse(problem)


@dataclass(frozen=True)
class Choice:
    """What the options of a command say of an objective; None of what they do not say."""

    objective: Annotated[
        _Text, typer.Argument(metavar="[OBJECTIVE]", help="Such as circle(gamma=80) or nca(tau=12)/linear@softmax:12.")
    ]
    triplet: Annotated[_Text, typer.Option("--triplet", help="A triplet weight by name, or NAME_twin.")]
    pair: Annotated[_Text, typer.Option("--pair", help="Pair weights by name.")]
    triplet_formula: Annotated[
        _Text, typer.Option("--triplet-formula", help="A triplet weight as a formula of s_p and s_n.")
    ]
    positive_formula: Annotated[
        _Text, typer.Option("--positive-formula", help="P⁺ as a formula of s_p; with --negative-formula.")
    ]
    negative_formula: Annotated[_Text, typer.Option("--negative-formula", help="P⁻ as a formula of s_n.")]
    mining: Annotated[_Text, typer.Option("--mining", help="Such as hardest, softmax:12 or top_k:5.")]
    direction: Annotated[_Text, typer.Option("--direction", help="Where weights move embeddings.")]
    similarity: Annotated[_Text, typer.Option("--similarity", help="Of the embeddings; cosine by default.")]
    reduction: Annotated[_Text, typer.Option("--reduction", help="mean or sum over the anchors.")]
    anchors: Annotated[_Text, typer.Option("--anchors", help="rows, columns or both.")]
    toml: Annotated[_Text, typer.Option("--toml", metavar="FILE", help="Declared in TOML; - is the input.")]
    assignments: SetOption
    own: CatalogOption


def choosing_an_objective(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for every field of a `Choice`, which it takes as its first argument."""
    hints = get_type_hints(Choice, include_extras=True)
    asked = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=hint) for name, hint in hints.items()]
    _, *own = signature(command, eval_str=True).parameters.values()

    @wraps(command)
    def choosing(**given: Any) -> None:
        command(Choice(**{name: given.pop(name) for name in hints}), **given)

    parameters = [*asked, *(parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own)]
    choosing.__signature__ = Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    choosing.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return choosing


def chosen_objective(choice: Choice) -> GradientObjective:
    """The objective that the options say; ends with exit code 2 where they are not understood."""
    formulas = (choice.triplet_formula, choice.positive_formula, choice.negative_formula)
    by_parts = any(option is not None for option in (choice.triplet, choice.pair, *formulas))
    ways = {"an objective": choice.objective is not None, "--toml": choice.toml is not None, "its parts": by_parts}
    given = [way for way, taken in ways.items() if taken]
    if len(given) != 1:
        said = " and ".join(given) or "nothing"
        expected = "an objective such as nca/linear@softmax:12, --triplet and --pair, --toml"
        refuse(f"got {said} but expected one of: {expected}")
    from goal_analysis.recombination.objective import GradientObjective

    try:
        return GradientObjective(_chosen(choice))
    except (ValueError, TypeError, OSError) as problem:
        refuse(problem)


def _chosen(choice: Choice) -> Objective:
    from goal_analysis.recombination.recombine import composed
    from goal_analysis.recombination.text import direction_of, from_toml

    settings = settings_of(choice.assignments)
    named = ("mining", "direction", "similarity", "reduction", "anchors")
    said = [f"--{name}" for name in named if getattr(choice, name) is not None]
    if choice.toml is not None:
        if said or settings:
            refuse(f"got --toml and {' and '.join([*said, *['--set'] * bool(settings)])} but expected it in the file")
        return from_toml(read_text(choice.toml), parts(choice.own))
    fields = {name: getattr(choice, name) for name in named[2:] if getattr(choice, name) is not None}
    if choice.direction is not None:
        fields["direction"] = direction_of(choice.direction)
    if choice.objective is not None:
        text = choice.objective
        if choice.mining is not None:
            if "@" in text:
                refuse(f"got the mining twice, in {text!r} and as --mining, but expected it once")
            text = f"{text}@{choice.mining}"
        return objective_of(text, choice.own, settings=settings, **fields)
    return composed(*_weights(choice, settings), choice.mining or "hardest", **fields).with_settings(settings)


def _weights(choice: Choice, settings: Mapping[str, float]) -> tuple[TripletWeight, PairWeights]:
    from goal_analysis.recombination.parts import TWIN, side_by_side, twin_of

    halves = (choice.positive_formula, choice.negative_formula)
    if (choice.triplet is None) == (choice.triplet_formula is None):
        given = "neither" if choice.triplet is None else "both"
        refuse(f"got {given} --triplet and --triplet-formula but expected one of them")
    if (choice.pair is None) == (halves == (None, None)) or (choice.pair is None and None in halves):
        refuse("expected either --pair, or --positive-formula with --negative-formula")
    if choice.pair is not None:
        p = parts(choice.own).pair(choice.pair)
    else:
        formulas = {"positive": halves[0] or "", "negative": halves[1] or ""}
        p = pair_weights_from_mapping({**formulas, "hyperparameters": _read_by(settings, *formulas.values())})
    if choice.triplet_formula is not None:
        read = _read_by(settings, choice.triplet_formula)
        t = triplet_weight_from_mapping({"formula": choice.triplet_formula, "hyperparameters": read})
        return side_by_side(t, p)
    name = choice.triplet or ""
    t, p = side_by_side(parts(choice.own).triplet(name.removesuffix(TWIN)), p)
    return (twin_of(t, p) if name.endswith(TWIN) else t), p


def _read_by(settings: Mapping[str, float], *formulas: str) -> dict[str, float]:
    """The settings whose names occur in formulas: their hyperparameters."""
    words = {word for text in formulas for word in re.findall(r"[^\W\d]\w*", text)}
    return {name: value for name, value in settings.items() if name in words}


def line_width() -> int:
    """Characters a line."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def print_table(columns: Sequence[str], records: Iterable[Mapping[str, object]], wrapped: Sequence[str] = ()) -> None:
    """Print one line a record.

    Args:
        columns: keys of the records, which are the headings too.
        records: values by key; yes and no for booleans, two digits for floats.
        wrapped: the columns that may take several lines.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column not in wrapped, min_width=18 if column in wrapped else None)
    for record in records:
        table.add_row(*(_cell(record[column]) for column in columns))
    Console(width=line_width()).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else str(value)
