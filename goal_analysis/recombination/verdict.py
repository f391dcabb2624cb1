"""Is the weight matrix W(S) of an objective the gradient of a loss of the scores, and of which?

W is if its Jacobian is symmetric between the kinks and if, where it jumps, it jumps along the kink's normal. Two scores
that share an anchor of one axis share none of the other: so one anchor tells, for both axes.

- Where nothing is prescribed and nothing selected, the declared loss decides.
- Choices of pairs (each, max, min) add up G(s_p, s_n), which is continuous where the choice changes. So does a
  selection by order alone. One that keeps pairs by a threshold cuts the triplet weight off; one that draws at random
  is no function of the scores; of one that says nothing of itself nothing is known.
- Soft aggregates x_p and x_n with the derivatives q have the weights −T(x_p, x_n)·q_p·P⁺(s_p) and
  T(x_p, x_n)·q_n·P⁻(s_n). Of their Jacobian, what is not symmetric is

      between negatives j, k:        q_j·q_k·(∂T/∂x_n − β⁻·T)·(P⁻(s_j) − P⁻(s_k))
      between positives i, l:        −q_i·q_l·(∂T/∂x_p + β⁺·T)·(P⁺(s_i) − P⁺(s_l))
      between positive i, negative j:   q_i·q_j·(P⁻(s_j)·∂T/∂x_p + P⁺(s_i)·∂T/∂x_n)

  Where P⁺ and P⁻ are multiples of k′ and h′ the last alone is left, which is the condition on one triplet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import sympy as sp
import torch

from goal_analysis.numeric.functions import weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import direction as direction_of
from goal_analysis.recombination import closed_paths
from goal_analysis.recombination.recombine import LINEAR, SOFT, along_similarity, has_constant_weights
from goal_analysis.symbolic.analysis.continuity import attained, reach
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import (
    Integrability,
    decide,
    gradient_of_several,
    grows,
    integrability,
    tried_ranges,
)
from goal_analysis.symbolic.analysis.kinks import in_steps_alone
from goal_analysis.symbolic.analysis.recovery import multiple, potential, recover_loss
from goal_analysis.symbolic.analysis.witnesses import search
from goal_analysis.symbolic.language.aggregators import EACH, EACH_MEAN, MAX, MIN, Side
from goal_analysis.symbolic.language.hyperparameter import exact
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, step, x_n, x_p
from goal_analysis.symbolic.language.similarity import SIMILARITIES
from goal_analysis.symbolic.objective import Objective, Reduction, Term
from goal_analysis.symbolic.parsing import parse
from goal_analysis.symbolic.proof.antiderivative import antiderivative
from goal_analysis.symbolic.proof.enclosures import sign_over
from goal_analysis.symbolic.proof.identity import Undecided, proves_zero, refute_zero
from goal_analysis.symbolic.proof.tidying import settled, tidy
from goal_analysis.symbolic.weight import Factors, WeightField

CHOICES = frozenset(("each", "each_mean", "max", "min"))
"""Aggregators that choose or enumerate pairs."""

BEYOND = 4
"""By how much aggregates are taken to leave the range of the scores: up to log(pairs)/β, a million pairs at β = 3.5."""


@lru_cache(maxsize=4096)
def verdict(objective: Objective) -> Integrability:
    """Whether what trains is the gradient of a loss of the embeddings, at these values, for batches of any size."""
    if objective.direction is None:
        return verdict_on_scores(objective)
    name = objective.direction.name
    along = along_similarity(objective)
    if along is not None:
        found, rate = verdict_on_scores(along[0]), along[1]
        if rate == 1:
            return found
        why = f"on unit vectors the direction {name} is {rate} times that of the similarity; with that factor "
        return replace(found, reason=why + found.reason)
    of_scores = verdict_on_scores(objective)
    if of_scores.loss == 0:
        return of_scores
    if has_constant_weights(objective) and any(objective.direction == direction_of(s.name) for s in SIMILARITIES):
        why = f"the weights do not depend on the scores, and the direction is the gradient of the similarity {name}"
        return Integrability(True, why, potential=of_scores.potential)
    against = closed_paths.embedding_witness(objective)
    if against is None:
        why = f"open: the direction {name} is not known to be a function of the similarity, and no asymmetry was found"
        return Integrability(None, why, potential=of_scores.potential)
    why = f"the direction {name} is not the gradient of the similarity {objective.similarity.name}: {against[0]}"
    return Integrability(False, why, potential=of_scores.potential, witness=against[1])


@lru_cache(maxsize=4096)
def verdict_on_scores(objective: Objective) -> Integrability:
    """The same on the weights of the scores, wherever the embeddings move."""
    try:
        found = _decided(objective)
        chosen = {side.aggregator.name for term in objective.terms for side in term.sides} <= CHOICES
        # A triplet that is a witness has these values already; an aggregate may be out of reach at them.
        if found.integrable is True or (found.witness and chosen) or not objective.hyperparameters:
            return found
        values = objective.values()
        terms = [term.map(lambda e: e.subs(values)) for term in objective.terms]
        relative = tuple(r.map(lambda e: e.subs(values)) for r in objective.relative)
        here = _decided(objective.of_terms(terms, relative=relative))
        return here if here.integrable is not False or found.integrable is None else found
    except Undecided as undecided:
        return Integrability(None, f"undecided: {undecided}")


@lru_cache(maxsize=4096)
def _decided(objective: Objective) -> Integrability:
    field = decompose(objective).field
    if field.positive == 0 and field.negative == 0 and not grows(objective):
        return Integrability(True, "W is zero", potential=sp.S.Zero, loss=sp.S.Zero)
    selections = [side.selection for term in objective.terms for side in term.sides if side.selection is not None]
    if selections:
        return _selected(objective, field, selections)
    if objective.is_loss:
        return integrability(decompose(objective))
    if objective.reduction is Reduction.MEAN_ACTIVE:
        why = "the mean is over the triplets with a weight, and nothing is known of what happens where one loses it"
        return Integrability(None, f"open: {why}")
    aggregators = {side.aggregator.name for term in objective.terms for side in term.sides}
    if aggregators <= CHOICES:
        return _chosen(objective, field)
    if len(objective.terms) == 1:
        return _soft(objective, field)
    singles = [_decided(objective.of_terms((term,))) for term in objective.terms]
    if all(one.integrable is True for one in singles):
        return _of_terms(singles)
    return _against_several_pairs(objective, field)


def _of_terms(singles: list[Integrability]) -> Integrability:
    return Integrability(True, "every term is the gradient of a loss: " + "; ".join(one.reason for one in singles))


def loss_of(objective: Objective) -> Objective | None:
    """The loss whose gradient the objective is, in which nothing is prescribed; None where none was found."""
    if objective.is_loss and not any(side.selection for term in objective.terms for side in term.sides):
        return objective if verdict_on_scores(objective).integrable is not False else None
    found = verdict_on_scores(objective)
    if not found.integrable or found.loss is None or len(objective.terms) != 1:
        return None
    outer, inner = _linear_parts(objective) or (found.loss.xreplace({s_p: x_p, s_n: x_n}), {})

    def bare(side: Side, s: sp.Symbol) -> Side:
        cut = not inner and s == s_n and getattr(side.selection, "bounds", None)
        return replace(side, inner=inner.get(s, side.inner), weight=None, selection=None if cut else side.selection)

    plain = objective.terms[0].with_sides(bare, outer=outer, triplet=None)
    return objective.of_terms((plain,), relative=())


def _chosen(objective: Objective, field: WeightField) -> Integrability:
    of_one = integrability(field)
    if of_one.integrable is not True:
        return of_one
    for term in objective.terms:
        for _, s, side in term.aggregates:
            if side.aggregator in (MAX, MIN) and not sign_over(sp.diff(side.inner, s), field.region):
                against = _against_several_pairs(objective, field)
                why = f"open: two pairs may be alike in {side.inner} and differ in their weights"
                return against if against.integrable is False else replace(against, reason=why)
    why = f"{of_one.reason}, and the loss of the mined triplets is continuous where others are mined"
    return replace(of_one, reason=why)


def _selected(objective: Objective, field: WeightField, selections: list) -> Integrability:
    depends = {getattr(selection, "depends", "unknown") for selection in selections}
    names = ", ".join(getattr(selection, "name", repr(selection)) for selection in selections)
    if "random" in depends:
        return _drawn(objective)
    if not depends <= {"not", "order", "threshold"}:
        return Integrability(None, f"open: the selection {names} does not say how it depends on the scores")
    if len(objective.terms) > 1:  # each has its own mean, so that their weights add up
        singles = [_decided(objective.of_terms((term,))) for term in objective.terms]
        others = [one for one in singles if one.integrable is not True]
        if not others:
            return _of_terms(singles)
        if len(others) == 1 and others[0].integrable is False:
            return replace(others[0], reason=f"one of the terms is the gradient of no loss: {others[0].reason}")
    if "threshold" not in depends:
        bare = [term.with_sides(lambda side, _: replace(side, selection=None)) for term in objective.terms]
        of_all = _decided(replace(objective, terms=tuple(bare)))
        sides = [side for term in objective.terms for side in term.sides if side.selection is not None]
        if of_all.integrable is True:
            if "order" in depends and not all(side.aggregator in (EACH_MEAN, EACH) for side in sides):
                why = f"open: what the selection {names} leaves out may jump"
                return Integrability(None, why, potential=of_all.potential)
            why = f"{of_all.reason}, and the loss of the selected pairs is continuous where others are selected"
            return replace(of_all, reason=why)
        if of_all.integrable is None or all(closed_paths.keeps_all(side.selection, of_all.witness) for side in sides):
            return of_all
        known = of_all.potential
        unknown = f"all pairs show that there is no loss, but the selection {names} leaves out some of theirs"
    else:
        only, known = selections[0], None
        if len(objective.terms) == 1 and len(selections) == 1:
            if getattr(only, "bounds", None) and {s.aggregator for s in objective.terms[0].sides} <= {EACH, EACH_MEAN}:
                return _bounded(objective, field, only)
            if getattr(only, "epsilon", None) is not None:
                return _exchanging(objective, field, only.epsilon)
        unknown = f"nothing is known of what happens at the threshold of the selection {names}, and no path showed it"
    return _by_work(
        objective, closed_paths.random_rectangles(objective), f"with the selection {names}, ", unknown, known
    )


def _by_work(
    objective: Objective, rectangles: Iterator, said: str, unknown: str, potential: sp.Expr | None
) -> Integrability:
    against = closed_paths.work_witness(objective, rectangles)
    if against is None:
        return Integrability(None, f"open: {unknown}", potential=potential)
    return Integrability(False, said + against[0], potential=potential, witness=against[1])


def _bounded(objective: Objective, field: WeightField, selection) -> Integrability:
    bounds = [parse(bound, {"s_p": s_p, "s_n": s_n}) for bound in selection.bounds]
    gaps, factor, factors = _kept_gaps(bounds), sp.Mul(*map(step, bounds)), field.factors
    factors = factors and replace(factors, triplet=factors.triplet * factor)
    cut = replace(field, positive=field.positive * factor, negative=field.negative * factor, factors=factors)
    of_cut = integrability(cut)
    if of_cut.integrable is not True:
        return replace(of_cut, reason=f"among the selected triplets {of_cut.reason}")
    whole = integrability(field)
    if all(proves_zero(tidy(weight, field.similarity), field.region) for weight in (cut.positive, cut.negative)):
        return Integrability(True, "W is zero", potential=sp.S.Zero, loss=sp.S.Zero)
    if objective.reduction is not Reduction.SUM or EACH_MEAN in {s.aggregator for s in objective.terms[0].sides}:
        rectangles = closed_paths.selected_mean(*map(float, gaps or (-0.4, 0)))
        why = "the mean is over the anchors with a selected triplet"
        jump = f"{why}: where one anchor's last triplet is no longer selected, the weights of the others jump, and "
        return _by_work(objective, rectangles, jump, f"{why}, and no path was found that shows it", whole.potential)
    why = "∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes between the kinks and at the selection's bounds"
    loss = None if gaps is None or whole.loss is None else _clipped(whole.loss, *gaps)
    return Integrability(True, why, potential=whole.potential, loss=loss)


def _kept_gaps(bounds: list[sp.Expr]) -> tuple[sp.Expr, sp.Expr] | None:
    """Between which values of s_n − s_p pairs are kept; None if bounds read anything else."""
    low, high = -sp.oo, sp.oo
    for bound in bounds:
        at, slope = bound.subs({s_p: 0, s_n: 0}), sp.diff(bound, s_n)
        if slope not in (1, -1) or sp.expand(bound - at - slope * (s_n - s_p)) != 0:
            return None
        low, high = (sp.Max(low, -at), high) if slope == 1 else (low, sp.Min(high, at))
    return low, high


def _clipped(loss: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Expr:
    """The loss where low < s_n − s_p < high, and constant along the gap beyond."""
    x, ends = s_n - s_p, [(end, sign) for end, sign in ((low, 1), (high, -1)) if end.is_finite]
    if proves_zero(sp.diff(loss, s_p) + sp.diff(loss, s_n)):  # it reads the gap alone
        within = (x if low == -sp.oo else low + hinge(x - low)) - (0 if high == sp.oo else hinge(x - high))
        return loss.subs({s_p: 0, s_n: within}, simultaneous=True)
    beyond = (step(sign * (end - x)) * loss.subs({s_p: -end, s_n: 0}, simultaneous=True) for end, sign in ends)
    return sp.Mul(*(step(sign * (x - end)) for end, sign in ends)) * loss + sp.Add(*beyond)


def _exchanging(objective: Objective, field: WeightField, epsilon: float) -> Integrability:
    as_hardest = _chosen(objective, field)
    if as_hardest.integrable is not True or epsilon == 0:
        return as_hardest
    if proves_zero(field.negative * step(s_p + exact(epsilon) - s_n), field.region):
        return as_hardest
    why = f"where |s_p − s_n| falls below {epsilon:g}, the weights of the anchor's other negatives jump, and "
    unknown = f"{why}no closed path was found that shows it"
    return _by_work(objective, closed_paths.exchanged(epsilon), why, unknown, as_hardest.potential)


def _drawn(objective: Objective) -> Integrability:
    matches = Matches.of_image_ids(torch.arange(2), torch.arange(12) // 6)
    why = "W depends on a random draw, whose chances change with the scores: it is no function of them"
    low, high = map(float, objective.similarity.window)
    with torch.random.fork_rng(devices=[]):
        for share in (0.75, 0.6, 0.5, 0.9):
            s = torch.full((2, 12), low + (high - low) * share, dtype=torch.float64)
            one, other = (weights_of_scores(objective, s, matches) for _ in range(2))
            largest = float((one - other).abs().max())
            if largest > 0:
                why += f"; in two draws at the same scores a weight differs by {largest:.4g}"
                return Integrability(False, why, witness=closed_paths.at_scores(s, largest))
    return Integrability(None, f"open: {why}, but draws at the same scores agreed")


def _soft(objective: Objective, field: WeightField) -> Integrability:
    if objective.relative:
        return Integrability(None, "open: pair weights that read other pairs beside soft aggregates")
    of_one = integrability(field)
    if of_one.integrable is False:
        return replace(of_one, reason=f"with one positive and one negative {of_one.reason}")
    (term,) = objective.terms
    region = {x: reach(side, field.similarity) for x, _, side in term.aggregates}
    term = replace(term, triplet=term.triplet and settled(term.triplet, region))
    objective = objective.of_terms((term,))
    linear = _linear_parts(objective)
    if linear is not None:
        outer, inner = linear
        loss = outer.subs({x_p: inner.get(s_p, 0), x_n: inner.get(s_n, 0)}, simultaneous=True)
        why = "T is constant, and the weights of each side are the gradient of an aggregate of ∫P"
        return Integrability(True, why, potential=of_one.potential, loss=loss)
    multiples = {s: multiple({s: side.slope(s)}, {s: sp.diff(side.inner, s)}, field) for _, s, side in term.aggregates}
    if all(c is not None for c in multiples.values()):  # P⁺ = c⁺·k′ and P⁻ = c⁻·h′
        return _of_aggregates(objective, field, of_one, multiples)
    against = _against_several_pairs(objective, field)
    if against.integrable is not False and _symmetric(term, field):
        why = "the Jacobian of W is symmetric for two positives and two negatives of an anchor, whatever x_p and x_n"
        return Integrability(True, why, potential=of_one.potential)
    return replace(against, potential=of_one.potential)


def _linear_parts(objective: Objective) -> tuple[sp.Expr, dict[sp.Symbol, sp.Expr]] | None:
    """Φ = T·(A⁻[H] − A⁺[K]) with H = ∫P⁻, K = ∫P⁺, of a constant T and sums, or choices that ∫P does not change."""
    if len(objective.terms) != 1 or objective.relative:
        return None
    (term,), field = objective.terms, decompose(objective).field
    t = term.triplet_weights[0 if term.positives is not None else 1]
    if t.has(x_p, x_n):
        return None
    inner = {}
    for _, s, side in term.aggregates:
        chosen = side.aggregator in (MAX, MIN) and side.inner == s and sign_over(side.slope(s), field.region) > 0
        found = antiderivative(side.slope(s), s, field.ranges) if chosen or side.aggregator.name in LINEAR else None
        if found is None:
            return None
        inner[s] = found
    return t * gap, inner


def _of_aggregates(
    objective: Objective, field: WeightField, of_one: Integrability, multiples: dict[sp.Symbol, sp.Expr]
) -> Integrability:
    """W is the field of one triplet at (x_p, x_n), by the chain rule; both may leave the range of the scores."""
    term = objective.terms[0]
    t = term.triplet_weights[0].xreplace({x_p: s_p, x_n: s_n})
    nothing = dict.fromkeys((s_p, s_n), (sp.S.Zero, sp.S.Zero))
    region = nothing | {s: reach(side, field.similarity) for _, s, side in term.aggregates}
    near = nothing | {s: attained(side, field) or field.similarity.window for _, s, side in term.aggregates}
    ranges = {**tried_ranges(field), **near}
    pull, push = multiples.get(s_p, sp.S.Zero), multiples.get(s_n, sp.S.Zero)
    gradient = {s_p: -t * pull, s_n: t * push}
    found = decide(gradient, ranges, region)
    if found.integrable is not True:
        why = found.reason.replace("s_p", "x_p").replace("s_n", "x_n")
        beyond = "the aggregates x_p and x_n leave the range of the scores, and there "
        return replace(found, reason=why if found.integrable is None else beyond + why, potential=of_one.potential)
    of_aggregates = replace(field, positive=t * pull, negative=t * push, factors=Factors(t, pull, push))
    loss = recover_loss(of_aggregates, potential(of_aggregates))
    if loss is not None and of_one.loss is not None and (loss - of_one.loss).is_number:
        loss = of_one.loss
    of_anchor = None if loss is None else loss.xreplace({s_p: x_p, s_n: x_n})
    why = "the pair weights are multiples of k′ and h′, and T is a function of the potential of the aggregates"
    return Integrability(True, why, potential=of_one.potential, loss=of_anchor)


def _symmetric(term: Term, field: WeightField) -> bool:
    t, sides = term.triplet_weights[0], term.aggregates
    if len(sides) < 2 or any(side.inner != s for _, s, side in sides) or in_steps_alone(t).has(step):
        return False
    (_, _, p), (_, _, n) = sides
    conditions = [n.slope(s_n) * sp.diff(t, x_p) + p.slope(s_p) * sp.diff(t, x_n)]
    for x, s, side in reversed(sides):
        if side.aggregator.name in SOFT:
            scale = (side.aggregator.parameters or (sp.S.One,))[0] * (1 if s == s_p else -1)
            conditions.append((sp.diff(t, x) + scale * t) * sp.diff(side.slope(s), s))
        elif side.aggregator not in (MAX, MIN):
            return False
    low, high = field.similarity.window
    wide = replace(field, similarity=replace(field.similarity, opposite=low - BEYOND, identical=high + BEYOND))
    return not any(refute_zero(e, tried_ranges(wide, tuple(e.free_symbols))) for e in conditions)


def _against_several_pairs(objective: Objective, field: WeightField) -> Integrability:
    tried = ""
    counts = ((1, 2, "two negatives"), (2, 1, "two positives"), (2, 2, "two of both"))
    for positives, negatives, what in counts:
        gradient = gradient_of_several(objective, positives, negatives)
        found = search(gradient, tried_ranges(field, tuple(gradient)), dict.fromkeys(gradient, field.region[s_n]))
        if found.witness:
            why = f"with {what} of an anchor {found.what} is {found.witness}"
            return Integrability(False, why, witness=found.witness)
        tried = found.tried
    return Integrability(None, f"open: no proof that the weights of several pairs are symmetric; {tried}")
