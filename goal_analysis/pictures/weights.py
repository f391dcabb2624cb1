"""Pictures of the weights that an objective gives: pair curves, slices and surfaces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import sympy as sp
from matplotlib.axes import Axes

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.pictures.sampling import (
    LABELS,
    OFF,
    Objective,
    Settings,
    centres,
    field_of,
    grid,
    kink_columns,
    kinks,
    span_of,
    weight_of,
    weights_of,
    with_columns,
)
from goal_analysis.pictures.scales import PEAK, Scale, scale_of
from goal_analysis.pictures.style import DASHES, FAINT, PULL, PUSH
from goal_analysis.pictures.surfaces import (
    draw_colourbar,
    draw_colours,
    draw_contours,
    draw_kinks,
    similarity_axes,
    similarity_label,
)
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, Similarity

CURVE, SURFACE = 401, 161
"""Samples along a curve, and along each side of a surface."""

SLICES = (0.25, 0.5, 0.75)
"""Where on its range the other similarity is held, for weights that read both."""


def pair_frame(objective: Objective, settings: Settings = None, count: int = CURVE) -> pd.DataFrame:
    """P⁺ over s_p and P⁻ over s_n; where they do not exist, w⁺ and w⁻ at three values of the other similarity.

    Args:
        objective: a decomposed loss, or any field of weights.
        settings: hyperparameters that differ from their defaults.
        count: samples along a curve; those beside its kinks come on top.

    Returns:
        ``weight`` (``P_p`` and ``P_n``, or ``w_p`` and ``w_n``), ``s`` (s_p or s_n), ``held`` (the other similarity;
        NaN of what does not read it), ``piece`` (which side of how many kinks), ``value``.

    >>> from goal_analysis.symbolic.weight import Factors, WeightField
    >>> linear = WeightField(
    ...     name="linear", positive=1 - s_p, negative=s_n, factors=Factors(sp.Integer(1), 1 - s_p, s_n)
    ... )
    >>> frame = pair_frame(linear)
    >>> frame[frame["weight"] == "P_p"]["value"].describe()[["min", "max"]].tolist()
    [0.0025, 1.9975]
    """
    found, field = weights_of(objective, settings), field_of(objective)
    span = span_of(field.similarity)
    curves: list[tuple[str, sp.Symbol, sp.Expr, float]] = []
    for side, s, other in (("p", s_p, s_n), ("n", s_n, s_p)):
        if field.factors is not None:
            curves.append((f"P_{side}", s, found[f"P_{side}"], np.nan))
        else:
            for share in SLICES:
                held = span[0] + share * (span[1] - span[0])
                curves.append((f"w_{side}", s, found[f"w_{side}"].subs(other, sp.Float(held)), held))
    return pd.concat([_curve(*curve, span, count) for curve in curves], ignore_index=True)


def _curve(name: str, s: sp.Symbol, weight: sp.Expr, held: float, span: tuple[float, float], count: int):
    at, beside = centres(span, count, OFF[0]), 1e-9 * (span[1] - span[0])
    roots = np.sort([root for kink in kinks([weight]) for root in _roots(kink, s, at)])
    at = np.unique(np.concatenate([at, roots - beside, roots + beside]))
    (value,) = compiled([weight], [s], NUMPY)(at)
    piece = np.searchsorted(roots, at)
    return pd.DataFrame(
        {"weight": name, "s": at, "held": held, "piece": piece, "value": np.where(np.isfinite(value), value, np.nan)}
    )


def _roots(kink: sp.Expr, s: sp.Symbol, at: np.ndarray) -> np.ndarray:
    """Where ``kink`` changes its sign between samples, by bisection."""
    function = compiled([kink], [s], NUMPY)
    signs = np.sign(function(at)[0])
    between = np.flatnonzero(signs[:-1] * signs[1:] < 0)
    low, high, rising = at[between], at[between + 1], signs[between]
    for _ in range(60):
        middle = (low + high) / 2
        left = np.sign(function(middle)[0]) == rising
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return (low + high) / 2


def draw_pair_weights(frame: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """The curves of a frame; where one jumps, a dotted line joins its ends.

    Args:
        frame: of `pair_frame`.
        ax: where.
        similarity: what s measures.
    """
    held_at = sorted(frame["held"].dropna().unique())
    for (name, held), curve in frame.groupby(["weight", "held"], sort=False, dropna=False):
        name, held = str(name), float(str(held))
        dash = DASHES[held_at.index(held) if np.isfinite(held) else int(name == "P_n")]  # curves may coincide
        other = "s_n" if name == "w_p" else "s_p"
        label = f"${LABELS[name]}" + (f"$ at ${other} = {held:g}$" if np.isfinite(held) else f"(s_{name[-1]})$")
        colour = PULL if name.endswith("p") else PUSH
        pieces = [piece for _, piece in curve.groupby("piece")]
        for i, piece in enumerate(pieces):
            ax.plot(piece["s"], piece["value"], color=colour, linestyle=dash, label=label if i == 0 else None)
        for left, right in pairwise(pieces):
            ends = left.iloc[-1], right.iloc[0]
            ax.plot([e["s"] for e in ends], [e["value"] for e in ends], color=colour, linestyle=":", linewidth=0.8)
    ax.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    ax.set(xlim=span_of(similarity), xlabel=similarity_label("s", similarity), ylabel=f"weight{_clipped(ax, frame)}")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1.6, columnspacing=1.2)
    return ax


def _clipped(ax: Axes, frame: pd.DataFrame) -> str:
    """Cut the axis off where a curve rises to a pole, and say so."""
    sizes = frame["value"].abs().dropna()
    top, most = float(sizes.max()), float(sizes.quantile(0.99))
    if not top > PEAK * most > 0:
        return ""
    ax.set_ylim(-1.05 * most if (frame["value"] < 0).any() else -0.05 * most, 1.05 * most)
    return f" (clipped at {most:.2g})"


def surface_frame(
    objective: Objective, weight: str = "T", settings: Settings = None, count: int = SURFACE
) -> pd.DataFrame:
    """One weight over (s_p, s_n).

    Args:
        objective: a decomposed loss, or any field of weights.
        weight: ``T``, ``P_p``, ``P_n``, ``w_p`` or ``w_n``.
        settings: hyperparameters that differ from their defaults.
        count: samples along each side of the square.

    Returns:
        ``s_p``, ``s_n``, ``value`` (NaN where there is no finite one), and ``kink_0`` … of which each changes its sign
        along one kink of the weight.

    Raises:
        ValueError: no such weight, or an objective whose weights do not separate and have no T, P⁺ and P⁻.

    >>> from goal_analysis.symbolic.weight import Factors, WeightField
    >>> difference = WeightField(name="a difference", positive=s_n - s_p, negative=s_n - s_p)
    >>> surface_frame(difference, "w_p", count=2)[["s_p", "s_n", "value"]].round(3)
       s_p  s_n  value
    0 -0.5 -0.5    0.0
    1  0.5 -0.5   -1.0
    2 -0.5  0.5    1.0
    3  0.5  0.5    0.0
    """
    expression = weight_of(objective, weight, settings)
    at = grid(field_of(objective).similarity, count)
    return with_columns(at, {"value": expression} | kink_columns([expression]))


def draw_surface(
    frame: pd.DataFrame,
    ax: Axes,
    weight: str = "T",
    similarity: Similarity = COSINE,
    scale: Scale | None = None,
    colourbar: bool = True,
) -> Axes:
    """A weight of `surface_frame` in colours, with contours, and with its kinks dashed.

    Args:
        frame: of `surface_frame`.
        ax: where.
        weight: what it is of.
        similarity: what s_p and s_n measure.
        scale: of the colours; by default what shows this frame best.
        colourbar: whether one stands beside it.
    """
    scale = scale or scale_of(frame["value"])
    colours = draw_colours(frame, "value", ax, scale)
    draw_contours(frame, "value", ax, scale.levels)
    draw_kinks(frame, ax)
    similarity_axes(ax, similarity)
    if colourbar:
        note = f" ({scale.note})" if scale.note else ""
        draw_colourbar(colours, ax, scale, f"${LABELS[weight]}${note}")
    return ax
