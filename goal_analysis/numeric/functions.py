"""An objective as the engine reads it: its formulas compiled, its aggregators as tensors work them out."""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.compilation import Formula, Values, compiled, formula
from goal_analysis.numeric.engine.aggregators import AGGREGATORS
from goal_analysis.numeric.engine.aggregators import Aggregator as OnTensors
from goal_analysis.numeric.engine.dense import loss, meetings, weight_matrix
from goal_analysis.numeric.engine.functions import Functions, Hints, Relative
from goal_analysis.numeric.engine.functions import Side as SideFunctions
from goal_analysis.numeric.engine.functions import Term as TermFunctions
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.rounding import safe_at_the_ends, safely_differentiated
from goal_analysis.symbolic.language.aggregators import Aggregator, Pool, Side
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import count_n, count_p, s_n, s_p, total, undetach, x_n, x_p, y_n, y_p
from goal_analysis.symbolic.language.similarity import READ, RelativeSimilarity, Similarity, other_positive
from goal_analysis.symbolic.objective import Anchors, Objective, Term

GRID = 33
"""Similarities at which the bound of an inner function is read."""


@lru_cache(maxsize=1024)
def functions_of(objective: Objective) -> Functions:
    """The functions of an objective at its values, made once; an aggregator without tensors is a ValueError."""
    return _functions(objective, tuple(objective.values().items()))


def functions_with(objective: Objective, learned: Mapping[Hyperparameter, Tensor]) -> Functions:
    """The same for the dense way, differentiable by those ``learned`` hyperparameters that the objective learns."""
    symbols = {h.symbol for h in objective.most_learned}
    values = tuple((symbol, symbol if symbol in symbols else value) for symbol, value in objective.values().items())
    return _with(_functions(objective, values), tuple(learned[h] for h in objective.most_learned))


def _with(part: Any, learned: tuple[Tensor, ...]) -> Any:
    if isinstance(part, Formula):
        return replace(part, learned=learned)
    if isinstance(part, partial):  # an aggregator whose parameters are learned
        return part.func(*(_with(parameter, learned)() for parameter in part.args))
    if isinstance(part, tuple):
        return tuple(_with(one, learned) for one in part)
    if isinstance(part, Functions | TermFunctions | SideFunctions | Relative):
        return replace(part, **{f.name: _with(getattr(part, f.name), learned) for f in fields(part)})
    return part


@lru_cache(maxsize=1024)
def _functions(objective: Objective, values: Values) -> Functions:
    low, high = map(float, objective.similarity.window)
    return Functions(
        terms=tuple(_term(term, objective, values) for term in objective.terms),
        rows=objective.anchors is not Anchors.COLUMNS,
        columns=objective.anchors is not Anchors.ROWS,
        reduction=objective.reduction.value,
        middle=(low + high) / 2,
        grouped=None if objective.grouped is None else on_tensors(objective.grouped, values),
    )


def loss_value(objective: Objective, scores: Tensor, matches: Matches, settings: dict | None = None) -> Tensor:
    """The loss of a batch of scores of shape ``(rows, columns)``, differentiable; it stops at every `detach`.

    A mean of a term is over the anchors, pairs or triplets, of both axes where both are, that have what the term needs.
    What is prescribed, a setting outside of its domain and scores of another shape than the matches are ValueErrors.
    """
    if not objective.is_loss:
        raise ValueError(f"objective {objective.name!r}: got prescribed weights but expected a loss, which has a value")
    matches.check_for(objective, scores)
    functions = functions_of(objective.with_settings(settings or {}))
    return loss(functions, _wide(scores), *matches.tables)


def weights_of_scores(objective: Objective, scores: Tensor, matches: Matches, settings: dict | None = None) -> Tensor:
    """W(S) = ∂L/∂S, or what takes its place: −w⁺ at positives and w⁻ at negatives, in float32 at least.

    No autograd is used; where the scores require a gradient the result carries a graph, as W is differentiable in turn.
    A setting outside of its domain and scores of another shape than the matches are ValueErrors.
    """
    matches.check_for(objective, scores)
    functions = functions_of(objective.with_settings(settings or {}))
    return weight_matrix(functions, _wide(scores), *matches.tables)


