"""Is a field of weights the gradient of a loss? The verdict, why, the potential, and the loss where there is one.

Weights W = (−w⁺, w⁻) are the gradient of a loss that is continuous if and only if two things hold. Between the kinks
their Jacobian is symmetric, ∂w⁺/∂s_n + ∂w⁻/∂s_p = 0. Across a kink g = 0 at which W jumps, it jumps along the normal
∇g: a loss that is continuous there has one slope along the kink, whatever its slopes across. (The curl of W has then no
part on the kink: that part is the jump of w⁺·∂g/∂s_n + w⁻·∂g/∂s_p. At single points where kinks meet nothing can sit,
as W is bounded.) With separable weights this says that T is a function of U = ∫P⁻ds_n − ∫P⁺ds_p.

A declared loss that stops no gradient has a symmetric Jacobian by itself. Where it is continuous nothing is left to
show, whatever its form and however many pairs there are. Where it jumps by a constant all along a kink, W is the
gradient of the loss without these jumps. Where the jump changes along the kink, W is the gradient of nothing.

Yes has a proof, no has a witness, and what has neither is open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from goal_analysis.symbolic.analysis.kinks import (
    curl_jumps,
    is_continuous,
    jump_across,
    kinks_of,
    poles,
    step_of_factors,
    vanishes_on_kink,
)
from goal_analysis.symbolic.analysis.recovery import potential, profiles, recover_loss
from goal_analysis.symbolic.analysis.witnesses import Search, search
from goal_analysis.symbolic.language.aggregators import MAX, MEAN, MEAN_ACTIVE, MIN, SUM, Pool, Side
from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.primitives import (
    carried_by,
    count_n,
    count_p,
    detach,
    s_n,
    s_p,
    step,
    total,
    undetach,
    x_n,
    x_p,
    y_n,
)
from goal_analysis.symbolic.language.similarity import Similarity, other_negative, other_positive
from goal_analysis.symbolic.objective import Objective, Reduction, Term, reduced
from goal_analysis.symbolic.proof.enclosures import Region, enclosure, sign_over
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.proof.identity import (
    Ranges,
    Undecided,
    Witness,
    find_witness,
    proves_zero,
    random_points,
    refute_zero,
)
from goal_analysis.symbolic.proof.tidying import settled
from goal_analysis.symbolic.weight import WeightField

TRIED = 32  # similarities at which an inner function is evaluated
CENTRES = 8  # points at which a potential and its slopes are compared first
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
    decides. Where a gradient is stopped, where the loss jumps, or where a weight reads other pairs of the batch, one
    triplet does not tell. Then two positives with two negatives, or two anchors, are looked at too.

    Args:
        objective: the decomposition of a loss, or any field of weights.

    >>> from goal_analysis.symbolic.language.primitives import sigmoid
    >>> integrability(
    ...     WeightField(
    ...         name="nca × linear",
    ...         positive=sigmoid(s_n - s_p) * (1 - s_p),
    ...         negative=sigmoid(s_n - s_p) * s_n,
    ...     )
    ... ).integrable
    False
    """
    return _decided(objective)


