"""What the options of a command compose: objectives by name, by their parts, from formulas, or from a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from goal_analysis.cli.choosing import CatalogOption, SetOption, refuse, settings_of
from goal_analysis.cli.objectives import objective_of, parts, read_text
from goal_analysis.declarations import one_of
from goal_analysis.symbolic.language.similarity import COSINE
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.parsing.declaration import (
    ANCHORS_OF,
    REDUCTION_OF,
    SIMILARITY_OF,
    pair_weights_from_mapping,
    triplet_weight_from_mapping,
)

if TYPE_CHECKING:  # torch is loaded when a command runs
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.symbolic.weight import PairWeights, TripletWeight

_Text = str | None


@dataclass(frozen=True)
class Choice:
    """What the options of a command say of an objective; None of what they do not say."""

    objective: Annotated[_Text, typer.Argument(metavar="[OBJECTIVE]", help="Such as nca(tau=12)/linear@softmax:12.")]
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
    reduction: Annotated[_Text, typer.Option("--reduction", help="sum or mean over the anchors.")]
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
    try:
        return _composed(choice)
    except (ValueError, TypeError, OSError) as problem:
        unknown = "unknown name" in str(problem)
        refuse(f"{problem}\nA hyperparameter of a formula needs a value: --set NAME=VALUE" if unknown else problem)


def _composed(choice: Choice) -> GradientObjective:
    from goal_analysis.recombination.composition import from_toml
    from goal_analysis.recombination.composition.minings import direction_of, mining_of
    from goal_analysis.recombination.objective import GradientObjective

    settings = settings_of(choice.assignments)
    named = ("mining", "direction", "similarity", "reduction", "anchors")
    said = [f"--{name}" for name in named if getattr(choice, name) is not None]
    if choice.toml is not None:
        if said or settings:
            refuse(f"got --toml and {' and '.join([*said, *['--set'] * bool(settings)])} but expected it in the file")
        return from_toml(read_text(choice.toml), parts(choice.own))
    more: dict[str, Any] = {
        "similarity": _one_of(choice.similarity, SIMILARITY_OF, "--similarity", COSINE),
        "direction": None if choice.direction is None else direction_of(choice.direction),
        "reduction": _one_of(choice.reduction, REDUCTION_OF, "--reduction", Reduction.SUM),
        "anchors": _one_of(choice.anchors, ANCHORS_OF, "--anchors", Anchors.BOTH),
    }
    if choice.objective is not None:
        text = choice.objective
        if choice.mining is not None:
            if "@" in text:
                refuse(f"got the mining twice, in {text!r} and as --mining, but expected it once")
            text = f"{text}@{choice.mining}"
        return objective_of(text, choice.own, settings=settings, **more)
    t, p = _weights(choice, settings)
    mining = None if choice.mining is None else mining_of(choice.mining)
    return GradientObjective(t, p, mining, settings=settings, **more)


def _weights(choice: Choice, settings: Mapping[str, float]) -> tuple[TripletWeight, PairWeights]:
    from goal_analysis.recombination.composition.parts import TWIN, side_by_side, twin_of

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


def _one_of(name: str | None, known: Mapping[str, Any], option: str, default: Any) -> Any:
    if name is not None and name not in known:
        raise ValueError(f"{option}: got {name!r} but expected one of {one_of(known, name)}")
    return default if name is None else known[name]
