"""What the operations of a `program` mean in torch and in NumPy, in forms that neither overflow nor lose digits."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial, reduce
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.lowering import NUMPY, function, lowered
from goal_analysis.symbolic.language.primitives import detach
from goal_analysis.symbolic.proof.evaluation import WHOLE, Program, Table, program

LINEAR_PAST = 40.0  # there log(1 + eˣ) and x are the same float64; torch's own default, 20, costs nine digits
WIDE = frozenset((torch.float32, torch.float64))  # what is computed with as it comes

# Constants stay Python floats: torch hands those to a kernel as they are, on whatever device, and never
# widens float32 for them. What is constant altogether has been computed, so that an operation has a tensor.


def _hinge(x: Tensor) -> Tensor:
    # At the kink the derivative of maximum is ½, as in the formulas; a clamp, with 1, is quicker.
    return torch.maximum(x, x.new_zeros(())) if x.requires_grad else x.clamp_min(0)


def _step(x: Tensor) -> Tensor:
    # Its derivative is zero almost everywhere; torch has none for heaviside.
    return torch.heaviside(x.detach(), x.new_full((), 0.5))


def _logsumexp(*xs: Tensor | float) -> Tensor:
    like = next(x for x in xs if isinstance(x, Tensor))
    tensors = [x if isinstance(x, Tensor) else like.new_full((), x) for x in xs]
    if len(tensors) == 2:
        return torch.logaddexp(*tensors)
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(*tensors)), 0)


def _inputs(values: Sequence[Any]) -> Sequence[Tensor]:
    """The values as tensors of one dtype on one device; by torch's rules numbers and 0-d tensors widen no others."""
    first = values[0] if values else None
    if isinstance(first, Tensor) and first.dtype in WIDE:
        for x in values[1:]:
            if not isinstance(x, Tensor) or x.dtype is not first.dtype or x.device != first.device:
                break
        else:
            return values
    tensors = [x for x in values if isinstance(x, Tensor)]
    if not tensors:
        return [torch.tensor(float(x), dtype=torch.float64) for x in values]
    for x in tensors:
        if not x.is_floating_point():
            raise TypeError(f"compiled: got a tensor of {x.dtype} but expected a floating-point one")
    deciding = [x for x in tensors if x.ndim] or tensors
    dtype, device = reduce(torch.promote_types, [x.dtype for x in deciding]), deciding[0].device
    dtype = dtype if dtype in WIDE else torch.float32
    return [_as_tensor(x, dtype, device) for x in values]


def _as_tensor(x: Tensor | float, dtype: torch.dtype, device: torch.device) -> Tensor:
    if not isinstance(x, Tensor):
        return torch.tensor(float(x), dtype=dtype, device=device)
    # Only what is one number may come from another device, as everywhere in torch.
    return x.to(dtype) if x.ndim else x.to(device, dtype)


def _spread(outputs: tuple[Any, ...], inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    if not inputs:
        return outputs
    like, shape = inputs[0], inputs[0].shape
    if any(x.shape != shape for x in inputs[1:]):  # torch.broadcast_shapes takes twenty times as long
        shape, like = torch.broadcast_tensors(*inputs)[0].shape, next(x for x in inputs if x.ndim)
    filled = []
    for x in outputs:
        x = like.new_full((), x) if type(x) is float else x
        filled.append(x if x.shape == shape else x.expand(shape))
    return tuple(filled)


TORCH: Table = {
    **WHOLE,
    **{
        name: getattr(torch, name)
        for name in ("pow", "sqrt", "exp", "log", "sin", "cos", "acos", "atan", "erf", "sigmoid")
    },
    "constant": float,
    "div": operator.truediv,
    "hinge": _hinge,
    "step": _step,
    "softplus": partial(torch.nn.functional.softplus, threshold=LINEAR_PAST),
    "logsumexp": _logsumexp,
    "inputs": _inputs,
    "spread": _spread,
}
"""Tensors: differentiable, on any device, in float32 at least; one operand of every operation is a tensor."""


UNREAL = tuple(map(type, (sp.zoo, sp.nan, sp.I)))
TABLES = {"TORCH": TORCH, "NUMPY": NUMPY}


Values = tuple[tuple[sp.Symbol, sp.Expr], ...]


@dataclass(frozen=True)
class Compiled:
    """A lowered program as one function of tensors or arrays; a TypeError says which values it expects."""

    program: Program
    table: Table = field(repr=False)
    _run: Callable[..., tuple[Any, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_run", function(self.program, self.table))

    def __reduce__(self) -> tuple[Any, ...]:
        # A table holds functions, some without a name: it is found again by its own.
        return _from_table, (self.program, next(name for name, table in TABLES.items() if table is self.table))

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """The outputs, each of the shape to which the values broadcast together."""
        if len(values) != len(self.program.inputs):
            expected = ", ".join(map(str, self.program.inputs)) or "none"
            raise TypeError(f"compiled: got {len(values)} values but expected {expected}")
        inputs = self.table["inputs"](values)
        return self.table["spread"](self._run(*inputs), inputs)


def _from_table(p: Program, name: str) -> Compiled:
    return Compiled(p, TABLES[name])


def compiled(outputs: Sequence[sp.Expr], inputs: Sequence[sp.Symbol], table: Table = TORCH) -> Compiled:
    """The function of the values of ``inputs``, which broadcast against each other, that computes expressions.

    Every output has the dtype to which the tensors promote (float32 at least); constants are views, not to be written
    into. `UnsupportedFunction` names an unknown function; a stray symbol and what is not real are ValueErrors.
    """
    for output in map(sp.sympify, outputs):
        if unreal := sorted(map(str, output.atoms(*UNREAL))):
            raise ValueError(f"compiled: got {unreal[0]} in {output} but expected real numbers alone")
    return Compiled(lowered(program(outputs, inputs)), table)


@dataclass(frozen=True)
class Formula:
    """A compiled expression in which every `detach` detaches: it is computed apart, and enters as a last input."""

    whole: Compiled
    stopped: Compiled
    learned: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The value, of the shape to which the inputs broadcast together; what is learned are the last of them."""
        if not (self.learned or self.stopped.program.outputs):
            return self.whole(*inputs)[0]
        inputs = (*inputs, *self.learned)
        constants: tuple[Tensor, ...] = ()
        if self.stopped.program.outputs:
            with torch.no_grad():
                constants = self.stopped(*inputs)
        # What is detached may be an input itself, which then comes back as it is.
        (value,) = self.whole(*inputs, *(c.detach() for c in constants))
        return value


@lru_cache(maxsize=4096)
def formula(expression: sp.Expr, inputs: tuple[sp.Symbol, ...], values: Values = ()) -> Formula:
    """The expression of ``inputs`` as a function of tensors that autograd differentiates through all but what is
    detached.

    It is compiled once, with the errors of `compiled`. A symbol whose value is itself is an input too, after the
    others.
    """
    inputs = (*inputs, *(symbol for symbol, value in values if symbol == value))
    stopped: dict[sp.Expr, sp.Dummy] = {}
    whole = _with_inputs_for_detached(expression.xreplace(dict(values)), stopped)
    return Formula(compiled([whole], (*inputs, *stopped.values())), compiled(list(stopped), inputs))


def _with_inputs_for_detached(e: sp.Expr, stopped: dict[sp.Expr, sp.Dummy]) -> sp.Expr:
    if isinstance(e, detach):
        return stopped.setdefault(e.args[0], sp.Dummy(real=True))
    return e.func(*(_with_inputs_for_detached(part, stopped) for part in e.args)) if e.args else e