@lru_cache(maxsize=4096)
def _decided(objective: Decomposition | WeightField) -> Integrability:
    if isinstance(objective, Decomposition) and not objective.loss.is_loss:
        objective = objective.field
    loss = _with_active(objective.loss) if isinstance(objective, Decomposition) else None
    field = objective.field if isinstance(objective, Decomposition) else objective
    found = Integrability(True, _WHY, potential(field), curl=smooth_curl(objective))
    if loss is not None and is_continuous_loss(loss):
        return replace(found, reason=_CONTINUOUS, loss=loss.expression())
    if loss is not None and loss.detaches and (summed := _of_summands(loss)) is not None:
        return replace(found, reason=summed[0], loss=summed[1])
    if loss is None and not field.relative and _is_function_of_potential(field):
        return replace(found, reason=_OF_POTENTIAL, loss=recover_loss(field, found.potential))
    tried = []
    for what, gradient, ranges, region in _witnessed(objective, field):
        result = search(gradient, ranges, region, [e for w in gradient.values() for e in poles(w, field.region)])
        if result.witness:
            reason = f"{what}{in_words(result)} is {result.witness}"
            return replace(found, integrable=False, reason=reason, witness=result.witness)
        tried.append(result.tried)
    for condition, what in _relative_conditions(field):
        try:
            witness = witness_against(condition, field)
        except Undecided as undecided:
            return replace(found, integrable=None, reason=f"open: whether {what} vanishes is not known: {undecided}")
        if witness:
            return replace(found, integrable=False, reason=f"{what} is {witness}", witness=witness)
    if loss is not None and not loss.detaches and all(_jumps_by_constants(t, loss.similarity) for t in loss.terms):
        return replace(found, reason=_CONSTANT_JUMPS, loss=recover_loss(field, found.potential))
    has_poles = any(poles(weight, field.region) for weight in (field.positive, field.negative))
    explicit = recover_loss(field, found.potential) if has_poles else None
    unproved = next(_unproved(objective, field, found, explicit is not None), None)
    if unproved is None:
        return replace(found, loss=explicit if has_poles else recover_loss(field, found.potential))
    return replace(found, integrable=None, reason=f"open: {unproved} was not proved to vanish; {tried[-1]}")


def decide(gradient: Mapping[sp.Symbol, sp.Expr], ranges: Ranges, region: Region) -> Integrability:
    """The verdict on weights {x: ∂L/∂x} of any two variables.

    Args:
        gradient: the weights.
        ranges: where witnesses are sought.
        region: where the verdict is to hold.
    """
    gradient = {x: settled(weight, region) for x, weight in gradient.items()}
    result = search(gradient, ranges, region, [e for w in gradient.values() for e in poles(w, region)])
    if result.witness:
        return Integrability(False, f"{in_words(result)} is {result.witness}", witness=result.witness)
    (a, on_a), (b, on_b) = gradient.items()
    curl = sp.diff(on_b, a) - sp.diff(on_a, b)
    unproved = next(_unproved_on_plane((on_a, on_b), curl, gradient, region), None)
    if unproved is None:
        return Integrability(True, _WHY, curl=curl)
    return Integrability(None, f"open: {unproved} was not proved to vanish; {result.tried}", curl=curl)


_WHY = "∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes, between the kinks and across them"
_CONTINUOUS = "the loss is continuous and stops no gradient, so that the weights are its gradient"
_OF_POTENTIAL = "T is a function of a continuous potential of P⁺ and P⁻"
_CONSTANT_JUMPS = "the loss stops no gradient and jumps by constants alone, so that the weights are its gradient"


def in_words(found: Search) -> str:
    """What a witness is against."""
    a, b = found.pair
    if found.kink is not None:
        return f"the weights jump across {found.kink} = 0, and the curl there"
    if found.pair == (s_p, s_n):
        return "the curl ∂w⁺/∂s_n + ∂w⁻/∂s_p"
    return f"the difference of ∂²/∂{a}∂{b} and ∂²/∂{b}∂{a}"


def tried_ranges(field: WeightField, symbols: tuple[sp.Symbol, ...] = ()) -> Ranges:
    """Where witnesses are sought: similarities over their range, hyperparameters at their values."""
    at_defaults = {symbol: (value, value) for symbol, value in field.values().items()}
    carried = dict.fromkeys(map(carried_by, symbols), field.ranges[y_n])
    return {**carried, **dict.fromkeys(symbols, field.ranges[s_n]), **field.ranges, **at_defaults}


def witness_against(condition: sp.Expr, field: WeightField) -> Witness | None:
    """A point at which ``condition`` is not zero, or None if it is proved to be zero.

    Raises:
        Undecided: neither was found.
    """
    ranges = tried_ranges(field, tuple(condition.free_symbols))
    return find_witness(condition, ranges) or refute_zero(condition, ranges)


