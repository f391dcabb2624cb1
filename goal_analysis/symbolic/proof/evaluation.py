"""Expressions as straight-line programs: one walk over the tree, one table of functions for every kind of number.

`program` turns expressions into steps in which every shared subexpression occurs once. A table says what a step means:
`arithmetic` has those for Python's floats and for numbers of many digits; other floors bring theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from goal_analysis.symbolic.language.primitives import detach, hinge, logsumexp, sigmoid, softplus, step
from goal_analysis.symbolic.proof.arithmetic import FLOAT, Table

FUNCTIONS: dict[type, str] = {
    hinge: "hinge",
    step: "step",
    sigmoid: "sigmoid",
    softplus: "softplus",
    logsumexp: "logsumexp",
    sp.exp: "exp",
    sp.log: "log",
    sp.sin: "sin",
    sp.cos: "cos",
}
"""The functions that a program can hold besides arithmetic."""


class UnsupportedFunction(ValueError):
    """An expression holds a function that programs do not know."""


@dataclass(frozen=True)
class Step:
    """One operation on earlier values; ``constant`` is set for the operation of that name alone."""

    operation: str
    operands: tuple[int, ...] = ()
    constant: sp.Expr | None = None


@dataclass(frozen=True)
class Program:
    """A straight-line program: its inputs come first, then one value a step.

    Args:
        inputs: the symbols, in the order in which their values are given.
        steps: the operations; operand i is input i, or step i − len(inputs).
        outputs: which values are the result.
    """

    inputs: tuple[sp.Symbol, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def run(self, table: Table, *values: Any) -> tuple[Any, ...]:
        """The outputs for these values of the inputs, in the numbers of the table."""
        known = list(values)
        for s in self.steps:
            operands = s.operands
            if s.constant is not None:
                known.append(table["constant"](s.constant))
            elif len(operands) == 2:  # most are, and a loop over two takes longer than naming them
                known.append(table[s.operation](known[operands[0]], known[operands[1]]))
            else:
                known.append(table[s.operation](*[known[i] for i in operands]))
        return tuple(known[i] for i in self.outputs)


def program(outputs: Sequence[sp.Expr], inputs: Sequence[sp.Symbol]) -> Program:
    """The program that computes ``outputs`` from ``inputs``; `detach` reads as its argument.

    Raises:
        UnsupportedFunction: naming the function, and those that are supported.
        ValueError: a symbol of an output is no input.

    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> program([softplus(s_n - s_p)], [s_p, s_n]).run(FLOAT, 0.5, 0.5)
    (0.6931471805599453,)
    """
    walk = _Walk(tuple(inputs))
    places = tuple(walk.place(sp.sympify(output)) for output in outputs)
    return Program(tuple(inputs), tuple(walk.steps), places)


def evaluate(expression: sp.Expr, values: Mapping[sp.Symbol, Any], table: Table | None = None) -> Any:
    """The value of one expression; by default in floats."""
    (value,) = program([expression], tuple(values)).run(table or FLOAT, *values.values())
    return value


class _Walk:
    """The one walk: places every subexpression once and remembers where."""

    def __init__(self, inputs: tuple[sp.Symbol, ...]) -> None:
        self.inputs = len(inputs)
        self.places: dict[sp.Expr, int] = {symbol: i for i, symbol in enumerate(inputs)}
        self.known: dict[tuple, int] = {}
        self.steps: list[Step] = []

    def place(self, e: sp.Expr) -> int:
        if e not in self.places:
            self.places[e] = self._place(e)
        return self.places[e]

    def _place(self, e: sp.Expr) -> int:
        if e.is_Symbol:
            raise ValueError(f"got the symbol {e} but expected the inputs {', '.join(map(str, self.places))}")
        if e.is_number and not e.has(*FUNCTIONS):
            return self._emit("constant", constant=e)
        if isinstance(e, detach):
            return self.place(e.args[0])
        if e.is_Add:
            return self._sum(e)
        if e.is_Mul:
            return self._product(e)
        if e.is_Pow:
            return self._power(*e.as_base_exp())
        if e.func in FUNCTIONS:
            return self._emit(FUNCTIONS[e.func], *map(self.place, e.args))
        raise UnsupportedFunction(
            f"got the function {e.func.__name__!r} in {e} but supported are " + ", ".join(sorted(FUNCTIONS.values()))
        )

    def _sum(self, e: sp.Add) -> int:
        terms = sorted(e.args, key=lambda term: (term.could_extract_minus_sign(), sp.default_sort_key(term)))
        total = self.place(terms[0])
        for term in terms[1:]:
            if term.could_extract_minus_sign():
                total = self._emit("sub", total, self.place(-term))
            else:
                total = self._emit("add", total, self.place(term))
        return total

    def _product(self, e: sp.Mul) -> int:
        if e.args[0] is sp.S.NegativeOne:
            return self._emit("neg", self.place(-e))
        numerator, denominator = e.as_numer_denom() if e.is_number else _fraction(e)
        if denominator is not sp.S.One:
            return self._emit("div", self.place(numerator), self.place(denominator))
        total, *rest = map(self.place, sp.Mul.make_args(numerator))
        for factor in rest:
            total = self._emit("mul", total, factor)
        return total

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> int:
        if exponent.is_number and exponent.is_negative:
            return self._emit("div", self.place(sp.S.One), self.place(base ** (-exponent)))
        if exponent == 2:
            return self._emit("mul", self.place(base), self.place(base))
        if exponent == sp.S.Half:
            return self._emit("sqrt", self.place(base))
        return self._emit("pow", self.place(base), self.place(exponent))

    def _emit(self, operation: str, *operands: int, constant: sp.Expr | None = None) -> int:
        key = (operation, operands, constant)
        if key not in self.known:
            self.steps.append(Step(operation, operands, constant))
            self.known[key] = self.inputs + len(self.steps) - 1
        return self.known[key]


def _fraction(e: sp.Mul) -> tuple[sp.Expr, sp.Expr]:
    """Numerator and denominator; only powers with a negative number as exponent go below."""
    below = [f for f in e.args if f.is_Pow and f.exp.is_number and f.exp.is_negative]
    above = [f for f in e.args if f not in below]
    return sp.Mul(*above), sp.Mul(*(1 / f for f in below))
