"""Weights by the cosine: losses beside each other, and where descent on unit vectors carries a triplet.

Let L be a loss of s_p = f(u) and s_n = f(v), where u = cos(a, p), v = cos(a, n), c = cos(p, n), and ω⁺ = w⁺·f′(u), ω⁻ =
w⁻·f′(v). By da/dt = ω⁺·(p − u·a) − ω⁻·(n − v·a), dp/dt = ω⁺·(a − u·p), dn/dt = −ω⁻·(a − v·n), which is descent kept on
the sphere, the Gram matrix closes:

    du/dt = 2ω⁺·(1 − u²) − ω⁻·(c − u·v)
    dv/dt = ω⁺·(c − u·v) − 2ω⁻·(1 − v²)
    dc/dt = ω⁺·(v − u·c) − ω⁻·(u − v·c)

The plane does not hold c: c − u·v = ρ·√(1 − u²)·√(1 − v²), where ρ in [−1, 1] is the cosine of the angle at which a
sees p and n. So arrows and nullclines are of all triplets with one ρ; trajectories start there and carry their own c.
The triplet diagram is that of Hard Negative Examples are Hard, but Useful (Xuan, Stylianou, Liu and Pless, ECCV 2020),
https://arxiv.org/abs/2007.12749.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sympy as sp
from jaxtyping import Float64

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.pictures import weight_frames as frames
from goal_analysis.pictures.style import top_of
from goal_analysis.pictures.weight_frames import Objective, field_of
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT, OF_COSINE, Similarity


class OfCosine(NamedTuple):
    """A similarity by the cosine, its inverse, and its slope: a weight times the slope is the weight by the cosine."""

    similarity: Callable[[Any], Any]
    cosine: Callable[[Any], Any]
    slope: Callable[[np.ndarray], np.ndarray]


DIFFERENCE = "difference"
RHO = 0.5  # the cosine of the angle at which the anchor sees positive and negative, by default
STARTS = tuple((u, v) for u in (-0.6, 0.1, 0.7) for v in (-0.5, 0.2, 0.8))  # of trajectories, as cosines
STEP, STEPS = 0.01, 400  # how far a trajectory goes at a time in the space of cosines, and how often at most
EDGE = 1 - 1e-12  # cosines this near to ±1 count as this, where slopes are finite
AT_REST = 1e-7  # a speed below this share of the largest is none


def of_cosine(similarity: Similarity) -> OfCosine:
    """A similarity of unit vectors by the cosine; one that does not tell it is a ValueError."""
    if similarity not in OF_COSINE:
        names = ", ".join(s.name for s in OF_COSINE)
        raise ValueError(f"similarity: got {similarity.name!r} but expected a function of the cosine: {names}")
    by_cosine, cosine = OF_COSINE[similarity]
    slope = compiled([sp.diff(by_cosine, s_p)], [s_p], NUMPY)
    there, back = (sp.lambdify(s_p, f, "numpy") for f in (by_cosine, cosine))
    return OfCosine(there, back, lambda u: slope(u)[0])


def comparison_frame(objectives: Sequence[Objective], count: int = 64) -> pd.DataFrame:
    """w⁺ and w⁻ of objectives by cosines: ``objective``, ``weight``, ``s_p``, ``s_n``, ``value``, ``share`` (of the
    largest that is no pole), and ``kink_0`` ….
    """
    names = [field_of(objective).name for objective in objectives]
    if len(set(names)) < len(names):
        raise ValueError(f"comparison: got the names {', '.join(names)} but expected every name once")
    at, found = frames.grid(frames.span_of(COSINE), count), []
    for name, objective in zip(names, objectives, strict=True):
        weights, by, parts = frames.weights_of(objective), of_cosine(field_of(objective).similarity), []
        for weight, s in (("w_p", "s_p"), ("w_n", "s_n")):
            of = frames.with_columns(
                by.similarity(at), {"value": weights[weight]} | frames.kink_columns([weights[weight]])
            )
            of["value"] *= by.slope(at[s].to_numpy())
            parts.append(of.assign(objective=name, weight=weight, s_p=at["s_p"], s_n=at["s_n"]))
        both = pd.concat(parts, ignore_index=True)
        found.append(both.assign(share=both["value"] / (top_of(both["value"])[0] or 1.0)))
    return pd.concat(found, ignore_index=True)


def difference_frame(one: Objective, other: Objective) -> pd.DataFrame:
    """The `comparison_frame` of both, and as `DIFFERENCE` the first's shares minus the second's, with all kinks."""
    frame = comparison_frame([one, other])
    found = [frame]
    for _, of in frame.groupby("weight", sort=False):
        first, second = (part.reset_index(drop=True) for _, part in of.groupby("objective", sort=False))
        kinks = second.filter(regex="^kink_").add_prefix("kink_of_other_")
        both = pd.concat([first.drop(columns="value"), kinks], axis="columns")
        found.append(both.assign(objective=DIFFERENCE, share=first["share"] - second["share"]))
    return pd.concat(found, ignore_index=True)


def gram_flow(
    weight_p: np.ndarray, weight_n: np.ndarray, u: np.ndarray, v: np.ndarray, c: np.ndarray
) -> Float64[np.ndarray, "3 count"]:
    """du/dt, dv/dt and dc/dt from ω⁺ and ω⁻, as derived above."""
    coupling = c - u * v
    du = 2 * weight_p * (1 - u**2) - weight_n * coupling
    dv = weight_p * coupling - 2 * weight_n * (1 - v**2)
    return np.stack([du, dv, weight_p * (v - u * c) - weight_n * (u - v * c)])


def flow_frame(objective: Objective, rho: float = RHO, count: int = 121) -> pd.DataFrame:
    """The velocity of (s_p, s_n) where ρ in [−1, 1] is one: ``s_p``, ``s_n``, ``ds_p``, ``ds_n``, and ``kink_0`` …."""
    if not -1 <= rho <= 1:
        raise ValueError(f"rho: got {rho} but expected a number in [-1, 1]")
    weights, similarity = frames.weights_of(objective), field_of(objective).similarity
    weights, by = {name: weights[name] for name in ("w_p", "w_n")}, of_cosine(similarity)
    at = frames.grid(frames.span_of(COSINE if similarity == DOT else similarity), count)  # of unit vectors
    frame = frames.with_columns(at, weights | frames.kink_columns(list(weights.values())))
    s, w = (frame[list(names)].to_numpy().T for names in (("s_p", "s_n"), weights))
    u, v = by.cosine(s)
    slopes = by.slope(np.stack([u, v]))
    weight_p, weight_n = w * slopes
    ds_p, ds_n = slopes * gram_flow(weight_p, weight_n, u, v, _seen(u, v, rho))[:2]
    return frame.drop(columns=["w_p", "w_n"]).assign(ds_p=ds_p, ds_n=ds_n)


def trajectories_frame(
    objective: Objective, starts: Sequence[tuple[float, float]] | None = None, rho: float = RHO
) -> pd.DataFrame:
    """Where descent carries triplets from (s_p, s_n) with one ρ, by Heun steps of equal length until they rest or reach
    the edge: ``trajectory``, ``point`` (from 0), ``s_p``, ``s_n``, ``cos_pn``.
    """
    weights, by = frames.weights_of(objective), of_cosine(field_of(objective).similarity)
    function = compiled([weights["w_p"], weights["w_n"]], (s_p, s_n), NUMPY)
    u, v = np.array(STARTS).T if starts is None else by.cosine(np.array(starts, dtype=float)).T

    def velocity(at: np.ndarray) -> np.ndarray:
        at = np.clip(at, -EDGE, EDGE)
        return gram_flow(*(np.stack(function(*by.similarity(at[:2]))) * by.slope(at[:2])), *at)

    rows = _followed(velocity, np.stack([u, v, _seen(u, v, rho)]))
    frame = pd.DataFrame(rows, columns=["trajectory", "point", "s_p", "s_n", "cos_pn"])
    frame[["s_p", "s_n"]] = by.similarity(frame[["s_p", "s_n"]])
    return frame.sort_values(["trajectory", "point"], ignore_index=True)


def _seen(u: np.ndarray, v: np.ndarray, rho: float) -> np.ndarray:
    """cos(p, n) of vectors that the anchor sees at an angle whose cosine is ρ."""
    return u * v + rho * np.sqrt((1 - u**2) * (1 - v**2))


def _followed(velocity: Callable[[np.ndarray], np.ndarray], state: np.ndarray) -> list[tuple[float, ...]]:
    """The rows trajectory, point, u, v, c."""

    def speed_and_direction(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = np.sqrt((v**2).sum(0))
        return np.hypot(v[0], v[1]), np.divide(v, size, out=np.zeros_like(v), where=size > 0)

    rows, alive, before = [], np.ones(state.shape[1], dtype=bool), np.zeros_like(state)
    top = np.nanmax(speed_and_direction(velocity(state))[0], initial=0.0)
    for point in range(STEPS + 1):
        rows += [(int(i), point, *state[:, i].tolist()) for i in np.flatnonzero(alive)]
        speed, first = speed_and_direction(velocity(state))
        step = STEP * (first + speed_and_direction(velocity(state + STEP * first))[1]) / 2
        inside = (np.abs(state + step) <= 1).all(0)  # NaN is not
        turns = (step * before).sum(0) < 0  # as it would around a point of rest, to and fro
        alive &= (speed > AT_REST * top) & inside & ~turns
        state, before = np.where(alive, state + step, state), step
    return rows