def _wide(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _term(term: Term, objective: Objective, values: Values) -> TermFunctions:
    similarity, relative = objective.similarity, objective.relative
    if not term.plain:
        return _general_term(term, similarity, values)
    of_triplet = (undetach(weight.xreplace({x_p: s_p, x_n: s_n})) for weight in term.triplet_weights)
    pull, push = (formula(safe_at_the_ends(weight, similarity, values), (s_p, s_n), values) for weight in of_triplet)
    of_p, of_n = term.positives, term.negatives
    apart = ends = False
    if of_p is not None and of_n is not None:
        ends = of_n.pool is Pool.BOTH_ENDS
        apart = of_p.aggregator.enumerates and (ends or of_n.aggregator.enumerates or of_n.selection is not None)
    return TermFunctions(
        positives=term.positives and _side(term.positives, s_p, similarity, relative, values),
        negatives=term.negatives and _side(term.negatives, s_n, similarity, relative, values),
        pull=pull,
        push=push,
        meet=meetings,
        apart=apart,
        ends=ends,
        outer=formula(term.effective_outer, (x_p, x_n), values) if term.is_loss else None,
        relative=tuple(_relative(r, values) for r in relative) or None,
    )


def _general_term(term: Term, similarity: Similarity, values: Values) -> TermFunctions:
    """A term whose loss autograd differentiates, with inner functions that are finite at the ends."""

    def side(of: Side, *reads: sp.Symbol) -> SideFunctions:
        inner = formula(safely_differentiated(of.inner, similarity, values), reads, values)
        aggregator = on_tensors(of.aggregator, values)
        return SideFunctions(aggregator, inner, inner, of.pool.value, of.selection, by_name=True)

    enumerates = term.positives is not None and term.positives.aggregator.enumerates
    of_negatives = (s_n, y_n, s_p, y_p) if enumerates else (s_n, y_n)
    read = (x_p, x_n, *(one.symbol for one in term.named), count_p, count_n, y_p, y_n)
    return TermFunctions(
        positives=term.positives and side(term.positives, s_p, y_p),
        negatives=term.negatives and side(term.negatives, *of_negatives),
        pull=None,
        push=None,
        meet=meetings,
        apart=enumerates,
        ends=term.positives is not None and Pool.BOTH_ENDS in [side.pool for side in term.sides],
        outer=formula(term.effective_outer, read, values),
        whole=None if term.total is None else formula(term.total, (total,), values),
        named=tuple(side(one.side, *of_negatives) for one in term.named),
    )


def _side(
    side: Side, variable: sp.Symbol, similarity: Similarity, relative: tuple[RelativeSimilarity, ...], values: Values
) -> SideFunctions:
    inner = undetach(side.inner)
    weight = safe_at_the_ends(undetach(side.slope(variable)), similarity, values)
    at = {symbol: value for symbol, value in values if symbol != value}
    exact_inner, exact_weight = inner.subs(at), sp.sympify(weight).subs(at)
    line, learned = None, len(at) < len(values)
    if not learned and exact_inner.is_polynomial(variable) and sp.degree(exact_inner, variable) == 1:
        line = float(sp.diff(exact_inner, variable)), float(exact_inner.subs(variable, 0))
    return SideFunctions(
        aggregator=on_tensors(side.aggregator, values),
        inner=formula(inner, (variable,), values),
        weight=formula(weight, (variable, *(r.symbol for r in relative)), values),
        pool=side.pool.value,
        selection=side.selection,
        valued=formula(side.inner, (variable,), values),
        hints=None
        if learned
        else Hints(
            constant=float(exact_weight) if exact_weight.is_number else None,
            line=line,
            bound=_bound(exact_inner, variable, similarity),
        ),
    )


def on_tensors(aggregator: Aggregator, values: Values) -> OnTensors | Any:
    """An aggregator as tensors work it out; a ValueError where it is none of the language's and does not say how."""
    if aggregator.tensors is not None:
        return aggregator.tensors
    if aggregator.name not in AGGREGATORS:
        raise ValueError(
            f"aggregator: got {aggregator.name!r} without tensors but expected one of {', '.join(AGGREGATORS)}, or the "
            "same on tensors besides"
        )
    if any(s == value and p.has(s) for s, value in values for p in aggregator.parameters):
        return partial(AGGREGATORS[aggregator.name], *(formula(p, (), values) for p in aggregator.parameters))
    return AGGREGATORS[aggregator.name](*(float(p.subs(dict(values))) for p in aggregator.parameters))


def _bound(inner: sp.Expr, variable: sp.Symbol, similarity: Similarity) -> float:
    """The largest magnitude of an inner function on a grid over the range; infinite without a range."""
    if not (similarity.opposite.is_finite and similarity.identical.is_finite):
        return float("inf")
    low, high = map(float, similarity.window)
    (values,) = compiled([inner], (variable,), NUMPY)(np.linspace(low, high, GRID))
    return float(np.abs(values).max()) if not np.isnan(values).any() else float("inf")


def _relative(declared: RelativeSimilarity, values: Values) -> Relative:
    return Relative(
        contribution=formula(declared.contribution, READ, values),
        member=formula(declared.member, READ, values),
        of_positives=declared.other == other_positive,
        counts=declared.counting.name.lower(),
    )
