"""Figures without pyplot, and their files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from goal_analysis.files import write_whole
from goal_analysis.pictures import FORMATS
from goal_analysis.pictures.style import style


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
