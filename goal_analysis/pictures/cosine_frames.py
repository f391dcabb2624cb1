r"""Weights by the cosine, the one common measure of all similarities of unit vectors: losses beside each other, and the
phase portrait, which says where gradient descent on unit vectors carries a triplet in the plane of s_p and s_n.

Let a, p and n be unit vectors and L a loss of s_p = f(cos(a, p)) and s_n = f(cos(a, n)); write u = cos(a, p),
v = cos(a, n), c = cos(p, n), and ω⁺ = w⁺·f′(u), ω⁻ = w⁻·f′(v) for the weights by cosines. Gradient descent in
continuous time, kept on the sphere by taking from every gradient what lies along the vector itself, is

    da/dt = ω⁺·(p − u·a) − ω⁻·(n − v·a),     dp/dt = ω⁺·(a − u·p),     dn/dt = −ω⁻·(a − v·n).

The Gram matrix closes: by du/dt = p·da/dt + a·dp/dt, and likewise for the others,

    du/dt = 2ω⁺·(1 − u²) − ω⁻·(c − u·v)
    dv/dt = ω⁺·(c − u·v) − 2ω⁻·(1 − v²)
    dc/dt = ω⁺·(v − u·c) − ω⁻·(u − v·c),

and ds_p/dt = f′(u)·du/dt, ds_n/dt = f′(v)·dv/dt. The plane does not hold c: c − u·v = ρ·√(1 − u²)·√(1 − v²), where ρ in
[−1, 1] is the cosine of the angle at which a sees p and n. So arrows and nullclines are of a slice, all triplets with
one ρ, while trajectories start in it and then carry their own c. Independent random directions in many dimensions have
ρ near 0, where pulling and pushing do not disturb each other; the captions of images, which resemble each other, have
ρ > 0, and then a pushed negative takes the positive along.

The plane, s_p across and s_n up, is the triplet diagram of Hard Negative Examples are Hard, but Useful (Xuan,
Stylianou, Liu and Pless, ECCV 2020), https://arxiv.org/abs/2007.12749.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float64
from numpy.typing import ArrayLike

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.pictures.style import top_of
from goal_analysis.pictures.weight_frames import (
    Objective,
    Settings,
    field_of,
    grid,
    kink_columns,
    span_of,
    weights_of,
    with_columns,
)
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import (
    COSINE,
    DOT,
    NEGATIVE_EUCLIDEAN,
    NEGATIVE_SQUARED_EUCLIDEAN,
    Similarity,
)

_ITSELF = (lambda u: u, lambda s: s, np.ones_like)
OF_COSINES = {
    COSINE: _ITSELF,
    DOT: _ITSELF,
    NEGATIVE_SQUARED_EUCLIDEAN: (lambda u: 2 * u - 2, lambda s: 1 + s / 2, lambda u: np.full_like(u, 2.0)),
    NEGATIVE_EUCLIDEAN: (
        lambda u: -np.sqrt(np.maximum(2 - 2 * u, 0)),
        lambda s: 1 - s**2 / 2,
        lambda u: 1 / np.sqrt(np.maximum(2 - 2 * u, 0)),
    ),
}
"""Similarities that are functions of the cosine u: the function, its inverse and its derivative."""

RHO = 0.5  # the cosine of the angle at which the anchor sees positive and negative, by default

STARTS = tuple((u, v) for u in (-0.6, 0.1, 0.7) for v in (-0.5, 0.2, 0.8))  # of trajectories, as cosines
STEP, STEPS = 0.01, 400  # how far a trajectory goes at a time in the space of cosines, and how often at most
EDGE = 1 - 1e-12  # cosines this near to ±1 count as this, where slopes are finite
AT_REST = 1e-7  # a speed below this share of the largest is none


def cosine_of(s: ArrayLike, similarity: Similarity) -> Float64[np.ndarray, "*shape"]:
    """The cosine of the angle between unit vectors whose similarity is s; a similarity that does not tell it is a
    ValueError.

    >>> cosine_of([-4.0, -2.0, 0.0], NEGATIVE_SQUARED_EUCLIDEAN).tolist()
    [-1.0, 0.0, 1.0]
    """
    return _values(similarity, 1, s)


def similarity_of(u: ArrayLike, similarity: Similarity) -> Float64[np.ndarray, "*shape"]:
    """The similarity of unit vectors with the cosine u.

    >>> similarity_of([-1.0, 0.5, 1.0], NEGATIVE_EUCLIDEAN).tolist()
    [-2.0, -1.0, -0.0]
    """
    return _values(similarity, 0, u)


def of_unit_vectors(similarity: Similarity) -> Similarity:
    """The similarity with the range that it has on unit vectors, where a portrait is drawn.

    >>> of_unit_vectors(DOT).opposite, of_unit_vectors(NEGATIVE_EUCLIDEAN).opposite
    (-1, -2)
    """
    return (
        replace(similarity, opposite=COSINE.opposite, identical=COSINE.identical) if similarity == DOT else similarity
    )


def slope(u: ArrayLike, similarity: Similarity) -> Float64[np.ndarray, "*shape"]:
    """The derivative of the similarity by the cosine u; a weight times it is the weight by the cosine.

    >>> slope([0.5, 1.0], NEGATIVE_EUCLIDEAN).tolist()
    [1.0, inf]
    """
    return _values(similarity, 2, u)


def _values(similarity: Similarity, which: int, at: ArrayLike) -> np.ndarray:
    if similarity not in OF_COSINES:
        names = ", ".join(s.name for s in OF_COSINES)
        raise ValueError(f"similarity: got {similarity.name!r} but expected a function of the cosine: {names}")
    with np.errstate(divide="ignore"):
        return OF_COSINES[similarity][which](np.asarray(at, dtype=float))


def comparison_frame(objectives: Sequence[tuple[Objective, Settings]], count: int = 64) -> pd.DataFrame:
    """w⁺ and w⁻ of several objectives, each under its own name, over the cosines of anchor with positive and negative.

    The columns are ``objective``, ``weight`` (``w_p`` or ``w_n``), ``s_p`` and ``s_n`` (cosines), ``value`` (by the
    cosine), ``share`` (of the objective's largest |value|; where that is a pole, of what all but a hundredth stay
    below), and ``kink_0`` ….
    """
    names = [field_of(objective).name for objective, _ in objectives]
    if len(set(names)) < len(names):
        raise ValueError(f"comparison: got the names {', '.join(names)} but expected every name once")
    return pd.concat([_by_cosines(*objective, count) for objective in objectives], ignore_index=True)


def _by_cosines(objective: Objective, settings: Settings, count: int) -> pd.DataFrame:
    field, at = field_of(objective), grid(span_of(COSINE), count)
    weights = weights_of(objective, settings)
    similarities = at.apply(lambda u: similarity_of(u, field.similarity))
    parts = []
    for weight, s in (("w_p", "s_p"), ("w_n", "s_n")):
        columns = {"value": weights[weight]} | kink_columns([weights[weight]])
        found = with_columns(similarities, columns)
        found["value"] *= slope(at[s], field.similarity)
        parts.append(found.assign(objective=field.name, weight=weight, s_p=at["s_p"], s_n=at["s_n"]))
    both = pd.concat(parts, ignore_index=True)
    largest, _ = top_of(both["value"])
    return both.assign(share=both["value"] / (largest or 1.0))


def gram_flow(
    weight_p: np.ndarray, weight_n: np.ndarray, u: np.ndarray, v: np.ndarray, c: np.ndarray
) -> Float64[np.ndarray, "3 count"]:
    """du/dt, dv/dt and dc/dt from ω⁺ and ω⁻, as derived above.

    >>> gram_flow(*np.array([[1.0], [1.0], [0.5], [0.5], [0.25]])).T.tolist()
    [[1.5, -1.5, 0.0]]
    """
    coupling = c - u * v
    du = 2 * weight_p * (1 - u**2) - weight_n * coupling
    dv = weight_p * coupling - 2 * weight_n * (1 - v**2)
    return np.stack([du, dv, weight_p * (v - u * c) - weight_n * (u - v * c)])


def portrait_frame(objective: Objective, settings: Settings = None, rho: float = RHO, count: int = 121) -> pd.DataFrame:
    """The velocity of (s_p, s_n) where ρ in [−1, 1] is one: ``s_p``, ``s_n``, ``ds_p``, ``ds_n``, and ``kink_0`` …."""
    if not -1 <= rho <= 1:
        raise ValueError(f"rho: got {rho} but expected a number in [-1, 1]")
    weights, similarity = weights_of(objective, settings), field_of(objective).similarity
    weights = {name: weights[name] for name in ("w_p", "w_n")}
    span = span_of(of_unit_vectors(similarity))
    frame = with_columns(grid(span, count), weights | kink_columns(list(weights.values())))
    u, v = (cosine_of(frame[s], similarity) for s in ("s_p", "s_n"))
    slope_p, slope_n = (slope(x, similarity) for x in (u, v))
    flow = gram_flow(frame["w_p"].to_numpy() * slope_p, frame["w_n"].to_numpy() * slope_n, u, v, _seen(u, v, rho))
    return frame.drop(columns=["w_p", "w_n"]).assign(ds_p=slope_p * flow[0], ds_n=slope_n * flow[1])


def trajectories_frame(
    objective: Objective,
    settings: Settings = None,
    starts: Sequence[tuple[float, float]] | None = None,
    rho: float = RHO,
) -> pd.DataFrame:
    """Where gradient descent carries triplets, by Heun steps of equal length until they rest or reach the edge.

    They start at pairs (s_p, s_n) with one ρ; afterwards cos(p, n) goes its own way. The columns are ``trajectory``,
    ``point`` (from 0), ``s_p``, ``s_n``, ``cos_pn``.

    >>> from goal_analysis.symbolic.weight import WeightField
    >>> import sympy as sp
    >>> pulled = WeightField(name="pulled", positive=sp.Integer(1), negative=sp.Integer(0))
    >>> frame = trajectories_frame(pulled, starts=[(0.5, 0.0)], rho=0.0)
    >>> bool(frame["s_p"].is_monotonic_increasing), bool(frame["s_p"].iloc[-1] > 0.98)
    (True, True)
    """
    weights, similarity = weights_of(objective, settings), field_of(objective).similarity
    function = compiled([weights["w_p"], weights["w_n"]], (s_p, s_n), NUMPY)
    u, v = np.array(STARTS).T if starts is None else cosine_of(np.array(starts, dtype=float), similarity).T
    state = np.stack([u, v, _seen(u, v, rho)])

    def velocity(at: np.ndarray) -> np.ndarray:
        at = np.clip(at, -EDGE, EDGE)
        w_p, w_n = function(*similarity_of(at[:2], similarity))
        return gram_flow(w_p * slope(at[0], similarity), w_n * slope(at[1], similarity), *at)

    rows = pd.DataFrame(_followed(velocity, state)).sort_values(["trajectory", "point"], ignore_index=True)
    for cosine, s in (("u", "s_p"), ("v", "s_n")):
        rows[s] = similarity_of(rows[cosine], similarity)
    return rows[["trajectory", "point", "s_p", "s_n", "cos_pn"]]


def _seen(u: np.ndarray, v: np.ndarray, rho: float) -> np.ndarray:
    """cos(p, n) of vectors that the anchor sees at an angle whose cosine is ρ."""
    return u * v + rho * np.sqrt((1 - u**2) * (1 - v**2))


def _followed(velocity: Callable[[np.ndarray], np.ndarray], state: np.ndarray) -> list[dict[str, int | float]]:
    rows, alive, before = [], np.ones(state.shape[1], dtype=bool), np.zeros_like(state)
    top = np.nanmax(_speed(velocity(state)), initial=0.0)
    for point in range(STEPS + 1):
        for i in np.flatnonzero(alive):
            u, v, c = state[:, i].tolist()
            rows.append({"trajectory": int(i), "point": point, "u": u, "v": v, "cos_pn": c})
        first = velocity(state)
        second = velocity(state + STEP * _direction(first))
        step = STEP * (_direction(first) + _direction(second)) / 2
        inside = (np.abs(state + step) <= 1).all(0)  # NaN is not
        turns = (step * before).sum(0) < 0  # as it would around a point of rest, to and fro
        alive &= (_speed(first) > AT_REST * top) & inside & ~turns
        state, before = np.where(alive, state + step, state), step
    return rows


def _speed(velocity: np.ndarray) -> np.ndarray:
    return np.hypot(velocity[0], velocity[1])


def _direction(velocity: np.ndarray) -> np.ndarray:
    size = np.sqrt((velocity**2).sum(0))
    return np.divide(velocity, size, out=np.zeros_like(velocity), where=size > 0)
