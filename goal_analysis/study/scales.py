"""Scales: the numbers that are tuned before an objective is compared, its own and those of how it is trained.

The numbers of prescribed pair weights are what the objective is, and stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sympy as sp
import torch

from goal_analysis.declarations import expect_among
from goal_analysis.recombination.minings import MININGS, mining_in, mining_text, numbers_of
from goal_analysis.recombination.recombine import recombine
from goal_analysis.study import OBJECTIVE, TRAINING, TUNED
from goal_analysis.symbolic.objective import Objective
from goal_analysis.vse.loop.experiment import TrainingOptions

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

OF_TRAINING, OF_MINING = "training.", "mining."

MOST_SCALES, SOBOL_SEED = 16, 1


@dataclass(frozen=True)
class Scale:
    """A number that is tuned, and its range."""

    name: str  # a hyperparameter's; or ``mining.`` or ``training.`` before what is read or an option of `TRAINING`
    own: float | int  # where the objective has it
    low: float | int  # the least value
    high: float | int  # the greatest
    logarithmic: bool = True  # whether ratios count, not differences
    whole: bool = False  # whether it is a whole number

    def at(self, share: float) -> float | int:
        """The value at a share of the range, from 0 to 1."""
        low, high = self.low, self.high
        value = low * (high / low) ** share if self.logarithmic else low + (high - low) * share
        return round(value) if self.whole else float(f"{value:.4g}")

    def suggest(self, trial: BaseTrial, prefix: str = "") -> float | int:
        """The value that a trial suggests."""
        if self.whole:
            return trial.suggest_int(prefix + self.name, int(self.low), int(self.high))
        return float(f"{trial.suggest_float(prefix + self.name, self.low, self.high, log=self.logarithmic):.4g}")


def scales_of(objective: Objective, training: TrainingOptions, tuned: Collection[str] = TUNED) -> tuple[Scale, ...]:
    """The scales among `TUNED`, own values in the middle (epochs at most); the learning rate where there are none."""
    for name in tuned:
        expect_among("tune", name, TUNED)
    own = own_scales(objective) if OBJECTIVE in tuned else ()
    return (*training_scales(training, tuned), *own) or training_scales(training, ("learning_rate",))


def training_scales(training: TrainingOptions, tuned: Collection[str] = TRAINING) -> tuple[Scale, ...]:
    """The scales of the training, which are the same for all objectives, around the options of an experiment."""
    own, rate, decay = training, float(training.learning_rate), float(training.weight_decay)
    ranges = {
        "learning_rate": (rate, rate / 4, 4 * rate),
        "weight_decay": (decay, decay / 8, 8 * decay) if decay else (decay, 0.0, 0.1),
        "captions_per_image": (own.captions_per_image, 1, max(5, own.captions_per_image)),
        "text_text": (own.text_text, 0.0, max(1.0, 2 * own.text_text)),
        "image_image": (own.image_image, 0.0, max(1.0, 2 * own.image_image)),
        "epochs": (own.epochs, max(1, own.epochs // 3), own.epochs),
    }
    return tuple(
        Scale(OF_TRAINING + name, *numbers, logarithmic=numbers[1] > 0, whole=isinstance(numbers[1], int))
        for name, numbers in ranges.items()
        if name in tuned
    )


def trained_with(training: TrainingOptions, values: Mapping[str, float | int]) -> TrainingOptions:
    """The options with these values of `scales_of`; terms of captions or images need two captions of an image."""
    options = {name: values[OF_TRAINING + name] for name in TRAINING if OF_TRAINING + name in values}
    if options.get("captions_per_image", training.captions_per_image) < 2:
        options |= {"text_text": 0.0, "image_image": 0.0}
    return replace(training, **options)


def own_scales(objective: Objective) -> tuple[Scale, ...]:
    """The scales of an objective.

    What aggregates read, as the scale of InfoNCE or of softmax mining, is looked for from a third to three times of its
    value, another positive number from a tenth. A triplet weight that equals the mining's scale moves with it. A margin
    is looked for from 0 to twice its value, and up to 0.2 at least if it is not negative.
    """
    found, bound = [], None
    name, numbers = _mining_of(objective)
    if name == "softmax" and len(set(numbers.values())) == 1:
        bound = next(iter(numbers.values()))
        found.append(Scale("mining.scale", bound, bound / 3, 3 * bound))
    elif name == "softmax":
        found += [Scale(f"mining.{side}", own, own / 3, 3 * own) for side, own in numbers.items() if own]
    elif name == "semi_hard":
        margin = numbers["margin"]
        found.append(Scale("mining.margin", margin, 0.0, max(2 * margin, 0.2), logarithmic=False))
    elif name == "top_k":
        found.append(Scale("mining.k", int(numbers["k"]), 1, 8 * int(numbers["k"]), whole=True))
    outer = [sp.sympify(term.outer if term.triplet is None else term.triplet) for term in objective.terms]
    inner = [e for term in objective.terms for side in term.sides for e in (side.inner, *side.aggregator.parameters)]
    of_triplets, of_aggregates = (set().union(*(e.free_symbols for e in read)) for read in (outer, inner))
    for h in objective.hyperparameters:
        own = float(h.default)
        if own == bound or h.symbol not in of_triplets | of_aggregates:
            continue
        if h.domain.start >= 0 and h.domain.left_open:
            high = min(3 * own, float(h.domain.end))
            found.append(Scale(h.name, own, own / (3 if h.symbol in of_aggregates else 10), high))
        else:
            ends = sorted((0.0, 2 * own if own < 0 else max(2 * own, 0.2)))
            low, high = max(float(h.domain.start), ends[0]), min(float(h.domain.end), ends[1])
            found.append(Scale(h.name, own, low, high, logarithmic=False))
    return tuple(found)


def _mining_of(objective: Objective) -> tuple[str, Mapping[str, float | int]]:
    mining = mining_in(objective)
    return ("", {}) if mining is None else numbers_of(mining) or ("", {})


def scaled(objective: Objective, values: Mapping[str, float | int]) -> Objective:
    """The objective with these values of `scales_of`; those of the training among them are none of the objective's."""
    settings = {name: value for name, value in values.items() if not name.startswith((OF_TRAINING, OF_MINING))}
    mined = {name.removeprefix(OF_MINING): value for name, value in values.items() if name.startswith(OF_MINING)}
    if mined:
        kind, before = _mining_of(objective)
        if "scale" in mined:
            tied = [h.name for h in objective.hyperparameters if float(h.default) in before.values()]
            settings = dict.fromkeys(tied, float(mined["scale"])) | settings
            mined = dict.fromkeys(before, float(mined["scale"]))
        if kind == "top_k":
            mined = {"k": int(mined["k"])}
        mining = MININGS[kind](**{**before, **mined})
        stem = objective.name.partition("@")[0]
        objective = recombine(objective, mining=mining, name=f"{stem}@{mining_text(mining)}")
    return objective.with_settings(settings)


def points(scales: Sequence[Scale], budget: int) -> list[dict[str, float | int]]:
    """An objective's own values, then such as fill the ranges, of one Sobol sequence for all objectives."""
    own = {s.name: s.own for s in scales}
    if budget == 1:
        return [own]
    sobol = torch.quasirandom.SobolEngine(max(MOST_SCALES, len(scales)), scramble=True, seed=SOBOL_SEED).draw(
        budget - 1
    )
    return [own, *({s.name: s.at(float(x)) for s, x in zip(scales, row, strict=False)} for row in sobol)]
