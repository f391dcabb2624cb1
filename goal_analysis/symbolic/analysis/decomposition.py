"""A loss taken apart at the gradient: triplet weight, pair weights and mining weights, all derived.

On one triplet, w⁺ = −∂L/∂s_p and w⁻ = ∂L/∂s_n, split into T·P⁺ and T·P⁻ where such factors exist (`separation` says
when, and fixes their free constant). On a whole batch, the chain rule over the declared pieces gives every weight as
outer derivative × mining weight × inner derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp

from goal_analysis.symbolic.analysis.separation import Contradiction, separate
from goal_analysis.symbolic.language.aggregators import Pool, Side
from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.primitives import logsumexp, s_n, s_p, softplus, undetach, x_n, x_p
from goal_analysis.symbolic.objective import SymbolicLoss, Term
from goal_analysis.symbolic.proof.arithmetic import FLOAT, MULTIPRECISION
from goal_analysis.symbolic.proof.evaluation import program
from goal_analysis.symbolic.proof.identity import random_points
from goal_analysis.symbolic.proof.tidying import tidy
from goal_analysis.symbolic.weight import Factors, WeightField

CHECKED = 24
"""Points at which simplified weights are compared with the bare derivatives."""

TOLERANCE = 1e-6
"""By how much they may differ there, relatively."""

DIGITS = 60
"""Digits with which a difference in floats is looked at again."""


@dataclass(frozen=True)
class TermParts:
    """The derivatives of the declared pieces of one term.

    Args:
        term: the term Φ(A⁺[k], A⁻[h]).
        outer_positive: −∂Φ/∂x_p; where Φ reads the gap alone this is φ′, the triplet weight.
        outer_negative: ∂Φ/∂x_n; where Φ reads the gap alone this is φ′ too.
        inner_positive: k′(s_p), zero for a term without positives.
        inner_negative: h′(s_n), zero for a term without negatives.
    """

    term: Term
    outer_positive: sp.Expr
    outer_negative: sp.Expr
    inner_positive: sp.Expr
    inner_negative: sp.Expr


@dataclass(frozen=True, repr=False)
class Decomposition(Displayed):
    """A loss with its derived weights.

    Args:
        loss: the loss.
        field: w⁺ and w⁻ on one triplet, with T, P⁺ and P⁻ where they exist.
        parts: the derivatives of the pieces, term by term.
        contradiction: where the field does not separate, what T·P would imply and where it fails; None also where
            neither factors nor a contradiction were found.
    """

    loss: SymbolicLoss
    field: WeightField
    parts: tuple[TermParts, ...]
    contradiction: Contradiction | None

    @property
    def separable(self) -> bool | None:
        """Whether w⁺ = T·P⁺ and w⁻ = T·P⁻ with P⁺ of s_p alone and P⁻ of s_n alone; None where that is open."""
        return True if self.field.factors is not None else None if self.contradiction is None else False

    @property
    def reason(self) -> str:
        """Why the weights separate, or why not, in one sentence."""
        if self.separable:
            return "w⁺/w⁻ is a function of s_p alone times a function of s_n alone"
        if self.contradiction is None:
            return "neither factors of w⁺ and w⁻ were found nor a contradiction that they would lead to"
        return (
            "w⁺/w⁻ is no product of a function of s_p and one of s_n: at two values of each, "
            f"{self.contradiction}, which T·P makes 0"
        )

    def weights(
        self, positives: Sequence[sp.Symbol], negatives: Sequence[sp.Symbol]
    ) -> tuple[tuple[sp.Expr, ...], tuple[sp.Expr, ...]]:
        """The weights −∂L/∂s of every positive and ∂L/∂s of every negative of one anchor, by the chain rule on
        the derived pieces: outer derivative × mining weight × inner derivative, summed over the terms.
        """
        total: dict[sp.Symbol, sp.Expr] = dict.fromkeys((*positives, *negatives), sp.S.Zero)
        for parts in self.parts:
            for s, share in _term_gradient(parts, positives, negatives):
                total[s] = sp.Add(total[s], share)
        return tuple(sp.Mul(-1, total[s]) for s in positives), tuple(total[s] for s in negatives)


def decompose(loss: SymbolicLoss) -> Decomposition:
    """Derive the weights of a loss.

    Args:
        loss: any loss of the declarable shape.

    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.language.primitives import gap
    >>> soft_margin = Term(outer=softplus(gap), positives=EACH(s_p), negatives=EACH(s_n))
    >>> loss = SymbolicLoss(name="soft_margin", title="Softmax-margin triplet loss", terms=(soft_margin,))
    >>> decompose(loss).field.factors
    Factors(triplet=sigmoid(s_n - s_p), positive=1, negative=1)
    """
    found = _decomposed(loss)
    return found if found.loss is loss else replace(found, loss=loss)  # an equal one may have another note


@lru_cache(maxsize=1024)
def _decomposed(loss: SymbolicLoss) -> Decomposition:
    """The decomposition of a loss, remembered: deriving it takes a tenth of a second."""
    if not loss.is_loss:
        return _prescribed(loss)
    on_triplet = loss.expression().replace(logsumexp, _pairwise)
    derivatives = (-sp.diff(on_triplet, s_p), sp.diff(on_triplet, s_n))
    positive, negative = (tidy(derivative, loss.similarity) for derivative in derivatives)
    field = WeightField(
        name=loss.name,
        positive=positive,
        negative=negative,
        hyperparameters=loss.hyperparameters,
        similarity=loss.similarity,
    )
    if not _agree(derivatives, (positive, negative), field):
        positive, negative = map(undetach, derivatives)
        field = replace(field, positive=positive, negative=negative)
    factors, contradiction = separate(positive, negative, field.ranges)
    if factors is not None:
        products = factors.triplet * factors.positive, factors.triplet * factors.negative
        factors = factors if _agree(derivatives, products, field) else None
    return Decomposition(loss, replace(field, factors=factors), tuple(map(_parts, loss.terms)), contradiction)


def _prescribed(objective: SymbolicLoss) -> Decomposition:
    """The weights on one triplet where some of their factors are prescribed: what one term says itself, or the sum."""
    parts = tuple(map(_parts, objective.terms))
    field = WeightField(
        name=objective.name,
        positive=sp.S.Zero,
        negative=sp.S.Zero,
        hyperparameters=objective.hyperparameters,
        relative=objective.relative,
        similarity=objective.similarity,
    )
    bare = Decomposition(objective, field, parts, None)
    (positive,), (negative,) = bare.weights((s_p,), (s_n,))
    only = parts[0]
    if len(parts) == 1 and only.outer_positive == only.outer_negative:
        factors = _own_factors(only)
        return replace(bare, field=replace(field, positive=positive, negative=negative, factors=factors))
    factors, contradiction = separate(positive, negative, field.ranges)
    field = replace(field, positive=positive, negative=negative, factors=factors)
    return replace(bare, field=field, contradiction=contradiction)


def _own_factors(parts: TermParts) -> Factors:
    """T, P⁺ and P⁻ of a term on one triplet, as they stand there, times the mining weights of a single pair."""
    at, shares = {}, []
    for x, side, s, slope in (
        (x_p, parts.term.positives, s_p, parts.inner_positive),
        (x_n, parts.term.negatives, s_n, parts.inner_negative),
    ):
        ((_, value, members),) = _gathered(side, s, slope, (s,), (s_p,) if s is s_n else (s,))
        at[x] = value
        shares.append(sp.Add(*(share for _, share in members)))
    return Factors(undetach(parts.outer_positive.subs(at, simultaneous=True)), *shares)


def _agree(derivatives: Sequence[sp.Expr], written: Sequence[sp.Expr], field: WeightField) -> bool:
    """Whether what was simplified or factored is the bare derivatives, at points where both are defined."""
    symbols = (s_p, s_n, *(h.symbol for h in field.hyperparameters))
    computed = program([*map(undetach, derivatives), *written], symbols)
    for point in random_points(symbols, field.ranges, CHECKED):
        if _differ(computed.run(FLOAT, *map(float, point.values()))):
            with mpmath.workdps(DIGITS):  # floats lose digits where large exponentials cancel
                if _differ(computed.run(MULTIPRECISION, *(mpmath.mpf(x.p) / x.q for x in point.values()))):
                    return False
    return True


def _differ(values: Sequence[Any]) -> bool:
    pairs = zip(values[:2], values[2:], strict=True)
    return any(mpmath.isfinite(a) and not abs(b - a) <= TOLERANCE * (1 + abs(a)) for a, b in pairs)


def _pairwise(*xs: sp.Expr) -> sp.Expr:
    """logsumexp of two values as a softplus, whose derivative shows the factors at once."""
    if len(xs) != 2:
        return logsumexp(*xs)
    first, second = sorted(xs, key=lambda x: not x.has(s_p))
    return first + softplus(second - first)


def _parts(term: Term) -> TermParts:
    inner = (side.slope(s) if side else sp.S.Zero for side, s in ((term.positives, s_p), (term.negatives, s_n)))
    return TermParts(term, *map(undetach, (*term.triplet_weights, *inner)))


def _term_gradient(parts: TermParts, positives, negatives):
    """Pairs of a similarity and its share of the term's gradient ∂L/∂s."""
    term = parts.term
    sides_p = _gathered(term.positives, s_p, parts.inner_positive, positives, positives)
    sides_n = _gathered(term.negatives, s_n, parts.inner_negative, negatives, positives)
    for factor_p, value_p, members_p in sides_p:
        for factor_n, value_n, members_n in sides_n:
            at = {x_p: value_p, x_n: value_n}
            for outer, members in ((-parts.outer_positive, members_p), (parts.outer_negative, members_n)):
                triplet_weight = factor_p * factor_n * undetach(outer.subs(at, simultaneous=True))
                for s, share in members:
                    yield s, triplet_weight * share


def _gathered(side: Side | None, variable, inner_derivative, own, positives):
    """For every value that the side hands to Φ: its factor, the value, and (s, mining weight × h′(s)) of its pairs."""
    if side is None:
        return [(sp.S.One, sp.S.Zero, [])]
    pool = (*positives, *own) if side.pool is Pool.ALL else own
    values = [side.inner.subs(variable, s) for s in pool]
    slopes = [inner_derivative.subs(variable, s) for s in pool]
    places = [sp.Dummy(real=True) for _ in pool]
    at = dict(zip(places, values, strict=True))
    mining = [undetach(weight.subs(at, simultaneous=True)) for weight in side.aggregator.weights(places)]
    if side.aggregator.enumerates:
        return [(m, v, [(s, slope)]) for m, v, s, slope in zip(mining, values, pool, slopes, strict=True)]
    aggregate = undetach(side.aggregator.combine(values))
    return [(sp.S.One, aggregate, [(s, m * d) for s, m, d in zip(pool, mining, slopes, strict=True)])]
