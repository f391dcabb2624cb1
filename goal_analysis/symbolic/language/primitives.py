"""The words of the symbolic language: the similarities of a triplet and the functions that losses are made of.

All kinks are made of `hinge` and `step`, which differentiates to zero: derivatives hold almost everywhere.
"""

from __future__ import annotations

from functools import cache
from numbers import Real
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError

from goal_analysis.declarations import expect_kind

s_p = sp.Symbol("s_p", real=True)
"""Similarity of the anchor and its positive."""

s_n = sp.Symbol("s_n", real=True)
"""Similarity of the anchor and its negative."""

x_p = sp.Symbol("x_p", real=True)
"""The aggregated positives A⁺[k(s_p)] inside an outer function φ."""

x_n = sp.Symbol("x_n", real=True)
"""The aggregated negatives A⁻[h(s_n)] inside an outer function φ."""

count_p = sp.Symbol("count_p", positive=True)
"""How many positives the anchor has."""

count_n = sp.Symbol("count_n", positive=True)
"""How many negatives the anchor has."""

y_p = sp.Symbol("y_p", real=True)
"""What the pair of the anchor and its positive carries: a teacher's score, a label, a rank. It is held constant."""

y_n = sp.Symbol("y_n", real=True)
"""What the pair of the anchor and its negative carries."""

CARRIED = {y_p: sp.S.One, y_n: sp.S.Zero}
"""What pairs carry where one triplet alone is spoken of."""

total = sp.Symbol("total", real=True)
"""The sum of all values of Φ on an anchor, inside what the term makes of it."""

gap = x_n - x_p
"""A⁻[h(s_n)] − A⁺[k(s_p)]; a side that a term does not have counts as zero."""


def carried_by(s: sp.Symbol) -> sp.Symbol:
    """What the pair of a similarity carries: y_p2 for s_p2."""
    return sp.Symbol(f"y{s.name.removeprefix('s')}", real=True)


class _Function(sp.Function):
    """A function of expressions and numbers: SymPy would evaluate a text as Python."""

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        for given in arguments:
            expect_kind(cls.__name__, given, sp.Basic | Real, "an expression such as s_n - s_p, or a number")
        return super().__new__(cls, *arguments, **options)


class _Primitive(_Function):
    nargs = 1

    def _eval_is_real(self) -> bool | None:
        return True if self.args[0].is_real else None

    _eval_is_nonnegative = _eval_is_real


def _sign(x: sp.Expr) -> int | None:
    """The sign of a number whose digits show it, else None; SymPy's own search can take forever."""
    digits = x.evalf(2) if x.is_number and not x.is_Number else x
    told = digits.is_Rational or digits in (sp.oo, -sp.oo) or (digits.is_Float and digits._prec > 1)
    return bool(digits > 0) - bool(digits < 0) if told else None


def _written(template: str):
    def latex(self: sp.Function, printer, exp: str | None = None) -> str:
        power = "" if exp is None else rf"^{{{exp}}}"
        return template % {"x": ", ".join(map(printer._print, self.args)), "power": power}

    return latex


class hinge(_Primitive):
    """[x]₊ = max(x, 0); its derivative is `step`."""

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        sign = _sign(x)
        return None if sign is None else x if sign > 0 else sp.S.Zero

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return step(self.args[0])

    _latex = _written(r"\left[%(x)s\right]_{+}%(power)s")


class step(_Primitive):
    """1[x > 0], and ½ at the kink; its derivative is zero almost everywhere."""

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        sign = _sign(x)
        if sign is not None:
            return sp.Rational(1 + sign, 2)
        if isinstance(x, hinge):
            return cls(x.args[0])
        if x.is_Mul:
            signed = [factor for factor in x.args if not factor.is_positive]
            return cls(sp.Mul(*signed)) if len(signed) < len(x.args) else None
        return None

    def _eval_power(self, exponent: sp.Expr) -> sp.Expr | None:
        return self if exponent.is_Integer and exponent.is_positive else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero

    _latex = _written(r"\mathbf{1}\left[%(x)s > 0\right]%(power)s")


class sigmoid(_Primitive):
    """σ(x) = 1/(1 + exp(−x)); its derivative is σ(x)·σ(−x)."""

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return {sp.S.Zero: sp.Rational(1, 2), sp.oo: sp.S.One, -sp.oo: sp.S.Zero}.get(x)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sigmoid(self.args[0]) * sigmoid(-self.args[0])

    _eval_is_positive = _Primitive._eval_is_real

    def _eval_rewrite_as_exp(self, x: sp.Expr, **_) -> sp.Expr:
        return 1 / (1 + sp.exp(-x))

    _latex = _written(r"\sigma%(power)s\left(%(x)s\right)")


