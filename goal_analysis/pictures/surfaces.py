"""A quantity of one triplet over (s_p, s_n): colours, contours that stop at kinks, and the kinks themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from goal_analysis.pictures.sampling import matrix, regions, span_of
from goal_analysis.pictures.scales import Scale
from goal_analysis.pictures.style import FAINT, INK
from goal_analysis.symbolic.language.similarity import COSINE, Similarity


def similarity_label(symbol: str, similarity: Similarity = COSINE) -> str:
    r"""A similarity's symbol with its range, for an axis.

    >>> similarity_label("s_p")
    '$s_p \\in [-1, 1]$'
    """
    return rf"${symbol} \in [{similarity.opposite}, {similarity.identical}]$"


def similarity_axes(ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """Make ``ax`` the square of (s_p, s_n), labelled."""
    span = span_of(similarity)
    ax.set(xlim=span, ylim=span, aspect="equal")
    ax.set(xlabel=similarity_label("s_p", similarity), ylabel=similarity_label("s_n", similarity))
    ax.set(xticks=np.linspace(*span, 5), yticks=np.linspace(*span, 5))
    return ax


def draw_colours(frame: pd.DataFrame, column: str, ax: Axes, scale: Scale) -> ScalarMappable:
    """The column in colours, a cell a sample, so that a jump stays as sharp as the samples; NaN is hatched.

    Args:
        frame: a `goal_analysis.pictures.sampling.grid` with the column.
        column: what is drawn.
        ax: where.
        scale: of the colours.
    """
    values = np.ma.masked_invalid(matrix(frame, column))
    if values.mask.any():
        ax.patch.set(hatch="////", edgecolor=FAINT, facecolor="white")
    if scale.extend == "min":  # on a logarithmic scale zero is the least, not bad
        values = np.ma.maximum(values, scale.norm.vmin or 0.0)
    at = frame["s_p"].unique(), frame["s_n"].unique()
    return ax.pcolormesh(*at, values, norm=scale.norm, cmap=scale.colours, shading="nearest", rasterized=True)


def draw_colourbar(colours: ScalarMappable, ax: Axes, scale: Scale, label: str) -> None:
    """The scale beside ``ax``."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "Axes without a figure have no place for a scale"
    bar = figure.colorbar(colours, ax=ax, extend=scale.extend, label=label, fraction=0.05, pad=0.04)
    bar.outline.set_visible(False)
    if scale.ticks:
        bar.set_ticks(list(scale.ticks))
        bar.minorticks_off()


def draw_contours(
    frame: pd.DataFrame,
    column: str,
    ax: Axes,
    levels: tuple[float, ...],
    colour: str = INK,
    width: float = 0.5,
) -> int:
    """Contours of the column on every side of the kinks by itself, and how many levels had any.

    Args:
        frame: a `goal_analysis.pictures.sampling.grid` with the column, and with ``kink_0`` … where it has kinks.
        column: what is drawn.
        ax: where.
        levels: ascending.
        colour: of the lines.
        width: of the lines, in points.
    """
    values, sides = matrix(frame, column), regions(frame)
    drawn: set[float] = set()
    for side in np.unique(sides):
        inside = np.where(sides == side, values, np.nan)
        if not np.isfinite(inside).any():
            continue
        low, high = np.nanmin(inside), np.nanmax(inside)
        within = [level for level in levels if low < level < high]
        # A plateau that rounding alone makes uneven has no contours.
        if within and high - low > 1e-9 * max(abs(low), abs(high)):
            at = frame["s_p"].unique(), frame["s_n"].unique()
            masked = np.ma.masked_invalid(inside)
            ax.contour(*at, masked, levels=within, colors=[colour], linewidths=width, linestyles="solid")
            drawn.update(within)
    return len(drawn)


def draw_zeros(
    frame: pd.DataFrame, column: str, ax: Axes, colour: str = INK, dashes: str = "dashed", width: float = 0.7
) -> bool:
    """The line along which the column is zero, whatever kinks there are, and whether it has one."""
    values = matrix(frame, column)
    if not np.isfinite(values).any() or not np.nanmin(values) < 0 < np.nanmax(values):
        return False
    at = frame["s_p"].unique(), frame["s_n"].unique()
    ax.contour(*at, np.ma.masked_invalid(values), levels=[0.0], colors=[colour], linewidths=width, linestyles=dashes)
    return True


def draw_kinks(frame: pd.DataFrame, ax: Axes, colour: str = INK) -> int:
    """The kinks of a `goal_analysis.pictures.sampling.grid`, dashed, and how many cross it."""
    return sum(draw_zeros(frame, str(name), ax, colour) for name in frame if str(name).startswith("kink_"))
