"""The weights of objectives whose formulas are text, anchor by anchor: what verdicts are held against.

Nothing here knows SymPy or the engine. The derivatives of a formula are those of dual numbers; the weights of an anchor
follow by the chain rule, in NumPy and in float64.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray

# --- formulas -------------------------------------------------------------------------------------


class Dual:
    """A value with its derivatives by the variables; None is zero."""

    __slots__ = ("slopes", "value")

    def __init__(self, value: Any, slopes: tuple = ()) -> None:
        self.value, self.slopes = value, slopes

    def mapped(self, value: Any, slope: Any) -> Dual:
        """A function of this one, with its derivative."""
        return Dual(value, tuple(None if s is None else s * slope for s in self.slopes))

    def __add__(self, other: Any) -> Dual:
        other = _dual(other)
        return Dual(self.value + other.value, _sums(self.slopes, other.slopes))

    def __mul__(self, other: Any) -> Dual:
        other = _dual(other)
        mine, its = self.mapped(None, other.value), other.mapped(None, self.value)
        return Dual(self.value * other.value, _sums(mine.slopes, its.slopes))

    def __pow__(self, other: Any) -> Dual:
        other = _dual(other)
        if other.slopes:
            return _exp(_log(self) * other)
        power = self.value**other.value
        return self.mapped(power, other.value * self.value ** (other.value - 1))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Dual:
        return self * -1.0

    def __sub__(self, other: Any) -> Dual:
        return self + -_dual(other)

    def __rsub__(self, other: Any) -> Dual:
        return -self + other

    def __truediv__(self, other: Any) -> Dual:
        other = _dual(other)
        return self * other.mapped(1 / other.value, -1 / other.value**2)

    def __rtruediv__(self, other: Any) -> Dual:
        return _dual(other) / self

    def __rpow__(self, other: Any) -> Dual:
        return _dual(other) ** self


def _dual(x: Any) -> Dual:
    return x if isinstance(x, Dual) else Dual(float(x))


def _sums(a: tuple, b: tuple) -> tuple:
    if not a or not b:
        return a or b
    return tuple(y if x is None else x if y is None else x + y for x, y in zip(a, b, strict=True))


def _sigmoid(x: Any) -> Any:
    return np.exp(-np.logaddexp(0, -x))


def _exp(x: Any) -> Dual:
    value = np.exp(_dual(x).value)
    return _dual(x).mapped(value, value)


def _log(x: Any) -> Dual:
    return _dual(x).mapped(np.log(_dual(x).value), 1 / _dual(x).value)


def _hinge(x: Any) -> Dual:
    return _dual(x).mapped(np.maximum(_dual(x).value, 0), _half_at_zero(_dual(x).value))


def _step(x: Any) -> Dual:
    return Dual(_half_at_zero(_dual(x).value))


def _half_at_zero(x: Any) -> Any:
    return (1 + np.sign(x)) / 2


def _softplus(x: Any) -> Dual:
    return _dual(x).mapped(np.logaddexp(0, _dual(x).value), _sigmoid(_dual(x).value))


def _largest(*xs: Any) -> Dual:
    found = _dual(xs[0])
    for x in xs[1:]:
        found = found + _hinge(_dual(x) - found)
    return found


def _logsumexp(*xs: Any) -> Dual:
    top = Dual(_largest(*xs).value)
    total = _exp(_dual(xs[0]) - top)
    for x in xs[1:]:
        total = total + _exp(_dual(x) - top)
    return top + _log(total)


_erf = np.vectorize(math.erf, otypes=[float])


def _where(condition: Any, when_positive: Any, otherwise: Any) -> Dual:
    return _step(condition) * when_positive + _step(-_dual(condition)) * otherwise


FUNCTIONS: dict[str, Callable[..., Dual]] = {
    "hinge": _hinge,
    "relu": _hinge,
    "step": _step,
    "softplus": _softplus,
    "logsigmoid": lambda x: -_softplus(-_dual(x)),
    "sigmoid": lambda x: _dual(x).mapped(s := _sigmoid(_dual(x).value), s * (1 - s)),
    "detach": lambda x: Dual(_dual(x).value),
    "exp": _exp,
    "log": _log,
    "log1p": lambda x: _log(1 + _dual(x)),
    "sqrt": lambda x: _dual(x) ** 0.5,
    "sin": lambda x: _dual(x).mapped(np.sin(_dual(x).value), np.cos(_dual(x).value)),
    "cos": lambda x: _dual(x).mapped(np.cos(_dual(x).value), -np.sin(_dual(x).value)),
    "tanh": lambda x: 2 * FUNCTIONS["sigmoid"](2 * _dual(x)) - 1,
    "acos": lambda x: _dual(x).mapped(np.arccos(_dual(x).value), -1 / np.sqrt(1 - _dual(x).value ** 2)),
    "atan": lambda x: _dual(x).mapped(np.arctan(_dual(x).value), 1 / (1 + _dual(x).value ** 2)),
    "erf": lambda x: _dual(x).mapped(_erf(_dual(x).value), 2 / np.sqrt(np.pi) * np.exp(-(_dual(x).value ** 2))),
    "abs": lambda x: _dual(x).mapped(np.abs(_dual(x).value), np.sign(_dual(x).value)),
    "sign": lambda x: Dual(np.sign(_dual(x).value)),
    "max": _largest,
    "min": lambda *xs: -_largest(*(-_dual(x) for x in xs)),
    "logsumexp": _logsumexp,
    "_where": _where,
}


class _Conditions(ast.NodeTransformer):
    """``a if x > y else b`` as a call, which Python itself would not do elementwise."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.Call:
        self.generic_visit(node)
        test = node.test
        if not isinstance(test, ast.Compare) or len(test.ops) != 1:
            raise ValueError(f"got {ast.unparse(test)} but expected one comparison")
        ends = (test.left, test.comparators[0])
        left, right = ends if isinstance(test.ops[0], ast.Gt | ast.GtE) else ends[::-1]
        return ast.Call(ast.Name("_where", ast.Load()), [ast.BinOp(left, ast.Sub(), right), node.body, node.orelse], [])


