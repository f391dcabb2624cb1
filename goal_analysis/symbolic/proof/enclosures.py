"""The sign of an expression over a whole region, by algebra and by mpmath's intervals, which are rigorous."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import sympy as sp
from mpmath import iv

from goal_analysis.symbolic.language.primitives import detach, hinge, step
from goal_analysis.symbolic.proof.evaluation import FLOAT, INTERVAL, Program, UnsupportedFunction, program

SHARES = (0.03, 0.97, 0.29, 0.71, 0.47, 0.61, 0.13, 0.87)  # of a region, where floats look for both signs
BOXES = 150  # the most boxes into which a region is cut
NARROW = 1e-6  # a box this narrow is not cut

Region = Mapping[sp.Symbol, tuple[sp.Expr, sp.Expr]]
"""Between which two numbers, which may be infinite, every symbol lies; the ends are not meant."""


def sign_over(x: sp.Expr, region: Region) -> int:
    """1 if ``x`` is proved positive all over the region, −1 if negative; 0 proves nothing. Other symbols are free."""
    found = _sign_of_factor(x, region)
    if found or not x.has(*region):
        return found
    sign = 1
    for factor in sp.Mul.make_args(sp.factor(x) if x.is_polynomial(*region) else x):
        base, power = factor.as_base_exp()
        of_base = _sign_of_factor(base, region)
        if power.is_Integer:
            sign *= of_base if power % 2 else abs(of_base)
        else:
            sign *= max(of_base, 0)
    return sign


def _sign_of_factor(x: sp.Expr, region: Region) -> int:
    if x.is_positive or x.is_negative:
        return 1 if x.is_positive else -1
    variables = [s for s in region if x.has(s)]
    if variables and all(sp.diff(x, s).is_number for s in variables):
        return _from_corners(x, variables, region)
    if not variables or x.free_symbols - set(region):
        return 0
    return _inside(x, region) or _from_corners(x, variables, region)


def _inside(x: sp.Expr, region: Region) -> int:
    return _enclosed(x, tuple((s, *map(float, region[s])) for s in sorted(region, key=str) if x.has(s)))


def _from_corners(x: sp.Expr, variables: Sequence[sp.Symbol], region: Region) -> int:
    """The sign at the corners of what has its least or greatest values there: it never turns along a variable."""
    corners = [] if x.has(step, hinge, detach) else _corners(x, variables, region)
    for sign in (1, -1):
        if corners and all((sign * corner).is_extended_nonnegative for corner in corners):
            slopes = [(sp.diff(x, s), sp.diff(x, s, s)) for s in variables]
            some = any(corner.is_zero is not True for corner in corners) or any(bend != 0 for _, bend in slopes)
            if some and all(
                bend == 0 or _weakly(slope, region) or _weakly(bend, region) == -sign for slope, bend in slopes
            ):
                return sign
    return 0


def _weakly(x: sp.Expr, region: Region) -> int:
    return 1 if x.is_nonnegative else -1 if x.is_nonpositive else _inside(x, region)


def _corners(x: sp.Expr, variables: Sequence[sp.Symbol], region: Region) -> list[sp.Expr]:
    return [x.subs(dict(zip(variables, ends, strict=True))) for ends in product(*(region[s] for s in variables))]


def enclosure(x: sp.Expr, region: Region) -> tuple[sp.Expr, ...]:
    """Two numbers, which may be infinite, between which ``x`` certainly lies all over the region."""
    variables = [s for s in region if x.has(s)]
    corners = _corners(x, variables, region) if all(sp.diff(x, s).is_number for s in variables) else []
    if corners and all(corner.is_number and corner.is_extended_real for corner in corners):
        return min(corners), max(corners)
    try:
        compiled = program([x], tuple(variables))
    except (UnsupportedFunction, ValueError):
        return -sp.oo, sp.oo
    value = compiled.run(INTERVAL, *(iv.mpf(list(map(float, region[s]))) for s in variables))[0]
    low, high = float(value.a), float(value.b)
    return tuple(sp.Rational(end) if math.isfinite(end) else sp.oo * sign for end, sign in ((low, -1), (high, 1)))


@lru_cache(maxsize=4096)
def _enclosed(x: sp.Expr, ends: tuple[tuple[sp.Symbol, float, float], ...]) -> int:
    variables = tuple(s for s, _, _ in ends)
    slopes = [] if x.has(step, detach) else [sp.diff(x, s) for s in variables]
    try:
        compiled, sloped = program([x], variables), program(slopes, variables)
    except (UnsupportedFunction, ValueError):
        return 0
    if _changes_sign(compiled, ends):
        return 0
    boxes, sign, looked = [[iv.mpf([low, high]) for _, low, high in ends]], 0, 0
    while boxes:
        looked += 1
        box = boxes.pop()
        here = _sign_of(compiled.run(INTERVAL, *box)[0])
        if not here and slopes:  # the mean value theorem, whose error is a square
            middle = [side.mid for side in box]
            moved = (
                slope * (side - mid) for slope, side, mid in zip(sloped.run(INTERVAL, *box), box, middle, strict=True)
            )
            here = _sign_of(sum(moved, compiled.run(INTERVAL, *middle)[0]))
        if here and sign and here != sign:
            return 0
        sign = sign or here
        if here:
            continue
        widest = max(range(len(box)), key=lambda i: box[i].delta)
        if looked >= BOXES or not NARROW < box[widest].delta < iv.inf:
            return 0
        middle = box[widest].mid
        halves = iv.mpf([box[widest].a, middle]), iv.mpf([middle, box[widest].b])
        boxes += [[*box[:widest], half, *box[widest + 1 :]] for half in halves]
    return sign


def _sign_of(x: Any) -> int:
    return 1 if x.a > 0 else -1 if x.b < 0 else 0


def _changes_sign(compiled: Program, ends: Sequence[tuple[sp.Symbol, float, float]]) -> bool:
    seen = set()
    for share in SHARES:
        at = (low + (high - low) * (share * (i + 1) % 1) for i, (_, low, high) in enumerate(ends))
        (value,) = compiled.run(FLOAT, *at)
        seen.add((value > 0) - (value < 0))
    return {1, -1} <= seen
