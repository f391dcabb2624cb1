"""Expressions as functions of tensors or arrays: what the operations of a program mean in torch and in NumPy.

`goal_analysis.symbolic.evaluation.program` does the walk; here are the tables, in forms that neither overflow
nor lose digits, and `compiled`, which looks every operation up once and computes what is constant beforehand.

This file is long because the two tables are to be read side by side.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import sympy as sp
import torch
from torch import Tensor

from goal_analysis.symbolic.arithmetic import FLOAT, MULTIPRECISION, Table
from goal_analysis.symbolic.evaluation import Program, Step, program

DIGITS = 30
"""Digits with which constants are computed before they are rounded to floats."""

LINEAR_PAST = 40.0
"""Where log(1 + eˣ) and x are the same float64; torch's own default, 20, costs nine digits."""

# Constants stay Python floats: torch hands those to a kernel as they are, on whatever device, and never
# widens float32 for them. So an operation may meet a float beside a tensor, and where torch has no form for
# that, a zero-dimensional tensor is made where the other operand lies.


def _one(name: str, function: Callable[[Any], Any], kind: type) -> Callable[[Any], Any]:
    """A function of one tensor or array that also takes a plain float."""
    on_float = FLOAT[name]
    return lambda x: function(x) if isinstance(x, kind) else on_float(x)


def _torch_sub(a: Any, b: Any) -> Any:
    return torch.rsub(b, a) if isinstance(a, float) and isinstance(b, Tensor) else a - b


def _torch_div(a: Tensor | float, b: Tensor | float) -> Tensor | float:
    if isinstance(b, Tensor):
        return torch.reciprocal(b) if isinstance(a, float) and a == 1 else a / b
    return a / b if isinstance(a, Tensor) else FLOAT["div"](a, b)


