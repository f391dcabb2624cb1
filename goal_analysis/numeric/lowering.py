"""From a program to a Python function: constants computed, common factors taken out, a line of source a step.

The source is made of the names of operations and of numbered values alone: nothing that a user wrote is run.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from typing import Any

import mpmath
import sympy as sp

from goal_analysis.symbolic.arithmetic import MULTIPRECISION, Table
from goal_analysis.symbolic.evaluation import Program, Step

DIGITS = 30
"""Digits with which constants are computed before they are rounded to floats."""

INFIX = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.neg: "-{}",
}
"""How the functions that are Python's operators are written."""


def lowered(p: Program) -> Program:
    """The program with fewer operations: constants computed, and common factors, as in c·(a ± b), taken out.

    SymPy multiplies numbers into sums, which costs an operation more.

    >>> from goal_analysis.symbolic.evaluation import program
    >>> from goal_analysis.symbolic.primitives import s_n, s_p
    >>> p = program([10 * (s_n - s_p)], [s_p, s_n])
    >>> [s.operation for s in p.steps], [s.operation for s in lowered(p).steps]
    (['constant', 'mul', 'mul', 'sub'], ['constant', 'sub', 'mul'])
    """
    return _without_unused(_with_common_factors(_folded(p)))


def source(p: Program, name: str, table: Table, in_place: Table | None = None) -> str:
    """The source of a function of the inputs that returns the outputs, constants as floats.

    Args:
        p: a program.
        name: what the function is called.
        table: what the operations mean.
        in_place: operations that overwrite a value which nothing reads any more, by name; ``operation_k``
            overwrites its operand k. ``filled`` makes a constant output out of an input and a number.

    >>> from goal_analysis.symbolic.evaluation import program
    >>> from goal_analysis.symbolic.primitives import s_n, s_p, sigmoid
    >>> operators = {"sub": operator.sub, "mul": operator.mul, "sigmoid": sigmoid}
    >>> print(source(lowered(program([sigmoid(10 * (s_n - s_p))], [s_p, s_n])), "weights", operators))
    def weights(v0, v1):
        v3 = v1 - v0
        v4 = 10.0 * v3
        del v3
        v5 = sigmoid(v4)
        del v4
        return (v5, )
    """
    first = len(p.inputs)
    constants = {i: s.constant for i, s in enumerate(p.steps, first) if s.constant is not None}
    text = {i: repr(float(constants[i])) if i in constants else f"v{i}" for i in range(first + len(p.steps))}
    last_use = {i: place for place, s in enumerate(p.steps, first) for i in s.operands}
    lines = [f"def {name}({', '.join(f'v{i}' for i in range(first))}):"]
    for place, s in enumerate(p.steps, first):
        if place in constants:
            continue
        free = [
            k
            for k, i in enumerate(s.operands)
            if i >= first and i not in constants and last_use[i] == place and i not in p.outputs
        ]
        overwriting = next(
            (f"{s.operation}_{k}" for k in free if f"{s.operation}_{k}" in (in_place or {})), None
        )
        operands = [text[i] for i in s.operands]
        infix = None if overwriting else INFIX.get(table[s.operation])
        call = f"{overwriting or s.operation}({', '.join(operands)})"
        lines.append(f"    v{place} = {infix.format(*operands) if infix else call}")
        if free:  # so that its memory serves the next operation
            lines.append(f"    del {', '.join(dict.fromkeys(operands[k] for k in free))}")
    if in_place is not None:
        for i in sorted(set(p.outputs) & set(constants)):
            lines.append(f"    v{i} = filled(v0, {text[i]})")
            text[i] = f"v{i}"
    outputs = "".join(f"{text[i]}, " for i in p.outputs)
    return "\n".join([*lines, f"    return ({outputs})"])


def function(
    p: Program, name: str, table: Table, in_place: Table | None = None
) -> Callable[..., tuple[Any, ...]]:
    """The function that `source` writes, with the operations of the table."""
    names = {**table, **(in_place or {}), "inf": float("inf"), "nan": float("nan")}
    exec(source(p, name, table, in_place), names)
    return names[name]


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
