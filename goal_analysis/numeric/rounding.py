"""Roots and logarithms at the ends of a range, which rounding goes beyond: √(1 − s²) is NaN at 1.0000001.

What they read is kept as far above zero as float32 tells 1 from its neighbour.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import sympy as sp

from goal_analysis.numeric.compilation import Values, compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.symbolic.language.aggregators import Side
from goal_analysis.symbolic.language.primitives import detach, hinge, maximum, minimum, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Objective

LEAST = sp.Rational(1, 2**23)  # of the argument of a root or of a logarithm
BEYOND, GRID = 0.01, 21  # how far beyond the range an argument is looked at, and at how many points along it
NEGLIGIBLE = 1e-12  # an argument this far below zero is rounding


@lru_cache(maxsize=1024)
def safe_loss(objective: Objective) -> Objective:
    """A loss whose value, too, is finite at the ends."""
    similarity, values = objective.similarity, tuple(objective.values().items())

    def safe(side: Side, _: sp.Symbol) -> Side:
        return replace(side, inner=safe_at_the_ends(side.inner, similarity, values))

    terms = []
    for term in objective.terms:
        outer = sp.sympify(term.outer)
        if term.plain and all(side.inner in (s_p, s_n) for side in term.sides):  # Φ reads similarities
            of_similarities = outer.xreplace({x_p: s_p, x_n: s_n})
            outer = safe_at_the_ends(of_similarities, similarity, values).xreplace({s_p: x_p, s_n: x_n})
        terms.append(term.with_sides(safe, outer=outer))
    return replace(objective, terms=tuple(terms))


@lru_cache(maxsize=4096)
def safe_at_the_ends(e: sp.Expr, similarity: Similarity, values: Values, of_roots: sp.Expr = LEAST) -> sp.Expr:
    """The expression of s_p and s_n with such arguments a as [a − ε]₊ + ε; itself where there is none."""
    if not e.args or not e.has(s_p, s_n):
        return e
    parts = [safe_at_the_ends(part, similarity, values, of_roots) for part in e.args]
    power = e.args[1].subs(values) if e.is_Pow else sp.S.One
    if isinstance(e, sp.log) or power.is_integer is False:
        least = of_roots if power.is_positive and e.is_Pow else LEAST
        if _falls_below_zero(e.args[0].subs(values), similarity):
            parts[0] = hinge(parts[0] - least) + least
    if isinstance(e, sp.acos):
        parts[0] = minimum(maximum(parts[0], -sp.S.One), sp.S.One)
    return e if tuple(parts) == e.args else e.func(*parts)


def safely_differentiated(e: sp.Expr, similarity: Similarity, values: Values) -> sp.Expr:
    """The expression with the derivative of a safe one, and with roots that are zero at the ends."""
    safe = safe_at_the_ends(e, similarity, values)
    return e if safe == e else safe + detach(safe_at_the_ends(e, similarity, values, sp.S.Zero) - safe)


def _falls_below_zero(argument: sp.Expr, similarity: Similarity) -> bool:
    low, high = map(float, similarity.window)
    argument = argument.subs(dict.fromkeys(argument.free_symbols - {s_p, s_n}, 1))  # what is learned, or pairs carry
    points = np.array([low - BEYOND, *np.linspace(low, high, GRID), high + BEYOND])
    (values,) = compiled([argument], (s_p, s_n), NUMPY)(*np.meshgrid(points, points))
    return np.fmin.reduce(values, axis=None) < -NEGLIGIBLE <= np.fmin.reduce(values[1:-1, 1:-1], axis=None)
