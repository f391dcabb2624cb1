"""How a foreign loss is called: which kinds the names of its parameters allow, in which shape, and with what besides.

Names only order the kinds, which `goal_analysis.numeric.measurement.measuring` tries.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from goal_analysis.declarations import Choice

LossFunction = Callable[..., Any]


class UnmeasurableLoss(ValueError):
    """A callable that is no loss of an accepted kind."""


class Inputs(Choice):
    """The inputs of a loss, in this order."""

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

LABELS = r"label|target|class|ids|gold|true|truth|^y$|^t$|^s(core|im)s?$"
SIMILAR = r"^s_?{0}$|^{0}\w*_?(sim|score|logit|cos)|(sim|score|logit|cos)\w*_?{0}"
PLACES = (r"anchor|quer|^q|^a$|^x$|^x_?a$|^emb", r"pos|^p$|^x_?p$", r"neg|^n$|^x_?n$")
STACK = r"^(?!.*(score|sim|logit|matri)).*(feature|^z|^h$|view|emb|proj|repr|^out)"
EMBEDDED = r"im(g|age)?s?(_|$)|te?xts?(_|$)|caption|emb|feat|reps?(_|$)|view|proj|^(x|z|h|p|q|u|v)(_?[12ijab])?$"
OF_VIEWS = r"^(z|h|view|proj|out|aug|hidden)\w*?_?[ijab012]$|view"
SCORED = r"logit|score|^sims?(_|$)|similarit"
GROUPED = r"passage|^p(_reps)?$|doc|candidate"
BY_NAMES: tuple[tuple[tuple[str, ...], tuple[Inputs, ...]], ...] = (
    ((STACK,), (Inputs.STACKED,)),
    ((SCORED, LABELS), (Inputs.SCORES, Inputs.ONE_SET, Inputs.PROXIES)),
    (("", LABELS), (Inputs.ONE_SET, Inputs.PROXIES, Inputs.MULTIVIEW)),
    ((SIMILAR.format("p"), SIMILAR.format("n")), (Inputs.SIMILARITIES,)),
    ((SCORED, SCORED), (Inputs.SCORES, Inputs.SIMILARITIES)),
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

SIZES = {"class|label|out_feat": 4, "emb|dim|feat": 8}
"""What a constructor gets that asks for the number of classes, and for the size of embeddings."""

LEARNED = ("scale", "bias", "temp", "tau")
"""Words for parameters that are trained: tensors with a gradient."""

MARKS = ((1.0, 0.0), (1, 0), (1.0, -1.0), (1, -1), (0.0, 1.0), (0, 1))
"""What marks a positive and a negative pair, in the order in which it is tried; the last are Hadsell's, 0 is alike."""

IN_A_ROW = "labels of pairs, all in a row,"
OF_PAIRS = IN_A_ROW, "labels of pairs"
"""What stands beside scores where every score has a label."""


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
    """The kinds to try, the likeliest first; those of ``known`` names are set by the user."""
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
    if len(names) == 2 and _have(names, EMBEDDED, EMBEDDED) and not _have(names, SCORED, SCORED):
        return tuple(kind for kind in found if kind in (Inputs.TWO_SETS, Inputs.VIEWS, Inputs.GROUPS))
    return found


def _have(names: Iterable[str], *words: str) -> bool:
    return all(re.search(word, name.lower()) for name, word in zip(names, words, strict=True))


@dataclass(frozen=True)
class Shape:
    """How a loss is called."""

    inputs: Inputs
    dim: int | None = None  # of the embeddings
    dtype: torch.dtype = torch.float64
    labels: tuple[float | int, float | int] = MARKS[0]  # of a positive and of a negative pair
    in_column: bool = False  # labels have the shape (pairs, 1)
    classes: int = 2
    proxies: str = ""  # their name
    transposed: bool = False  # proxies are columns
    beside: str = ""  # a score matrix: the labels of its rows, its transpose, or those of its pairs, also in a row
    references: int = 2  # of a class, in a batch of queries
    in_turn: bool = False  # stacked views take turns
    even: bool = False  # the plane has two of every class
    turned: bool = False  # embeddings are turned at random: no coordinate is zero in most of them

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
                for in_column, labels in product((False, True), MARKS):
                    yield replace(self, labels=labels, in_column=in_column)
            case Inputs.SCORES:
                yield from (replace(self, beside=beside) for beside in ("", "labels", "transpose"))
                for beside, labels in product(OF_PAIRS, MARKS):
                    yield replace(self, beside=beside, labels=labels)
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