class softplus(_Primitive):
    """log(1 + exp(x)); its derivative is `sigmoid`."""

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return {sp.S.Zero: sp.log(2), sp.oo: sp.oo, -sp.oo: sp.S.Zero}.get(x)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sigmoid(self.args[0])

    _eval_is_positive = _Primitive._eval_is_real

    def _eval_rewrite_as_exp(self, x: sp.Expr, **_) -> sp.Expr:
        return sp.log(1 + sp.exp(x))

    _latex = _written(r"\operatorname{softplus}%(power)s\left(%(x)s\right)")


class logsumexp(_Function):
    """log Σ exp(xᵢ); its derivative by xᵢ is the softmax, σ(xᵢ − logsumexp of the others)."""

    @classmethod
    def eval(cls, *xs: sp.Expr) -> sp.Expr | None:
        if len(xs) == 1:
            return xs[0]
        in_order = tuple(sorted(xs, key=sp.default_sort_key))
        return None if in_order == xs else cls(*in_order)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        if not 1 <= argindex <= len(self.args):
            raise ArgumentIndexError(self, argindex)
        x = self.args[argindex - 1]
        return sigmoid(x - logsumexp(*self.args[: argindex - 1], *self.args[argindex:]))

    def _eval_is_real(self) -> bool | None:
        return True if all(x.is_real for x in self.args) else None

    def _eval_rewrite_as_exp(self, *xs: sp.Expr, **_) -> sp.Expr:
        return sp.log(sp.Add(*map(sp.exp, xs)))

    _latex = _written(r"\operatorname{logsumexp}%(power)s\left(%(x)s\right)")


class detach(_Function):
    """Stop-gradient: reads as its argument and differentiates to zero."""

    nargs = 1

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        return x if x.is_number or isinstance(x, detach) else None

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        return sp.S.Zero

    def _eval_is_real(self) -> bool | None:
        return self.args[0].is_real

    def _eval_is_nonnegative(self) -> bool | None:
        return self.args[0].is_nonnegative

    _latex = _written(r"\operatorname{sg}%(power)s\left(%(x)s\right)")


def undetach(expression: sp.Expr) -> sp.Expr:
    """Read every `detach(x)` as x: how a weight is read once the differentiation is done."""
    while expression.has(detach):
        expression = expression.replace(detach, lambda x: x)
    return expression


def slope(expression: sp.Expr, s: sp.Symbol) -> sp.Expr:
    """∂expression/∂s, several times quicker than `sympy.diff`, which asks of every part what sign it has."""

    @cache
    def of(e: sp.Expr) -> sp.Expr:
        if not e.args or isinstance(e, detach):
            return sp.Integer(e == s)
        slopes = [(i, d) for i, part in enumerate(e.args) if (d := of(part)) != 0]
        if e.is_Add or e.is_Mul:
            return sp.Add(*(d if e.is_Add else sp.Mul(*e.args[:i], d, *e.args[i + 1 :]) for i, d in slopes))
        if e.is_Pow and of(e.exp) == 0:
            return sp.Add(*(e * (d * e.exp / e.base) for _, d in slopes))
        return sp.Add(*(e.fdiff(i + 1) * d for i, d in slopes)) if e.is_Function else sp.diff(e, s)

    return of(expression)


def opened(expression: sp.Expr) -> sp.Expr:
    """``expression``, almost everywhere, with [x]₊ written x·1[x > 0]."""
    return expression.replace(hinge, lambda x: x * step(x))


def maximum(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """max(a, b) as b + [a − b]₊, or as [b]₊ where a is zero."""
    return hinge(b) if a == 0 else sp.sympify(b) + hinge(a - b)


def minimum(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """min(a, b) as a − [a − b]₊, or as −[−a]₊ where b is zero."""
    return -hinge(-a) if b == 0 else sp.sympify(a) - hinge(a - b)


def where(condition: sp.Expr, when_positive: sp.Expr, otherwise: sp.Expr) -> sp.Expr:
    """`when_positive` where condition > 0, else `otherwise`, as one sum with a `step`."""
    return otherwise + step(condition) * (when_positive - otherwise)


def cosine_of_shifted_angle(s: sp.Expr, shift: sp.Expr) -> sp.Expr:
    """cos(θ + shift) for s = cos θ with θ in [0, π], spelt s·cos(shift) − √(1 − s²)·sin(shift)."""
    return s * sp.cos(shift) - sp.sqrt(1 - s**2) * sp.sin(shift)


PRIMITIVES = (hinge, step, sigmoid, softplus, logsumexp, detach)


def check_symbols(formula: sp.Expr, allowed: set[sp.Symbol], where: str) -> None:
    """Refuse what is no expression (TypeError), or one with other symbols than those that are allowed (ValueError)."""
    expect_kind(where, formula, sp.Expr, "a SymPy expression")
    if stray := formula.free_symbols - allowed:
        names, accepted = (", ".join(sorted(map(str, symbols))) for symbols in (stray, allowed))
        raise ValueError(f"{where}: got the symbol {names} in {formula} but allowed are {accepted}")
