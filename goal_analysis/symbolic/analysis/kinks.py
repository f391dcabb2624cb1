"""What happens across kinks: where weights jump, and whether their curl has a part concentrated there.

Every `hinge` and `step` is written in steps of irreducible factors with one sign, so that two kinks at one place are
one kink, and a kink of several branches is several kinks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import mpmath
import sympy as sp
from mpmath import iv

from goal_analysis.symbolic.language.primitives import hinge, s_n, step
from goal_analysis.symbolic.proof.evaluation import FLOAT, INTERVAL, MULTIPRECISION, Program, program
from goal_analysis.symbolic.proof.identity import (
    Ranges,
    Undecided,
    Witness,
    find_witness,
    proves_zero,
    random_points,
    refute_zero,
)
from goal_analysis.symbolic.proof.tidying import bounded_factor, tidy
from goal_analysis.symbolic.weight import WeightField

TRIED = 40  # along how many lines a kink without a closed form is searched
CELLS = 48  # into how many cells such a line is cut
BOXES = 400  # the most boxes into which the range is cut to prove that a kink lies outside of it
NEGLIGIBLE = 1e-7  # a coefficient below this share of its size elsewhere counts as zero on the kink
DIGITS = 60  # with which a larger coefficient is checked


@dataclass(frozen=True)
class Jump:
    """What the curl is concentrated to at a kink: δ(``kink``) times ``coefficient``."""

    kink: sp.Expr
    coefficient: sp.Expr


def curl_jumps(gradient: Mapping[sp.Symbol, sp.Expr]) -> Iterator[Jump]:
    """What the curl of a gradient field {s: ∂L/∂s} is concentrated to, for every two similarities at every kink."""
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
    """``expression``, almost everywhere, with [x]₊ written x·1[x > 0], and with steps of irreducible factors alone."""
    return expression.replace(hinge, lambda x: x * step(x)).replace(step, _step_of_factors)


@lru_cache(maxsize=4096)
def _step_of_factors(x: sp.Expr) -> sp.Expr:
    positive = sp.S.One
    for factor in sp.Mul.make_args(bounded_factor(x)):
        if factor.is_number:
            positive = step(factor) if factor.is_extended_real else positive
            continue
        base, power = factor.as_base_exp()
        vanishes_on_a_region = base.has(hinge, step)
        if factor.is_positive or (power.is_Integer and power % 2 == 0 and not vanishes_on_a_region):
            continue
        read = base if power.is_Integer and power % 2 else factor
        of_factor = 1 - step(-read) if read.could_extract_minus_sign() else step(read)
        positive = positive * of_factor + (1 - positive) * (1 - of_factor)
    return positive


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


def is_continuous(expression: sp.Expr, variables: Sequence[sp.Symbol]) -> bool:
    """Whether ``expression`` is proved to be continuous in the variables over all real numbers; False
    proves nothing.
    """
    in_steps = expression.replace(step, _step_of_factors)  # a hinge never jumps
    kinks = kinks_of([in_steps], variables)
    branches = (branch for kink in kinks for branch in _branches(kink, jump_across(kink, in_steps)))
    return all(proves_zero(_on_kink(kink, jump, variables)) for kink, jump in branches if kink.has(*variables))


def _branches(kink: sp.Expr, jump: sp.Expr) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """The kink and the jump across it for every combination of signs at the steps inside of the kink."""
    inside = sorted(kink.atoms(step), key=lambda s: (len(s.atoms(step)), sp.default_sort_key(s)))
    if not inside:
        yield kink, jump
        return
    for value in (sp.S.Zero, sp.S.One):
        settled = {inside[0]: value, step(-inside[0].args[0]): 1 - value}
        yield from _branches(kink.xreplace(settled), jump.xreplace(settled))


def _on_kink(kink: sp.Expr, jump: sp.Expr, variables: Sequence[sp.Symbol]) -> sp.Expr:
    """``jump`` where ``kink`` is zero, as far as the algebra tells."""
    root = _root(kink, variables)
    if root is not None:
        return jump.subs(*root)
    shields = {f: sp.Dummy() for f in jump.atoms(step)}
    shielded = jump.xreplace(shields)
    s = next((s for s in variables if kink.has(s) and kink.is_polynomial(s) and shielded.is_polynomial(s)), None)
    rest = shielded.xreplace({kink: sp.S.Zero}) if s is None else sp.rem(shielded, kink, s)
    return rest.xreplace({shield: f for f, shield in shields.items()})


def _root(kink: sp.Expr, variables: Sequence[sp.Symbol]) -> tuple[sp.Symbol, sp.Expr] | None:
    """A variable in which the kink is linear, with its value on the kink."""
    for s in variables:
        if kink.is_polynomial(s) and sp.degree(kink, s) == 1:
            return s, sp.cancel(-kink.subs(s, 0) / sp.diff(kink, s))
    return None


def refute_on_kink(jump: Jump, similarities: Sequence[sp.Symbol], field: WeightField) -> Witness | None:
    """A point against the coefficient vanishing on the kink within the range of the similarities, or None if it is
    proved to.

    Raises:
        Undecided: neither was found.
    """
    root = _root(jump.kink, similarities)
    if root is not None:
        s, value = root
        within = sp.S.One
        for distance in (value - field.similarity.opposite, field.similarity.identical - value):
            within *= sp.S.One if distance.has(sp.oo, -sp.oo) else step(distance)
        return witness_against(tidy(jump.coefficient.subs(s, value) * within, field.similarity), field)
    if proves_zero(_on_kink(jump.kink, jump.coefficient, similarities)):
        return None
    symbols = (jump.kink * jump.coefficient).free_symbols
    spans = {s: field.ranges.get(s, field.ranges[s_n]) for s in symbols}
    return _refute_numerically(jump, [s for s in similarities if jump.kink.has(s)], spans, field)


def witness_against(condition: sp.Expr, field: WeightField) -> Witness | None:
    """A point at which ``condition`` is not zero, or None if it is proved to be zero.

    Raises:
        Undecided: neither was found.
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
    reached, largest = False, 0.0
    for point in points:
        for variable in variables:
            for on_kink in _roots(kink, symbols, point, variable, spans[variable]):
                reached = True
                value = _at(coefficient, on_kink)
                if abs(value) > NEGLIGIBLE * size and _holds_in_many_digits(
                    kink, coefficient, on_kink, symbols.index(variable)
                ):
                    return Witness(tuple(zip((s.name for s in symbols), on_kink, strict=True)), value)
                largest = max(largest, abs(value))
    if not reached and _is_out_of_range(kink, [spans[s] for s in symbols]):
        return None
    found = f"on it the curl is at most {largest:.2g}" if reached else f"it was not met on {TRIED} lines"
    raise Undecided(f"the weights may jump across {jump.kink} = 0; {found}")


