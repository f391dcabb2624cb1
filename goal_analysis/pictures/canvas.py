"""Figures without pyplot, laid out so that no text is cut and none lies on another, and their files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from goal_analysis.files import write_whole
from goal_analysis.pictures import FORMATS
from goal_analysis.pictures.style import style

EDGE, GAP = 0.08, 0.14  # around a page, and between what belongs to two panels, in inches
ROOM = (1.0,) * 4  # left, right, above and below a panel where its texts are measured, in inches


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
        _place(figure, dict.fromkeys(axes, ROOM))
        renderer = FigureCanvasAgg(figure).get_renderer()
        around = {ax: _around(ax, renderer) for ax in axes}
        _place(figure, around)
        said = figure.suptitle(title, x=EDGE / figure.get_figwidth(), ha="left", va="top", wrap=True)
        inches = [np.array(text.get_window_extent(renderer).size) / figure.dpi for text in (said, *figure.legends)]
        head, foot = (high + GAP if high else 0.0 for _, high in (*inches, (0, 0))[:2])
        _place(figure, around, head, foot, max(wide for wide, _ in inches))
        size = figure.get_size_inches()
        said.set_position((EDGE / size[0], 1 - EDGE / size[1]))
        for legend in figure.legends:
            legend.set(loc="lower left")
            legend.set_bbox_to_anchor((EDGE / size[0], EDGE / size[1]))
    return figure


def _around(ax: Any, renderer: Any) -> tuple[float, ...]:
    """How far what belongs to an Axes reaches beyond its place: left, right, above, below, in inches."""
    box, place = ax.get_tightbbox(renderer), ax.get_position(original=True).transformed(ax.figure.transSubfigure)
    if box is None:
        return (0.0,) * 4
    beyond = (place.x0 - box.x0, box.x1 - place.x1, box.y1 - place.y1, place.y0 - box.y0)
    return tuple(max(0.0, float(pixels) / ax.figure.dpi) for pixels in beyond)


def _place(
    figure: Figure, around: Mapping[Any, tuple[float, ...]], head: float = 0.0, foot: float = 0.0, least: float = 0.0
) -> None:
    """Put Axes into their rows and columns, so far apart that what is around them keeps apart too."""
    grid = next(iter(around)).get_subplotspec().get_gridspec()
    first, page = [], []
    for side, sizes in enumerate((np.array(grid.get_width_ratios()), np.array(grid.get_height_ratios()))):
        needed = np.zeros((2, len(sizes)))
        for ax, beyond in around.items():
            at = _row_and_column(ax)[1 - side]
            needed[:, at] = np.maximum(needed[:, at], beyond[2 * side : 2 * side + 2])
        ends = EDGE + head * side + np.cumsum(needed.sum(0) + sizes + GAP) - GAP
        first.append(ends - needed[1] - sizes)
        page.append(ends[-1] + EDGE + foot * side)
    wide, high = max(page[0], least + 2 * EDGE), page[1]
    figure.set_size_inches(wide, high)
    for ax in around:
        row, column = _row_and_column(ax)
        width, height = grid.get_width_ratios()[column], grid.get_height_ratios()[row]
        ax.set_position((first[0][column] / wide, 1 - (first[1][row] + height) / high, width / wide, height / high))


def _row_and_column(ax: Any) -> tuple[int, int]:
    place = ax.get_subplotspec()
    return place.rowspan.start, place.colspan.start


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