@dataclass(frozen=True, eq=False)
class Call:
    """A loss, the shape it is called in, and the values of its other parameters, those that are learned as tensors."""

    loss_fn: LossFunction
    name: str
    shape: Shape
    settings: Mapping[str, Any] = field(default_factory=dict)
    at_once: bool = False  # torch can map it over many points in one call
    remembers: bool = False  # a call changes the next ones: then every call is on a fresh copy

    def __call__(self, *arguments: Tensor, **learned: Tensor) -> Any:
        """The loss of its inputs, of which the last are the proxies where it has some, with what is ``learned``."""
        inputs, function = list(arguments), self.loss_fn
        settings = {name: learned.pop(name, value) for name, value in self.settings.items()}
        if self.remembers:
            function = copy_of(function)
        if self.shape.proxies:
            learned[self.shape.proxies] = inputs.pop()
        if self.shape.inputs is Inputs.QUERIES and any(p.name == "ref_emb" for p in parameters_of(function)):
            settings |= {"ref_emb": inputs[2], "ref_labels": inputs[3]}  # as pytorch-metric-learning calls them
            inputs = inputs[:2]
        by_name = settings or any(p.kind is p.KEYWORD_ONLY for p in parameters_of(function))
        names = [name for name in required_names(function) if name not in settings] if by_name else []
        if names and len(names) == len(inputs):
            settings |= zip(names, inputs, strict=True)
            inputs = []
        if learned and isinstance(function, torch.nn.Module):
            return functional_call(function, learned, tuple(inputs), settings)
        return function(*inputs, **settings)

    @property
    def learned(self) -> dict[str, Tensor]:
        """The parameters that the loss trains besides the embeddings."""
        held = dict(self.loss_fn.named_parameters()) if isinstance(self.loss_fn, torch.nn.Module) else {}
        held |= {name: value for name, value in self.settings.items() if isinstance(value, Tensor)}
        return {name: p for name, p in held.items() if p.requires_grad and name != self.shape.proxies}

    def forget_graphs(self) -> None:
        """Detach the tensors that a module remembers, whose graphs would grow with every call."""
        for module in self.loss_fn.modules() if isinstance(self.loss_fn, torch.nn.Module) else ():
            for name, held in list(vars(module).items()):
                if isinstance(held, Tensor) and not held.is_leaf:
                    setattr(module, name, held.detach())


