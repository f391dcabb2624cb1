"""Weights as values: triplet weights, pair weights, and the field of weights that an objective puts on a triplet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp

from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, resolve
from goal_analysis.symbolic.language.primitives import CARRIED, check_symbols, s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, RelativeSimilarity, Similarity


@dataclass(frozen=True, kw_only=True, repr=False)
class TripletWeight(Displayed):
    """A triplet weight T(s_p, s_n).

    Args:
        name: an identifier.
        expression: T, of ``s_p``, ``s_n`` and hyperparameters.
        hyperparameters: its other free symbols.
        reference: keys of the bibliography.
        note: what a reader has to know besides.

    Raises:
        ValueError: a stray symbol.
    """

    name: str
    expression: sp.Expr
    hyperparameters: tuple[Hyperparameter, ...] = ()
    reference: tuple[str, ...] = ()
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        allowed = {s_p, s_n} | {h.symbol for h in self.hyperparameters}
        check_symbols(self.expression, allowed, f"triplet weight {self.name!r}: expression")


@dataclass(frozen=True, kw_only=True, repr=False)
class PairWeights(Displayed):
    """A positive pair weight P⁺(s_p) with a negative pair weight P⁻(s_n).

    Args:
        name: an identifier.
        positive: P⁺, of ``s_p``, hyperparameters and declared relative similarities.
        negative: P⁻, of ``s_n``, hyperparameters and declared relative similarities.
        hyperparameters: the other free symbols.
        relative: what the weights read from other pairs of the batch.
        reference: keys of the bibliography.
        note: what a reader has to know besides.

    Raises:
        ValueError: a stray symbol; a pair weight that reads the other pair.
    """

    name: str
    positive: sp.Expr
    negative: sp.Expr
    hyperparameters: tuple[Hyperparameter, ...] = ()
    relative: tuple[RelativeSimilarity, ...] = ()
    reference: tuple[str, ...] = ()
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        allowed = {h.symbol for h in self.hyperparameters} | {r.symbol for r in self.relative}
        check_symbols(self.positive, {s_p} | allowed, f"pair weights {self.name!r}: positive")
        check_symbols(self.negative, {s_n} | allowed, f"pair weights {self.name!r}: negative")


@dataclass(frozen=True)
class Factors:
    """T, P⁺ and P⁻ of a field with w⁺ = T·P⁺ and w⁻ = T·P⁻."""

    triplet: sp.Expr
    positive: sp.Expr
    negative: sp.Expr


@dataclass(frozen=True, kw_only=True, repr=False)
class WeightField(Displayed):
    """The weights w⁺ = −∂L/∂s_p and w⁻ = ∂L/∂s_n that an objective puts on a triplet, whether or not there is an L."""

    name: str  # of the objective, in tables
    positive: sp.Expr  # w⁺
    negative: sp.Expr  # w⁻
    factors: Factors | None = None  # T, P⁺ and P⁻ where the field separates
    hyperparameters: tuple[Hyperparameter, ...] = ()  # the free symbols besides the similarities
    relative: tuple[RelativeSimilarity, ...] = ()  # read from other pairs of the batch
    similarity: Similarity = COSINE

    @property
    def formulas(self) -> dict[str, sp.Expr]:
        """T, P⁺ and P⁻ where they exist, else w⁺ and w⁻, by these names."""
        if self.factors is None:
            return {"w⁺": self.positive, "w⁻": self.negative}
        return {"T": self.factors.triplet, "P⁺": self.factors.positive, "P⁻": self.factors.negative}

    def values(self, settings: Mapping[str, float] | None = None) -> dict[sp.Symbol, sp.Expr]:
        """The value of every hyperparameter, its default or what ``settings`` says, and of what a pair carries."""
        read = self.positive.free_symbols | self.negative.free_symbols
        carried = {y: number for y, number in CARRIED.items() if y in read}
        return resolve(self.hyperparameters, settings or {}, self.name) | carried

    @property
    def ranges(self) -> dict[sp.Symbol, tuple[sp.Expr, sp.Expr]]:
        """Where every symbol is worth trying: similarities over their range, hyperparameters around their defaults."""
        tried = dict.fromkeys(self.region, self.similarity.window) | dict.fromkeys(
            CARRIED, (sp.Integer(0), sp.Integer(1))
        )
        tried |= {r.symbol: (sp.Integer(0), sp.Integer(1)) for r in self.relative}
        return tried | {h.symbol: h.around(2) for h in self.hyperparameters}

    @property
    def region(self) -> dict[sp.Symbol, tuple[sp.Expr, sp.Expr]]:
        """Between which numbers, which may be infinite, the similarities lie."""
        return self.similarity.region


def compose(triplet_weight: TripletWeight, pair_weights: PairWeights) -> WeightField:
    """The field T·P⁺, T·P⁻ of a triplet weight and pair weights; two hyperparameters of one name are a ValueError."""
    hyperparameters = dict.fromkeys((*triplet_weight.hyperparameters, *pair_weights.hyperparameters))
    if len({h.name for h in hyperparameters}) < len(hyperparameters):
        raise ValueError(
            f"{triplet_weight.name} × {pair_weights.name}: got two different hyperparameters of one name among "
            f"{[h.name for h in hyperparameters]} but expected distinct names"
        )
    t, positive, negative = triplet_weight.expression, pair_weights.positive, pair_weights.negative
    return WeightField(
        name=f"{triplet_weight.name} × {pair_weights.name}",
        positive=t * positive,
        negative=t * negative,
        factors=Factors(t, positive, negative),
        hyperparameters=tuple(hyperparameters),
        relative=pair_weights.relative,
    )
