"""What the options of a command compose: objectives by name, by their parts, from formulas, or from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goal_analysis.cli.choosing import refuse, settings_of
from goal_analysis.cli.objectives import objective_of, parts, read_text
from goal_analysis.symbolic.loss import Anchors, Reduction
from goal_analysis.symbolic.parsing.declared_weights import pair_weights_from_mapping, triplet_weight_from_mapping
from goal_analysis.symbolic.parsing.formula_error import one_of
from goal_analysis.symbolic.similarity import COSINE, SIMILARITIES

if TYPE_CHECKING:  # torch is loaded when a command runs
    from goal_analysis.recombination.objective import GradientObjective
    from goal_analysis.symbolic.weight import PairWeights, TripletWeight

ObjectiveArgument = Annotated[
    str | None, typer.Argument(metavar="[OBJECTIVE]", help="Such as nca(tau=12)/linear@softmax:12.")
]
TripletOption = Annotated[str | None, typer.Option("--triplet", help="A triplet weight by name, or NAME_twin.")]
PairOption = Annotated[str | None, typer.Option("--pair", help="Pair weights by name.")]
TripletFormulaOption = Annotated[
    str | None, typer.Option("--triplet-formula", help="A triplet weight as a formula of s_p and s_n.")
]
PositiveFormulaOption = Annotated[
    str | None, typer.Option("--positive-formula", help="P⁺ as a formula of s_p; with --negative-formula.")
]
NegativeFormulaOption = Annotated[str | None, typer.Option("--negative-formula", help="P⁻ as a formula of s_n.")]
MiningOption = Annotated[str | None, typer.Option("--mining", help="Such as hardest, softmax:12 or top_k:5.")]
DirectionOption = Annotated[str | None, typer.Option("--direction", help="Where weights move embeddings.")]
SimilarityOption = Annotated[str | None, typer.Option("--similarity", help="Of the embeddings; cosine by default.")]
ReductionOption = Annotated[str | None, typer.Option("--reduction", help="sum or mean over the anchors.")]
AnchorsOption = Annotated[str | None, typer.Option("--anchors", help="rows, columns or both.")]
TomlOption = Annotated[str | None, typer.Option("--toml", metavar="FILE", help="Declared in TOML; - is the input.")]

_SIMILARITIES = {similarity.name: similarity for similarity in SIMILARITIES}
_REDUCTIONS = {reduction.value: reduction for reduction in Reduction}
_ANCHORS = {anchors.name.lower(): anchors for anchors in Anchors}


@dataclass(frozen=True)
class Choice:
    """What the options of a command say of an objective; None of what they do not say."""

    text: str | None = None
    triplet: str | None = None
    pair: str | None = None
    triplet_formula: str | None = None
    positive_formula: str | None = None
    negative_formula: str | None = None
    mining: str | None = None
    direction: str | None = None
    similarity: str | None = None
    reduction: str | None = None
    anchors: str | None = None
    toml: str | None = None
    assignments: tuple[str, ...] = ()
    own: Path | None = None


def chosen_objective(choice: Choice) -> GradientObjective:
    """The objective that the options say; ends with exit code 2 where they are not understood."""
    formulas = (choice.triplet_formula, choice.positive_formula, choice.negative_formula)
    by_parts = any(option is not None for option in (choice.triplet, choice.pair, *formulas))
    ways = {"an objective": choice.text is not None, "--toml": choice.toml is not None, "its parts": by_parts}
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
        "similarity": _one_of(choice.similarity, _SIMILARITIES, "--similarity", COSINE),
        "direction": None if choice.direction is None else direction_of(choice.direction),
        "reduction": _one_of(choice.reduction, _REDUCTIONS, "--reduction", Reduction.SUM),
        "anchors": _one_of(choice.anchors, _ANCHORS, "--anchors", Anchors.BOTH),
    }
    if choice.text is not None:
        text = choice.text
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