def smooth_curl(objective: Decomposition | WeightField) -> sp.Expr:
    """∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks; 0 for a loss that stops no gradient, by the symmetry of ∂²L/∂s_p∂s_n."""
    if isinstance(objective, Decomposition):
        if objective.loss.is_loss and not objective.loss.detaches:
            return sp.S.Zero
        objective = objective.field
    return sp.factor_terms(sp.diff(objective.positive, s_n) + sp.diff(objective.negative, s_p))


# --- where a witness may be ----------------------------------------------------------------------


def _witnessed(
    objective: Decomposition | WeightField, field: WeightField
) -> Iterator[tuple[str, Mapping, Ranges, Region]]:
    """Fields of weights that are gradients if the objective's are: of one triplet, of aggregates, of several pairs."""
    yield "", {s_p: -field.positive, s_n: field.negative}, tried_ranges(field), field.region
    if not isinstance(objective, Decomposition):
        return
    loss = objective.loss
    if loss.reduction is Reduction.MEAN_ACTIVE:
        anchors = [_several_pairs(1, 1, f"_{i}") for i in (1, 2)]
        values = [[value for anchor in anchors for value in term.values(*anchor)] for term in loss.terms]
        value = sp.Add(*(reduced(of_term, loss.reduction) for of_term in values))
        of_two = {s: undetach(sp.diff(value, s)) for anchor in anchors for side in anchor for s in side}
        yield "with two anchors, ", of_two, tried_ranges(field, tuple(of_two)), dict.fromkeys(of_two, field.region[s_n])
    for term in loss.terms if len(loss.terms) == 1 and not loss.detaches else ():
        similarity = loss.similarity
        plane = _plane(term, similarity)
        apart = all(side.pool is Pool.OWN for side in term.sides)  # else one side's pairs bound the other's aggregate
        if plane is not None and apart and len(plane[1]) == 2 and not {s_p, s_n} >= set(plane[1]):
            value, region = plane
            sides = {x: side for x, _, side in term.aggregates}
            ends = {x: attained(sides[x], field) if x in sides else similarity.window for x in region}
            ranges = {x: span for x, span in ends.items() if span is not None and span[0] < span[1]}
            if len(ranges) == len(ends):
                weights = {x: sp.diff(value, x) for x in region}
                yield "with several pairs, ", weights, {**tried_ranges(field), **ranges}, ranges
    for counts in ((2, 2), *(((1, MANY), (MANY, 1)) if grows(loss) and loss.detaches else ())):
        several = gradient_of_several(loss, *counts)
        ends = dict.fromkeys(several, field.region[s_n])
        yield "with several pairs, ", several, tried_ranges(field, tuple(several)), ends


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


def _with_active(loss: Objective) -> Objective:
    """The loss with a mean over active values written as a mean where all are."""
    if loss.reduction is Reduction.MEAN_ACTIVE and all(
        sign_over(term.effective_outer, _handed(term, loss.similarity)) > 0 for term in loss.terms
    ):
        loss = replace(loss, reduction=Reduction.MEAN_EACH)
    ends = dict.fromkeys((s_p, s_n), (loss.similarity.opposite, loss.similarity.identical))

    def read(side: Side, _: sp.Symbol) -> Side:
        all_active = side.aggregator == MEAN_ACTIVE and sign_over(side.inner, ends) > 0
        return replace(side, aggregator=MEAN) if all_active else side

    terms = tuple(term.with_sides(read) for term in loss.terms)
    return loss if terms == loss.terms else replace(loss, terms=terms)


def is_continuous_loss(loss: Objective) -> bool:
    """Whether a loss is proved to be continuous for any number of pairs, and stops no gradient; False
    proves nothing.
    """
    if loss.detaches:
        return False
    for term in loss.terms:
        handed = _handed(term, loss.similarity)
        if not is_continuous(term.effective_outer, handed):
            return False
        ends = (sp.S.Zero if sign_over(term.effective_outer, handed) > 0 else -sp.oo, sp.oo)
        if term.total is not None and not is_continuous(term.total, {total: ends}):
            return False
        if not all(_is_continuous_side(side, loss.similarity) for side in term.sides):
            return False
    return True


