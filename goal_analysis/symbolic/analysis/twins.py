"""Integrable twins: for any pair weights, the objectives g(U)·P that are the gradient of a loss G(U).

U = ∫P⁻ds_n − ∫P⁺ds_p is the potential of the pair weights. A triplet weight T = f(z) has a *tangent twin* f(a·U + b):
the same profile f of the affine function of U that agrees with z, in value and in slope, at the centre (½, ½) of the
line s_p + s_n = 1. The twin of nca × linear is circle × linear, and the twin of circle × constant is nca × constant.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from goal_analysis.symbolic.analysis.recovery import potential, profiles
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.proof.antiderivative import antiderivative
from goal_analysis.symbolic.proof.tidying import simplest
from goal_analysis.symbolic.weight import Factors, WeightField

u = sp.Symbol("u", real=True)
"""The variable of a profile g(u)."""

CENTRE = {s_p: sp.Rational(1, 2), s_n: sp.Rational(1, 2)}
"""Where a tangent twin touches: neither easy nor hard."""


class NoTwin(ValueError):
    """The pair weights have no closed potential, or the triplet weight no scalar argument."""


def twin(field: WeightField, profile: sp.Expr, name: str | None = None) -> tuple[WeightField, sp.Expr | None]:
    """The integrable objective g(U)·P⁺, g(U)·P⁻, and its loss G(U) where a closed form was found.

    Args:
        field: an objective that separates; its triplet weight is replaced.
        profile: g, an expression of `u` and of hyperparameters of the field.
        name: what to call it.

    Raises:
        NoTwin: the field does not separate or its pair weights have no closed potential.
    """
    factors, closed = _factors_and_potential(field)
    triplet = profile.subs(u, closed)
    positive, negative = factors.positive, factors.negative
    primitive = antiderivative(profile, u, {**field.ranges, u: (sp.Integer(-1), sp.Integer(1))})
    composed = replace(
        field,
        name=name or f"g(U) × {field.name}",
        positive=triplet * positive,
        negative=triplet * negative,
        factors=Factors(triplet, positive, negative),
    )
    return composed, None if primitive is None else primitive.subs(u, closed)


def tangent_twin(field: WeightField) -> tuple[WeightField, sp.Expr | None]:
    """The integrable twin of an objective with the profile of its own triplet weight, and its loss.

    Raises:
        NoTwin: no closed potential, or T is constant or no function of one scalar argument, or U is flat at the
            centre.

    >>> from goal_analysis.symbolic.language.primitives import sigmoid
    >>> nca = sigmoid(s_n - s_p)
    >>> linear = Factors(nca, 1 - s_p, s_n)
    >>> field = WeightField(name="nca × linear", positive=nca * (1 - s_p), negative=nca * s_n, factors=linear)
    >>> tangent_twin(field)[0].factors.triplet
    sigmoid(s_n**2 + s_p**2 - 2*s_p + 1/2)
    """
    return twin(field, tangent_profile(field)[0], name=f"twin of {field.name}")


def tangent_profile(field: WeightField) -> tuple[sp.Expr, sp.Expr]:
    """The profile g of the tangent twin, an expression of `u`, and the potential U: its triplet weight is g(U).

    Raises:
        NoTwin: as `tangent_twin`.
    """
    factors, closed = _factors_and_potential(field)
    for z, profile, t in profiles(factors.triplet):
        slope_z, slope_u = (_slope_at_centre(e) for e in (z, closed))
        if slope_u != 0 and slope_z != 0:
            a = slope_z / slope_u
            argument = sp.expand(a * u + z.subs(CENTRE) - a * closed.subs(CENTRE))
            return profile.subs(t, argument), closed
    raise NoTwin(f"{field.name}: got the triplet weight {factors.triplet} but expected f(z(s_p, s_n))")


def _factors_and_potential(field: WeightField) -> tuple[Factors, sp.Expr]:
    if field.relative:
        reads = ", ".join(str(r.symbol) for r in field.relative)
        raise NoTwin(
            f"{field.name}: got pair weights that read other pairs of the batch ({reads}) but expected weights of "
            "their own pair: one triplet has no potential"
        )
    closed = potential(field)
    if field.factors is None or closed is None:
        raise NoTwin(f"{field.name}: got a field without a closed potential U but expected separable weights")
    return field.factors, closed


def _slope_at_centre(e: sp.Expr) -> sp.Expr:
    """The derivative along s_p + s_n = 1, towards the harder side."""
    return simplest((sp.diff(e, s_n) - sp.diff(e, s_p)).subs(CENTRE))
