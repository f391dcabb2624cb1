"""A formula that autograd differentiates as it is meant: through everything but what is detached."""

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.compilation import Compiled, compiled
from goal_analysis.symbolic.language.primitives import detach

Values = tuple[tuple[sp.Symbol, sp.Expr], ...]


@dataclass(frozen=True)
class Formula:
    """A compiled expression in which every `detach` detaches: it is computed apart, and enters as a last input."""

    whole: Compiled
    stopped: Compiled
    learned: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The value, of the shape to which the inputs broadcast together; what is learned are the last of them."""
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
    """The expression of ``inputs`` as a function of tensors; compiled once for the same arguments.

    A symbol whose value is the symbol itself is an input too, after the others.

    Raises:
        UnsupportedFunction: naming a function that programs do not know.
        ValueError: a symbol is neither input nor has a value.
    """
    inputs = (*inputs, *(symbol for symbol, value in values if symbol == value))
    stopped: dict[sp.Expr, sp.Dummy] = {}
    whole = _with_inputs_for_detached(expression.xreplace(dict(values)), stopped)
    return Formula(compiled([whole], (*inputs, *stopped.values())), compiled(list(stopped), inputs))


def _with_inputs_for_detached(e: sp.Expr, stopped: dict[sp.Expr, sp.Dummy]) -> sp.Expr:
    if isinstance(e, detach):
        return stopped.setdefault(e.args[0], sp.Dummy(real=True))
    return e.func(*(_with_inputs_for_detached(part, stopped) for part in e.args)) if e.args else e