def _of_summands(loss: Objective) -> tuple[str, sp.Expr | None] | None:
    """Why a loss that stops gradients has weights that are the gradient of another, summand by summand, and that loss;
    None where that is not proved.
    """
    reasons, total = [], sp.S.Zero
    for part in _summands(loss):
        factor = _multiple_of_undetached(part)
        if factor is not None:
            why = "a continuous loss" if factor == 1 else f"a continuous loss times {factor}"
            expression = factor * undetach(part.expression())
        elif _is_univariate(part):
            why = "a loss of every pair, or of its aggregate, by itself"
            expression = recover_loss(field := decompose(part).field, potential(field))
        else:
            return None
        reasons.append(why)
        total = None if total is None or expression is None else total + expression
    return "the weights are those of " + " and ".join(dict.fromkeys(reasons)), total


def _summands(loss: Objective) -> Iterator[Objective]:
    """The terms, and of a term f(x_p) + g(x_n) its two sides."""
    for term in loss.terms:
        p, n = term.positives, term.negatives
        rest, of_n = sp.expand(term.effective_outer).as_independent(x_n, as_Add=True)
        if p is None or n is None or n.pool is not Pool.OWN or of_n.has(x_p) or not term.plain:
            yield loss.of_terms((term,))
        else:
            yield loss.of_terms((Term(outer=rest, positives=p),))
            yield loss.of_terms((Term(outer=of_n, negatives=n),))


def _is_univariate(part: Objective) -> bool:
    """Whether a loss of one side makes the weight of a pair a function of its own score, without poles, or that of all
    pairs one function of their aggregate.
    """
    (term,), similarity = part.terms, part.similarity
    if len(term.sides) > 1 or not part.plain:
        return False
    ((x, _, side),) = term.aggregates
    if side.aggregator.enumerates or _adds(term, x) or _chooses_extremes(side, similarity):
        field = decompose(part).field
        return not poles(field.positive + field.negative, field.region)
    stops = side.inner.has(detach) or side.aggregator.combine(_PLACES).has(detach)
    ends = {x: reach(side, similarity)}
    return not stops and _is_continuous_side(side, similarity) and not poles(sp.diff(term.effective_outer, x), ends)


def _chooses_extremes(side: Side, similarity: Similarity) -> bool:
    """Whether the most or the least similar pair is chosen, as what is compared rises or falls with the similarity."""
    ends = dict.fromkeys((s_p, s_n), (similarity.opposite, similarity.identical))
    rises = (sp.diff(undetach(side.inner), s) for s in side.inner.free_symbols & set(ends))
    return side.aggregator in (MAX, MIN) and all(sign_over(slope, ends) for slope in rises)


def _adds(term: Term, x: sp.Symbol) -> bool:
    """Whether a side is a sum over pairs for Φ too, which is a line of it."""
    side, outer = term.positives if x is x_p else term.negatives, term.effective_outer
    return side is not None and side.aggregator in (MEAN, SUM) and outer.is_polynomial(x) and sp.degree(outer, x) < 2


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


def _handed(term: Term, similarity: Similarity) -> Region:
    """Between which numbers everything lies that Φ reads."""
    counts = dict.fromkeys((count_p, count_n), (sp.S.Zero, sp.oo))
    return counts | {x: reach(side, similarity) for x, _, side in term.aggregates}


_PLACES = tuple(sp.Dummy(real=True) for _ in range(2))


def _is_continuous_side(side: Side, similarity: Similarity) -> bool:
    everywhere = dict.fromkeys(_PLACES, (-sp.oo, sp.oo))
    ends = dict.fromkeys((s_p, s_n), (similarity.opposite, similarity.identical))
    return is_continuous(side.inner, ends) and is_continuous(side.aggregator.combine(_PLACES), everywhere)