@lru_cache(maxsize=20_000)
def _code(text: str) -> Any:
    tree = ast.fix_missing_locations(_Conditions().visit(ast.parse(text, mode="eval")))
    return compile(tree, text, "eval")


def evaluate(text: str, variables: dict[str, Array], settings: dict[str, float]) -> tuple[Array, list[Any]]:
    """A formula's value, and its derivatives by the variables."""
    count = len(variables)
    names: dict[str, Any] = {"__builtins__": {}, "pi": np.pi, **FUNCTIONS, **settings}
    for place, (name, value) in enumerate(variables.items()):
        names[name] = Dual(value, tuple(1.0 if i == place else None for i in range(count)))
    found = _dual(eval(_code(text), names))
    slopes = found.slopes or (None,) * count
    return found.value, [0.0 if s is None else s for s in slopes]


# --- the weights of an anchor ---------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One side of a term, in text.

    Args:
        aggregator: its name.
        inner: k or h.
        weight: the pair weight where it is prescribed.
        parameter: the temperature of a scaled aggregator.
        gathers_all: whether negatives gather the positives too.
        selection: keeps pairs: (negatives' similarities, what the positives hand over) ↦ which.
    """

    aggregator: str
    inner: str
    weight: str | None = None
    parameter: str | None = None
    gathers_all: bool = False
    selection: Callable[[Array, Array], Array] | None = None


@dataclass(frozen=True)
class Term:
    """Φ, or T, over two sides, in text."""

    outer: str | None = None
    triplet: str | None = None
    positives: Side | None = None
    negatives: Side | None = None


@dataclass(frozen=True)
class Formulas:
    """What an objective is, in text.

    Args:
        terms: the summands.
        settings: hyperparameters by name.
        low: the least similarity.
        high: the largest.
        mean: whether the anchors that have a selected pair share the weights, so that one anchor tells not all.
        similarity: what the similarity is.
        direction: along what weights move embeddings; None for the similarity's own gradient.
    """

    terms: tuple[Term, ...]
    settings: dict[str, float] = field(default_factory=dict)
    low: float = -1.0
    high: float = 1.0
    mean: bool = False
    similarity: str = "cosine"
    direction: str | None = None


def _aggregate(side: Side, values: Array, keep: Array, settings: dict[str, float]) -> tuple[Array, Array]:
    """A and ∂A over the last axis but one, of what is kept."""
    name = side.aggregator
    beta = 1.0 if side.parameter is None else float(evaluate(side.parameter, {}, settings)[0])
    if name in ("mean_active", "softmax_active"):  # one at zero is half active, as everywhere
        active = keep * _half_at_zero(values)
        if name == "mean_active":
            share = 1 / np.maximum(active.sum(-2, keepdims=True), 1)
        else:
            heat = np.where(active > 0, beta * values, -np.inf)
            mass = np.exp(heat - np.maximum(heat.max(-2, keepdims=True), -1e9))
            share = active * mass / np.maximum((active * mass).sum(-2, keepdims=True) + (1 - active) * mass, 1e-300)
        return (share * np.maximum(values, 0)).sum(-2), share * active
    if name in ("sum", "mean"):
        share = keep / (np.maximum(keep.sum(-2, keepdims=True), 1) if name == "mean" else 1.0)
        return (share * values).sum(-2), share * 1.0
    sign = -1.0 if name in ("min", "softmin", "soft_min") else 1.0
    signed = np.where(keep, sign * values, -np.inf)
    top = signed.max(-2, keepdims=True)
    if name in ("max", "min"):
        chosen = np.arange(values.shape[-2])[:, None] == signed.argmax(-2)[..., None, :]
        return sign * top[..., 0, :], chosen & keep
    if name not in ("logsumexp", "softmin", "soft_max", "soft_min"):
        raise ValueError(f"got the aggregator {name!r}")
    with np.errstate(invalid="ignore"):
        shares = np.exp(beta * (signed - top))
    total = shares.sum(-2, keepdims=True)
    return sign * (top + np.log(total) / beta)[..., 0, :], shares / total


def weights(formulas: Formulas, positives: Array, negatives: Array) -> tuple[Array, Array]:
    """∂L/∂S of every term, or what takes its place, of anchors with these similarities, and which has a pair in it.

    Args:
        formulas: of the objective.
        positives: shape ``(pairs, anchors)``.
        negatives: shape ``(pairs, anchors)``.
    """
    found, present = zip(*(_of_term(formulas, term, positives, negatives) for term in formulas.terms), strict=True)
    return np.stack(found), np.stack(present)


def _slopes(side: Side, name: str, s: Array, settings: dict[str, float]) -> tuple[Array, Array]:
    """k(s) and the pair weight."""
    value, (slope,) = evaluate(side.inner, {name: s}, settings)
    if side.weight is not None:
        slope = evaluate(side.weight, {name: s}, settings)[0]
    return np.broadcast_to(value, s.shape), np.broadcast_to(slope, s.shape)


def _of_term(formulas: Formulas, term: Term, s_p: Array, s_n: Array) -> tuple[Array, Array]:
    settings, count, anchors = formulas.settings, len(s_p), s_p.shape[1]
    total = np.zeros((count + len(s_n), anchors))
    factor, x_p, q_p = np.ones((1, 1, anchors)), np.zeros((1, 1, anchors)), None
    p, n = term.positives, term.negatives
    of_p = p is not None and p.aggregator.startswith("each")
    slope_p = slope_n = keep = np.ones(())
    if p is not None:
        values, slope_p = _slopes(p, "s_p", s_p, settings)
        if of_p:
            x_p, factor = values[:, None], factor / (count if p.aggregator == "each_mean" else 1)
        else:
            aggregate, q_p = _aggregate(p, values, np.ones(values.shape, dtype=bool), settings)
            x_p = aggregate[None, None]
    x_n, q_n, of_n = np.zeros((1, 1, anchors)), None, False
    if n is not None:
        of_n = n.aggregator.startswith("each")
        own = np.concatenate([s_p, s_n]) if n.gathers_all else s_n
        values, slope_n = _slopes(n, "s_n", own, settings)
        keep = np.ones((1, *values.shape), dtype=bool) if n.selection is None else n.selection(own[None], x_p)
        if of_n:
            x_n = values[None]
            factor = factor * keep / (np.maximum(keep.sum(1, keepdims=True), 1) if n.aggregator == "each_mean" else 1)
        else:
            aggregate, q_n = _aggregate(n, np.broadcast_to(values, keep.shape), keep, settings)
            has = keep.any(1)
            x_n = np.where(has, aggregate, 0.0)[:, None]
            factor, q_n = factor * has[:, None], np.where(has[:, None], q_n, 0.0)
    x_p, x_n, factor = np.broadcast_arrays(x_p, x_n, factor)
    if term.triplet is not None:
        t_p = t_n = evaluate(term.triplet, {"x_p": x_p, "x_n": x_n}, settings)[0]
    else:
        assert term.outer is not None
        by_p, t_n = evaluate(term.outer, {"x_p": x_p, "x_n": x_n}, settings)[1]
        t_p = -by_p
    if p is not None:
        pull = np.broadcast_to(-t_p * factor, factor.shape)
        total[:count] += pull.sum(1) * slope_p if of_p else pull.sum((0, 1)) * q_p * slope_p
    if n is not None:
        push = np.broadcast_to(t_n * factor, factor.shape)
        share = push.sum(0) * slope_n if of_n else (push.sum(1, keepdims=True) * q_n).sum(0) * slope_n
        if n.gathers_all:
            total += share
        else:
            total[count:] += share
    return total, np.broadcast_to(keep.any((0, 1)), (anchors,)) if keep.ndim else np.ones(anchors, dtype=bool)
