"""The weights of losses as parts.

Every loss whose weights separate gives its T and its (P⁺, P⁻). They carry over as formulas of s_p and s_n, whatever
the loss measures by them: those of a loss of distances, where s = −d lies in [−2, 0], are defined for a cosine too,
but there they say something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import sympy as sp

from goal_analysis.recombination.composition.parts import Parts
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.proof.identity import Ranges, find_witness, random_points
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField

Formulas = tuple[sp.Expr, ...]


def parts_of(
    triplet_weights: Sequence[TripletWeight],
    pair_weights: Sequence[PairWeights],
    decompositions: Iterable[Decomposition] = (),
) -> Parts:
    """These weights, and those of every loss that separates, under the loss's name.

    A weight that an earlier one equals, up to the names of hyperparameters and up to a constant factor of T, is not
    repeated. A loss's name that a weight has already gets the suffix ``_loss``.

    Args:
        triplet_weights: those that come first.
        pair_weights: those that come first.
        decompositions: of losses.

    >>> from goal_analysis.symbolic.analysis.decomposition import decompose
    >>> from losses_catalog.circle import circle_loss
    >>> parts_of((), (), [decompose(circle_loss)]).pair("circle").positive
    m - s_p + 1
    """
    taken = {weight.name for weight in (*triplet_weights, *pair_weights)}
    parts = Parts(tuple(triplet_weights), tuple(pair_weights))
    for decomposition in decompositions:
        field = decomposition.field
        name = field.name + "_loss" if field.name in taken else field.name
        for t, p in _factors_as_weights(name, decomposition):
            if not any(_equal_triplets(t, known, field) for known in parts.triplet_weights):
                parts = replace(parts, triplet_weights=(*parts.triplet_weights, t))
            if not any(_equal_pairs(p, known, field) for known in parts.pair_weights):
                parts = replace(parts, pair_weights=(*parts.pair_weights, p))
    return parts


def _factors_as_weights(name: str, decomposition: Decomposition) -> Iterator[tuple[TripletWeight, PairWeights]]:
    field, factors = decomposition.field, decomposition.field.factors
    if factors is not None:
        of_t, of_p = (
            tuple(h for h in field.hyperparameters if any(e.has(h.symbol) for e in formulas))
            for formulas in ((factors.triplet,), (factors.positive, factors.negative))
        )
        reference = decomposition.loss.reference
        triplet = TripletWeight(name=name, expression=factors.triplet, hyperparameters=of_t, reference=reference)
        positive, negative = factors.positive, factors.negative
        pair = PairWeights(name=name, positive=positive, negative=negative, hyperparameters=of_p, reference=reference)
        yield triplet, pair


def _equal_triplets(one: TripletWeight, other: TripletWeight, field: WeightField) -> bool:
    formulas = tuple((t.expression.as_independent(s_p, s_n, as_Add=False)[1],) for t in (one, other))
    return _equal(formulas[0], one.hyperparameters, formulas[1], other.hyperparameters, field)


def _equal_pairs(one: PairWeights, other: PairWeights, field: WeightField) -> bool:
    if one.relative or other.relative:
        return False
    ours, theirs = ((p.positive, p.negative) for p in (one, other))
    return _equal(ours, one.hyperparameters, theirs, other.hyperparameters, field)


def _equal(
    ours: Formulas,
    of_ours: tuple[Hyperparameter, ...],
    theirs: Formulas,
    of_theirs: tuple[Hyperparameter, ...],
    field: WeightField,
) -> bool:
    """Whether formulas are equal under some pairing of their hyperparameters."""
    own, other = (
        [h.symbol for h in hyperparameters if any(e.has(h.symbol) for e in formulas)]
        for hyperparameters, formulas in ((of_ours, ours), (of_theirs, theirs))
    )
    if len(own) != len(other):
        return False
    for order in permutations(own):
        renamed = [e.xreplace(dict(zip(other, order, strict=True))) for e in theirs]
        if not any(_differ(a - b, field.ranges) for a, b in zip(ours, renamed, strict=True)):
            return True
    return False


def _differ(difference: sp.Expr, ranges: Ranges) -> bool:
    """Whether a difference is not zero: clearly so at one of a few points in floats, or else by a witness."""
    symbols = tuple(sorted(difference.free_symbols, key=str))
    compiled = program([difference], symbols)
    for point in random_points(symbols, ranges, 4):
        if abs(compiled.run(FLOAT, *map(float, point.values()))[0]) > 1e-3:
            return True
    return find_witness(difference, ranges) is not None
