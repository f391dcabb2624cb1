"""Figures without pyplot, laid out so that no text is cut and none lies on another, and their files."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from goal_analysis.files import write_whole
from goal_analysis.pictures import FORMATS
from goal_analysis.pictures.style import style

PLAIN = (-4, 5)  # powers of ten between which the numbers at an axis are written as they are
PAD, ROOM = 0.07, 3.0  # around what belongs to a panel, and more than a page needs where it is measured, in inches
ROUNDS = 3  # after which panels have their size: labels and lines of the title depend on that of the page


def panels(rows: int = 1, columns: int = 1, width: float = 2.6, height: float = 2.3) -> tuple[Figure, np.ndarray]:
    """A figure without pyplot, and Axes of shape ``(rows, columns)``; each has this size in inches after `fit`."""
    with style():
        figure = Figure(figsize=(columns * (width + 0.8), rows * (height + 0.5)), layout="constrained")
        sides: dict[str, Any] = {"width_ratios": [width] * columns, "height_ratios": [height] * rows}
        return figure, figure.subplots(rows, columns, squeeze=False, **sides)


class Ruler(FigureCanvasAgg):
    """Measures texts with one renderer for all pages: each would have to set every formula anew."""

    def get_renderer(self) -> RendererAgg:
        """The renderer of this many dots an inch."""
        return _renderer(self.figure.dpi)


@cache
def _renderer(dpi: float) -> RendererAgg:
    return RendererAgg(1, 1, dpi)


def fit(figure: Figure, title: str = "") -> Figure:
    """Make the page of `panels` as large as Axes, labels, title and legends need; the title is broken into lines."""
    axes: Any = [ax for ax in figure.axes if ax.get_subplotspec() is not None]
    engine: Any = figure.get_layout_engine()
    grid, aspects = axes[0].get_gridspec(), [ax.get_aspect() for ax in axes]
    sides = np.array([grid.get_width_ratios()[0], grid.get_height_ratios()[0]])
    Ruler(figure)
    for panel in axes:
        for axis in (axis for ax in (panel, *panel.child_axes) for axis in (ax.xaxis, ax.yaxis)):
            _say_power(axis)
    with style():
        engine.set(w_pad=PAD, h_pad=PAD, wspace=0, hspace=0)
        for ax in axes:
            ax.set_aspect("auto")  # labels are measured around the whole place of a panel
        for legend in figure.legends:
            legend.set(loc="outside lower left")
        figure.set_size_inches(*(figure.get_size_inches() + ROOM))
        said = figure.suptitle(title, x=0, ha="left", wrap=True)
        for _ in range(ROUNDS):
            said.set_x(PAD / figure.get_figwidth())
            engine.execute(figure)
            drawn = axes[0].get_position().size * figure.get_size_inches()
            figure.set_size_inches(*(figure.get_size_inches() + (sides - drawn) * (grid.ncols, grid.nrows)))
        needed, texts = figure.get_figwidth(), [said, *figure.legends]
        wide = max(needed, max(text.get_window_extent().width for text in texts) / figure.dpi + 2 * PAD)
        figure.set_figwidth(wide)
        said.set_x(PAD / wide)
        engine.set(rect=(0, 0, needed / wide, 1))
        engine.execute(figure)
    for ax, aspect in zip(axes, aspects, strict=True):
        ax.set_aspect(aspect)
    figure.set_layout_engine("none")
    FigureCanvasBase(figure)
    return figure


def wrap(text: str, letters: int) -> str:
    """Lines of at most so many letters, broken at a space or after a separator of a name."""
    lines = TextWrapper(letters, break_on_hyphens=False)
    lines.wordsep_simple_re = re.compile(r"( +|(?<=[/@,:(]))")
    return lines.fill(text)


def _say_power(axis: Axis) -> None:
    """Write the power of ten of large and of small numbers in the label, where no legend is."""
    power, formatter = int(np.floor(np.log10(np.abs(axis.get_view_interval()).max()))), axis.get_major_formatter()
    if isinstance(formatter, ScalarFormatter) and not PLAIN[0] <= power <= PLAIN[1]:
        formatter.set_powerlimits((power, power))
        axis.offsetText.set_visible(False)
        axis.set_label_text(f"{axis.get_label_text()} $\\times\\,10^{{{power}}}$")


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the ending, one of `FORMATS`; text stays text in SVG and PDF."""
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of .{', .'.join(FORMATS)}")
    content = io.BytesIO()
    with style():  # savefig would draw twice; without a date the same picture is the same file
        if kind == "png":
            FigureCanvasAgg(figure).print_png(content)
        elif kind == "svg":
            FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
        else:
            FigureCanvasPdf(figure).print_pdf(content, metadata={"CreationDate": None})
    write_whole(path, content.getvalue())