def _torch_pow(a: Any, b: Any) -> Any:
    return torch.pow(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else FLOAT["pow"](a, b)


def _torch_hinge(x: Tensor) -> Tensor:
    # At the kink the derivative of maximum is ½, as in the formulas; a clamp, with 1, is quicker.
    return torch.maximum(x, x.new_zeros(())) if x.requires_grad else x.clamp_min(0)


def _torch_step(x: Tensor) -> Tensor:
    # Its derivative is zero almost everywhere; torch has none for heaviside.
    return torch.heaviside(x.detach() if x.requires_grad else x, x.new_full((), 0.5))


def _torch_softplus(x: Tensor) -> Tensor:
    return torch.nn.functional.softplus(x, threshold=LINEAR_PAST)


def _torch_logsumexp(*xs: Tensor | float) -> Tensor | float:
    if not any(isinstance(x, Tensor) for x in xs):
        return FLOAT["logsumexp"](*xs)
    like = next(x for x in xs if isinstance(x, Tensor))
    total, *rest = (x if isinstance(x, Tensor) else like.new_full((), x) for x in xs)
    for x in rest:
        total = torch.logaddexp(total, x)
    return total


def _torch_input(x: Tensor | float) -> Tensor | float:
    if not isinstance(x, Tensor):
        return float(x)
    if not x.is_floating_point():
        raise TypeError(f"compiled: got a tensor of {x.dtype} but expected a floating-point one")
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _torch_spread(value: Tensor | float, inputs: Sequence[Tensor | float]) -> Tensor | float:
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    if not tensors:
        return value
    shape = tensors[0].shape
    if any(x.shape != shape for x in tensors):
        shape = torch.broadcast_shapes(*(x.shape for x in tensors))
    if isinstance(value, Tensor):
        return value if value.shape == shape else value.expand(shape)
    like = next((x for x in tensors if x.ndim), tensors[0])
    return like.new_full((), value).expand(shape)


TORCH: Table = {
    "constant": float,
    "add": operator.add,
    "sub": _torch_sub,
    "mul": operator.mul,
    "div": _torch_div,
    "neg": operator.neg,
    "pow": _torch_pow,
    "sqrt": _one("sqrt", torch.sqrt, Tensor),
    "exp": _one("exp", torch.exp, Tensor),
    "log": _one("log", torch.log, Tensor),
    "sin": _one("sin", torch.sin, Tensor),
    "cos": _one("cos", torch.cos, Tensor),
    "hinge": _one("hinge", _torch_hinge, Tensor),
    "step": _one("step", _torch_step, Tensor),
    "sigmoid": _one("sigmoid", torch.sigmoid, Tensor),
    "softplus": _one("softplus", _torch_softplus, Tensor),
    "logsumexp": _torch_logsumexp,
    "input": _torch_input,
    "spread": _torch_spread,
}
"""Tensors: differentiable, on any device, in float32 at least.

``input`` is done to every input first, ``spread`` to every output last."""


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; what overflows is infinite and what is undefined is NaN, without a warning."""
    return np.errstate(all="ignore")(function)


def _numpy_input(x: Any) -> Any:
    array = np.asarray(x)
    return array.astype(np.result_type(array, np.float32), copy=False)


def _numpy_spread(value: Any, inputs: Sequence[Any]) -> Any:
    shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
    kind = np.result_type(*inputs) if inputs else np.float64
    return np.broadcast_to(np.asarray(value, dtype=kind), shape)


NUMPY: Table = {
    "constant": float,
    "add": _quiet(operator.add),
    "sub": _quiet(operator.sub),
    "mul": _quiet(operator.mul),
    "div": _quiet(np.divide),
    "neg": operator.neg,
    "pow": _quiet(np.power),
    "sqrt": _quiet(np.sqrt),
    "exp": _quiet(np.exp),
    "log": _quiet(np.log),
    "sin": _quiet(np.sin),
    "cos": _quiet(np.cos),
    "hinge": lambda x: np.maximum(x, 0),
    "step": lambda x: np.heaviside(x, 0.5),
    "sigmoid": _quiet(lambda x: np.exp(-np.logaddexp(0, -x))),
    "softplus": _quiet(lambda x: np.logaddexp(0, x)),
    "logsumexp": _quiet(lambda *xs: np.logaddexp.reduce(np.broadcast_arrays(*xs))),
    "input": _numpy_input,
    "spread": _numpy_spread,
}
"""The same functions of NumPy arrays, for plots."""


@dataclass(frozen=True)
class Compiled:
    """Expressions as one function of tensors or arrays.

    Args:
        program: the straight-line program; its constants are computed.
        table: what its operations mean.

    Raises:
        TypeError: when called with another number of values than there are inputs.
    """

    program: Program
    table: Table = field(repr=False)
    _known: tuple[float | None, ...] = field(init=False, repr=False, compare=False)
    _plan: tuple[tuple[Callable[..., Any], tuple[int, ...], int, tuple[int, ...]], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        first = len(self.program.inputs)
        last_use = {i: place for place, s in enumerate(self.program.steps, first) for i in s.operands}
        known, plan = [], []
        for place, s in enumerate(self.program.steps, first):
            known.append(None if s.constant is None else self.table["constant"](s.constant))
            if s.constant is None:
                done_with = {i for i in s.operands if last_use[i] == place} - set(self.program.outputs)
                plan.append((self.table[s.operation], s.operands, place, tuple(done_with)))
        object.__setattr__(self, "_known", tuple(known))
        object.__setattr__(self, "_plan", tuple(plan))

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """The outputs, each of the shape to which the values broadcast together."""
        if len(values) != len(self.program.inputs):
            expected = ", ".join(map(str, self.program.inputs)) or "none"
            raise TypeError(f"compiled: got {len(values)} values but expected {expected}")
        inputs = [self.table["input"](value) for value in values]
        known = [*inputs, *self._known]
        for function, operands, place, done_with in self._plan:
            known[place] = function(*[known[i] for i in operands])
            for i in done_with:
                known[i] = None  # so that its memory serves the next operation
        return tuple(self.table["spread"](known[i], inputs) for i in self.program.outputs)


def compiled(outputs: Sequence[sp.Expr], inputs: Sequence[sp.Symbol], table: Table = TORCH) -> Compiled:
    """The function that computes expressions from the values of their symbols.

    Args:
        outputs: in the language of losses, hyperparameters replaced by numbers; `detach` reads as its
            argument.
        inputs: the symbols, in the order in which values are given. Values broadcast against each other.
        table: `TORCH` for tensors (bfloat16 and float16 are computed, and returned, in float32) or `NUMPY`
            for arrays.

    Returns:
        A function of one value per input that returns a tuple of one value per output. Each has the shape
        of the inputs broadcast together; constants and outputs of fewer inputs are views, not to be written
        into.

    Raises:
        UnsupportedFunction: naming a function that programs do not know.
        ValueError: a symbol of an output is no input.

    >>> from goal_analysis.symbolic.primitives import s_n, s_p, sigmoid
    >>> weights = compiled([sigmoid(10 * (s_n - s_p)), sp.Integer(1)], [s_p, s_n])
    >>> weights(torch.tensor([0.5, 0.9]), torch.tensor([0.5, -0.9]))
    (tensor([5.0000e-01, 1.5230e-08]), tensor([1., 1.]))
    >>> compiled([sigmoid(1000 * s_n)], [s_n], NUMPY)(np.array([-1.0, 0.0, 1.0]))
    (array([0. , 0.5, 1. ]),)
    """
    return Compiled(_folded(program(outputs, inputs)), table)


def _folded(p: Program) -> Program:
    """The program with every operation on constants alone replaced by its value."""
    first = len(p.inputs)
    exact: dict[int, Any] = {}
    steps = list(p.steps)
    with mpmath.workdps(DIGITS):
        for place, s in enumerate(p.steps, first):
            if s.constant is not None:
                exact[place] = MULTIPRECISION["constant"](s.constant)
            elif all(i in exact for i in s.operands):
                exact[place] = MULTIPRECISION[s.operation](*(exact[i] for i in s.operands))
            if place in exact:
                steps[place - first] = Step("constant", constant=sp.Float(exact[place], DIGITS))
    return Program(p.inputs, tuple(steps), p.outputs)
