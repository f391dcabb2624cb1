"""Is the weight matrix W(S) of an objective the gradient of a loss of the scores?

On a batch the mining has its say. W is the gradient of a loss if its Jacobian is symmetric between the kinks and if,
where it jumps, it jumps along the kink's normal. The anchors of one axis share no score, and two scores that share an
anchor of one axis share none of the other: so one anchor tells, for both axes.

- A choice of triplets (`Hardest`, `TopK`, `All`) adds up G(s_p, s_n), continuous where the choice changes.
- `SemiHard` cuts the triplet weight off at two lines; what jumps there jumps as any weight does.
- `SelectivelyHard` exchanges one negative for all; `DistanceWeighted` draws. Both change W and not a loss.
- `Softmax` reads aggregates of all pairs; see `soft_integrability`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import sympy as sp

from goal_analysis.numeric.formula import Values
from goal_analysis.numeric.mining import DistanceWeighted, Miner, SelectivelyHard, SemiHard, Softmax
from goal_analysis.numeric.similarity import TANGENTIAL, Direction
from goal_analysis.numeric.similarity import direction as direction_of
from goal_analysis.recombination.batch_verdict import BatchIntegrability
from goal_analysis.recombination.soft_integrability import softmax_integrability
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.analysis.kinks import witness_against
from goal_analysis.symbolic.language.hyperparameter import exact
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, step
from goal_analysis.symbolic.language.similarity import COSINE, DOT, Similarity
from goal_analysis.symbolic.objective import Reduction
from goal_analysis.symbolic.proof.identity import Undecided
from goal_analysis.symbolic.weight import Factors, WeightField


def batch_integrability(
    field: WeightField,
    mining: Miner,
    reduction: Reduction = Reduction.SUM,
    settings: Mapping[str, float | int] | None = None,
) -> BatchIntegrability:
    """Decide whether W(S) is the gradient of a loss of S, for batches of any size and any positives.

    The verdict is for all hyperparameters where it is yes, and otherwise for those of ``settings``.

    Args:
        field: triplet weight and pair weights, composed.
        mining: which triplets count; its numbers are taken as they are.
        reduction: the sum or the mean over the anchors that have a triplet.
        settings: hyperparameters other than their defaults.

    Raises:
        ValueError: a field that does not separate, or settings that it does not have.

    >>> from goal_analysis.numeric.mining import Hardest
    >>> from goal_analysis.symbolic.weight import compose
    >>> from losses_catalog.weights import constant_pair, linear_pair, nca_triplet
    >>> batch_integrability(compose(nca_triplet, constant_pair), Hardest()).loss
    softplus(tau*(s_n - s_p))/tau
    >>> batch_integrability(compose(nca_triplet, linear_pair), Hardest()).integrable
    False
    """
    if field.factors is None:
        raise ValueError(f"{field.name}: got weights that do not separate but expected T, P⁺ and P⁻")
    return _decided(replace(field, name="the objective"), mining, reduction, tuple(field.values(settings).items()))


def along(similarity: Similarity, direction: Direction | None, verdict: BatchIntegrability) -> BatchIntegrability:
    """The verdict on what trains the embeddings: that on the scores if they move along the similarity's own gradient.

    The cosine's embeddings are unit vectors, where it has the gradients of the dot product and, once what normalisation
    takes away is gone, the tangential ones.

    Args:
        similarity: of the embeddings.
        direction: along what they move; None for the similarity's own gradient.
        verdict: on W(S).
    """
    own = (similarity.name, DOT.name, TANGENTIAL.name) if similarity == COSINE else (similarity.name,)
    if direction is None or direction in map(direction_of, own) or verdict.loss == 0:
        return verdict
    why = f"the direction {direction.name} is not the gradient of the similarity {similarity.name}"
    return BatchIntegrability(False, why, verdict.potential)


@lru_cache(maxsize=4096)
def _decided(field: WeightField, mining: Miner, reduction: Reduction, values: Values) -> BatchIntegrability:
    found = _judged(field, mining, reduction)
    if found.integrable is True or not values:
        return found
    here = _judged(_at(field, values), mining, reduction)
    return here if here.integrable is not False or found.integrable is None else found


def _at(field: WeightField, values: Values) -> WeightField:
    """The field with numbers for hyperparameters."""
    assert field.factors is not None
    read = [(r, r.contribution.subs(values), r.member.subs(values)) for r in field.relative]
    of_factors = (field.factors.triplet, field.factors.positive, field.factors.negative)
    t, positive, negative = (factor.subs(values) for factor in of_factors)
    return replace(
        field,
        positive=t * positive,
        negative=t * negative,
        factors=Factors(t, positive, negative),
        hyperparameters=(),
        relative=tuple(replace(r, contribution=c, member=m) for r, c, m in read),
    )


@lru_cache(maxsize=4096)
def _judged(field: WeightField, mining: Miner, reduction: Reduction) -> BatchIntegrability:
    if field.positive == 0 and field.negative == 0:
        return BatchIntegrability(True, "W is zero", sp.S.Zero, sp.S.Zero)
    try:
        match mining:
            case SemiHard():
                return _semi_hard(field, mining, reduction)
            case SelectivelyHard():
                return _selectively_hard(field, mining)
            case DistanceWeighted():
                return BatchIntegrability(
                    False, "W depends on a random draw, whose chances change with the scores: it is no function of them"
                )
            case Softmax():
                return softmax_integrability(field, mining)
            case _:
                return _chosen(field)
    except Undecided as undecided:
        return BatchIntegrability(None, f"undecided: {undecided}")


def _chosen(field: WeightField) -> BatchIntegrability:
    of_one = integrability(field)
    if not of_one.integrable:
        return BatchIntegrability(of_one.integrable, of_one.reason, of_one.potential)
    why = f"{of_one.reason}, and the loss of the mined triplets is continuous where others are mined"
    return BatchIntegrability(True, why, of_one.potential, of_one.loss)


def _semi_hard(field: WeightField, mining: SemiHard, reduction: Reduction) -> BatchIntegrability:
    margin = exact(mining.margin)
    if margin == 0:
        return BatchIntegrability(True, "no triplet is within a margin of 0: W is zero", sp.S.Zero, sp.S.Zero)
    cut = _times(field, step(s_p - s_n) * step(margin - s_p + s_n))
    of_cut = integrability(cut)
    if not of_cut.integrable:
        return BatchIntegrability(of_cut.integrable, f"among semi-hard triplets {of_cut.reason}", of_cut.potential)
    whole = integrability(field)
    if reduction is Reduction.MEAN:
        if (witness_against(cut.positive, cut) or witness_against(cut.negative, cut)) is None:
            return BatchIntegrability(True, "W is zero", sp.S.Zero, sp.S.Zero)
        why = (
            "the mean is over the anchors with a semi-hard triplet: where one anchor's last triplet leaves the "
            "margin, the weights of the others jump"
        )
        return BatchIntegrability(False, why, whole.potential)
    why = "∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes between the kinks, at s_p = s_n and at the margin"
    return BatchIntegrability(True, why, whole.potential, _clipped(whole.loss, margin))


def _clipped(loss: sp.Expr | None, margin: sp.Expr) -> sp.Expr | None:
    """The loss of semi-hard triplets, held at its value outside of the margin."""
    if loss is None:
        return None
    gap = sp.Symbol("gap", real=True)
    of_gap = sp.simplify(loss.subs(s_n, s_p + gap))
    if not of_gap.has(s_p):
        return of_gap.subs(gap, hinge(s_n - s_p + margin) - hinge(s_n - s_p) - margin)
    harder, easier = (loss.subs({s_p: at, s_n: 0}, simultaneous=True) for at in (0, margin))
    inside = step(s_p - s_n) * step(s_n - s_p + margin)
    return inside * loss + step(s_n - s_p) * harder + step(s_p - s_n - margin) * easier


def _selectively_hard(field: WeightField, mining: SelectivelyHard) -> BatchIntegrability:
    as_hardest = _chosen(field)
    epsilon = exact(mining.epsilon)
    if not as_hardest.integrable or epsilon == 0:
        return as_hardest
    witness = witness_against(field.negative * step(s_p + epsilon - s_n), field)
    if witness is None:
        return as_hardest
    why = (
        f"where |s_p − s_n| falls below {mining.epsilon:g}, the weights of the anchor's other negatives jump, "
        f"by their share of w⁻, which is {witness}"
    )
    return BatchIntegrability(False, why, as_hardest.potential)


def _times(field: WeightField, factor: sp.Expr) -> WeightField:
    """The field with another factor in its triplet weight."""
    factors = field.factors
    assert factors is not None
    return replace(
        field,
        positive=field.positive * factor,
        negative=field.negative * factor,
        factors=replace(factors, triplet=factors.triplet * factor),
    )
