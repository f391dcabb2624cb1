"""Programs with fewer operations, and programs as functions: constants are computed, and names looked up, once."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from goal_analysis.symbolic.proof.evaluation import MULTIPRECISION, WHOLE, Program, Step, Table

DIGITS = 30  # with which constants are computed before they are rounded to floats


def lowered(p: Program) -> Program:
    """The program with fewer operations: constants computed, and common factors, as in c·(a ± b), taken out."""
    return _without_unused(_with_common_factors(_folded(p)))


def function(p: Program, table: Table) -> Callable[..., tuple[Any, ...]]:
    """The program as a function of its inputs; an intermediate value is let go after its last use."""
    first = len(p.inputs)
    constants = [None if s.constant is None else table["constant"](s.constant) for s in p.steps]
    last_use = {i: place for place, s in enumerate(p.steps, first) for i in s.operands}
    kept = set(p.outputs).union(range(first), (i for i, c in enumerate(constants, first) if c is not None))
    plan = [
        (place, table[s.operation], s.operands, {i for i in s.operands if i not in kept and last_use[i] == place})
        for place, s in enumerate(p.steps, first)
        if s.constant is None
    ]

    def run(*inputs: Any) -> tuple[Any, ...]:
        values = [*inputs, *constants]
        for place, operation, operands, dead in plan:
            if len(operands) == 2:
                values[place] = operation(values[operands[0]], values[operands[1]])
            else:
                values[place] = operation(*[values[i] for i in operands])
            for i in dead:
                values[i] = None
        return tuple([values[i] for i in p.outputs])

    return np.errstate(all="ignore")(run) if table is NUMPY else run


def _folded(p: Program) -> Program:
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


def _with_common_factors(p: Program) -> Program:
    """c·a ± c·b as c·(a ± b) and (c·a)·b as c·(a·b), leaves first; what is read twice stays as it is."""
    first = len(p.inputs)
    uses = Counter([*p.outputs, *(i for s in p.steps for i in s.operands)])
    steps: list[Step] = []
    new_place = {i: i for i in range(first)}
    scaled: dict[int, tuple[int, int]] = {}  # c·a, by its new place: the new places of c and a

    def emit(operation: str, *operands: int, constant: sp.Expr | None = None) -> int:
        steps.append(Step(operation, operands, constant))
        return first + len(steps) - 1

    def constant(place: int) -> sp.Expr | None:
        return steps[place - first].constant if place >= first else None

    for place, s in enumerate(p.steps, first):
        operands = tuple(new_place[i] for i in s.operands)
        factored: tuple[int, int] | None = None
        if s.operation in ("add", "sub") and all(i in scaled for i in operands):
            (c, a), (d, b) = (scaled[i] for i in operands)
            if constant(c) == constant(d):
                factored = c, emit(s.operation, a, b)
        elif s.operation == "mul" and constant(operands[1]) is None:
            left, right = operands
            if left in scaled:
                c, a = scaled[left]
                factored = c, emit("mul", a, right)
            elif constant(left) is not None:
                factored = left, right
        if factored is None:
            here = emit(s.operation, *operands, constant=s.constant)
        else:
            here = emit("mul", *factored)
            if uses[place] == 1:
                scaled[here] = factored
        new_place[place] = here
    return Program(p.inputs, tuple(steps), tuple(new_place[i] for i in p.outputs))


def _without_unused(p: Program) -> Program:
    first = len(p.inputs)
    used = set(p.outputs)
    for place, s in reversed(list(enumerate(p.steps, first))):
        if place in used:
            used.update(s.operands)
    kept = [place for place in range(first, first + len(p.steps)) if place in used]
    new_place = {**dict(enumerate(range(first))), **{place: i for i, place in enumerate(kept, first)}}
    steps = [p.steps[place - first] for place in kept]
    renamed = (Step(s.operation, tuple(new_place[i] for i in s.operands), s.constant) for s in steps)
    return Program(p.inputs, tuple(renamed), tuple(new_place[i] for i in p.outputs))


def _numpy_inputs(values: Sequence[Any]) -> list[Any]:
    given = [x for x in values if isinstance(x, np.ndarray)]
    deciding = [x for x in given if x.ndim] or given or [np.asarray(x) for x in values]
    kind = np.result_type(np.float32, *deciding)
    return [np.asarray(x).astype(kind, copy=False) for x in values]


def _numpy_spread(outputs: tuple[Any, ...], inputs: Sequence[Any]) -> tuple[Any, ...]:
    shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
    kind = np.result_type(*inputs) if inputs else np.float64
    arrays = (np.asarray(x, dtype=kind) for x in outputs)
    return tuple(x if x.shape == shape else np.broadcast_to(x, shape) for x in arrays)


NUMPY: Table = {
    **WHOLE,
    **{name: getattr(np, name) for name in ("sqrt", "exp", "log", "sin", "cos")},
    "constant": float,
    "div": np.divide,
    "pow": np.power,
    "acos": np.arccos,
    "atan": np.arctan,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "hinge": lambda x: np.maximum(x, 0),
    "step": lambda x: np.heaviside(x, 0.5),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "logsumexp": lambda *xs: np.logaddexp.reduce(np.broadcast_arrays(*xs)),
    "inputs": _numpy_inputs,
    "spread": _numpy_spread,
}
"""NumPy arrays. ``inputs`` is done to all inputs first, ``spread`` to all outputs last; a constant may stay a float."""