def _jumps_by_constants(term: Term, similarity: Similarity) -> bool:
    """Whether a term is proved to jump by a constant along every kink, for any number of pairs."""
    plane = _plane(term, similarity)
    if plane is None:
        return False
    value, region = plane
    if any(poles(value, region)) and value.atoms(sp.Function) - value.atoms(sp.log):
        return False
    in_steps = value.replace(step, step_of_factors)
    jumps = [(kink, jump_across(kink, in_steps)) for kink in kinks_of([in_steps], tuple(region))]
    if all(vanishes_on_kink(kink, jump, region) or _is_constant_along(kink, jump, region) for kink, jump in jumps):
        return True
    curls = curl_jumps({s: sp.diff(value, s) for s in region})
    return all(vanishes_on_kink(curl.kink, curl.coefficient, region) for curl in curls)


def _is_constant_along(kink: sp.Expr, jump: sp.Expr, region: Region) -> bool:
    return all(
        vanishes_on_kink(kink, sp.diff(jump, a) * sp.diff(kink, b) - sp.diff(jump, b) * sp.diff(kink, a), region)
        for a, b in combinations(region, 2)
    )


def _is_function_of_potential(field: WeightField) -> bool:
    """Whether T is proved to be f(z) with z continuous and (−P⁺, P⁻) a multiple of its gradient."""
    factors, region = field.factors, field.region
    if factors is None or poles(factors.positive, region) or poles(factors.negative, region):
        return False
    along = {s_p: -factors.positive, s_n: factors.negative}
    for z, profile, t in profiles(factors.triplet):
        a = _rate(z, along, field.ranges)
        if a is None or poles(profile, {t: (-sp.oo, sp.oo)}) or not is_continuous(z, region):
            continue
        if all(proves_zero(sp.diff(z, s) - a * weight, region) for s, weight in along.items()):
            return True
    return False


def _rate(z: sp.Expr, along: Mapping[sp.Symbol, sp.Expr], ranges: Ranges) -> sp.Expr | None:
    """How often the gradient of z is these weights at some point where they are not zero."""
    for point in random_points((s_p, s_n), ranges, CENTRES):
        for s, weight in along.items():
            below = weight.subs(point)
            if below != 0:
                return sp.diff(z, s).subs(point) / below
    return None


def _plane(term: Term, similarity: Similarity) -> tuple[sp.Expr, Region] | None:
    """A term as a function of what its two sides hand over, and where they lie: the similarity of each pair, or an
    aggregate that is continuous; None where an aggregate may jump.
    """
    if not term.plain:
        return None
    at: dict[sp.Symbol, sp.Expr] = {}
    region = {}
    for x, s, side in term.aggregates:
        if side.aggregator.enumerates or _adds(term, x):
            at[x], region[s] = side.inner, (similarity.opposite, similarity.identical)
        elif _is_continuous_side(side, similarity):
            at[x], region[x] = x, reach(side, similarity)
        else:
            return None
    return term.effective_outer.subs(at, simultaneous=True), region


def reach(side: Side, similarity: Similarity) -> tuple[sp.Expr, sp.Expr]:
    """Between which numbers an aggregate certainly lies, whatever the number of pairs."""
    low, high = enclosure(side.inner, dict.fromkeys((s_p, s_n), (similarity.opposite, similarity.identical)))
    name = side.aggregator.name
    if name in ("each", "each_mean", "max", "min", "mean", "softmax_mean"):
        return low, high
    if name in ("logsumexp", "soft_max") or (name == "sum" and low.is_nonnegative):
        return low, sp.oo
    if name == "sum" and side.inner.is_nonnegative:
        return sp.S.Zero, sp.oo
    if name in ("softmin", "soft_min") or (name == "sum" and high.is_nonpositive):
        return -sp.oo, high
    return -sp.oo, sp.oo


