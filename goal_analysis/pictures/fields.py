"""The picture of a weight field: arrows, with the curl as colour and the potential's contours where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pandas as pd
import sympy as sp
from matplotlib.axes import Axes

from goal_analysis.pictures.arrows import draw_arrows
from goal_analysis.pictures.sampling import (
    Objective,
    Settings,
    field_of,
    grid,
    kink_columns,
    numeric,
    weights_of,
    with_columns,
)
from goal_analysis.pictures.scales import Scale, scale_of
from goal_analysis.pictures.style import FAINT, PUSH
from goal_analysis.pictures.surfaces import draw_colourbar, draw_colours, draw_contours, draw_zeros, similarity_axes
from goal_analysis.symbolic.analysis.integrability import Integrability, integrability
from goal_analysis.symbolic.analysis.kinks import Jump, refute_on_kink
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, Similarity
from goal_analysis.symbolic.proof.identity import Undecided
from goal_analysis.symbolic.weight import WeightField

ARROWS, SURFACE = 15, 161
"""Arrows, and samples of the curl, along each side of the square."""


def field_frame(objective: Objective, settings: Settings = None, count: int = ARROWS) -> pd.DataFrame:
    """The weight field (w⁺, −w⁻): where a step against the gradient by the similarities takes a triplet.

    Args:
        objective: a decomposed loss, or any field of weights.
        settings: hyperparameters that differ from their defaults.
        count: arrows along each side of the square.

    Returns:
        ``s_p``, ``s_n``, ``w_p``, ``w_n``.

    >>> from goal_analysis.symbolic.weight import WeightField
    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> field_frame(WeightField(name="linear", positive=1 - s_p, negative=s_n), count=2)[:2].round(3)
       s_p  s_n  w_p  w_n
    0 -0.5 -0.5  1.5 -0.5
    1  0.5 -0.5  0.5 -0.5
    """
    weights = weights_of(objective, settings)
    return with_columns(grid(field_of(objective).similarity, count), {name: weights[name] for name in ("w_p", "w_n")})


def curl_frame(
    objective: Objective,
    settings: Settings = None,
    verdict: Integrability | None = None,
    count: int = SURFACE,
) -> pd.DataFrame:
    """The curl ∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks, what it is concentrated to at kinks, and the potential.

    Args:
        objective: a decomposed loss, or any field of weights.
        settings: hyperparameters that differ from their defaults.
        verdict: what `integrability` says of the objective, if that is known.
        count: samples along each side of the square.

    Returns:
        ``s_p``, ``s_n``, ``curl``, ``kink_0`` … of which each changes its sign along one kink of the curl;
        ``potential`` where there is one: U = ∫P⁻ds_n − ∫P⁺ds_p, whose contours are those of the loss if the field has
        one, or the loss itself of weights that do not separate; and for every kink at which the curl is concentrated
        ``jump_0`` …, which changes its sign there, with ``concentrated_0`` …, by how much.

    >>> from goal_analysis.symbolic.weight import WeightField
    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> frame = curl_frame(WeightField(name="turning", positive=s_n, negative=s_p), count=2)
    >>> frame["curl"].tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    verdict = verdict or integrability(objective)
    columns: dict[str, sp.Expr] = {"curl": numeric(objective, verdict.curl, settings)}
    columns |= kink_columns([columns["curl"]])
    potential = verdict.loss if verdict.potential is None else verdict.potential
    if potential is not None:
        columns["potential"] = numeric(objective, potential, settings)
    for i, jump in enumerate(_concentrated(verdict, field_of(objective))):
        columns[f"jump_{i}"] = numeric(objective, jump.kink, settings)
        columns[f"concentrated_{i}"] = numeric(objective, jump.coefficient, settings)
    return with_columns(grid(field_of(objective).similarity, count), columns)


def _concentrated(verdict: Integrability, field: WeightField) -> Iterator[Jump]:
    """The jumps whose part of the curl does not vanish on the kink."""
    for jump in verdict.jumps if not verdict.integrable else ():
        # Where that could not be told, the verdict rests on something else.
        with suppress(Undecided):
            if refute_on_kink(jump, (s_n, s_p), field):
                yield jump


def draw_field(
    arrows: pd.DataFrame,
    curl: pd.DataFrame,
    ax: Axes,
    similarity: Similarity = COSINE,
    scale: Scale | None = None,
    colourbar: bool = True,
) -> Axes:
    """Arrows as long as the square root of their weights, above the curl in colour; contours of the potential.

    A curl of zero everywhere leaves the ground white. A kink at which the curl is concentrated is a thick line.

    Args:
        arrows: of `field_frame`.
        curl: of `curl_frame`.
        ax: where.
        similarity: what s_p and s_n measure.
        scale: of the curl's colours; by default what shows it best.
        colourbar: whether one stands beside it, where there is a curl.
    """
    turns = bool((curl["curl"].abs() > 0).any())
    if turns:
        scale = scale or scale_of(curl["curl"], signed=True)
        colours = draw_colours(curl, "curl", ax, scale)
        if colourbar:
            label = r"curl  $\partial w^+\!/\partial s_n + \partial w^-\!/\partial s_p$"
            note = f"\n({scale.note})" if scale.note else ""
            draw_colourbar(colours, ax, scale, label + note)
    if "potential" in curl:
        draw_contours(curl, "potential", ax, _levels(curl["potential"]), FAINT, 0.8)
    for i in range(sum(str(name).startswith("jump_") for name in curl)):
        there = curl.assign(here=curl[f"jump_{i}"].where(curl[f"concentrated_{i}"] != 0))
        if draw_zeros(there, "here", ax, PUSH, "solid", 2.0):
            ax.plot([], [], color=PUSH, linewidth=2.0, label="curl concentrated here")
    draw_arrows(arrows, arrows["w_p"], -arrows["w_n"], ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return similarity_axes(ax, similarity)


def _levels(potential: pd.Series, count: int = 9) -> tuple[float, ...]:
    """Levels between which the potential takes equal shares of the square."""
    finite = potential.dropna()
    return tuple(np.unique(np.quantile(finite, np.linspace(0, 1, count + 2)[1:-1]))) if len(finite) else ()
