"""Figures without pyplot, and their files; the square of (s_p, s_n) with surfaces, kinks and arrows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import sympy as sp
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from goal_analysis.files import write_whole
from goal_analysis.pictures import FORMATS
from goal_analysis.pictures.style import FAINT, INK, Scale, style
from goal_analysis.pictures.weight_frames import arrow_frame, is_bounded, matrix, regions, span_of
from goal_analysis.symbolic.language.similarity import COSINE, Similarity


def panels(
    rows: int = 1,
    columns: int = 1,
    width: float = 3.4,
    height: float = 2.8,
    margins: tuple[float, float, float, float] | None = None,
) -> tuple[Figure, np.ndarray]:
    """A figure and its Axes of shape ``(rows, columns)``, in the project's style, apart from pyplot and its window.

    Sizes are of one Axes, in inches; ``margins`` are left, right, below and above each. Without them the layout finds
    room for all labels, which takes longer than all the drawing.
    """
    with style():
        size = width * columns, height * rows
        figure = Figure(figsize=size, layout=None if margins else "constrained")
        if margins:
            left, right, below, above = margins
            wide, high = width - left - right, height - below - above
            figure.subplots_adjust(
                left / size[0], below / size[1], 1 - right / size[0], 1 - above / size[1],
                wspace=(left + right) / wide, hspace=(below + above) / high,
            )  # fmt: skip
        return figure, figure.subplots(rows, columns, squeeze=False)


def single_panel(
    width: float = 3.4, height: float = 2.8, margins: tuple[float, float, float, float] | None = None
) -> tuple[Figure, Axes]:
    """A figure with one Axes, as `panels` makes it."""
    figure, axes = panels(1, 1, width, height, margins)
    return figure, axes[0, 0]


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the ending, one of `FORMATS`; text stays text in SVG and PDF."""
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of .{', .'.join(FORMATS)}")
    content = io.BytesIO()
    # Without a date the same picture is the same file.
    with style():
        if kind == "png":
            FigureCanvasAgg(figure).print_png(content)  # savefig would draw twice
        else:
            dated = {"svg": "Date", "pdf": "CreationDate"}[kind]
            figure.savefig(content, format=kind, metadata={dated: None})
    write_whole(path, content.getvalue())


# --- the square of (s_p, s_n) ---------------------------------------------------------------------


def similarity_label(
    symbol: str, similarity: Similarity = COSINE, span: tuple[float, float] | None = None, of: str = ""
) -> str:
    r"""A similarity's symbol with its range, for an axis; where there is no range, with what is drawn of it.

    >>> similarity_label("s_p")
    '$s_p \\in [-1, 1]$'
    >>> similarity_label("s", Similarity("log_ratio", "log p/q", -sp.oo, sp.oo), (-4.0, 4.0))
    '$s \\in (-\\infty, \\infty)$, drawn from $-4$ to $4$'
    """
    ends = similarity.opposite, similarity.identical
    if is_bounded(similarity):
        return rf"${symbol} \in {list(ends)}${of}"
    low, high = span or span_of(similarity)
    interval = sp.latex(sp.Interval(*ends)).replace(r"\left", "").replace(r"\right", "")
    return rf"${symbol} \in {interval}$, drawn from ${low:.3g}$ to ${high:.3g}${of}"


def similarity_axes(
    ax: Axes, similarity: Similarity = COSINE, span: tuple[float, float] | None = None, of: str = ""
) -> Axes:
    """Make ``ax`` the square of (s_p, s_n) in a span, by default the similarity's, labelled."""
    span = span or span_of(similarity)
    ax.set(xlim=span, ylim=span, aspect="equal")
    ax.set(xlabel=similarity_label("s_p", similarity, span, of), ylabel=similarity_label("s_n", similarity, span, of))
    if is_bounded(similarity):
        ax.set(xticks=np.linspace(*span, 5), yticks=np.linspace(*span, 5))
    return ax