def attained(side: Side, field: WeightField) -> tuple[sp.Expr, sp.Expr] | None:
    """Two numbers between which every one is an aggregate of a few pairs; None where that is not known."""
    values = field.values()
    s = next(iter(side.inner.free_symbols & {s_p, s_n}), s_n)
    low, high = field.similarity.window
    compiled = program([side.inner.subs(values)], (s,))
    tried = [compiled.run(FLOAT, float(low + (high - low) * sp.Rational(i, TRIED)))[0] for i in range(TRIED + 1)]
    found = [sp.Rational(value).limit_denominator(10**6) for value in tried if math.isfinite(value)]
    if not found:
        return None
    least, most = min(found), max(found)
    name = side.aggregator.name
    sharpness = sp.sympify(side.aggregator.parameters[0]).subs(values) if side.aggregator.parameters else sp.S.One
    if name in ("each", "each_mean", "max", "min", "mean"):
        return least, most
    if name in ("logsumexp", "soft_max") and sharpness.is_positive:
        return least, most + 2 / sharpness
    if name in ("softmin", "soft_min") and sharpness.is_positive:
        return least - 2 / sharpness, most
    return (3 * least, 3 * most) if name == "sum" else None


def _unproved(
    objective: Decomposition | WeightField, field: WeightField, found: Integrability, explicit: bool
) -> Iterator[str]:
    """What would have to vanish and was not proved to."""
    weights = field.positive, field.negative
    of_poles = () if explicit else weights
    gradient = {s_p: -field.positive, s_n: field.negative}
    yield from _unproved_on_plane(of_poles, found.curl or sp.S.Zero, gradient, field.region)
    if not isinstance(objective, Decomposition):
        return
    if not objective.loss.detaches:
        yield "the jump of the loss with several pairs along a kink"
    if grows(objective.loss):
        yield "the asymmetry of ever more pairs"
        return
    several = gradient_of_several(objective.loss, 2, 2)
    if sum(map(sp.count_ops, several.values())) > MOST_OPERATIONS:
        yield "the asymmetry of several pairs, whose formula is too long,"
        return
    ends = dict.fromkeys(several, (field.similarity.opposite, field.similarity.identical))
    for i, a in enumerate(several):
        for b in list(several)[i + 1 :]:
            if not proves_zero(sp.diff(several[a], b) - sp.diff(several[b], a), ends):
                yield f"the difference of ∂²/∂{a}∂{b} and ∂²/∂{b}∂{a}"
    for jump in curl_jumps(several):
        if not vanishes_on_kink(jump.kink, jump.coefficient, ends):
            yield f"the curl with several pairs across {jump.kink} = 0"


def _unproved_on_plane(
    weights: Sequence[sp.Expr], curl: sp.Expr, gradient: Mapping[sp.Symbol, sp.Expr], region: Region
) -> Iterator[str]:
    for weight in weights:
        for pole in poles(weight, region):
            yield f"the work of the weights around {pole} = 0"
    if not proves_zero(curl, region):
        yield "the curl ∂w⁺/∂s_n + ∂w⁻/∂s_p"
    for jump in curl_jumps(gradient):
        if not vanishes_on_kink(jump.kink, jump.coefficient, region):
            yield f"the curl across {jump.kink} = 0"


def _relative_conditions(field: WeightField) -> Iterator[tuple[sp.Expr, str]]:
    """Symmetry between the pairs that a relative similarity joins, of which another negative has no weight itself."""
    reads = {r.symbol: r.contribution for r in field.relative}
    positive, negative = (weight.subs(reads) for weight in (field.positive, field.negative))
    if positive.has(other_positive):
        elsewhere = sp.Symbol("s_n'", real=True)
        exchanged = positive.subs({s_p: other_positive, other_positive: s_p, s_n: elsewhere}, simultaneous=True)
        asymmetry = sp.diff(positive, other_positive) - sp.diff(exchanged, s_p)
        yield (
            asymmetry,
            "P⁺ reads another anchor's positive, and the two weights' mutual derivatives differ: the difference",
        )
    for weight, name in ((positive, "w⁺"), (negative, "w⁻")):
        if weight.has(other_negative):
            yield (
                sp.diff(weight, other_negative),
                f"{name} reads a negative that has no weight, and the derivative by it",
            )