class OfColumns(torch.nn.Module):
    """A loss of sentence-transformers, of columns of features and labels, around a stand-in for its model.

    One that caches gradients is asked for what it caches those of; a teacher's margins are 0.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss: Any = loss

    def forward(self, *arguments: Tensor) -> Any:
        """Columns first, and the labels last if there are any."""
        columns = [a for a in arguments if a.ndim == 2]
        if getattr(self.loss, "mini_batch_size", None):
            parts, guided = [[a] for a in columns], [[[a.detach()] for a in columns]] * hasattr(self.loss, "guide")
            return self.loss.calculate_loss(parts, *guided)
        labels = next((a for a in arguments if a.ndim == 1), columns[0].new_zeros(len(columns[0])))
        return self.loss([{"sentence_embedding": a, "token_embeddings": a[:, None]} for a in columns], labels)


def stand_in() -> torch.nn.Module:
    """A stand-in for the model of sentence-transformers, which passes embeddings on."""
    from transformers import PreTrainedTokenizerBase  # sentence-transformers needs it

    class Tokenizer(PreTrainedTokenizerBase):
        def __init__(self) -> None:
            pass

        def get_vocab(self) -> dict[str, int]:
            return {}

    model: Any = torch.nn.Sequential(torch.nn.Identity())
    model.tokenizer, model.max_seq_length = Tokenizer(), 0
    model.get_embedding_dimension = model.get_sentence_embedding_dimension = lambda: None  # of any
    return model


def constructed(loss_fn: Any, settings: Mapping[str, Any], name: str) -> tuple[LossFunction, dict[str, Any], str]:
    """A loss, from a class if it is one, and its settings: a value for every parameter without one that is no input.

    What is learned is a tensor with a gradient. The sizes that a class asks for, of classes and embeddings, are small
    ones, and stand behind the name. A class that fails and a stray setting raise `UnmeasurableLoss`.
    """
    left, known = dict(settings), {}
    if isinstance(loss_fn, type):
        known = dict(inspect.signature(loss_fn).parameters)
        if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in known.values()):  # a deprecated class's __new__
            known = dict([*inspect.signature(loss_fn.__init__).parameters.items()][1:])
        taken = {n: left.pop(n) for n in settings if n in known or _takes_all(known.values())}
        of_columns = "model" in known and known["model"].default is inspect.Parameter.empty
        of_columns |= loss_fn.__module__.startswith("sentence_transformers.")
        asked = [n for n, p in known.items() if p.default is p.empty and n not in taken]
        sizes = {n: next((size for word, size in SIZES.items() if re.search(word, n.lower())), 0) for n in asked}
        taken |= (sizes := {n: size for n, size in sizes.items() if size})
        name += f"({', '.join(f'{n}={size}' for n, size in sizes.items())})" * bool(sizes)
        try:
            models = [n for n in ("model", "guide") if n in known and n not in taken] if of_columns else []
            made = loss_fn(**{n: stand_in() for n in models}, **taken)
        except Exception as error:
            given = (", ".join(taken) or "no arguments") + " and a model that hands embeddings on" * of_columns
            raise UnmeasurableLoss(
                f"{name}: its constructor raised {type(error).__name__}: {error}; got {given} but expected those of "
                f"({', '.join(map(str, known.values()))})"
            ) from error
        loss_fn = OfColumns(made) if of_columns else made
    if not callable(loss_fn):
        raise UnmeasurableLoss(f"{name}: got an object that cannot be called but expected a callable")
    parameters = parameters_of(loss_fn)
    names = [*known, *(p.name for p in parameters)]
    if strange := [n for n in left if n not in names and not _takes_all(parameters)]:
        accepted = ", ".join(names) or "no names"
        raise UnmeasurableLoss(f"{name}: got a value for {strange[0]!r} but expected one of {accepted}")
    left = {n: value for n in required_names(loss_fn) if (value := knob_value(n)) is not None} | left
    for n, value in left.items():
        if isinstance(value, float | int) and not isinstance(value, bool) and any(w in n.lower() for w in LEARNED):
            left[n] = torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
    return loss_fn, left, name


def _takes_all(parameters: Iterable[inspect.Parameter]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def copy_of(loss_fn: LossFunction) -> LossFunction:
    """A module's deep copy, so that calls change no buffer of the user's; any other callable as it is."""
    if not isinstance(loss_fn, torch.nn.Module):
        return loss_fn
    # Tensors that hang on a graph, which losses with a memory keep, refuse to be copied with it.
    held = (v for module in loss_fn.modules() for v in vars(module).values() if isinstance(v, Tensor))
    apart: dict[int, Any] = {id(v): v.detach().clone() for v in held if not v.is_leaf}
    try:
        return copy.deepcopy(loss_fn, apart)
    except Exception as error:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a module that cannot be copied ({type(error).__name__}: {error}) "
            "but expected one that can; hand in a function that calls it instead"
        ) from error


def calls(
    loss_fn: LossFunction,
    name: str,
    settings: Mapping[str, Any],
    inputs: Inputs | None,
    dim: int | None,
    dtype: torch.dtype | None,
) -> Iterator[Call]:
    """Every way to call a loss that may be meant, the likeliest first."""
    kinds = (inputs,) if inputs else kinds_of(loss_fn, settings)
    if isinstance(loss_fn, OfColumns) and inputs is None:
        kinds = Inputs.TWO_SETS, Inputs.PAIRS, Inputs.ONE_SET, Inputs.TRIPLETS, Inputs.VIEWS
    labelled = _have(["", *required_names(loss_fn)][-1:], LABELS)
    for turned, kind, own in product((False, True), kinds, (dtype,) if dtype else (torch.float64, torch.float32)):
        fitting, chosen = copy_of(loss_fn), dict(settings)
        module = fitting.to(own) if isinstance(fitting, torch.nn.Module) else torch.nn.Module()
        for learned, value in settings.items():
            if isinstance(value, Tensor) and value.requires_grad:
                chosen[learned] = value.detach().to(own).requires_grad_()
        for shape in Shape(kind, dim, own, turned=turned).variants(module):
            if labelled and shape.beside == "transpose":
                continue
            yield Call(fitting, name, shape, chosen)
