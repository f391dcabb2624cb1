"""What a loss takes, which kinds the names of its parameters allow, and in which shape it is called.

Names only order the kinds. What a loss is given in the end is the first kind that it takes, that gives every embedding
a gradient, and whose gradients are those of similarities: `goal_analysis.numeric.measurement.measuring` tries them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
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
OF_SCORES = (Inputs.SCORES, Inputs.SIMILARITIES)

LABELS = r"label|target|class|ids|gold|^y$|^t$|^s(core|im)s?$"
SIMILAR = r"^s_?{0}$|^{0}\w*_?(sim|score|logit|cos)|(sim|score|logit|cos)\w*_?{0}"
PLACES = (r"anchor|quer|^q|^a$|^x$|^x_?a$|^emb", r"pos|^p$|^x_?p$", r"neg|^n$|^x_?n$")
STACK = r"^(?!.*(score|sim|logit|matri)).*(feature|^z|^h$|view|emb|proj|repr|^out)"
EMBEDDED = r"im(g|age)?s?(_|$)|te?xts?(_|$)|caption|emb|feat|reps?(_|$)|view|proj|^(x|z|h|p|q|u|v)(_?[12ijab])?$"
OF_VIEWS = r"^(z|h|view|proj|out|aug|hidden)\w*?_?[ijab012]$|view"
GROUPED = r"passage|^p(_reps)?$|doc|candidate"
BY_NAMES: tuple[tuple[tuple[str, ...], tuple[Inputs, ...]], ...] = (
    ((STACK,), (Inputs.STACKED,)),
    (("", LABELS), (Inputs.ONE_SET, Inputs.PROXIES, Inputs.MULTIVIEW)),
    ((SIMILAR.format("p"), SIMILAR.format("n")), (Inputs.SIMILARITIES,)),
    ((OF_VIEWS, OF_VIEWS), (Inputs.VIEWS, Inputs.TWO_SETS)),
    ((PLACES[0], GROUPED), (Inputs.GROUPS, Inputs.TWO_SETS)),
    (("", "", LABELS), (Inputs.PAIRS,)),
    (PLACES, (Inputs.TRIPLETS,)),
)
"""Which kinds are the likeliest where the name of every parameter has one of these words; the first that fits holds."""

BY_COUNT = {
    1: (Inputs.SCORES, Inputs.STACKED),
    2: (Inputs.TWO_SETS, Inputs.SIMILARITIES, Inputs.ONE_SET, Inputs.MULTIVIEW, Inputs.PROXIES),
    3: (Inputs.TRIPLETS, Inputs.PAIRS),
    4: (Inputs.QUERIES,),
}
KNOBS = {"scale": 10.0, "bias": -10.0, "temp": 0.1, "tau": 0.1, "margin": 0.2, "gamma": 16.0, "alpha": 1.0, "beta": 1.0}
"""Words for parameters that are no embeddings, and what those without a default are set to."""

MARKS = ((1.0, 0.0), (1, 0), (1.0, -1.0), (1, -1))
"""What marks a positive and a negative pair, in the order in which it is tried."""


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
    if len(names) == 1 and optional and _have(optional[:1], LABELS):
        names.append(optional[0])
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or not parameters:
        return tuple(dict.fromkeys(kind for kinds in BY_COUNT.values() for kind in kinds))
    if len(names) not in BY_COUNT:
        given = ", ".join(p.name for p in parameters)
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a callable of ({given}), whose names do not tell what it takes; "
            f"say it by inputs=, one of {ACCEPTED}"
        )
    likely = next((kinds for words, kinds in BY_NAMES if len(words) == len(names) and _have(names, *words)), ())
    found = tuple(dict.fromkeys((*likely, *BY_COUNT[len(names)])))
    if len(names) == 2 and _have(names, EMBEDDED, EMBEDDED):
        return tuple(kind for kind in found if kind in (Inputs.TWO_SETS, Inputs.VIEWS, Inputs.GROUPS))
    return found


def _have(names: Iterable[str], *words: str) -> bool:
    return all(re.search(word, name.lower()) for name, word in zip(names, words, strict=True))


@dataclass(frozen=True)
class Shape:
    """How a loss is called: the kind, the dimension and the type of the embeddings, the label of a positive and of a
    negative pair, the number of classes with the name of their proxies, which may be columns, how many references of
    a class a batch of queries has, whether stacked views take turns, and whether the plane has two of every class.
    """

    inputs: Inputs
    dim: int | None = None
    dtype: torch.dtype = torch.float64
    labels: tuple[float | int, float | int] = MARKS[0]
    classes: int = 2
    proxies: str = ""
    transposed: bool = False
    references: int = 2
    in_turn: bool = False
    even: bool = False

    @property
    def of_scores(self) -> bool:
        """Whether the loss is given similarities and no embeddings."""
        return self.inputs in OF_SCORES

    def variants(self, module: torch.nn.Module) -> Iterator[Shape]:
        """The shapes of this kind that a module may be called in; dimensions are read off what it holds."""
        matrices = {n: tuple(p.shape) for n, p in module.named_parameters() if p.ndim == 2 and min(p.shape) > 1}
        held = (tuple(b.shape) for b in module.buffers() if b.ndim == 2)
        widths = sorted({d for size in held for d in size if d > 1}.union(*matrices.values()))
        match self.inputs:
            case Inputs.PROXIES:
                for (name, size), transposed in product(matrices.items(), (False, True)):
                    classes, dim = reversed(size) if transposed else size
                    for known in ({}, {"classes": classes}, {"classes": classes, "dim": dim}):
                        yield replace(self, proxies=name, transposed=transposed, **known)
            case Inputs.PAIRS:
                yield from (replace(self, labels=labels) for labels in MARKS)
            case Inputs.STACKED:
                yield from (self, replace(self, in_turn=True))
            case Inputs.QUERIES:  # references may be proxies, of which a class has one
                yield from (self, replace(self, references=1))
            case _:
                yield self
                if self.inputs is Inputs.ONE_SET:
                    yield replace(self, even=True)
                if self.dim is None and not self.of_scores:
                    yield from (replace(self, dim=d) for d in widths)
