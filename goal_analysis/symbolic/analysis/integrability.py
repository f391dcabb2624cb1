"""Is a field of weights the gradient of a loss? The verdict, why, the potential, and the loss where there is one.

Weights are the gradient of a continuous loss if and only if their Jacobian is symmetric between the kinks and they jump
along the normal of a kink where they jump. Yes has a proof, no has a witness, and what has neither is open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import sympy as sp

from goal_analysis.symbolic.analysis import continuity
from goal_analysis.symbolic.analysis.continuity import is_continuous_loss, is_continuous_side
from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from goal_analysis.symbolic.analysis.kinks import curl_jumps, is_continuous, poles, vanishes_on_kink
from goal_analysis.symbolic.analysis.recovery import is_function_of_potential, potential, recover_loss
from goal_analysis.symbolic.analysis.witnesses import curl_in_words, search
from goal_analysis.symbolic.language.aggregators import Pool
from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.primitives import carried_by, detach, s_n, s_p, undetach, x_n, x_p, y_n
from goal_analysis.symbolic.language.similarity import other_negative, other_positive
from goal_analysis.symbolic.objective import Objective, Reduction, Term, reduced
from goal_analysis.symbolic.proof.enclosures import Region
from goal_analysis.symbolic.proof.identity import Ranges, Witness, proves_zero
from goal_analysis.symbolic.proof.tidying import settled
from goal_analysis.symbolic.weight import WeightField

MANY = 5  # pairs of an anchor that are looked at where aggregates grow with their number
MOST_OPERATIONS = 300  # of the weights of several pairs; for longer ones no proof is tried


@dataclass(frozen=True, repr=False)
class Integrability(Displayed):
    """Whether weights are the gradient of a loss.

    Args:
        integrable: True where that is proved, False where a witness refutes it, None where it is open.
        reason: the proof, the witness, or what was tried, in one sentence.
        potential: U = ∫P⁻ds_n − ∫P⁺ds_p where the weights separate and a closed form was found.
        loss: a closed form of the loss where there is one and it was found, unique up to a constant. It is that of one
            triplet, L(s_p, s_n), or with ``x_p`` and ``x_n`` that of one anchor of a batch.
        witness: a point at which a condition fails, where one does.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks.
    """

    integrable: bool | None
    reason: str
    potential: sp.Expr | None = None
    loss: sp.Expr | None = None
    witness: Witness | None = None
    curl: sp.Expr | None = None

    @property
    def said(self) -> str:
        """The verdict in words."""
        if self.integrable is None:
            return "neither proved nor refuted to be the gradient of a loss"
        return "the gradient of a loss" if self.integrable else "the gradient of no loss"


def integrability(objective: Decomposition | WeightField) -> Integrability:
    """Decide whether the weights are the gradient of a loss.

    The weights of a declared loss that is continuous and stops no gradient are its gradient. Otherwise the curl
    decides. Where a gradient is stopped, where the loss jumps, or where a weight reads other pairs of the batch, two
    positives with two negatives, or two anchors, are looked at too.
    """
    loss = objective.loss if isinstance(objective, Decomposition) and objective.loss.is_loss else None
    return _decided(objective.field if isinstance(objective, Decomposition) else objective, loss)


@lru_cache(maxsize=4096)
def _decided(field: WeightField, loss: Objective | None) -> Integrability:
    found = Integrability(True, _WHY, potential(field), curl=smooth_curl(field, loss))
    loss = loss and continuity.with_active(loss)
    if loss is not None and is_continuous_loss(loss):
        return replace(found, reason=_CONTINUOUS, loss=loss.expression())
    if loss is not None and loss.detaches and (summed := _of_summands(loss)) is not None:
        return replace(found, reason=summed[0], loss=summed[1])
    if loss is None and not field.relative and is_function_of_potential(field):
        return replace(found, reason=_OF_POTENTIAL, loss=recover_loss(field, found.potential))
    fields, tried = [], ""
    for what, gradient, ends in _fields(field, loss):
        ranges = {**tried_ranges(field, {*gradient}.union(*(w.free_symbols for w in gradient.values()))), **ends}
        result = search(gradient, ranges, ends or dict.fromkeys(gradient, field.region[s_n]))
        if result.witness:
            reason = f"{what}{result.what} is {result.witness}"
            return replace(found, integrable=False, reason=reason, witness=result.witness)
        fields.append(gradient)
        tried = result.tried
    if loss is not None and not loss.detaches and all(_jumps_by_constants(term, loss) for term in loss.terms):
        return replace(found, reason=_CONSTANT_JUMPS, loss=recover_loss(field, found.potential))
    of_triplet, *others = fields
    has_poles = any(poles(weight, field.region) for weight in of_triplet.values())
    explicit = recover_loss(field, found.potential) if has_poles else None
    unproved = next(_unproved(of_triplet, field.region, with_poles=explicit is None), None)
    unproved = unproved or next(_unproved_of_several(field, loss, others), None)
    if unproved is None:
        return replace(found, loss=explicit if has_poles else recover_loss(field, found.potential))
    return replace(found, integrable=None, reason=f"open: {unproved} was not proved to vanish; {tried}")


def decide(gradient: Mapping[sp.Symbol, sp.Expr], ranges: Ranges, region: Region) -> Integrability:
    """The verdict on weights {x: ∂L/∂x} of any two variables in a region; witnesses are sought in the ranges."""
    gradient = {x: settled(weight, region) for x, weight in gradient.items()}
    result = search(gradient, ranges, region)
    if result.witness:
        return Integrability(False, f"{result.what} is {result.witness}", witness=result.witness)
    unproved = next(_unproved(gradient, region), None)
    if unproved is None:
        return Integrability(True, _WHY)
    return Integrability(None, f"open: {unproved} was not proved to vanish; {result.tried}")


_WHY = "∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes, between the kinks and across them"
_CONTINUOUS = "the loss is continuous and stops no gradient, so that the weights are its gradient"
_OF_POTENTIAL = "T is a function of a continuous potential of P⁺ and P⁻"
_CONSTANT_JUMPS = "the loss stops no gradient and jumps by constants alone, so that the weights are its gradient"


def tried_ranges(field: WeightField, symbols: Collection[sp.Symbol] = ()) -> Ranges:
    """Where witnesses are sought: similarities over their range, hyperparameters at their values."""
    at_defaults = {symbol: (value, value) for symbol, value in field.values().items()}
    carried = dict.fromkeys(map(carried_by, symbols), field.ranges[y_n])
    return {**carried, **dict.fromkeys(symbols, field.ranges[s_n]), **field.ranges, **at_defaults}


def smooth_curl(field: WeightField, loss: Objective | None = None) -> sp.Expr:
    """∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks; 0 for a loss that stops no gradient, by the symmetry of ∂²L/∂s_p∂s_n."""
    if loss is not None and not loss.detaches:
        return sp.S.Zero
    return sp.factor_terms(sp.diff(field.positive, s_n) + sp.diff(field.negative, s_p))


# --- where a witness may be ----------------------------------------------------------------------

_Gradient = Mapping[sp.Symbol, sp.Expr]
_Field = tuple[str, _Gradient, Region]  # in words, the weights, and where they lie if not everywhere


def _fields(field: WeightField, loss: Objective | None) -> Iterator[_Field]:
    yield "", {s_p: -field.positive, s_n: field.negative}, {}
    yield from _joined_by_relative(field)
    if loss is None:
        return
    if loss.reduction is Reduction.MEAN_ACTIVE:
        anchors = [_several_pairs(1, 1, f"_{i}") for i in (1, 2)]
        values = [[value for anchor in anchors for value in term.values(*anchor)] for term in loss.terms]
        value = sp.Add(*(reduced(of_term, loss.reduction) for of_term in values))
        of_two = {s: undetach(sp.diff(value, s)) for anchor in anchors for side in anchor for s in side}
        yield "with two anchors, ", of_two, {}
    if len(loss.terms) == 1 and not loss.detaches:
        yield from _of_aggregates(loss.terms[0], field)
    for counts in ((2, 2), *(((1, MANY), (MANY, 1)) if grows(loss) and loss.detaches else ())):
        yield "with several pairs, ", gradient_of_several(loss, *counts), {}


def _joined_by_relative(field: WeightField) -> Iterator[_Field]:
    reads = {r.symbol: r.contribution for r in field.relative}
    positive, negative = (weight.subs(reads) for weight in (field.positive, field.negative))
    if positive.has(other_positive):
        elsewhere = sp.Symbol("s_n'", real=True)
        exchanged = positive.subs({s_p: other_positive, other_positive: s_p, s_n: elsewhere}, simultaneous=True)
        yield "P⁺ reads another anchor's positive, and ", {s_p: -positive, other_positive: -exchanged}, {}
    for s, weight, name in ((s_p, -positive, "w⁺"), (s_n, negative, "w⁻")):
        if weight.has(other_negative):
            yield f"{name} reads a negative that has no weight, and ", {s: weight, other_negative: sp.S.Zero}, {}


def _of_aggregates(term: Term, field: WeightField) -> Iterator[_Field]:
    found = continuity.plane(term, field.similarity)
    apart = all(side.pool is Pool.OWN for side in term.sides)  # else one side's pairs bound the other's aggregate
    if found is None or not apart or len(found[1]) < 2 or {s_p, s_n} >= set(found[1]):
        return
    value, region = found
    sides = {x: side for x, _, side in term.aggregates}
    tried = {x: continuity.attained(sides[x], field) if x in sides else field.similarity.window for x in region}
    ends = {x: span for x, span in tried.items() if span is not None and span[0] < span[1]}
    if len(ends) == len(tried):
        yield "with several pairs, ", {x: sp.diff(value, x) for x in region}, ends


def grows(objective: Objective) -> bool:
    """Whether aggregates of several pairs may take values that those of one pair do not take."""
    sides = (side for term in objective.terms for side in term.sides)
    return any(side.aggregator.name not in ("each", "each_mean", "max", "min", "mean") for side in sides)


def _several_pairs(positives: int, negatives: int, anchor: str = "") -> list[tuple[sp.Symbol, ...]]:
    return [
        tuple(sp.Symbol(f"{s}{i}{anchor}", real=True) for i in range(1, count + 1))
        for s, count in (("s_p", positives), ("s_n", negatives))
    ]


def gradient_of_several(objective: Objective, positives: int, negatives: int) -> dict[sp.Symbol, sp.Expr]:
    """∂L/∂s of so many positives and negatives of one anchor."""
    of_p, of_n = _several_pairs(positives, negatives)
    weights_p, weights_n = objective.weights(of_p, of_n)
    return dict(zip((*of_p, *of_n), (*(-w for w in weights_p), *weights_n), strict=True))


# --- proofs --------------------------------------------------------------------------------------


def _of_summands(loss: Objective) -> tuple[str, sp.Expr | None] | None:
    reasons, total = [], sp.S.Zero
    for part in _summands(loss):
        factor = _multiple_of_undetached(part)
        if factor is not None:
            why = "a continuous loss" if factor == 1 else f"a continuous loss times {factor}"
            expression = factor * undetach(part.expression())
        elif _is_univariate(part):
            why = "a loss of every pair, or of its aggregate, by itself"
            expression = recover_loss(field := decompose(part).field, potential(field))
        elif _has_slopes_of_another(part):
            why, expression = "a continuous loss of the same aggregates", None
        else:
            return None
        reasons.append(why)
        total = None if total is None or expression is None else total + expression
    return "the weights are those of " + " and ".join(dict.fromkeys(reasons)), total


def _summands(loss: Objective) -> Iterator[Objective]:
    for term in loss.terms:
        p, n = term.positives, term.negatives
        rest, of_n = sp.expand(term.effective_outer).as_independent(x_n, as_Add=True)
        if p is None or n is None or n.pool is not Pool.OWN or of_n.has(x_p) or not term.plain:
            yield loss.of_terms((term,))
        else:
            yield loss.of_terms((Term(outer=rest, positives=p),))
            yield loss.of_terms((Term(outer=of_n, negatives=n),))


def _is_univariate(part: Objective) -> bool:
    (term,), similarity = part.terms, part.similarity
    if len(term.sides) > 1 or not part.plain:
        return False
    ((x, _, side),) = term.aggregates
    if side.aggregator.enumerates or continuity.adds(term, x) or continuity.chooses_extremes(side, similarity):
        field = decompose(part).field
        return not poles(field.positive + field.negative, field.region)
    stops = side.inner.has(detach) or side.aggregator.combine((x_p, x_n)).has(detach)
    ends = {x: continuity.reach(side, similarity)}
    return not stops and is_continuous_side(side, similarity) and not poles(sp.diff(term.effective_outer, x), ends)


def _has_slopes_of_another(part: Objective) -> bool:
    (term,), similarity = part.terms, part.similarity
    for side in term.sides:
        stops = side.inner.has(detach) or side.aggregator.combine((x_p, x_n)).has(detach)
        if stops or not is_continuous_side(side, similarity):
            return False
    by_p, by_n = (undetach(sp.diff(term.effective_outer, x)) for x in (x_p, x_n))
    read = continuity.handed(term, similarity)
    continuous = part.plain and is_continuous(by_p, read) and is_continuous(by_n, read)
    return continuous and proves_zero(sp.diff(by_p, x_n) - sp.diff(by_n, x_p), read)


def _multiple_of_undetached(loss: Objective) -> sp.Expr | None:
    """c where the weights are c times those of the loss when it stops no gradient, and that is continuous."""
    (term,) = loss.terms
    if not loss.plain:
        return None
    factors = set()
    for _, s, side in term.aggregates:
        inner = undetach(side.inner)
        factors.add(sp.cancel(undetach(side.slope(s)) / sp.diff(inner, s)) if inner.has(s) else sp.S.One)
    factor = factors.pop()
    plain = term.with_sides(lambda side, _: replace(side, inner=undetach(side.inner)))
    return factor if not factors and factor.is_number and is_continuous_loss(loss.of_terms((plain,))) else None


def _jumps_by_constants(term: Term, loss: Objective) -> bool:
    found = continuity.plane(term, loss.similarity)
    if found is None:
        return False
    value, region = found
    if any(poles(value, region)) and value.atoms(sp.Function) - value.atoms(sp.log):
        return False
    curls = curl_jumps({s: sp.diff(value, s) for s in region})
    return all(vanishes_on_kink(curl.kink, curl.coefficient, region) for curl in curls)


def _unproved(gradient: _Gradient, region: Region, with_poles: bool = True) -> Iterator[str]:
    for weight in gradient.values() if with_poles else ():
        for pole in poles(weight, region):
            yield f"the work of the weights around {pole} = 0"
    for a, b in combinations(gradient, 2):
        if not proves_zero(sp.factor_terms(sp.diff(gradient[a], b) - sp.diff(gradient[b], a)), region):
            yield curl_in_words((a, b))
    for jump in curl_jumps(gradient):
        if not vanishes_on_kink(jump.kink, jump.coefficient, region):
            yield f"the curl across {jump.kink} = 0"


def _unproved_of_several(field: WeightField, loss: Objective | None, others: list[_Gradient]) -> Iterator[str]:
    if loss is None:
        for gradient in others:
            yield from _unproved(gradient, dict.fromkeys(gradient, field.region[s_n]), with_poles=False)
        return
    if not loss.detaches:
        yield "the jump of the loss with several pairs along a kink"
    if grows(loss):
        yield "the asymmetry of ever more pairs"
    several = others[-1]
    if sum(map(sp.count_ops, several.values())) > MOST_OPERATIONS:
        yield "the asymmetry of several pairs, whose formula is too long,"
    yield from _unproved(several, dict.fromkeys(several, field.region[s_n]), with_poles=False)
