"""Scales: the numbers of an objective that are tuned before it is compared.

They are those of its mining and of its triplet weight. Which pairs weigh how much, the pair weights' own numbers, is
what the objective is, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from goal_analysis.numeric.mining import SemiHard, Softmax, TopK
from goal_analysis.recombination.objective import GradientObjective

MINING_SCALE, MINING_MARGIN, MINING_K = "mining.scale", "mining.margin", "mining.k"
LEARNING_RATE = "training.learning_rate"


@dataclass(frozen=True)
class Scale:
    """A number and the range in which it is looked for.

    Args:
        name: a hyperparameter's, ``mining.scale``, ``mining.margin``, ``mining.k`` or ``training.learning_rate``.
        own: where the objective has it.
        low: the least value.
        high: the greatest.
        logarithmic: whether ratios count, not differences.
        whole: whether it is a whole number.
    """

    name: str
    own: float | int
    low: float | int
    high: float | int
    logarithmic: bool = True
    whole: bool = False

    def at(self, share: float) -> float:
        """The value at a share of the range, from 0 to 1.

        >>> Scale("tau", 10, 1, 100).at(0.5)
        10.0
        """
        value = self.low * (self.high / self.low) ** share if self.logarithmic else self.low
        value = value if self.logarithmic else self.low + (self.high - self.low) * share
        return float(round(value) if self.whole else float(f"{value:.4g}"))


def scales_of(objective: GradientObjective, learning_rate: float, tune_rate: bool = False) -> tuple[Scale, ...]:
    """What is tuned of an objective.

    Softmax mining's scale is looked for from a third to three times of what it is, and a triplet weight's positive
    hyperparameter from a tenth to three times: a triplet weight that equals the mining's scale moves with it, as the
    one scale of InfoNCE does. A margin is looked for from 0 to twice its value, and up to 0.2 at least. The learning
    rate is tuned where there is nothing else, or for all alike where that is asked for.

    Args:
        objective: which.
        learning_rate: of the experiment.
        tune_rate: whether the learning rate is tuned beside other scales too.
    """
    found = []
    mining, bound = objective.mining, None
    if isinstance(mining, Softmax) and mining.positive_scale == mining.negative_scale:
        bound = mining.negative_scale
        found.append(Scale(MINING_SCALE, bound, bound / 3, 3 * bound))
    elif isinstance(mining, SemiHard):
        found.append(Scale(MINING_MARGIN, mining.margin, 0.0, max(2 * mining.margin, 0.2), logarithmic=False))
    elif isinstance(mining, TopK):
        found.append(Scale(MINING_K, mining.k, 1, 8 * mining.k, whole=True))
    for h in objective.triplet_weight.hyperparameters:
        own = float(objective.settings.get(h.name, h.default))
        if own == bound:
            continue
        if h.domain.start >= 0 and h.domain.left_open:
            found.append(Scale(h.name, own, own / 10, 3 * own))
        elif h.domain.start >= 0 or own >= 0:
            high = min(float(h.domain.end), max(2 * own, 0.2))
            found.append(Scale(h.name, own, max(float(h.domain.start), 0.0), high, logarithmic=False))
    if tune_rate or not found:
        found.append(Scale(LEARNING_RATE, learning_rate, learning_rate / 4, 4 * learning_rate))
    return tuple(found)


def scaled(objective: GradientObjective, values: Mapping[str, float | int]) -> GradientObjective:
    """The objective with these values of its scales; a learning rate among them is none of the objective's.

    Args:
        objective: which.
        values: by the names of `scales_of`.

    >>> from losses_catalog.weights import constant_pair, nca_triplet
    >>> infonce = GradientObjective(nca_triplet, constant_pair, Softmax(12.0, 12.0), settings={"tau": 12})
    >>> scaled(infonce, {"mining.scale": 20.0}).settings
    {'tau': 20.0}
    """
    mining: Any = objective.mining
    settings = dict(objective.settings)
    known = {h.name: h for h in objective.field.hyperparameters}
    for name, value in values.items():
        if name == MINING_SCALE:
            before = mining.negative_scale
            mining = Softmax(float(value), float(value))
            tied = [
                h.name for h in objective.triplet_weight.hyperparameters if settings.get(h.name, h.default) == before
            ]
            settings |= dict.fromkeys(tied, value)
        elif name == MINING_MARGIN:
            mining = SemiHard(float(value))
        elif name == MINING_K:
            mining = TopK(int(value))
        elif name != LEARNING_RATE:
            settings[name] = known[name].check(value, f"{objective.triplet_weight.name}: {name}")
    return objective.replaced(mining=mining, settings=settings)


def points(scales: Sequence[Scale], budget: int, seed: int) -> list[dict[str, float]]:
    """The trials' values: an objective's own, then such as fill the ranges.

    Args:
        scales: one at least.
        budget: how many, at least 1.
        seed: of the scrambling.
    """
    own = {s.name: float(s.own) for s in scales}
    if budget == 1:
        return [own]
    sobol = torch.quasirandom.SobolEngine(len(scales), scramble=True, seed=seed).draw(budget - 1)
    return [own, *({s.name: s.at(float(x)) for s, x in zip(scales, row, strict=True)} for row in sobol)]
