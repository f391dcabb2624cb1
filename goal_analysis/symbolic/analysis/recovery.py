"""The loss back from its weights, and the triplet weight that would make weights integrable.

With the potential U = ∫P⁻ds_n − ∫P⁺ds_p, the loss of an integrable field is G(U) with G′(U) = T; where T = f(a·U + b),
that is F/a with F′ = f. A T = f(z) that is no function of U has a *tangent twin* f(a·U + b): the affine function of U
agrees with z, in value and in slope, at the centre (½, ½) of the line s_p + s_n = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import sympy as sp

from goal_analysis.symbolic.analysis.kinks import is_continuous, poles
from goal_analysis.symbolic.language.primitives import opened, s_n, s_p, step
from goal_analysis.symbolic.proof.antiderivative import antiderivative
from goal_analysis.symbolic.proof.identity import Undecided, find_witness, proves_zero, random_points, refute_zero
from goal_analysis.symbolic.proof.tidying import bounded_factor, simplest
from goal_analysis.symbolic.weight import WeightField

CENTRES = 8  # points at which a potential and its slopes are compared first


def potential(field: WeightField) -> sp.Expr | None:
    """U(s_p, s_n) = ∫P⁻ds_n − ∫P⁺ds_p, or None where the field does not separate or no closed form was found."""
    if field.factors is None:
        return None
    positive, negative = field.factors.positive, field.factors.negative
    read = positive.free_symbols | negative.free_symbols
    return _potential(positive, negative, tuple((s, span) for s, span in field.ranges.items() if s in read))


@lru_cache(maxsize=1024)
def _potential(positive: sp.Expr, negative: sp.Expr, ranges: tuple) -> sp.Expr | None:
    rising = antiderivative(negative, s_n, dict(ranges))
    falling = antiderivative(positive, s_p, dict(ranges))
    return None if rising is None or falling is None else rising - falling


def profiles(triplet_weight: sp.Expr) -> Iterator[tuple[sp.Expr, sp.Expr, sp.Symbol]]:
    """Every way to read T as f(z(s_p, s_n)): z, f and the variable of f; what is more than a factor comes first."""
    t = sp.Symbol("t", real=True)
    found = []
    for z in sorted(sp.preorder_traversal(triplet_weight), key=sp.count_ops, reverse=True):
        if z.has(s_p) and z.has(s_n):
            profile = triplet_weight.xreplace({z: t, -z: -t})
            if not profile.has(s_p, s_n):
                found.append((z, profile, t))
    yield from sorted(found, key=lambda reading: sp.diff(reading[1], t, 2) == 0 and not reading[1].has(step))


def _profiles_of_potential(field: WeightField) -> Iterator[tuple[sp.Expr, sp.Expr, sp.Symbol, sp.Expr]]:
    factors = field.factors
    along = {} if factors is None else {s_n: factors.negative, s_p: -factors.positive}
    for z, profile, t in profiles(factors.triplet) if factors is not None else ():
        a = multiple({s: sp.diff(z, s) for s in along}, along, field)
        if a is not None:
            yield z, profile, t, a


def multiple(
    weights: Mapping[sp.Symbol, sp.Expr], others: Mapping[sp.Symbol, sp.Expr], field: WeightField
) -> sp.Expr | None:
    """c where weights are proved to be c times others, of the same similarities, and c reads no similarity."""
    known = next((s for s, other in others.items() if other != 0), None)
    if known is None:
        return None
    c = bounded_factor(opened(weights[known] / others[known]))
    if c.has(s_p, s_n):  # what it is at some point, then
        points = random_points((s_p, s_n), field.ranges, CENTRES)
        at = next((point for point in points if others[known].subs(point) != 0), None)
        if at is None:
            return None
        c = weights[known].subs(at) / others[known].subs(at)
    residues = [weights[s] - c * other for s, other in others.items()]
    refuted = any(find_witness(e, field.ranges, CENTRES) for e in residues)  # quicker than to seek a proof in vain
    return c if not refuted and all(proves_zero(e, field.region) for e in residues) else None


def is_function_of_potential(field: WeightField) -> bool:
    """Whether T is proved to be f(z) with z continuous and (−P⁺, P⁻) a multiple of its gradient."""
    factors, region = field.factors, field.region
    if factors is None or poles(factors.positive, region) or poles(factors.negative, region):
        return False
    return any(
        is_continuous(z, region) and not poles(profile, {t: (-sp.oo, sp.oo)})
        for z, profile, t, _ in _profiles_of_potential(field)
    )


def recover_loss(field: WeightField, u: sp.Expr | None) -> sp.Expr | None:
    """A closed form of the loss of a field without curl and its potential, checked against both weights, or None."""
    for candidate in _loss_candidates(field, u):
        residues = (sp.diff(candidate, s_p) + field.positive, sp.diff(candidate, s_n) - field.negative)
        try:
            if not any(refute_zero(residue, field.ranges) for residue in residues):
                return simplest(candidate)
        except Undecided:
            continue
    return None


def _loss_candidates(field: WeightField, u: sp.Expr | None) -> Iterator[sp.Expr]:
    if u is not None and field.factors is not None:
        if not field.factors.triplet.has(s_p, s_n):
            yield field.factors.triplet * u
        for z, profile, t, a in _profiles_of_potential(field):
            primitive = antiderivative(profile, t, {**field.ranges, t: (sp.Integer(-1), sp.Integer(1))})
            if primitive is not None and a != 0:
                yield primitive.subs(t, z) / a
    along_n = antiderivative(field.negative, s_n, field.ranges)
    if along_n is not None:
        rest = simplest(-field.positive - sp.diff(along_n, s_p))
        if rest.has(s_n):  # where there is a loss it is what it is anywhere
            rest = simplest(rest.subs(s_n, sum(field.similarity.window) / 2))
        along_p = antiderivative(rest, s_p, field.ranges)
        if along_p is not None:
            yield along_n + along_p


u = sp.Symbol("u", real=True)

CENTRE = {s_p: sp.Rational(1, 2), s_n: sp.Rational(1, 2)}  # where a tangent twin touches: neither easy nor hard


class NoTwin(ValueError):
    """The pair weights have no potential in closed form, or the triplet weight is no function of one scalar."""


def tangent_profile(field: WeightField) -> tuple[sp.Expr, sp.Expr]:
    """The profile g(u) of the tangent twin, whose triplet weight is g(U), and the potential U.

    `NoTwin`: no closed potential, T constant or no function of one scalar argument, or U flat at the centre.
    """
    if field.relative:
        reads = ", ".join(str(r.symbol) for r in field.relative)
        raise NoTwin(
            f"{field.name}: got pair weights that read other pairs of the batch ({reads}) but expected weights of "
            "their own pair: one triplet has no potential"
        )
    factors, closed = field.factors, potential(field)
    if factors is None or closed is None:
        raise NoTwin(f"{field.name}: got a field without a closed potential U but expected separable weights")
    for z, profile, t in profiles(factors.triplet):
        slope_z, slope_u = (simplest((sp.diff(e, s_n) - sp.diff(e, s_p)).subs(CENTRE)) for e in (z, closed))
        if slope_u != 0 and slope_z != 0:
            a = slope_z / slope_u
            argument = sp.expand(a * u + z.subs(CENTRE) - a * closed.subs(CENTRE))
            return profile.subs(t, argument), closed
    raise NoTwin(f"{field.name}: got the triplet weight {factors.triplet} but expected f(z(s_p, s_n))")
