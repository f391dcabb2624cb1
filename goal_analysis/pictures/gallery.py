"""A gallery: queries with what was retrieved for them, images or captions, the right ones marked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from goal_analysis.pictures.style import FAINT, INK, RIGHT, WRONG

Item = str | np.ndarray
"""A caption, or a picture of shape ``(height, width, 3)`` with numbers from 0 to 1."""

GAP = 0.08
"""Between cells, whose height is 1."""


@dataclass(frozen=True, eq=False)
class Found:
    """One retrieved item.

    Args:
        item: a caption or a picture.
        right: whether it matches the query.
        score: of the pair.
    """

    item: Item
    right: bool
    score: float


@dataclass(frozen=True, eq=False)
class Query:
    """A query with what was retrieved for it, most similar first.

    Args:
        item: a caption or a picture.
        found: the retrieved.
    """

    item: Item
    found: Sequence[Found]


def gallery_frame(queries: Sequence[Query]) -> pd.DataFrame:
    """What was retrieved, a row an item.

    Returns:
        ``query`` (its number), ``place`` (from 1), ``right``, ``score``, ``text`` (empty of a picture).
    """
    rows = [
        (number, place, one.right, one.score, one.item if isinstance(one.item, str) else "")
        for number, query in enumerate(queries)
        for place, one in enumerate(query.found, start=1)
    ]
    return pd.DataFrame(rows, columns=["query", "place", "right", "score", "text"])


def draw_gallery(queries: Sequence[Query], ax: Axes) -> Axes:
    """A row a query, at the left, with what was retrieved for it; what is right has a frame and a ✓.

    Args:
        queries: with what was retrieved.
        ax: where; `gallery_size` says how large it has to be.
    """
    widths = [_width(query.item) for query in queries]
    first = max(widths)
    right = first
    for row, query in enumerate(queries):
        top = -row * (1 + GAP + 0.16)
        _draw_item(query.item, ax, 0.0, top, first)
        left = first + 3 * GAP
        for one in query.found:
            width = _width(one.item)
            _draw_item(one.item, ax, left, top, width)
            colour, weight = (RIGHT, 2.2) if one.right else (WRONG, 0.8)
            ax.add_patch(Rectangle((left, top - 1), width, 1, fill=False, edgecolor=colour, linewidth=weight))
            mark = "✓ " if one.right else ""
            ax.text(left, top + 0.03, f"{mark}{one.score:.2f}", color=RIGHT if one.right else FAINT, fontsize=7)
            left += width + GAP
        right = max(right, left)
    ax.axvline(first + 1.5 * GAP, color=FAINT, linewidth=0.5)
    ax.set(xlim=(-0.05, right), ylim=(-len(queries) * (1 + GAP + 0.16) + 0.1, 0.3), aspect="equal")
    ax.set_axis_off()
    return ax


def gallery_size(queries: Sequence[Query], cell: float = 1.0) -> tuple[float, float]:
    """Width and height in inches of a figure for `draw_gallery`.

    Args:
        queries: what is drawn.
        cell: the height of a picture in inches.
    """
    first = max(_width(query.item) for query in queries)
    rest = max(sum(_width(one.item) + GAP for one in query.found) for query in queries)
    return cell * (first + 3 * GAP + rest + 0.1), cell * (len(queries) * (1.16 + GAP) + 0.3)


def _width(item: Item) -> float:
    return 1.5 if isinstance(item, str) else item.shape[1] / item.shape[0]


def _draw_item(item: Item, ax: Axes, left: float, top: float, width: float) -> None:
    if isinstance(item, str):
        # About 20 letters fit into a caption's cell of an inch and a half, and seven lines into an inch.
        lines = textwrap.wrap(item, 21) or [""]
        lines = lines if len(lines) <= 7 else [*lines[:6], f"{lines[6][:20]}…"]
        ax.text(left + 0.05, top - 0.06, "\n".join(lines), fontsize=7, color=INK, va="top")
    else:
        extent = (left, left + _width(item), top - 1, top)
        ax.imshow(np.clip(item, 0, 1), extent=extent, interpolation="nearest", aspect="auto")