def _roots(kink: Program, symbols, point, variable, span) -> Iterator[list[float]]:
    """Points on the kink along one line through ``point``, by bisection."""
    place = symbols.index(variable)
    low, high = map(float, span)
    here = list(map(float, point.values()))

    def at(x: float) -> float:
        return _at(kink, [*here[:place], x, *here[place + 1 :]])

    # Uneven cells: people put kinks at round numbers, and a kink on an edge changes no sign.
    edges = [low + (high - low) * (i / CELLS) ** 1.0137 for i in range(CELLS + 1)]
    for left, right in pairwise(edges):
        if at(left) * at(right) < 0:
            for _ in range(60):
                middle = (left + right) / 2
                left, right = (middle, right) if at(left) * at(middle) > 0 else (left, middle)
            yield [*here[:place], (left + right) / 2, *here[place + 1 :]]


def _holds_in_many_digits(kink: Program, coefficient: Program, point: Sequence[float], place: int) -> bool:
    with mpmath.workdps(DIGITS):
        here = list(map(mpmath.mpf, point))

        def at(compiled: Program, x: Any) -> Any:
            return compiled.run(MULTIPRECISION, *here[:place], x, *here[place + 1 :])[0]

        near = mpmath.mpf(10) ** -9
        left, right = here[place] - near, here[place] + near
        if not at(kink, left) * at(kink, right) < 0:
            return False
        for _ in range(3 * DIGITS):
            middle = (left + right) / 2
            left, right = (middle, right) if at(kink, left) * at(kink, middle) > 0 else (left, middle)
        return abs(at(coefficient, (left + right) / 2)) > mpmath.mpf(10) ** (-DIGITS // 3)


def _is_out_of_range(kink: Program, spans: Sequence[tuple[sp.Expr, sp.Expr]]) -> bool:
    """Whether interval arithmetic proves that the kink has no point in the box."""
    boxes = [[iv.mpf([float(low), float(high)]) for low, high in spans]]
    for _ in range(BOXES):
        if not boxes:
            return True
        box = boxes.pop()
        value = kink.run(INTERVAL, *box)[0]
        if value.a > 0 or value.b < 0:
            continue
        widest = max(range(len(box)), key=lambda i: box[i].delta)
        middle = box[widest].mid
        halves = iv.mpf([box[widest].a, middle]), iv.mpf([middle, box[widest].b])
        boxes += [[*box[:widest], half, *box[widest + 1 :]] for half in halves]
    return False


def _at(compiled: Program, values: Sequence[float]) -> float:
    return compiled.run(FLOAT, *values)[0]
