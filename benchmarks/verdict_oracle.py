"""What a verdict is held against: weights from formulas, anchor by anchor, and their work along closed paths.

Nothing here knows SymPy or the engine. A formula is text; its derivatives are those of dual numbers; the weights of an
anchor follow by the chain rule, in NumPy and in float64. The work ∮⟨W, dS⟩ is integrated by an adaptive rule that
halves every piece on which two estimates differ, so that a jump is closed in on. Weights that are the gradient of a
loss do none.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray

DEEPEST = 22  # halvings of a piece: a jump is closed in on to 2⁻²² of it
DEEP = 13  # halvings after which a piece holds a jump
TOLERANCE = 1e-8  # of a piece's error, as a share of the largest work on any piece
SIGNIFICANT = 1e-5  # work below this share of ∮|⟨W, dS⟩| counts as none
MOST_PIECES = 40_000


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
    "abs": lambda x: _dual(x).mapped(np.abs(_dual(x).value), np.sign(_dual(x).value)),
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
    """∂L/∂S, or what takes its place, of anchors with these similarities, and which anchor has a pair.

    Args:
        formulas: of the objective.
        positives: shape ``(pairs, anchors)``.
        negatives: shape ``(pairs, anchors)``.
    """
    total = np.zeros((len(positives) + len(negatives), positives.shape[1]))
    present = np.zeros(positives.shape[1], dtype=bool)
    for term in formulas.terms:
        found, has = _of_term(formulas, term, positives, negatives)
        total += found
        present |= has
    return total, present


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


# --- fields on scores and on embeddings -----------------------------------------------------------

Field = Callable[[Array], Array]
"""Points of shape (coordinates, points) to what is integrated along paths, of the same shape."""


def on_scores(formulas: Formulas, positives: int, negatives: int, anchors: int = 1) -> Field:
    """W of as many anchors, each with its scores; the mean is over those that have a pair."""
    size = positives + negatives

    def of(points: Array) -> Array:
        found, present = [], []
        for i in range(anchors):
            s = points[i * size : (i + 1) * size]
            w, has = weights(formulas, s[:positives], s[positives:])
            found.append(w)
            present.append(has)
        count = np.maximum(np.sum(present, 0), 1) if formulas.mean else 1
        return np.concatenate(found) / count

    return of


SIMILARITIES: dict[str, Callable[[Array, Array], Array]] = {
    "cosine": lambda x, y: (x * y).sum(-2) / np.sqrt((x * x).sum(-2) * (y * y).sum(-2)),
    "dot": lambda x, y: (x * y).sum(-2),
    "negative_squared_euclidean": lambda x, y: -((x - y) ** 2).sum(-2),
    "negative_euclidean": lambda x, y: -np.sqrt(((x - y) ** 2).sum(-2)),
}


def _along(direction: str, w: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """The gradients of an anchor x of shape (1, dim, points) and of its candidates y, by the direction."""
    w = w[:, None]
    if direction == "dot":
        return (w * y).sum(0, keepdims=True), w * x
    if direction == "negative_squared_euclidean":
        return 2 * (w * (y - x)).sum(0, keepdims=True), 2 * w * (x - y)
    if direction == "negative_euclidean":
        apart = (y - x) / np.sqrt(((x - y) ** 2).sum(1, keepdims=True))
        return (w * apart).sum(0, keepdims=True), -w * apart
    if direction == "tangential":
        to_x, to_y = _along("dot", w[:, 0], x, y)
        return _across(to_x, x), _across(to_y, y)
    if direction == "cosine":
        to_x, to_y = _along("dot", w[:, 0], _unit(x), _unit(y))
        return _across(to_x, x) / _length(x), _across(to_y, y) / _length(y)
    name, _, strength = direction.partition(":")
    if name != "direction_regularized":
        raise ValueError(f"got the direction {direction!r}")
    pull, push = np.maximum(-w, 0), np.maximum(w, 0)
    pulled = pull.sum(0, keepdims=True)
    towards = (pull * y).sum(0, keepdims=True) / np.where(pulled == 0, 1, pulled) - x
    u = _unit(np.where(pulled == 0, 0, towards))
    to_x, to_y = _along("dot", w[:, 0], x, y)
    return to_x, to_y - float(strength or 1) * push * (x * u).sum(1, keepdims=True) * u


def _length(x: Array) -> Array:
    return np.sqrt((x * x).sum(-2, keepdims=True))


def _unit(x: Array) -> Array:
    return x / np.where(_length(x) == 0, 1, _length(x))


def _across(gradient: Array, x: Array) -> Array:
    return gradient - (gradient * _unit(x)).sum(-2, keepdims=True) * _unit(x)


def on_embeddings(formulas: Formulas, positives: int, negatives: int, dim: int) -> Field:
    """What moves an anchor and its candidates. All but dot products are of unit vectors: paths run on spheres."""
    assert formulas.direction is not None
    direction, on_sphere = formulas.direction, formulas.similarity != "dot"

    def of(points: Array) -> Array:
        raw = points.reshape(1 + positives + negatives, dim, -1)
        vectors = _unit(raw) if on_sphere else raw
        x, y = vectors[:1], vectors[1:]
        s = SIMILARITIES[formulas.similarity](x, y)
        w, _ = weights(formulas, s[:positives], s[positives:])
        moved = np.concatenate(_along(direction, w, x, y))
        if on_sphere:  # the form on the sphere, pulled back along x ↦ x/‖x‖
            moved = _across(moved, raw) / _length(raw)
        return moved.reshape(points.shape)

    return of


# --- work along closed paths ----------------------------------------------------------------------

_NODES = np.array([-1, -np.sqrt(3 / 7), 0, np.sqrt(3 / 7), 1]) / 2 + 0.5
_SHARES = np.array([1 / 10, 49 / 90, 32 / 45, 49 / 90, 1 / 10]) / 2
_ALL = np.unique(np.round(np.concatenate([_NODES, _NODES / 2, _NODES / 2 + 0.5]), 12))


def _matrix(nodes: Array, shares: Array) -> Array:
    places = [int(np.abs(_ALL - x).argmin()) for x in nodes]
    return np.bincount(places, weights=shares, minlength=len(_ALL))


_COARSE = _matrix(_NODES, _SHARES)
_FINE = _matrix(_NODES / 2, _SHARES / 2) + _matrix(_NODES / 2 + 0.5, _SHARES / 2)


@dataclass(frozen=True)
class Work:
    """∮⟨W, dS⟩ of every path, with the rule's error and ∮|⟨W, dS⟩|, and places that were closed in on.

    Where a field is not finite on a path all three are NaN.
    """

    done: Array
    error: Array
    size: Array
    closed_in: Array

    @property
    def proves(self) -> Array:
        """Which paths show that the field is the gradient of nothing."""
        with np.errstate(invalid="ignore"):
            return np.abs(self.done) > np.maximum(20 * self.error, SIGNIFICANT * self.size)


def work(field_of: Field, corners: Array, pieces: int = 10, mixed: Array | None = None) -> Work:
    """The work along closed polygons.

    Args:
        field_of: what is integrated.
        corners: shape ``(paths, corners, coordinates)``.
        pieces: into which every side is cut at first.
        mixed: what the field is multiplied with in the place of a side's own direction.
    """
    paths, sides, _ = corners.shape
    starts = corners.reshape(paths * sides, -1)
    moves = np.roll(corners, -1, 1).reshape(paths * sides, -1) - starts
    edge = np.repeat(np.arange(paths * sides), pieces)
    left = np.tile(np.arange(pieces) / pieces, paths * sides)
    width = np.full(len(edge), 1 / pieces)
    done, error, size = (np.zeros(paths) for _ in range(3))
    closed_in, largest = [], 0.0
    for depth in range(DEEPEST + 1):
        t = left[:, None] + width[:, None] * _ALL
        points = starts[edge][:, None] + t[:, :, None] * moves[edge][:, None]
        along = np.repeat(moves[edge], len(_ALL), 0).T if mixed is None else mixed[:, None]
        with np.errstate(all="ignore"):
            values = (field_of(points.reshape(-1, points.shape[-1]).T) * along).sum(0).reshape(t.shape)
        values = values * width[:, None]
        fine = values @ _FINE
        differs = np.abs(fine - values @ _COARSE)
        largest = max(largest, float(np.nanmax(np.abs(values), initial=0.0)))
        split = differs > TOLERANCE * largest
        if depth == DEEPEST or 2 * split.sum() > MOST_PIECES:
            split = np.zeros_like(split)
        if depth >= DEEP:
            closed_in.append(points[~split, len(_ALL) // 2])
        of = edge[~split] // sides
        done += np.bincount(of, fine[~split], paths)
        error += np.bincount(of, differs[~split], paths)
        size += np.bincount(of, (np.abs(values) @ _FINE)[~split], paths)
        if not split.any():
            break
        edge = np.repeat(edge[split], 2)
        halves = width[split] / 2
        left = np.stack([left[split], left[split] + halves], 1).reshape(-1)
        width = np.repeat(halves, 2)
    found = np.concatenate(closed_in) if closed_in else np.zeros((0, starts.shape[1]))
    return Work(done, error, size, found)


def jumps(field_of: Field, ends: Array, rng: np.random.Generator) -> Array:
    """Places on lines, of shape ``(lines, 2, coordinates)``, where any component of the field jumps: along a line its
    own component may be smooth where another one jumps.
    """
    return work(field_of, ends, 20, rng.normal(size=ends.shape[2])).closed_in


def rectangles(centres: Array, halves: Array, planes: Sequence[tuple[int, int]]) -> Array:
    """Corners of rectangles around centres, of half the width ``halves``, each in the plane of two coordinates."""
    corners = np.repeat(centres[:, None], 4, 1)
    for path, (i, j) in enumerate(planes):
        corners[path, :, i] += halves[path, 0] * np.array([-1, 1, 1, -1])
        corners[path, :, j] += halves[path, 1] * np.array([-1, -1, 1, 1])
    return corners