def draw_colours(frame: pd.DataFrame, column: str, ax: Axes, scale: Scale) -> ScalarMappable:
    """A column of a `grid` in colours, a cell a sample, so that a jump stays sharp; NaN is hatched."""
    values = np.ma.masked_invalid(matrix(frame, column))
    if values.mask.any():
        ax.patch.set(hatch="////", edgecolor=FAINT, facecolor="white")
    if scale.kind == "log":  # on a logarithmic scale zero is the least, not bad
        values = np.ma.maximum(values, scale.floor)
    at = frame["s_p"].unique(), frame["s_n"].unique()
    return ax.pcolormesh(*at, values, norm=scale.norm, cmap=scale.colours, shading="nearest", rasterized=True)


def draw_colourbar(colours: ScalarMappable, ax: Axes, scale: Scale, label: str) -> None:
    """The scale beside ``ax``, with its note after the label."""
    room = " " if len(label) < 20 else "\n"
    label += f"{room}({scale.note})" if scale.note else ""
    bar = ax.figure.colorbar(colours, ax=ax, extend=scale.extend, label=label, fraction=0.05, pad=0.04)
    bar.outline.set_visible(False)
    if scale.kind == "symlog":
        bar.set_ticks(list(scale.marks))
        bar.minorticks_off()


def draw_contours(
    frame: pd.DataFrame, column: str, ax: Axes, levels: tuple[float, ...], colour: str = INK, width: float = 0.5
) -> int:
    """Draw contours of a column, each side of the kinks ``kink_0`` … by itself; return how many levels were drawn."""
    values, sides = matrix(frame, column), regions(frame)
    at = frame["s_p"].unique(), frame["s_n"].unique()
    drawn: set[float] = set()
    for side in np.unique(sides):
        inside = np.ma.masked_invalid(np.where(sides == side, values, np.nan))
        low, high = inside.min(), inside.max()
        within = [level for level in levels if low < level < high]
        # A plateau that rounding alone makes uneven has no contours.
        if within and high - low > 1e-9 * max(abs(low), abs(high)):
            ax.contour(*at, inside, levels=within, colors=[colour], linewidths=width, linestyles="solid")
            drawn.update(within)
    return len(drawn)


def draw_zeros(
    frame: pd.DataFrame, column: str, ax: Axes, colour: str = INK, dashes: str = "dashed", width: float = 0.7
) -> bool:
    """Draw the line along which a column is zero, across all kinks; return whether there is one."""
    values = np.ma.masked_invalid(matrix(frame, column))
    if values.mask.all() or not values.min() < 0 < values.max():
        return False
    at = frame["s_p"].unique(), frame["s_n"].unique()
    ax.contour(*at, values, levels=[0.0], colors=[colour], linewidths=width, linestyles=dashes)
    return True


def draw_kinks(frame: pd.DataFrame, ax: Axes, colour: str = INK) -> int:
    """Draw the kinks of a `goal_analysis.pictures.weight_frames.grid` dashed; return how many there are."""
    return sum(draw_zeros(frame, str(name), ax, colour) for name in frame if str(name).startswith("kink_"))


def draw_arrows(at: pd.DataFrame, across: pd.Series, up: pd.Series, ax: Axes) -> Axes:
    """The arrows of `goal_analysis.pictures.weight_frames.arrow_frame`; a dot where nothing moves."""
    arrows = arrow_frame(at, across, up)
    moves = (arrows[["across", "up"]] != 0).any(axis=1)
    ax.quiver(
        *arrows[moves].to_numpy().T, color=INK, angles="xy", pivot="middle", scale_units="x", scale=1,
        width=0.004, headwidth=4, headlength=4, headaxislength=3.5, minlength=0.6,
    )  # fmt: skip
    still = arrows[~moves]
    ax.plot(still["s_p"], still["s_n"], ".", color=FAINT, markersize=1.5)
    return ax
