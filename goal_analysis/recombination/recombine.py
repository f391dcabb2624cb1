"""Objectives put together from weights and a mining, and parts of an objective exchanged for others.

On unit vectors every similarity is a function of every other one: where the direction is the gradient of another one
than the scores are of, the weight of every pair is multiplied by a function of its score.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import product

import sympy as sp

from goal_analysis.numeric.similarity import DIRECTIONS, TANGENTIAL
from goal_analysis.recombination.minings import Mining, mining_of
from goal_analysis.recombination.parts import side_by_side
from goal_analysis.symbolic.language.aggregators import MAX, MIN, Pool, Side
from goal_analysis.symbolic.language.primitives import s_n, s_p, undetach, x_n, x_p
from goal_analysis.symbolic.language.similarity import DOT, OF_COSINE
from goal_analysis.symbolic.objective import Objective, Term, used_symbols
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

LINEAR = frozenset(("mean", "sum", "each", "each_mean"))
"""Aggregators whose mining weights do not depend on the scores."""

SOFT = frozenset(("soft_max", "soft_min", "logsumexp", "softmin"))
"""Aggregators log Σ exp(β·x)/β."""

_BY_COSINE = {TANGENTIAL.name: sp.S.One} | {of.name: sp.diff(by, s_p) for of, (by, _) in OF_COSINE.items()}
"""Directions of unit vectors as multiples of that of the cosine, s_p."""

INSIDE = (0.05, 0.3, 0.5, 0.7, 0.95)
"""Where in the range of the similarity a weight is tried."""

BEYOND = (0.01, 0.1, 1.0)
"""How far beyond the range of the similarity a soft aggregate is tried."""


def composed(
    triplet: TripletWeight, pair: PairWeights, mining: Mining | str = "hardest", name: str | None = None, **fields
) -> Objective:
    """The objective T·P⁺, T·P⁻ on mined pairs, by default named triplet/pair@mining; T reads the aggregates."""
    (triplet, pair), mined = side_by_side(triplet, pair), mining_of(mining)
    term = Term(
        triplet=sp.sympify(triplet.expression).xreplace({s_p: x_p, s_n: x_n}),
        positives=Side(mined.positives or MIN, s_p, weight=sp.sympify(pair.positive)),
        negatives=Side(mined.negatives or MAX, s_n, weight=sp.sympify(pair.negative), selection=mined.selection),
    )
    both = dict.fromkeys((*triplet.hyperparameters, *pair.hyperparameters))
    used = used_symbols((term,), pair.relative)
    said = f"@{mining}" if isinstance(mining, str) and mining != "hardest" else ""
    text = name or f"{triplet.name}/{pair.name}{said}"
    return Objective(
        name=text,
        title=text,
        terms=(term,),
        hyperparameters=tuple(h for h in both if h.symbol in used),
        reference=tuple(dict.fromkeys((*triplet.reference, *pair.reference))),
        relative=pair.relative,
        **fields,
    )


def recombine(
    objective: Objective,
    *,
    triplet: TripletWeight | None = None,
    pair: PairWeights | None = None,
    mining: Mining | str | None = None,
    name: str | None = None,
) -> Objective:
    """An objective with parts exchanged, as `goal_analysis.recombine` does with names of them.

    Other pair weights stand on every side of every term, negative where a term's own weight is (it reads −s). Another
    mining aggregates similarities: T, or Φ, then reads k(x_p) and h(x_n). A triplet weight or relative pair weights for
    aggregates that are no similarities, and a hyperparameter of one name that is not the same, are ValueErrors.
    """
    terms, hyperparameters = objective.terms, objective.hyperparameters
    if not all(term.plain for term in terms) and (triplet or pair or mining) is not None:
        raise ValueError(
            f"{objective.name}: got a loss of named aggregates, counts or compared pairs but expected one of the form "
            "Φ(A⁺[k(s_p)], A⁻[h(s_n)]), whose parts can be exchanged"
        )
    relative = objective.relative
    if mining is not None:
        terms = tuple(_mined(term, mining_of(mining)) for term in terms)
    if triplet is not None:
        terms = tuple(_with_triplet(term, triplet, objective.name) for term in terms)
        hyperparameters = tuple(dict.fromkeys((*hyperparameters, *triplet.hyperparameters)))
    if pair is not None:
        pair = side_by_side(TripletWeight(name="t", expression=sp.S.One, hyperparameters=hyperparameters), pair)[1]
        if pair.relative and any(side.inner not in (s_p, s_n) for term in terms for side in term.sides):
            raise ValueError(
                f"{objective.name}: got pair weights {pair.name} that read other pairs, but expected weights of their "
                "own pair, or a mining such as hardest besides"
            )
        terms = tuple(_with_pair(term, pair) for term in terms)
        hyperparameters = tuple(dict.fromkeys((*hyperparameters, *pair.hyperparameters)))
        relative = pair.relative
    changed = objective.of_terms(terms, hyperparameters=hyperparameters, relative=relative)
    if changed == objective:
        return objective
    given = name or (objective.name if " (recombined)" in objective.name else f"{objective.name} (recombined)")
    return replace(changed, name=given, title=given)


def _mined(term: Term, mining: Mining) -> Term:
    """The term with other aggregators, of the similarities where T can read them through k and h."""
    p, n = mining.positives, mining.negatives
    if p is None or n is None:
        return term.with_sides(lambda side, s: side if s == s_p else replace(side, selection=mining.selection))
    chosen = {s_p: {"aggregator": p}, s_n: {"aggregator": n, "selection": mining.selection, "pool": Pool.OWN}}
    if not term.reads_gap_alone and len(term.sides) == 2:
        return term.with_sides(lambda side, s: replace(side, **chosen[s]))
    read = {x: side.inner.subs(s, x) for x, s, side in term.aggregates}
    # A pair weight c of a line k = c·s + d is in Φ(k(x)) already; all others stand beside T.
    inside = term.is_loss and all(_is_line(side.inner, s) for _, s, side in term.aggregates)

    def of_similarities(side: Side, s: sp.Symbol) -> Side:
        return Side(inner=s, weight=None if inside else undetach(side.slope(s)), **chosen[s])

    if inside:
        return term.with_sides(of_similarities, outer=sp.sympify(term.outer).subs(read, simultaneous=True))
    t = term.triplet_weights[0 if term.positives is not None else 1]
    t = undetach(t.subs({x: undetach(e) for x, e in read.items()}, simultaneous=True))
    return term.with_sides(of_similarities, outer=None, triplet=t)


def _with_triplet(term: Term, triplet: TripletWeight, owner: str) -> Term:
    sides = term.aggregates
    if len(sides) < 2 or not all(_is_line(side.inner, s) for _, s, side in sides):
        raise ValueError(
            f"{owner}: got the triplet weight {triplet.name}, which reads similarities, but expected a mining "
            "besides, such as hardest: this objective aggregates other quantities"
        )
    read = {s: (x - side.inner.subs(s, 0)) / sp.diff(side.inner, s) for x, s, side in sides}
    weight = sp.sympify(triplet.expression).subs(read, simultaneous=True)
    if term.outer is not None and term.reads_gap_alone and sp.expand(weight - term.triplet_weights[0]) == 0:
        return term
    return replace(term, outer=None, triplet=weight)


def _with_pair(term: Term, pair: PairWeights) -> Term:
    weights = {s_p: pair.positive, s_n: pair.negative}

    def exchanged(side: Side, s: sp.Symbol) -> Side:
        own, slope = undetach(sp.diff(side.inner, s)), undetach(side.slope(s))
        # In the middle of the range, with every hyperparameter at one half.
        middle = slope.subs(dict.fromkeys(slope.free_symbols, sp.S.Half)).evalf(5)
        signed = sp.sympify(weights[s]) * (-1 if middle.is_real and middle.is_number and middle < 0 else 1)
        return replace(side, weight=None if sp.expand(own - signed) == 0 and own == sp.diff(side.inner, s) else signed)

    return term.with_sides(exchanged)


def _is_line(inner: sp.Expr, s: sp.Symbol) -> bool:
    return bool(inner.is_polynomial(s)) and sp.degree(inner, s) == 1


@lru_cache(maxsize=4096)
def refusal(objective: Objective) -> str | None:
    """Why an objective cannot train, or None if it can.

    A prescribed weight has to be real over the similarity's range, and T beyond it, where soft aggregates go: x_n above
    and x_p below. These make no triplets, which relative similarities would compare.
    """
    low, high = map(float, objective.similarity.window)
    inside = [low + (high - low) * share for share in INSIDE]
    below, above = [low - d for d in BEYOND], [high + d for d in BEYOND]
    around = [*product(below, inside), *product(inside, above), *product(below, above)]
    for term in objective.terms:
        triplet = None
        if term.triplet is not None and all(side.inner in (s_p, s_n) for side in term.sides):
            triplet = term.triplet.xreplace({x_p: s_p, x_n: s_n})
        named = [(f"P{'⁺' if s == s_p else '⁻'}", side.weight) for _, s, side in term.aggregates]
        for where, expression in (("the triplet weight", triplet), *named):
            place = _unreal(expression, objective, product(inside, inside))
            if place:
                return (
                    f"{objective.name}: {where}: got {expression}, which is not real at {place}; expected what is real "
                    f"from {low:g} to {high:g}, the range of the similarity {objective.similarity.name}"
                )
        if SOFT.isdisjoint(side.aggregator.name for side in term.sides):
            continue
        if objective.relative:
            return (
                f"{objective.name}: got soft aggregates, which have no triplets to compare, beside pair weights that "
                "read other pairs, but expected another mining, such as hardest or top_k:5"
            )
        place = _unreal(triplet, objective, around) if len(term.sides) == 2 else None
        if place:
            return (
                f"{objective.name}: got soft aggregates, which leave the range of the similarity, but its triplet "
                f"weight is not real at {place.replace('s_', 'x_')}; expected another mining, such as hardest"
            )
    return None


def _unreal(weight: sp.Expr | None, objective: Objective, points: Iterable[tuple[float, float]]) -> str | None:
    """Where a weight is no number, such as the root of a negative number."""
    if weight is None:
        return None
    fractional = any(e.is_Pow and not e.exp.is_integer for e in sp.preorder_traversal(weight))
    if not (fractional or weight.has(sp.log, sp.acos)):
        return None
    here = undetach(weight).subs(objective.values())
    if here.free_symbols - {s_p, s_n}:
        return None
    compiled = program([here], (s_p, s_n))
    for p, n in points:
        if math.isnan(compiled.run(FLOAT, p, n)[0]):
            return ", ".join(f"{s} = {x:.4g}" for s, x in ((s_p, p), (s_n, n)) if s in here.free_symbols)
    return None


def along_similarity(objective: Objective) -> tuple[Objective, sp.Expr] | None:
    """The objective along the similarity's own gradient, and the factor, a function of s_p; None where none is."""
    moved, similarity = objective.direction, objective.similarity
    own = replace(objective, direction=None)
    known = any(d == moved for d in DIRECTIONS)
    if moved is None or (known and moved.name == similarity.name):
        return own, sp.S.One
    if not known or similarity == DOT or similarity not in OF_COSINE or moved.name not in _BY_COSINE:
        return None
    _, cosine = OF_COSINE[similarity]
    rate = _BY_COSINE[moved.name].subs(s_p, cosine) * sp.diff(cosine, s_p)
    if rate == 1 or not (rate.is_number or objective.plain):
        return (own, rate) if rate == 1 else None

    def times_rate(term: Term) -> Term:
        if rate.is_number:
            outer, triplet = (None if e is None else rate * e for e in (term.outer, term.triplet))
            return replace(term, outer=outer, triplet=triplet)
        return term.with_sides(lambda side, s: replace(side, weight=side.slope(s) * rate.subs(s_p, s)))

    return replace(own, name=f"{objective.name} (recombined)", terms=tuple(map(times_rate, objective.terms))), rate


def has_constant_weights(objective: Objective) -> bool:
    """Whether W does not depend on the scores."""
    linear = all(
        side.aggregator.name in LINEAR and side.selection is None and not side.slope(s).has(s)
        for term in objective.terms
        for _, s, side in term.aggregates
    )
    reads = any(t.has(x_p, x_n) for term in objective.terms for t in term.triplet_weights)
    return objective.plain and not objective.relative and linear and not reads
