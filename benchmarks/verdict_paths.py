"""The work ∮⟨W, dS⟩ of weights along closed paths, of scores and of embeddings. The gradient of a loss does none.

The rule is adaptive: it halves every piece on which two estimates differ, so that a jump is closed in on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from verdict_weights import Array, Formulas, weights

DEEPEST = 22  # halvings of a piece: a jump is closed in on to 2⁻²² of it
DEEP = 13  # halvings after which a piece holds a jump
TOLERANCE = 1e-8  # of a piece's error, as a share of the largest work on any piece
CLEARLY = 20  # times the rule's error is clearly more than it
SIGNIFICANT = 1e-8  # work below this share of ∮|⟨W, dS⟩| counts as none
MOST_PIECES = 40_000
AGAIN = 211, 787  # pieces into which the sides of a path that proves something are cut then


# --- fields on scores and on embeddings -----------------------------------------------------------

Field = Callable[[Array], Array]
"""Points of shape (coordinates, points) to what is integrated along paths, of the same shape."""


def on_scores(formulas: Formulas, positives: int, negatives: int, anchors: int = 1) -> Field:
    """W of as many anchors, each with its scores; the mean of a term is over those that have a pair in it."""
    size = positives + negatives

    def of(points: Array) -> Array:
        found, present = [], []
        for i in range(anchors):
            s = points[i * size : (i + 1) * size]
            w, has = weights(formulas, s[:positives], s[positives:])
            found.append(w)
            present.append(has)
        count = np.maximum(np.sum(present, 0), 1)[:, None] if formulas.mean else 1
        return (np.concatenate(found, 1) / count).sum(0)

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
        w = weights(formulas, s[:positives], s[positives:])[0].sum(0)
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
            return np.abs(self.done) > np.maximum(CLEARLY * self.error, SIGNIFICANT * self.size)


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


class Proof(NamedTuple):
    """A path along which work is done: its place among the paths, ∮⟨W, dS⟩ with its error, and ∮|⟨W, dS⟩|."""

    path: int
    done: float
    error: float
    size: float


def confirmed(field_of: Field, corners: Array, found: Work) -> Proof | None:
    """The path of the largest share of work, looked at again with other nodes; None where no work is proved.

    Two rules with nodes in common can miss the same jump between two nodes: other nodes then find other work.
    """
    proofs = np.flatnonzero(found.proves)
    if not len(proofs):
        return None
    best = int(proofs[(np.abs(found.done[proofs]) / found.size[proofs]).argmax()])
    again = [work(field_of, corners[best : best + 1], pieces) for pieces in AGAIN]
    done = np.array([found.done[best], *(other.done[0] for other in again)])
    error = max(float(np.ptp(done)), *(float(other.error[0]) for other in again))
    if not all(other.proves[0] for other in again) or np.abs(done).min() <= CLEARLY * error:
        return None
    return Proof(best, float(done[-1]), error, float(again[-1].size[0]))


def jumps(field_of: Field, ends: Array, rng: np.random.Generator) -> Array:
    """Places on lines, of shape ``(lines, 2, coordinates)``, where any component of the field jumps: along a line its
    own component may be smooth where another one jumps.
    """
    return work(field_of, ends, 20, rng.normal(size=ends.shape[2])).closed_in


def rectangles(centres: Array, halves: Array, planes: list[tuple[int, int]]) -> Array:
    """Corners of rectangles around centres, of half the width ``halves``, each in the plane of two coordinates."""
    corners = np.repeat(centres[:, None], 4, 1)
    for path, (i, j) in enumerate(planes):
        corners[path, :, i] += halves[path, 0] * np.array([-1, 1, 1, -1])
        corners[path, :, j] += halves[path, 1] * np.array([-1, -1, 1, 1])
    return corners
