"""The weights of a triplet, their curl and their potential, on a grid, as hyperparameters move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import sympy as sp
from jaxtyping import Float64

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.recombination.description import Description
from goal_analysis.symbolic.analysis.integrability import smooth_curl
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, exact
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.weight import WeightField

GRID = 33
"""Points along each similarity."""

STEPS = 9
"""Values of a hyperparameter, from a quarter of its own to four times it."""


@dataclass(frozen=True, eq=False)
class Surface:
    """What a triplet's weights are, each of shape ``(s_n, s_p)``.

    Args:
        positive: w⁺.
        negative: w⁻.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p, between the kinks.
        potential: U = ∫P⁻ds_n − ∫P⁺ds_p; None where no closed form is known.
    """

    positive: Float64[np.ndarray, "negatives positives"]
    negative: Float64[np.ndarray, "negatives positives"]
    curl: Float64[np.ndarray, "negatives positives"]
    potential: Float64[np.ndarray, "negatives positives"] | None


@dataclass(frozen=True, eq=False)
class Surfaces:
    """The surface of an objective, and those of others like it.

    Args:
        s: the grid along s_p and along s_n, over the range of the similarity.
        own: the surface at the objective's settings.
        moved: by hyperparameter, its values in growing order, each with the surface there while the others stay.
        settings: the objective's own values.
    """

    s: Float64[np.ndarray, " points"]
    own: Surface
    moved: Mapping[str, tuple[tuple[float, Surface], ...]]
    settings: Mapping[str, float]


def surfaces(description: Description) -> Surfaces:
    """The surfaces of an objective; relative similarities, which read other pairs, are 0.

    Args:
        description: of the objective.

    Raises:
        UnsupportedFunction: a weight that cannot be computed.
    """
    field = description.weights
    formulas = [field.positive, field.negative, smooth_curl(field)]
    formulas += [] if description.potential is None else [description.potential]
    formulas = [_without_others(formula, field) for formula in formulas]
    read = [h for h in field.hyperparameters if any(formula.has(h.symbol) for formula in formulas[:2])]
    known = {h.symbol: exact(description.settings[h.name]) for h in field.hyperparameters if h not in read}
    function = compiled([f.subs(known) for f in formulas], (s_p, s_n, *(h.symbol for h in read)), NUMPY)
    s = np.linspace(float(field.similarity.opposite), float(field.similarity.identical), GRID)
    settings = {h.name: float(description.settings[h.name]) for h in read}
    moved = {}
    for h in read:
        values = around(h, settings[h.name])
        if len(values) > 1:
            moved[h.name] = tuple((value, _surface(function, s, settings | {h.name: value})) for value in values)
    return Surfaces(s, _surface(function, s, settings), moved, settings)


def around(h: Hyperparameter, value: float) -> tuple[float, ...]:
    """Values to try, the given one among them: from a quarter of it to four times it, or of 0 from −1 to 1.

    Args:
        h: which keeps them in its domain.
        value: its own.

    >>> from goal_analysis.symbolic.language.hyperparameter import unit
    >>> around(Hyperparameter("share", 0.5, unit), 0.5)
    (0.125, 0.177, 0.25, 0.354, 0.5, 0.707, 1.0)
    """
    exponents = np.linspace(-2, 2, STEPS)
    tried = (float(f"{x:.3g}") for x in (value * 2**exponents if value else exponents / 2))
    return tuple(sorted({value, *(x for x in tried if exact(x) in h.domain)}))


def _without_others(formula: sp.Expr, field: WeightField) -> sp.Expr:
    """The formula where all relative similarities are 0: a potential such as log(1 + R·x)/R has a limit there."""
    for relative in field.relative:
        at_zero = formula.subs(relative.symbol, 0)
        lost = at_zero.has(sp.nan, sp.zoo, sp.oo, -sp.oo)
        formula = sp.limit(formula, relative.symbol, 0) if lost else at_zero
    return formula


def _surface(function: Callable, s: np.ndarray, settings: Mapping[str, float]) -> Surface:
    found = function(s[None, :], s[:, None], *settings.values())
    positive, negative, curl, *potential = (np.asarray(values, np.float64) for values in found)
    return Surface(positive, negative, curl, potential[0] if potential else None)
