"""Discovery: a space of objectives, of which a trial takes a loss, or draws formulas of weights and a mining.

Pair weights are P⁻ = f(s_n) and P⁺ = f(−s_p), with f a formula of how hard a pair is, of its own for either side. T =
σ(β⁻·s_n − β⁺·s_p + m) with the scales of softmax mining beside constant pair weights is hardness-weighted InfoNCE.
Numbers have three digits and exponents are quarters, so that formulas are short, and alike ones equal.

What was found is made simple by trials of the same seed on the same fold. Each leaves out a part or a constant, fits
the numbers again or rounds them, and is kept if it costs at most `TOLERANCE` of RSUM against what the kept ones left.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from optuna.trial import BaseTrial, FrozenTrial

from goal_analysis.numeric.similarity import Direction, direction, direction_regularized
from goal_analysis.recombination.minings import Mining, every, hardest, mean, numbers_of, semi_hard, softmax, top_k
from goal_analysis.recombination.parts import twin_of
from goal_analysis.recombination.recombine import composed, refusal
from goal_analysis.study.driver import Driver
from goal_analysis.study.scales import own_scales, scaled, trained_with, training_scales
from goal_analysis.study.search import Grammar, Search
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, sigmoid
from goal_analysis.symbolic.objective import Anchors, Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from goal_analysis.vse.loop.experiment import TrainingOptions

DIGITS = 3
FOUND = "found"  # what weights of the grammar are called
WEIGHTS = ("drawn", "loss")
SHAPES = ("constant", "power", "signed_power", "sigmoid", "exponential", "polynomial")
TRIPLETS = ("constant", "sigmoid", "exponential", "apart", "twin")
MININGS = ("softmax", "hardest", "top_k", "semi_hard", "all", "mean")
DIRECTIONS = ("cosine", "tangential", "negative_euclidean", "regularized")

PLAIN = {"weights": "drawn", "direction": "cosine", "positive": "constant", "negative": "constant"}
LINEAR = {"negative": "polynomial", "negative.first": 1.0, "negative.second": 0.0, "triplet": "constant"}
FIRST = (
    {"mining": "softmax", "mining.positive_scale": 9.0, "mining.negative_scale": 14.0, "triplet": "apart"},
    {"mining": "softmax", "mining.positive_scale": 12.0, "mining.negative_scale": 12.0, **LINEAR},
    {"mining": "hardest", **LINEAR},
)
"""Where a search begins besides the losses: hardness-weighted InfoNCE, and linear weights of negatives."""


def any_objective(losses: Mapping[str, Objective]) -> Grammar:
    """The losses with their scales, and all that formulas, a mining and a direction make; NoTwin or ValueError."""
    scales = {name: own_scales(loss) for name, loss in losses.items()}

    def grammar(trial: BaseTrial, training: TrainingOptions) -> tuple[Objective, TrainingOptions]:
        draw = _Draw(trial)
        trained = trained_with(training, {s.name: s.suggest(trial) for s in training_scales(training)})
        if draw.choice("weights", WEIGHTS) == "loss":
            name = draw.choice("loss", tuple(losses))
            own = {s.name: s.suggest(trial, f"{name}.") for s in scales[name]}
            return scaled(losses[name], own), trained
        pair = PairWeights(name=FOUND, positive=_shape(draw, "positive", -s_p), negative=_shape(draw, "negative", s_n))
        mining = _mining(draw)
        triplet = _triplet(draw, pair, mining)
        objective = composed(triplet, pair, mining, direction=_direction(draw))
        if refused := refusal(objective):
            raise ValueError(refused)
        return objective, trained

    return grammar


def losses_of_retrieval(losses: Iterable[Objective]) -> dict[str, Objective]:
    """By name, the losses that train images with captions, each with both as anchors: those without class proxies."""
    both = {loss.name: replace(loss, anchors=Anchors.BOTH) for loss in losses if not loss.proxies}
    return {name: loss for name, loss in both.items() if refusal(loss) is None}


def first_trials(losses: Mapping[str, Objective], training: TrainingOptions) -> Iterator[dict[str, Any]]:
    """The parameters of trials that `any_objective` begins with: `FIRST`, and every loss at its own values."""
    own = {s.name: s.own for s in training_scales(training)}
    yield from ({**PLAIN, **parameters, "triplet.bias": 0.0, **own} for parameters in FIRST)
    for name, loss in losses.items():
        yield {"weights": "loss", "loss": name, **{f"{name}.{s.name}": s.own for s in own_scales(loss)}, **own}


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


def _triplet(draw: _Draw, pair: PairWeights, mining: Mining) -> TripletWeight:
    kind = draw.choice("triplet", TRIPLETS)
    if kind == "constant":
        t = sp.S.One
    elif kind == "exponential":  # of at most e⁶, for a weight that overflows trains nothing
        t = sp.exp(draw.exact("triplet.rate", 0.1, 3) * (s_n - s_p))
    elif kind == "apart":
        name, numbers = numbers_of(mining) or ("", {})
        own = [sp.Rational(str(number)) for number in numbers.values()] if name == "softmax" else []
        scales = own or [draw.exact(f"triplet.{side}_scale", 2, 40) for side in ("positive", "negative")]
        t = sigmoid(scales[1] * s_n - scales[0] * s_p + draw.exact("triplet.bias", -5, 5, False))
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
    if kind == "semi_hard":
        return semi_hard(draw.number("mining.margin", 0.05, 1))
    return {"all": every, "mean": mean, "hardest": hardest}[kind]()


def _direction(draw: _Draw) -> Direction | None:
    kind = draw.choice("direction", DIRECTIONS)
    if kind == "regularized":
        return direction_regularized(draw.number("direction.strength", 0.1, 1, False))
    return None if kind == "cosine" else direction(kind)


TOLERANCE = 0.5

REFITS, SPREAD = 4, 0.2  # so many trials move all numbers of what is left, by factors of this deviation

NEUTRAL: Mapping[str, Any] = {
    "training.image_image": 0.0,
    "training.text_text": 0.0,
    "direction": "cosine",
    "positive": "constant",
    "negative": "constant",
    **{f"{side}.{part}": 0.0 for side in ("positive", "negative") for part in ("second", "first", "centre")},
    "triplet.margin": 0.0,
    "triplet.bias": 0.0,
    "triplet": "constant",
}
"""What leaves a choice or a constant out, in the order in which that is tried."""


@dataclass(frozen=True)
class Step:
    """A step of the simplification."""

    what: str  # was tried
    rsum: float | None  # of its trial; None where it did not come to an end, or makes no objective
    cost: float  # of RSUM, against the winner
    is_kept: bool  # whether the next steps begin with it


def simplify(driver: Driver, search: Search, winner: FrozenTrial) -> tuple[list[Step], FrozenTrial]:
    """Run the steps that are not done, from the best trial of a search that has ended; give them, and what is left."""
    steps: list[Step] = []
    left, best = winner, float(winner.value or 0.0)
    for what, change in _changes(winner):
        parameters = change(left.params)
        if parameters == left.params:
            continue
        name = f"{winner.number}: {what}"
        driver.run(search.variant(name, parameters), search.ended)
        trial = search.variant_of(name)
        rsum, before = None if trial is None else trial.value, float(left.value or 0.0)
        kept = rsum is not None and (rsum > before if what.startswith("refit") else rsum >= before - TOLERANCE)
        steps.append(Step(what, rsum, float("nan") if rsum is None else best - rsum, kept))
        if kept and trial is not None:
            left = trial
    return steps, left


def _changes(winner: FrozenTrial) -> Iterator[tuple[str, Any]]:
    for name, neutral in NEUTRAL.items():
        yield f"{name} = {neutral}", lambda given, n=name, v=neutral: given | {n: v} if n in given else given
    for number in range(REFITS):
        rng = np.random.default_rng((winner.number, number))
        factors = {name: float(np.exp(SPREAD * rng.normal())) for name in sorted(winner.params)}
        yield f"refit {number + 1}", lambda given, by=factors: _mapped(winner, given, lambda n, x: x * by.get(n, 1.0))
    for digits in (2, 1):
        yield (
            f"{digits} digit{'s' if digits > 1 else ''}",
            lambda given, d=digits: _mapped(winner, given, lambda n, x: float(f"{x:.{d}g}")),
        )


def _mapped(winner: FrozenTrial, given: Mapping[str, Any], change: Any) -> dict[str, Any]:
    """Every number that is no whole one, changed within its range."""
    found = dict(given)
    for name, value in given.items():
        if isinstance(value, float) and name in winner.distributions:
            of = winner.distributions[name]
            found[name] = min(max(change(name, value), of.low), of.high)  # pyright: ignore[reportAttributeAccessIssue]
    return found
