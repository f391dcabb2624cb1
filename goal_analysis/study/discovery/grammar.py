"""The space of objectives: a trial draws formulas of weights, a mining, and how a batch is made.

    P⁻(s_n) = f(s_n),  P⁺(s_p) = f(−s_p),  with f a formula of how hard a pair is, of its own for either side:
        1,  ((1 + v)/2)^a,  [v]₊^a − [−v]₊^a,  σ(k·(v − c)),  exp(k·v),  1 + b·v + c·v²
    T(s_p, s_n) =  1,  σ(τ·(s_n − s_p + m)),  exp(τ·(s_n − s_p)),  or σ's twin: a function of U = ∫P⁻ds_n − ∫P⁺ds_p

Mining goes from the hardest negative over the k hardest and softmax at a temperature of its own to all negatives.
Numbers have three digits and exponents are quarters, so that formulas are short, and alike ones equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp
from optuna.trial import BaseTrial

from goal_analysis.numeric.similarity import TANGENTIAL, Direction, direction_regularized
from goal_analysis.recombination.minings import Mining, every, hardest, softmax, top_k
from goal_analysis.recombination.parts import twin_of
from goal_analysis.recombination.recombine import composed, refusal
from goal_analysis.study.scales import scaled, scales_of
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, sigmoid
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

DIGITS = 3
FOUND = "found"  # what weights of the grammar are called
SHAPES = ("constant", "power", "signed_power", "sigmoid", "exponential", "polynomial")
TRIPLETS = ("constant", "sigmoid", "exponential", "twin")
MININGS = ("softmax", "hardest", "top_k", "all")
DIRECTIONS: dict[str, Direction | None] = {
    "cosine": None,
    "tangential": TANGENTIAL,
    "regularized": direction_regularized(0.5),
}
TOGETHER = (1, 2, 5)
"""Captions of an image that may stand side by side."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """The objective and the options that a trial trains with.

    Args:
        objective: that it trains with.
        training: the options of the experiment that differ from its own.
    """

    objective: Objective
    training: Mapping[str, float | int]


Grammar = Callable[[BaseTrial, float], Proposal]
"""Draws a proposal by a trial, around the experiment's learning rate."""


def any_objective(trial: BaseTrial, rate: float) -> Proposal:
    """Draw an objective of the whole space, how batches are made, and the learning rate.

    Args:
        trial: asked for every choice and number.
        rate: of the experiment.

    Raises:
        NoTwin: the triplet weight is to be a twin beside pair weights that have none.
        ValueError: no objective can have these parts.
    """
    draw = _Draw(trial)
    positive = _shape(draw, "positive", -s_p)
    negative = _shape(draw, "negative", s_n)
    pair = PairWeights(name=FOUND, positive=positive, negative=negative)
    triplet, mining = _triplet(draw, pair), _mining(draw)
    objective = composed(triplet, pair, mining, direction=DIRECTIONS[draw.choice("direction", tuple(DIRECTIONS))])
    if refused := refusal(objective):
        raise ValueError(refused)
    training = draw.training(rate)
    if training["captions_per_image"] > 1:
        for name in ("text_text", "image_image"):
            if draw.choice(name, (False, True)):
                training[name] = draw.number(f"{name}.share", 0.02, 1.0)
    return Proposal(objective, training)


def scaled_baseline(objective: Objective) -> Grammar:
    """The space of a baseline: the scales that a study tunes, the making of batches, and the learning rate."""
    scales = {s.name: (float(s.low) or 0.01, float(s.high)) for s in scales_of(objective, 1.0)}

    def grammar(trial: BaseTrial, rate: float) -> Proposal:
        draw = _Draw(trial)
        values = {name: draw.number(name, low, high) for name, (low, high) in scales.items()}
        return Proposal(scaled(objective, values), draw.training(rate))

    return grammar


@dataclass(frozen=True)
class _Draw:
    trial: BaseTrial

    def choice(self, name: str, among: tuple) -> Any:
        return self.trial.suggest_categorical(name, among)

    def number(self, name: str, low: float | int, high: float | int, logarithmic: bool = True) -> float:
        return float(f"{self.trial.suggest_float(name, low, high, log=logarithmic):.{DIGITS}g}")

    def exact(self, name: str, low: float | int, high: float | int, logarithmic: bool = True) -> sp.Rational:
        return sp.Rational(str(self.number(name, low, high, logarithmic)))

    def quarters(self, name: str) -> sp.Rational:
        return sp.Rational(self.trial.suggest_int(name, 1, 16, log=True), 4)

    def training(self, rate: float) -> dict[str, Any]:
        together = self.choice("captions_per_image", TOGETHER)
        return {"captions_per_image": together, "learning_rate": self.number("learning_rate", rate / 3, 4 * rate)}


def _shape(draw: _Draw, side: str, v: sp.Expr) -> sp.Expr:
    kind = draw.choice(side, SHAPES)
    if kind == "power":
        return ((1 + v) / 2) ** draw.quarters(f"{side}.power")
    if kind == "signed_power":
        power = draw.quarters(f"{side}.signed_power")
        return hinge(v) ** power - hinge(-v) ** power
    if kind == "sigmoid":
        return sigmoid(draw.exact(f"{side}.slope", 1, 40) * (v - draw.exact(f"{side}.centre", -0.8, 0.8, False)))
    if kind == "exponential":
        return sp.exp(draw.exact(f"{side}.rate", -4, 8, False) * v)
    if kind == "polynomial":
        return 1 + draw.exact(f"{side}.first", -1, 2, False) * v + draw.exact(f"{side}.second", -1, 1, False) * v**2
    return sp.S.One


def _triplet(draw: _Draw, pair: PairWeights) -> TripletWeight:
    kind = draw.choice("triplet", TRIPLETS)
    if kind == "constant":
        t = sp.S.One
    elif kind == "exponential":  # of at most e⁶, for a weight that overflows trains nothing
        t = sp.exp(draw.exact("triplet.rate", 0.1, 3) * (s_n - s_p))
    else:
        tau = draw.exact("triplet.tau", 1, 60)
        margin = draw.exact("triplet.margin", -0.2, 0.4, False) if kind == "sigmoid" else sp.S.Zero
        t = sigmoid(tau * (s_n - s_p + margin))
    found = TripletWeight(name=FOUND, expression=t)
    return replace(found, expression=twin_of(found, pair).expression) if kind == "twin" else found


def _mining(draw: _Draw) -> Mining:
    kind = draw.choice("mining", MININGS)
    if kind == "softmax":
        return softmax(draw.number("mining.positive_scale", 2, 40), draw.number("mining.negative_scale", 4, 40))
    if kind == "top_k":
        return top_k(draw.trial.suggest_int("mining.k", 2, 64, log=True))
    return every() if kind == "all" else hardest()
