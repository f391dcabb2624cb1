"""Figures as files, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goal_analysis.plots.style import style
from goal_analysis.writing import write_whole_bytes

FORMATS = ("png", "svg", "pdf")


def panels(rows: int = 1, columns: int = 1, width: float = 3.4, height: float = 2.8) -> tuple[Figure, np.ndarray]:
    """A figure with so many Axes, in the project's style, apart from pyplot and its window.

    Args:
        rows: of Axes.
        columns: of Axes.
        width: of one, in inches.
        height: of one, in inches.

    Returns:
        The figure, and its Axes of shape ``(rows, columns)``.
    """
    with style():
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)


def alone(width: float = 3.4, height: float = 2.8) -> tuple[Figure, Axes]:
    """A figure with one Axes, in the project's style."""
    figure, axes = panels(1, 1, width, height)
    return figure, axes[0, 0]


def save(figure: Figure, path: Path) -> None:
    """Write the figure; its text stays text in SVG and PDF.

    Args:
        figure: what is drawn.
        path: its ending says the format.

    Raises:
        ValueError: another ending than those of `FORMATS`.
        OSError: the file cannot be written; an old one is intact.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of .{', .'.join(FORMATS)}")
    content = io.BytesIO()
    # Without a date the same picture is the same file.
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with style():
        figure.savefig(content, format=kind, metadata=dated)
    write_whole_bytes(path, content.getvalue())
