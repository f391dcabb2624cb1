"""Losses × weights in one grid, on shared axes and one scale.

A weight of another similarity than the cosine is taken by the cosine, w·ds/du, so that losses of distances stand beside
losses of cosines; and each loss's weights are shares of its largest, as the learning rate would make them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.pictures.cosines import similarity_of, slope
from goal_analysis.pictures.sampling import LABELS, Objective, Settings, field_of, grid, kink_columns, weights_of
from goal_analysis.pictures.scales import PEAK, Scale
from goal_analysis.pictures.style import DIVERGING, SEQUENTIAL, style
from goal_analysis.pictures.surfaces import draw_colours, draw_contours, draw_kinks
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE

PANEL, GAP = 1.0, 0.12
"""The side of one panel, and the gap between w⁺ and w⁻, in inches."""

BLOCK, ROW = 2 * PANEL + GAP + 0.4, PANEL + 0.25
"""The distance between columns of pairs, and that between rows."""

LEFT, RIGHT, BELOW, ABOVE = 0.5, 1.0, 0.5, 0.4
"""The margins."""


def comparison_frame(objectives: Sequence[tuple[Objective, Settings]], count: int = 64) -> pd.DataFrame:
    """w⁺ and w⁻ of several objectives over the cosines of anchor with positive and negative.

    Args:
        objectives: decomposed losses, or any fields of weights, each under its own name and with the hyperparameters
            that differ from their defaults.
        count: samples along each side of the square.

    Returns:
        ``objective``, ``weight`` (``w_p`` or ``w_n``), ``s_p`` and ``s_n`` (cosines), ``value`` (by the cosine),
        ``share`` (of the objective's largest |value|; where that is a pole, of what all but a hundredth stay below),
        and ``kink_0`` … as in `goal_analysis.pictures.weights.surface_frame`.

    Raises:
        ValueError: a name twice, or settings that do not fit.
    """
    names = [field_of(objective).name for objective, _ in objectives]
    if len(set(names)) < len(names):
        raise ValueError(f"comparison: got the names {', '.join(names)} but expected every name once")
    return pd.concat([_by_cosines(*objective, count) for objective in objectives], ignore_index=True)


def _by_cosines(objective: Objective, settings: Settings, count: int) -> pd.DataFrame:
    field, at = field_of(objective), grid(COSINE, count)
    weights = weights_of(objective, settings)
    s = [similarity_of(at[name], field.similarity) for name in ("s_p", "s_n")]
    parts = []
    for weight, own in (("w_p", "s_p"), ("w_n", "s_n")):
        columns = {"value": weights[weight]} | kink_columns([weights[weight]])
        values = dict(zip(columns, compiled(list(columns.values()), (s_p, s_n), NUMPY)(*s), strict=True))
        values["value"] = values["value"] * slope(at[own], field.similarity)
        parts.append(at.assign(objective=field.name, weight=weight, **values))
    both = pd.concat(parts, ignore_index=True)
    both["value"] = both["value"].where(np.isfinite(both["value"]))
    sizes = both["value"].abs()
    top, most = sizes.max(), sizes.quantile(0.99)
    largest = most if top > PEAK * most > 0 else top
    return both.assign(share=both["value"] / largest if largest > 0 else both["value"])


def draw_comparison(frame: pd.DataFrame, figure: Figure) -> np.ndarray:
    """All the objectives of `comparison_frame`, w⁺ beside w⁻, in as many columns of pairs as make the page even.

    Args:
        frame: of `comparison_frame`.
        figure: an empty one; it is given its size and layout.

    Returns:
        The Axes, of shape ``(objectives, 2)``.
    """
    names = list(frame["objective"].unique())
    blocks = max(1, round(math.sqrt(len(names) / 3)))
    rows = math.ceil(len(names) / blocks)
    scale = _shared(frame["share"])
    width, height = blocks * BLOCK + LEFT + RIGHT, rows * ROW + BELOW + ABOVE
    axes = np.empty((len(names), 2), dtype=object)
    with style():
        # Every place is known, so that no layout has to be searched for.
        figure.set_layout_engine("none")
        figure.set_size_inches(width, height)
        colours = ScalarMappable(scale.norm, scale.colours)
        for (name, weight), panel in frame.groupby(["objective", "weight"], sort=False):
            place, column = names.index(name), int(weight == "w_n")
            block, row = divmod(place, rows)
            corner = (LEFT + block * BLOCK + column * (PANEL + GAP), height - ABOVE - row * ROW - PANEL)
            ax = figure.add_axes((corner[0] / width, corner[1] / height, PANEL / width, PANEL / height))
            own = panel.dropna(axis="columns", how="all").reset_index(drop=True)
            draw_colours(own, "share", ax, scale)
            draw_contours(own, "share", ax, scale.levels, width=0.35)
            draw_kinks(own, ax)
            ax.set(xlim=(-1, 1), ylim=(-1, 1), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            last = row == rows - 1 or place == len(names) - 1
            ax.tick_params(labelbottom=last, labelleft=column == 0, labelsize=6, length=2)
            ax.text(0, 1.04, str(name) if column == 0 else "", transform=ax.transAxes, fontsize=6.5)
            if row == 0:
                ax.set_title(f"${LABELS[str(weight)]}$", fontsize=8, pad=12, loc="center")
            axes[place, column] = ax
        tall = min(height - ABOVE - BELOW, 3.0)
        beside = figure.add_axes((1 - (RIGHT - 0.05) / width, 1 - (ABOVE + tall) / height, 0.1 / width, tall / height))
        bar = figure.colorbar(colours, cax=beside, extend=scale.extend)
        bar.set_label(f"share of the loss's largest weight\n({scale.note})", fontsize=7)
        bar.outline.set_visible(False)
        figure.supxlabel(
            r"$\cos(a, p) \in [-1, 1]$", fontsize=8, x=(LEFT + (width - RIGHT)) / 2 / width, y=0.08 / height
        )
        figure.supylabel(r"$\cos(a, n) \in [-1, 1]$", fontsize=8, x=0.05 / width)
    return axes


def _shared(shares: pd.Series) -> Scale:
    """One linear scale of shares from −1 or 0 to 1."""
    if (shares < 0).any():
        return Scale(Normalize(-1, 1), DIVERGING, (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75), "both", "poles clipped at ±1")
    return Scale(Normalize(0, 1), SEQUENTIAL, (0.25, 0.5, 0.75), "max", "poles clipped at 1")
