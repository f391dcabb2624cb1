"""Figures without pyplot, laid out so that no text is cut and none lies on another, and their files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from goal_analysis.files import write_whole
from goal_analysis.pictures import FORMATS
from goal_analysis.pictures.style import style

EDGE, GAP = 0.08, 0.14  # around a page, and between what belongs to two panels, in inches
ROOM = 1.0  # around a panel where its texts are measured, in inches


def panels(rows: int = 1, columns: int = 1, width: float = 2.6, height: float = 2.3) -> tuple[Figure, np.ndarray]:
    """A figure and its Axes of shape ``(rows, columns)``, in the project's style, apart from pyplot and its window.

    The width and the height are of one Axes, in inches: about as large is it drawn, and exactly so after `fit`.
    """
    with style():
        figure = Figure(figsize=(columns * (width + 0.8), rows * (height + 0.5)), layout="constrained")
        sides: dict[str, Any] = {"width_ratios": [width] * columns, "height_ratios": [height] * rows}
        return figure, figure.subplots(rows, columns, squeeze=False, **sides)


def fit(figure: Figure, title: str = "") -> Figure:
    """Give the Axes of `panels` their size, and make the page as large as they, their labels, the title above and the
    legend of the figure below them need. The title is broken into lines as wide as the page.
    """
    figure.set_layout_engine("none")
    axes: list[Any] = [ax for ax in figure.axes if ax.get_subplotspec() is not None]
    with style():
        renderer = FigureCanvasAgg(figure).get_renderer()
        _place(figure, axes, np.full((len(axes), 4), ROOM))
        around = np.array([_around(ax, renderer) for ax in axes])
        _place(figure, axes, around)
        said = figure.suptitle(title, x=EDGE / figure.get_figwidth(), ha="left", va="top", wrap=True)
        inches = [np.array(text.get_window_extent(renderer).size) / figure.dpi for text in (said, *figure.legends)]
        head, foot = (high + GAP if high else 0.0 for _, high in (*inches, (0, 0))[:2])
        _place(figure, axes, around, head, foot, max(wide for wide, _ in inches))
        across, up = EDGE / figure.get_size_inches()
        said.set_position((across, 1 - up))
        for legend in figure.legends:
            legend.set(loc="lower left")
            legend.set_bbox_to_anchor((across, up))
    return figure


def _around(ax: Any, renderer: Any) -> np.ndarray:
    """How far what belongs to an Axes reaches beyond its place: left, right, above, below, in inches."""
    place = ax.get_position(original=True).transformed(ax.figure.transSubfigure)
    box = ax.get_tightbbox(renderer) or place
    beyond = (place.x0 - box.x0, box.x1 - place.x1, box.y1 - place.y1, place.y0 - box.y0)
    return np.maximum(beyond, 0) / ax.figure.dpi


def _place(
    figure: Figure, axes: Sequence[Any], around: np.ndarray, head: float = 0.0, foot: float = 0.0, least: float = 0.0
) -> None:
    """Put Axes into their rows and columns, so far apart that what is around them keeps apart too."""
    spec = [ax.get_subplotspec() for ax in axes]
    grid, columns, rows = spec[0].get_gridspec(), *zip(*((s.colspan.start, s.rowspan.start) for s in spec), strict=True)
    sides = []
    for at, sizes, sides_around in (
        (columns, grid.get_width_ratios(), around[:, :2]),
        (rows, grid.get_height_ratios(), around[:, 2:]),
    ):
        needed = np.zeros((len(sizes), 2))
        np.maximum.at(needed, list(at), sides_around)
        ends = np.cumsum(needed.sum(1) + sizes + GAP) - GAP + EDGE
        sides.append((np.array(sizes), ends - needed[:, 1] - sizes, ends[-1] + EDGE))
    (wide, left, width), (high, above, height) = sides
    width, height = max(width, least + 2 * EDGE), head + height + foot
    figure.set_size_inches(width, height)
    for ax, column, row in zip(axes, columns, rows, strict=True):
        bottom = height - head - above[row] - high[row]
        ax.set_position((left[column] / width, bottom / height, wide[column] / width, high[row] / height))


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
