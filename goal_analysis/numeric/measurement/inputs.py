"""What a loss takes, and which kinds the names of its parameters allow.

Names only order the kinds. What a loss is given in the end is the first kind that it takes, that gives every embedding
a gradient, and whose gradients are those of similarities: `goal_analysis.numeric.measurement.calling` tries them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

import torch

LossFunction = Callable[..., Any]


class UnmeasurableLoss(ValueError):
    """A callable is no loss of one of the accepted kinds."""


class Inputs(Enum):
    """What a loss takes, in this order."""

    ONE_SET = "(embeddings, labels)"
    TWO_SETS = "(image embeddings, text embeddings), row i of both matching"
    VIEWS = "(views, other views), the rows of both in one set, row i of both matching"
    STACKED = "(features), two views of everything in one set: row i matches row i + batch, or every two rows in turn"
    SCORES = "(score matrix), the diagonal matching"
    SIMILARITIES = "(s_p, s_n), the similarities of the positives and those of the negatives"
    TRIPLETS = "(anchors, positives, negatives)"
    PAIRS = "(x1, x2, labels), a label for every pair of rows"
    GROUPS = "(queries, passages), as many passages a query, its positive first"
    MULTIVIEW = "(features of shape (batch, views, dim), labels)"
    QUERIES = "(queries, query labels, references, reference labels)"
    PROXIES = "(embeddings, labels), with a proxy of every class as its parameter"


ACCEPTED = "; ".join(f"Inputs.{kind.name}: {kind.value}" for kind in Inputs)

LABELS = r"label|target|class|ids|gold|^y$|^t$|^s(core|im)s?$"
SIMILAR = r"^s_?{0}$|^{0}\w*_?(sim|score|logit|cos)|(sim|score|logit|cos)\w*_?{0}"
PLACES = (r"anchor|quer|^q|^a$|^x$|^x_?a$|^emb", r"pos|^p$|^x_?p$", r"neg|^n$|^x_?n$")
REFERENCES = r"ref|galler|prox|passage|key|candidate|document"
STACK = r"feature|^z|^h$|view|emb|proj|repr|^out"
EMBEDDED = r"im(g|age)?s?(_|$)|te?xts?(_|$)|caption|emb|feat|reps?(_|$)|view|proj|^(x|z|h|p|q|u|v)(_?[12ijab])?$"
VIEWS = r"^(z|h|view|proj|out|aug|hidden)\w*?_?[ijab012]$|view"
GROUPED = r"passage|^p(_reps)?$|doc|candidate"
SCORES = r"score|sim|logit|matri|^s$|^c$"
KNOBS = {"scale": 10.0, "bias": -10.0, "temp": 0.1, "tau": 0.1, "margin": 0.2, "gamma": 16.0, "alpha": 1.0, "beta": 1.0}
"""Words for parameters that are no embeddings, and what those without a default are set to."""

TWO = (Inputs.TWO_SETS, Inputs.SIMILARITIES, Inputs.ONE_SET, Inputs.MULTIVIEW, Inputs.PROXIES)
BY_COUNT = {1: (Inputs.SCORES, Inputs.STACKED), 2: TWO, 3: (Inputs.TRIPLETS, Inputs.PAIRS), 4: (Inputs.QUERIES,)}
WITH_LABELS = (Inputs.ONE_SET, Inputs.PROXIES, Inputs.MULTIVIEW)


def name_of(loss_fn: LossFunction) -> str:
    """The name of a loss in error messages."""
    return getattr(loss_fn, "__name__", type(loss_fn).__name__)


def parameters_of(loss_fn: LossFunction) -> list[inspect.Parameter]:
    """The parameters of a call, those of a module's ``forward``; none where they cannot be read."""
    try:
        function = loss_fn.forward if isinstance(loss_fn, torch.nn.Module) else loss_fn
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def required_names(loss_fn: LossFunction) -> list[str]:
    """The names of the parameters without a default, stars left out."""
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters_of(loss_fn) if p.default is p.empty and p.kind not in stars]


def knob_value(name: str) -> float | None:
    """What a parameter of this name is set to where the user says nothing; None if it is an input."""
    parts = name.lower().split("_")
    return next((value for word, value in KNOBS.items() if any(re.match(f"(logit)?{word}", p) for p in parts)), None)


def kinds_of(loss_fn: LossFunction, known: Iterable[str] = ()) -> tuple[Inputs, ...]:
    """The kinds to try, the likeliest first; those of ``known`` names are set by the user.

    Raises:
        UnmeasurableLoss: no kind has so many parameters.
    """
    parameters = parameters_of(loss_fn)
    names = [name for name in required_names(loss_fn) if name not in known and knob_value(name) is None]
    optional = [p.name for p in parameters if p.default is not p.empty]
    if len(names) == 1 and optional and _has(optional[0], LABELS):
        names.append(optional[0])
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or not parameters:
        return tuple(dict.fromkeys(kind for kinds in BY_COUNT.values() for kind in kinds))
    possible = BY_COUNT.get(len(names))
    if possible is None:
        given = ", ".join(p.name for p in parameters) or "no parameters"
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a callable of ({given}), whose names do not tell what it takes; "
            f"say it by inputs=, one of {ACCEPTED}"
        )
    found = tuple(dict.fromkeys((*_by_names(names), *possible)))
    if len(names) == 2 and all(_has(name, EMBEDDED) for name in names):
        return tuple(kind for kind in found if kind in (Inputs.TWO_SETS, Inputs.VIEWS, Inputs.GROUPS))
    return found


def _by_names(names: list[str]) -> tuple[Inputs, ...]:
    match names:
        case [one] if _has(one, STACK) and not _has(one, SCORES):
            return (Inputs.STACKED,)
        case [_, labels] if _has(labels, LABELS) and labels != "s":
            return WITH_LABELS
        case [positive, negative] if _has(positive, SIMILAR.format("p")) and _has(negative, SIMILAR.format("n")):
            return (Inputs.SIMILARITIES,)
        case [one, other] if _has(one, VIEWS) and _has(other, VIEWS):
            return Inputs.VIEWS, Inputs.TWO_SETS
        case [query, passages] if _has(query, PLACES[0]) and _has(passages, GROUPED):
            return Inputs.GROUPS, Inputs.TWO_SETS
        case [_, _, labels] if _has(labels, LABELS):
            return (Inputs.PAIRS,)
        case [_, _, _] if all(map(_has, names, PLACES)):
            return (Inputs.TRIPLETS,)
    return ()


def _has(name: str, pattern: str) -> bool:
    return re.search(pattern, name.lower()) is not None
