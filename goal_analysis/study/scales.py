"""Scales: the numbers of an objective that are tuned before it is compared.

They are those of its mining, of its triplet weight, and of a loss those that its outer and inner functions read. Which
pairs weigh how much, the numbers of prescribed pair weights, is what the objective is, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp
import torch

from goal_analysis.recombination.minings import mining_in, mining_text, numbers_of, semi_hard, softmax, top_k
from goal_analysis.recombination.recombine import recombine
from goal_analysis.symbolic.objective import Objective

MINING_SCALE, MINING_MARGIN, MINING_K = "mining.scale", "mining.margin", "mining.k"
LEARNING_RATE = "training.learning_rate"
MININGS = {
    MINING_SCALE: lambda scale: softmax(float(scale), float(scale)),
    MINING_MARGIN: lambda margin: semi_hard(float(margin)),
    MINING_K: lambda k: top_k(int(k)),
}
"""The minings of tuned numbers."""


@dataclass(frozen=True)
class Scale:
    """A number that is tuned, and its range.

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
        low, high = self.low, self.high
        value = low * (high / low) ** share if self.logarithmic else low + (high - low) * share
        return float(round(value) if self.whole else float(f"{value:.4g}"))


def scales_of(objective: Objective, learning_rate: float, tune_rate: bool = False) -> tuple[Scale, ...]:
    """The scales of an objective.

    The scale of softmax mining is looked for from a third to three times of its value. So is a positive hyperparameter
    that aggregates read, such as the scale of InfoNCE. Another positive hyperparameter is looked for from a tenth to
    three times of its value. A triplet weight that equals the mining's scale moves with it. A margin is looked for
    from 0 to twice its value, and up to 0.2 at least if it is not negative. The learning rate is tuned where nothing
    else is, or with ``tune_rate`` for all alike.
    """
    found, bound = [], None
    name, numbers = _mining_of(objective)
    if name == "softmax" and len(set(numbers.values())) == 1:
        bound = next(iter(numbers.values()))
        found.append(Scale(MINING_SCALE, bound, bound / 3, 3 * bound))
    elif name == "semi_hard":
        margin = numbers["margin"]
        found.append(Scale(MINING_MARGIN, margin, 0.0, max(2 * margin, 0.2), logarithmic=False))
    elif name == "top_k":
        found.append(Scale(MINING_K, int(numbers["k"]), 1, 8 * int(numbers["k"]), whole=True))
    of_triplets, of_aggregates = _read(objective)
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
    if tune_rate or not found:
        found.append(Scale(LEARNING_RATE, learning_rate, learning_rate / 4, 4 * learning_rate))
    return tuple(found)


def _mining_of(objective: Objective) -> tuple[str, Mapping[str, float | int]]:
    mining = mining_in(objective)
    return ("", {}) if mining is None else numbers_of(mining) or ("", {})


def _read(objective: Objective) -> tuple[set[sp.Symbol], set[sp.Symbol]]:
    """The symbols that triplet weights or outer functions read, and those that aggregates read."""
    outer = [sp.sympify(term.outer if term.triplet is None else term.triplet) for term in objective.terms]
    inner = [e for term in objective.terms for side in term.sides for e in (side.inner, *side.aggregator.parameters)]
    return set().union(*(e.free_symbols for e in outer)), set().union(*(e.free_symbols for e in inner))


def scaled(objective: Objective, values: Mapping[str, float | int]) -> Objective:
    """The objective with these values of `scales_of`; a learning rate among them is none of the objective's.

    >>> from losses_catalog.info_nce import info_nce_loss
    >>> scaled(info_nce_loss, {"tau": 20.0, "training.learning_rate": 0.001}).values()
    {tau: 20}
    """
    settings = {name: value for name, value in values.items() if name not in (*MININGS, LEARNING_RATE)}
    for name, number in ((name, values[name]) for name in MININGS if name in values):
        before = _mining_of(objective)[1].values()
        if name == MINING_SCALE:
            tied = [h.name for h in objective.hyperparameters if float(h.default) in before]
            settings = dict.fromkeys(tied, float(number)) | settings
        mining = MININGS[name](number)
        stem = objective.name.partition("@")[0]
        objective = recombine(objective, mining=mining, name=f"{stem}@{mining_text(mining)}")
    return objective.with_settings(settings)


def points(scales: Sequence[Scale], budget: int, seed: int) -> list[dict[str, float]]:
    """So many trials' values of one scale or more: an objective's own, then such as fill the ranges, by a scrambled
    Sobol sequence of this seed.
    """
    own = {s.name: float(s.own) for s in scales}
    if budget == 1:
        return [own]
    sobol = torch.quasirandom.SobolEngine(len(scales), scramble=True, seed=seed).draw(budget - 1)
    return [own, *({s.name: s.at(float(x)) for s, x in zip(scales, row, strict=True)} for row in sobol)]
