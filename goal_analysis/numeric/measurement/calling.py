"""How a foreign loss is called: with which arguments besides its inputs, in which shape, and on a copy of it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from goal_analysis.numeric.measurement.inputs import (
    Inputs,
    LossFunction,
    Shape,
    UnmeasurableLoss,
    knob_value,
    name_of,
    parameters_of,
    required_names,
)

LEARNED = ("scale", "bias", "temp", "tau")
"""Words for parameters that are trained: tensors with a gradient."""


@dataclass(frozen=True, eq=False)
class Call:
    """A loss, the shape it is called in, and the values of its other parameters, those that are learned as tensors.

    ``at_once`` says that torch can map it over many points in one call, ``remembers`` that a call leaves traces in it
    which change the next: then every call is on a fresh copy.
    """

    loss_fn: LossFunction
    name: str
    shape: Shape
    settings: Mapping[str, Any] = field(default_factory=dict)
    at_once: bool = False
    remembers: bool = False

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
        names = [name for name in required_names(function) if name not in settings] if settings else []
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
    """A loss of sentence-transformers, of columns of features and labels, around a stand-in for its model."""

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *arguments: Tensor) -> Any:
        """Columns first, and the labels last if there are any."""
        columns = [{"sentence_embedding": a} for a in arguments if a.ndim == 2]
        return self.loss(columns, next((a for a in arguments if a.ndim == 1), None))


def constructed(loss_fn: Any, settings: Mapping[str, Any]) -> tuple[LossFunction, dict[str, Any]]:
    """A loss, from a class if it is one, and the settings that its call is left with.

    Raises:
        UnmeasurableLoss: the class cannot be constructed, or nothing takes a setting.
    """
    left, constructing = dict(settings), []
    if isinstance(loss_fn, type):
        known = inspect.signature(loss_fn).parameters
        stars, constructing = any(p.kind is p.VAR_KEYWORD for p in known.values()), [*known]
        taken = {name: left.pop(name) for name in settings if name in known or stars}
        of_columns = "model" in known and known["model"].default is inspect.Parameter.empty
        of_columns |= loss_fn.__module__.startswith("sentence_transformers.")
        try:
            made = loss_fn(**({"model": torch.nn.Identity()} if of_columns else {}), **taken)
        except Exception as error:
            wanted = ", ".join(str(p) for p in known.values())
            raise UnmeasurableLoss(
                f"{name_of(loss_fn)}: its constructor raised {type(error).__name__}: {error}; "
                f"got {', '.join(taken) or 'no arguments'}{' and a model that hands embeddings on' * of_columns} but "
                f"expected those of ({wanted})"
            ) from error
        loss_fn = OfColumns(made) if of_columns else made
    if not callable(loss_fn):
        raise UnmeasurableLoss(f"{name_of(loss_fn)}: got an object that cannot be called but expected a callable")
    parameters = parameters_of(loss_fn)
    stars = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in left:
        if not stars and name not in (names := [*constructing, *(p.name for p in parameters)]):
            raise UnmeasurableLoss(
                f"{name_of(loss_fn)}: got a value for {name!r} but expected one of {', '.join(names) or 'no names'}"
            )
    return loss_fn, left


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


def settings_for(loss_fn: LossFunction, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a call, with a value for every parameter that has none and is no input; what is learned as a
    tensor with a gradient.
    """
    values = {name: knob_value(name) for name in required_names(loss_fn)}
    chosen: dict[str, Any] = {name: value for name, value in values.items() if value is not None} | dict(settings)
    for name, value in chosen.items():
        if isinstance(value, float | int) and not isinstance(value, bool) and any(w in name.lower() for w in LEARNED):
            chosen[name] = torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
    return chosen


def calls(
    loss_fn: LossFunction,
    name: str,
    settings: Mapping[str, Any],
    kinds: tuple[Inputs, ...],
    dim: int | None,
    dtype: torch.dtype | None,
) -> Iterator[Call]:
    """Every way to call a loss that may be meant, the likeliest first."""
    if isinstance(loss_fn, OfColumns) and len(kinds) > 1:
        kinds = Inputs.TWO_SETS, Inputs.PAIRS, Inputs.ONE_SET, Inputs.TRIPLETS
    for kind, own in product(kinds, (dtype,) if dtype else (torch.float64, torch.float32)):
        fitting = copy_of(loss_fn)
        module = fitting.to(own) if isinstance(fitting, torch.nn.Module) else torch.nn.Module()
        of_call = {
            k: v.detach().to(own).requires_grad_() if isinstance(v, Tensor) and v.requires_grad else v
            for k, v in settings.items()
        }
        for shape in Shape(kind, dim, own).variants(module):
            yield Call(fitting, name, shape, of_call)
