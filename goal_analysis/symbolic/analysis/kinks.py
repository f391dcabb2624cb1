"""What is proved of kinks: that a function does not jump there, or that a curl has no part concentrated there.

The algebra says what an expression is on a kink g = 0: g is solved for a variable, or divided by as a polynomial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import sympy as sp
from sympy.polys.polyerrors import BasePolynomialError

from goal_analysis.symbolic.language.primitives import hinge, opened, sigmoid, softplus, step
from goal_analysis.symbolic.proof.enclosures import Region, sign_over
from goal_analysis.symbolic.proof.evaluation import evaluate
from goal_analysis.symbolic.proof.identity import proves_zero
from goal_analysis.symbolic.proof.tidying import bounded_factor

TINY = 1e-12  # by so much a number and its inverse's value differ by rounding
INVERSES = {sp.exp: sp.log, sp.log: sp.exp, sp.atan: sp.tan, sp.acos: sp.cos, sp.erf: sp.erfinv}
INVERSES |= {sigmoid: lambda y: sp.log(y / (1 - y)), softplus: lambda y: sp.log(sp.exp(y) - 1)}
LONG = 300  # formulas with as many operations are not written in factors, which would take seconds


class Jump(NamedTuple):
    """What the curl is concentrated to at a kink: δ(``kink``) times ``coefficient``."""

    kink: sp.Expr
    coefficient: sp.Expr


def curl_jumps(gradient: Mapping[sp.Symbol, sp.Expr]) -> Iterator[Jump]:
    """What the curl of a gradient field {s: ∂L/∂s} is concentrated to, for every two similarities at every kink."""
    in_steps = {s: in_steps_alone(weight) for s, weight in gradient.items()}
    for kink in kinks_of(tuple(in_steps.values()), tuple(gradient)):
        jump = {s: jump_across(kink, weight) for s, weight in in_steps.items()}
        for a, b in combinations(gradient, 2):
            coefficient = jump[b] * sp.diff(kink, a) - jump[a] * sp.diff(kink, b)
            coefficient = sp.factor_terms(coefficient) if sp.count_ops(coefficient) < LONG else coefficient
            if coefficient != 0:
                yield Jump(kink, coefficient)


def in_steps_alone(expression: sp.Expr) -> sp.Expr:
    """``expression``, almost everywhere, with [x]₊ written x·1[x > 0], and with steps of irreducible factors alone."""
    return opened(expression).replace(step, step_of_factors)


@lru_cache(maxsize=4096)
def step_of_factors(x: sp.Expr) -> sp.Expr:
    """1[x > 0], almost everywhere, in steps of irreducible factors with one sign."""
    positive = sp.S.One
    for factor in sp.Mul.make_args(bounded_factor(without_functions(x))):
        if factor.is_number:
            positive = step(factor) if factor.is_extended_real else positive
            continue
        base, power = factor.as_base_exp()
        vanishes_on_a_region = base.has(hinge, step)
        if factor.is_positive or (factor.is_nonnegative and not vanishes_on_a_region):
            continue
        read = base if power.is_Integer and power % 2 else factor
        if (fewer := without_functions(read)) != read:
            of_factor = step_of_factors(fewer)
        else:
            of_factor = 1 - step(-read) if read.could_extract_minus_sign() else step(read)
        positive = positive * of_factor + (1 - positive) * (1 - of_factor)
    return positive


@lru_cache(maxsize=4096)
def without_functions(x: sp.Expr) -> sp.Expr:
    """What has the sign of ``x``, where that compares values of one monotone function: a − b for eᵃ − eᵇ."""
    constant, rest = x.as_independent(*x.free_symbols, as_Add=True)
    parts = [sp.powsimp(term, combine="exp") if term.has(sp.exp) else term for term in sp.Add.make_args(rest)]
    (c, f), *others = (part.as_independent(*x.free_symbols, as_Add=False) for part in parts)
    whole = f.is_Pow and f.exp.is_Integer and f.exp.is_positive and f.exp % 2
    of_root = f.is_Pow and f.exp.is_Rational and f.exp.is_positive and not f.exp.is_Integer
    if len(others) > 1 or not (whole or of_root or f.func in INVERSES):
        a, b = sorted(x.free_symbols, key=str) if len(x.free_symbols) == 2 else (sp.S.One, sp.S.One)
        return a - b if x + x.xreplace({a: b, b: a}) == 0 and sp.diff(x, a).is_positive else x

    def value(y: sp.Expr) -> sp.Expr:
        return f.func(y, *f.args[1:])

    rises = sp.sign(c) * (-1 if isinstance(f, sp.acos) else 1)
    if not others:
        y = -constant / c
        root = (sp.real_root(y, f.exp) if whole else y ** (1 / f.exp)) if f.is_Pow else INVERSES[f.func](y)
        known = root.is_finite and root.is_extended_real and abs(evaluate(value(root) - y, {})) < TINY
        return rises * (f.args[0] - root) if known else x
    ((d, g),) = others
    if g.func != f.func or g.args[1:] != f.args[1:]:
        return x
    argument, other = f.args[0], g.args[0]
    if isinstance(f, sp.exp) and constant == 0 and (c * d).is_negative:
        return rises * (argument + sp.log(abs(c)) - other - sp.log(abs(d)))
    if c == -d and constant == 0:
        return rises * (argument - other)
    odd = whole if f.is_Pow else isinstance(f, sp.atan | sp.acos | sp.erf | sigmoid)
    return rises * (argument + other) if odd and c == d and constant == -2 * c * value(sp.S.Zero) else x


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


# --- proofs --------------------------------------------------------------------------------------


def is_continuous(expression: sp.Expr, region: Region) -> bool:
    """Whether ``expression`` is proved to be continuous over the region; False proves nothing."""
    in_steps = expression.replace(step, step_of_factors)  # a hinge never jumps
    kinks = kinks_of([in_steps], tuple(region))
    return not poles(expression, region) and all(
        vanishes_on_kink(kink, jump_across(kink, in_steps), region) for kink in kinks
    )


def poles(expression: sp.Expr, region: Region) -> list[sp.Expr]:
    """What stands below a fraction bar, or in a logarithm, and is not proved to keep its sign over the region."""
    below = {p.base for p in expression.atoms(sp.Pow) if p.exp.is_negative or p.exp.is_nonnegative is None}
    below |= {log.args[0] for log in expression.atoms(sp.log)}
    return [e for e in below if e.has(*region) and not sign_over(e, region)]


def vanishes_on_kink(kink: sp.Expr, expression: sp.Expr, region: Region) -> bool:
    """Whether ``expression`` is proved to vanish where ``kink`` is zero within the region; False proves nothing."""
    if expression == 0 or sign_over(kink, region):
        return True
    return all(
        _vanishes_on(of_branch, rest, region) or (where != 1 and _vanishes_on(of_branch, rest * where, region))
        for of_branch, rest, where in _branches(opened(kink), opened(expression))
    )


def _vanishes_on(kink: sp.Expr, expression: sp.Expr, region: Region) -> bool:
    if not kink.has(*region) or sign_over(kink, region):
        return True
    for s in region:
        for root in (r for r in kink.atoms(sp.Pow) if r.base in (s, -s) and r.exp.is_Rational and not r.exp.is_Integer):
            # A root of s is a letter of its own, of which s is a power.
            u = sp.Dummy(positive=True)
            at = {s: u**root.exp.q * (1 if root.base == s else -1)}
            others = {other: ends for other, ends in region.items() if other != s} | {u: (sp.S.Zero, sp.oo)}
            return _vanishes_on(kink.subs(at), expression.subs(at), others)
    try:
        return any(proves_zero(reading, region) for reading in _on_kink(kink, expression, region))
    except (BasePolynomialError, NotImplementedError):  # what is no polynomial after all, or too large for SymPy
        return False


def _branches(
    kink: sp.Expr, expression: sp.Expr, where: sp.Expr = sp.S.One
) -> Iterator[tuple[sp.Expr, sp.Expr, sp.Expr]]:
    """The kink, the expression, and 1 where they are so, for every combination of signs inside of the kink."""
    inside = sorted(kink.atoms(step), key=lambda s: (len(s.atoms(step)), sp.default_sort_key(s)))
    if not inside:
        yield kink, expression, where
        return
    for value in (sp.S.Zero, sp.S.One):
        opposite = step(-inside[0].args[0])
        settled = {inside[0]: value, opposite: 1 - value}
        here = inside[0] if value else opposite
        yield from _branches(kink.xreplace(settled), expression.xreplace(settled), where.xreplace(settled) * here)


def _on_kink(kink: sp.Expr, expression: sp.Expr, region: Region) -> Iterator[sp.Expr]:
    variables = [s for s in region if kink.has(s)]
    for s in variables:
        root = _root(kink, s)
        if root is not None:
            low, high = region[s]
            inside = (step(d) for d in (root - low, high - root) if not d.has(sp.oo, -sp.oo))
            yield sp.Mul(expression.subs(s, root), *inside)
            return
    shields = {f: sp.Dummy() for f in expression.atoms(step)}
    shielded = expression.xreplace(shields)
    s = next((s for s in variables if kink.is_polynomial(s) and shielded.is_polynomial(s)), None)
    rest = shielded.xreplace({kink: sp.S.Zero}) if s is None else sp.rem(shielded, kink, s)
    yield rest.xreplace({shield: f for f, shield in shields.items()})


def _root(kink: sp.Expr, s: sp.Symbol) -> sp.Expr | None:
    if kink.has(s) and kink.is_polynomial(s) and sp.degree(kink, s) == 1:
        return sp.cancel(-kink.subs(s, 0) / sp.diff(kink, s))
    return None
