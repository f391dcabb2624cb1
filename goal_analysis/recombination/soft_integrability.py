"""Softmax mining and the gradient of a loss: what two positives and two negatives of one anchor say.

With the aggregates x_p and x_n of an anchor and their derivatives q, the weights are −T(x_p, x_n)·q_p·P⁺(s_p) and
T(x_p, x_n)·q_n·P⁻(s_n). Of their Jacobian, what is not symmetric is

    between negatives j, k:        q_j·q_k·(∂T/∂x_n − β⁻·T)·(P⁻(s_j) − P⁻(s_k))
    between positives i, l:        −q_i·q_l·(∂T/∂x_p + β⁺·T)·(P⁺(s_i) − P⁺(s_l))
    between positive i, negative j:   q_i·q_j·(P⁻(s_j)·∂T/∂x_p + P⁺(s_i)·∂T/∂x_n)

Constant pair weights leave the last alone, which is the condition on one triplet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sympy as sp

from goal_analysis.numeric.mining import Softmax
from goal_analysis.recombination.batch_verdict import BatchIntegrability
from goal_analysis.symbolic.analysis.integrability import Integrability, integrability
from goal_analysis.symbolic.analysis.kinks import curl_jumps, in_steps_alone, refute_on_kink, witness_against
from goal_analysis.symbolic.language.hyperparameter import exact
from goal_analysis.symbolic.language.primitives import logsumexp, s_n, s_p, step, x_n, x_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.proof.antiderivative import antiderivative
from goal_analysis.symbolic.proof.identity import Witness
from goal_analysis.symbolic.weight import Factors, WeightField

BEYOND = 4
"""By how much aggregates are taken to leave the range of the scores: up to log(pairs)/β, a million pairs at β = 3.5."""


def softmax_integrability(field: WeightField, mining: Softmax) -> BatchIntegrability:
    """Decide for softmax mining whether W(S) is the gradient of a loss.

    Args:
        field: separable weights that read their own triplet alone.
        mining: with its scales.

    Raises:
        Undecided: a condition could be neither proved nor refuted.
    """
    of_one = integrability(field)
    if not of_one.integrable:
        return BatchIntegrability(
            of_one.integrable, f"with one positive and one negative {of_one.reason}", of_one.potential
        )
    wide = replace(field, similarity=_beyond(field.similarity))
    factors = field.factors
    assert factors is not None
    if not factors.positive.has(s_p) and not factors.negative.has(s_n):
        return _softmax_of_constants(field, of_one)
    if not factors.triplet.has(s_p, s_n) and _uniform_where_needed(factors, mining):
        why = "T is constant, and the mean takes the place of the softmax wherever the pair weight is not"
        return BatchIntegrability(True, why, of_one.potential, _mean_loss(field))
    witness = next(filter(None, _soft_witnesses(field, mining)), None)
    if witness is not None:
        return BatchIntegrability(False, witness[1], of_one.potential)
    continuous = not in_steps_alone(factors.triplet).has(step)
    if continuous and not any(witness_against(condition, wide) for condition in _soft_conditions(factors, mining)):
        why = "the Jacobian of W is symmetric for two positives and two negatives of an anchor, whatever x_p and x_n"
        return BatchIntegrability(True, why, of_one.potential)
    return BatchIntegrability(None, "undecided: no asymmetry of several pairs of an anchor was found, nor a proof")


def _uniform_where_needed(factors: Factors, mining: Softmax) -> bool:
    return (mining.positive_scale == 0 or not factors.positive.has(s_p)) and (
        mining.negative_scale == 0 or not factors.negative.has(s_n)
    )


def _softmax_of_constants(field: WeightField, of_one: Integrability) -> BatchIntegrability:
    """W is the field of one triplet at (x_p, x_n), by the chain rule; x_p may fall below the range of the scores, and
    x_n exceed it. Moving s_p lets both have one range.
    """
    moved = {s_p: s_p - BEYOND}
    factors = field.factors
    assert factors is not None
    of_aggregates = integrability(
        replace(
            field,
            positive=field.positive.subs(moved),
            negative=field.negative.subs(moved),
            factors=replace(factors, triplet=factors.triplet.subs(moved)),
            similarity=replace(field.similarity, identical=field.similarity.identical + BEYOND),
        )
    )
    if of_aggregates.integrable is None:
        return BatchIntegrability(None, of_aggregates.reason, of_one.potential)
    if not of_aggregates.integrable:
        why = (
            "the aggregates x_p and x_n leave the range of the scores, and beyond it ∂w⁺/∂s_n + ∂w⁻/∂s_p does "
            "not vanish"
        )
        return BatchIntegrability(False, why, of_one.potential)
    loss = None if of_aggregates.loss is None else of_aggregates.loss.subs(s_p, s_p + BEYOND)
    if loss is not None and of_one.loss is not None and (loss - of_one.loss).is_number:
        loss = of_one.loss  # without the constant that moving s_p leaves
    of_anchor = None if loss is None else loss.subs({s_p: x_p, s_n: x_n}, simultaneous=True)
    why = "the pair weights are constant, and T is a function of the potential of the aggregates x_p and x_n"
    return BatchIntegrability(True, why, of_one.potential, of_anchor)


def _mean_loss(field: WeightField) -> sp.Expr | None:
    """T·(H(s_n) − K(s_p)), with aggregates in the place of the similarities whose pair weight is constant."""
    assert field.factors is not None
    t, positive, negative = field.factors.triplet, field.factors.positive, field.factors.negative
    pushed = antiderivative(negative, s_n, field.ranges) if negative.has(s_n) else negative * x_n
    pulled = antiderivative(positive, s_p, field.ranges) if positive.has(s_p) else positive * x_p
    return None if pushed is None or pulled is None else t * (pushed - pulled)


def _soft_conditions(factors: Factors, mining: Softmax) -> Iterator[sp.Expr]:
    """What has to vanish for every x_p and x_n, whatever the similarities of the pairs."""
    t = factors.triplet.subs({s_p: x_p, s_n: x_n}, simultaneous=True)
    p, n = factors.positive, factors.negative
    yield (sp.diff(t, x_n) - exact(mining.negative_scale) * t) * sp.diff(n, s_n)
    yield (sp.diff(t, x_p) + exact(mining.positive_scale) * t) * sp.diff(p, s_p)
    yield n * sp.diff(t, x_p) + p * sp.diff(t, x_n)


def _soft_witnesses(field: WeightField, mining: Softmax) -> Iterator[tuple[Witness, str] | None]:
    """Asymmetries of the weights of one anchor with two negatives, or with two positives, and jumps across kinks."""
    for positives, negatives, what in ((1, 2, "two negatives"), (2, 1, "two positives")):
        gradient = soft_gradient(field, mining, positives, negatives)
        first, second = [s for s in gradient if s.name.startswith("s_n" if negatives == 2 else "s_p")]
        asymmetry = sp.diff(gradient[first], second) - sp.diff(gradient[second], first)
        witness = witness_against(asymmetry, field)
        where = f"with {what} of an anchor the difference of ∂W/∂s across the two"
        yield witness and (witness, f"{where} is {witness}")
        for jump in curl_jumps(gradient):
            found = refute_on_kink(jump, tuple(gradient), field)
            yield found and (found, f"with {what} of an anchor the weights jump across {jump.kink} = 0: {found}")


def soft_gradient(field: WeightField, mining: Softmax, positives: int, negatives: int) -> dict[sp.Symbol, sp.Expr]:
    """The weights of softmax mining on the pairs of one anchor, written out.

    Args:
        field: separable weights.
        mining: with its scales.
        positives: how many the anchor has; their similarities are ``s_p1``, ``s_p2`` …
        negatives: how many the anchor has.
    """
    of_p, of_n = (
        tuple(sp.Symbol(f"{s}{i}", real=True) for i in range(1, n + 1))
        for s, n in (("s_p", positives), ("s_n", negatives))
    )
    at_p, q_p = _aggregate(of_p, -exact(mining.positive_scale))
    at_n, q_n = _aggregate(of_n, exact(mining.negative_scale))
    factors = field.factors
    assert factors is not None
    t = factors.triplet.subs({s_p: at_p, s_n: at_n}, simultaneous=True)
    pulls = {s: -t * q * factors.positive.subs(s_p, s) for s, q in zip(of_p, q_p, strict=True)}
    return pulls | {s: t * q * factors.negative.subs(s_n, s) for s, q in zip(of_n, q_n, strict=True)}


def _aggregate(similarities: tuple[sp.Symbol, ...], scale: sp.Expr) -> tuple[sp.Expr, list[sp.Expr]]:
    """log Σ exp(scale·s)/scale, the mean at 0, and its derivatives."""
    if scale == 0:
        aggregate = sp.Add(*similarities) / len(similarities)
    else:
        aggregate = logsumexp(*(scale * s for s in similarities)) / scale
    return aggregate, [sp.diff(aggregate, s) for s in similarities]


def _beyond(similarity: Similarity) -> Similarity:
    return replace(similarity, opposite=similarity.opposite - BEYOND, identical=similarity.identical + BEYOND)
