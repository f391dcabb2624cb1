"""What happens across kinks: where the weights jump, and whether their curl has a part concentrated there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sympy as sp

from goal_analysis.symbolic.language.primitives import hinge, s_n, step
from goal_analysis.symbolic.proof.arithmetic import FLOAT
from goal_analysis.symbolic.proof.evaluation import Program, program
from goal_analysis.symbolic.proof.identity import (
    Ranges,
    Undecided,
    Witness,
    find_witness,
    random_points,
    refute_zero,
)
from goal_analysis.symbolic.proof.tidying import tidy
from goal_analysis.symbolic.weight import WeightField

TRIED = 40
"""Lines along which a kink is looked for that has no closed form."""

CELLS = 48
"""Into how many cells such a line is cut."""

NEGLIGIBLE = 1e-7
"""A coefficient on the kink below this share of its size elsewhere is rounding."""


@dataclass(frozen=True)
class Jump:
    """What the curl is concentrated to at a kink: δ(``kink``) times ``coefficient``."""

    kink: sp.Expr
    coefficient: sp.Expr


def curl_jumps(gradient: Mapping[sp.Symbol, sp.Expr]) -> Iterator[Jump]:
    """What the curl of a gradient field is concentrated to, for every two similarities at every kink.

    Args:
        gradient: ∂L/∂s by similarity.
    """
    in_steps = {s: in_steps_alone(weight) for s, weight in gradient.items()}
    similarities = tuple(gradient)
    for kink in kinks_of(tuple(in_steps.values()), similarities):
        jump = {s: jump_across(kink, weight) for s, weight in in_steps.items()}
        for i, a in enumerate(similarities):
            for b in similarities[i + 1 :]:
                coefficient = sp.factor_terms(jump[b] * sp.diff(kink, a) - jump[a] * sp.diff(kink, b))
                if coefficient != 0:
                    yield Jump(kink, coefficient)


def in_steps_alone(expression: sp.Expr) -> sp.Expr:
    """``expression`` with [x]₊ written x·1[x > 0] throughout."""
    return expression.replace(hinge, lambda x: x * step(sp.factor_terms(x)))


def kinks_of(expressions: Sequence[sp.Expr], similarities: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """The arguments of the steps that depend on a similarity, each with one of its signs."""
    found: dict[sp.Expr, None] = {}
    for expression in expressions:
        for s in sorted(expression.atoms(step), key=sp.default_sort_key):
            if -s.args[0] not in found and s.has(*similarities):
                found[s.args[0]] = None
    return list(found)


def jump_across(kink: sp.Expr, expression: sp.Expr) -> sp.Expr:
    """What ``expression``, in steps alone, gains where ``kink`` becomes positive."""
    on, off = ({step(kink): value, step(-kink): 1 - value} for value in (sp.S.One, sp.S.Zero))
    return expression.xreplace(on) - expression.xreplace(off)


def refute_on_kink(jump: Jump, similarities: Sequence[sp.Symbol], field: WeightField) -> Witness | None:
    """None if the coefficient vanishes on the kink, as far as unit vectors reach, else a witness against it.

    Raises:
        Undecided: the kink has no closed form, and the coefficient seems to vanish on it.
    """
    spans = {s: field.ranges.get(s, field.ranges[s_n]) for s in (jump.kink * jump.coefficient).free_symbols}
    for s in similarities:
        if jump.kink.is_polynomial(s) and sp.degree(jump.kink, s) == 1:
            slope = sp.diff(jump.kink, s)
            root = sp.cancel(-jump.kink.subs(s, 0) / slope)
            within = step(root - spans[s][0]) * step(spans[s][1] - root)
            on_kink = tidy(jump.coefficient.subs(s, root) * within, field.similarity)
            return witness_against(on_kink, field)
    return _refute_numerically(jump, [s for s in similarities if jump.kink.has(s)], spans, field)


def witness_against(condition: sp.Expr, field: WeightField) -> Witness | None:
    """A point at which ``condition`` is not zero, at the default hyperparameters if it is not zero there; None if
    it is proved to be zero.
    """
    ranges = {s: field.ranges.get(s, field.ranges[s_n]) for s in condition.free_symbols}
    at_defaults = {symbol: (value, value) for symbol, value in field.values().items()}
    return find_witness(condition, {**ranges, **at_defaults}) or refute_zero(condition, ranges)


def _refute_numerically(
    jump: Jump, variables: Sequence[sp.Symbol], spans: Ranges, field: WeightField
) -> Witness | None:
    symbols = tuple(sorted(spans, key=str))
    fixed = {symbol: (value, value) for symbol, value in field.values().items()}
    kink, coefficient = (program([e], symbols) for e in (jump.kink, jump.coefficient))
    points = list(random_points(symbols, {**spans, **fixed}, TRIED))
    size = max((abs(v) for p in points if (v := _at(coefficient, list(map(float, p.values())))) == v), default=0.0)
    reached = False
    for point in points:
        for variable in variables:
            for on_kink in _roots(kink, symbols, point, variable, spans[variable]):
                reached = True
                value = _at(coefficient, on_kink)
                if abs(value) > NEGLIGIBLE * size:
                    return Witness(tuple(zip((s.name for s in symbols), on_kink, strict=True)), value)
    if reached:
        raise Undecided(f"whether the weights' jump across {jump.kink} = 0 has a curl")
    return None


def _roots(kink: Program, symbols, point, variable, span) -> Iterator[list[float]]:
    """Points on the kink along one line through ``point``, by bisection."""
    place = symbols.index(variable)
    low, high = map(float, span)
    here = list(map(float, point.values()))

    def at(x: float) -> float:
        return _at(kink, [*here[:place], x, *here[place + 1 :]])

    edges = [low + (high - low) * i / CELLS for i in range(CELLS + 1)]
    for left, right in pairwise(edges):
        if at(left) * at(right) < 0:
            for _ in range(60):
                middle = (left + right) / 2
                left, right = (middle, right) if at(left) * at(middle) > 0 else (left, middle)
            yield [*here[:place], (left + right) / 2, *here[place + 1 :]]


def _at(compiled: Program, values: Sequence[float]) -> float:
    return compiled.run(FLOAT, *values)[0]
