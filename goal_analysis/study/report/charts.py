"""Charts of a page: Plotly's figures as JSON, with panels that stand in a row, or on a narrow page in a column."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

PANEL, GAP, TOP, BOTTOM, SLIDER = 270, 84, 34, 60, 84
"""Pixels: a panel's height, between panels one above the other, above and below all of them, and of a slider."""

COLOURS = ("#2f86c7", "#d55e00", "#0a9b75", "#b8609a", "#a87a00", "#7a7a7a")
DASHES = ("solid", "dash", "dot", "dashdot")
"""Of lines, seen on white and on black; every colour is used once before the next dash is."""

CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Args:
        title: above it.
        bar: the colour axis whose bar stands beside it; empty for none.
        bar_over: how many panels the bar reaches over, this one the last.
    """

    title: str
    bar: str = ""
    bar_over: int = 1


@dataclass(frozen=True)
class Chart:
    """What the page's script draws.

    Args:
        name: what it shows, for those who do not see it.
        content: JSON that may stand in a script element: ``data``, ``layout``, and what of the layout differs where
            the page is ``wide`` and where it is ``narrow``.
        height: in pixels where the page is wide, to keep the place.
    """

    name: str
    content: Markup
    height: int


def chart(
    name: str, figure: go.Figure, panels: Sequence[Panel], sliders: Sequence[dict[str, Any]] = (), below: int = 0
) -> Chart:
    """A figure for the page.

    Args:
        name: what it shows.
        figure: its traces and axes: x and y, x2 and y2, and so on for the panels.
        panels: at least one.
        sliders: Plotly's, as it has them in JSON: its objects copy what they are handed, and this is most of a page.
        below: pixels for what stands below the panels besides the sliders.
    """
    under = BOTTOM + SLIDER * len(sliders) + below
    figure.update_layout(
        margin={"l": 56, "r": 70 if any(panel.bar for panel in panels) else 12, "t": TOP, "b": under},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        dragmode=False,
        font={"family": "system-ui, sans-serif"},
        annotations=[_title(panel.title, number) for number, panel in enumerate(panels, start=1)],
    )
    drawn = json.loads(figure.to_json(engine="json") or "")
    below_one_another = [
        {"x": 0, "y": 0, "len": 1, "yanchor": "top", "pad": {"t": BOTTOM + SLIDER * place}} | slider
        for place, slider in enumerate(sliders)
    ]
    height = TOP + PANEL + under
    high = height + (len(panels) - 1) * (PANEL + GAP)
    spec = {
        "data": drawn["data"],
        "layout": drawn["layout"] | {"sliders": below_one_another},
        "wide": {"height": height} | _in_a_row(panels),
        "narrow": {"height": high} | _in_a_column(panels),
    }
    return Chart(name, script_json(spec), height)


def script_json(value: Any) -> Markup:
    r"""JSON that may stand in a script element, whatever its texts hold.

    Raises:
        ValueError: a number that is not finite, which JSON does not know.

    >>> script_json({"a": "</script>"})
    Markup('{"a":"\\u003c/script\\u003e"}')
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # beyond ASCII everything is escaped already
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def text(words: str) -> str:
    """Words for a figure, which reads some tags of HTML, as they are.

    >>> text("<b>tau</b>")
    '&lt;b&gt;tau&lt;/b&gt;'
    """
    return html.escape(words, quote=False)


def numbers(values: np.ndarray) -> list:
    """An array as nested lists of three digits, None for what is not finite."""
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(f"{x:.3g}") if np.isfinite(x) else None for x in values]


def _title(words: str, number: int) -> dict[str, Any]:
    axis = "" if number == 1 else str(number)
    place = {"xref": f"x{axis} domain", "yref": f"y{axis} domain", "x": 0, "y": 1, "xanchor": "left"}
    return place | {"text": words, "yanchor": "bottom", "showarrow": False, "font": {"size": 14}}


def _in_a_row(panels: Sequence[Panel]) -> dict[str, Any]:
    after = [0.17 if panel.bar else 0.07 for panel in panels[:-1]]  # shares of the width
    width = (1 - sum(after)) / len(panels)
    placed, left = {}, 0.0
    for number, panel in enumerate(panels, start=1):
        placed |= _domains(number, (left, left + width), (0.0, 1.0))
        if panel.bar:
            placed |= _bar(panel.bar, left + width, 0.5, 1.0)
        left += width + sum(after[number - 1 : number])
    return placed


def _in_a_column(panels: Sequence[Panel]) -> dict[str, Any]:
    whole = len(panels) * PANEL + (len(panels) - 1) * GAP
    tall, step = PANEL / whole, (PANEL + GAP) / whole
    placed = {}
    for number, panel in enumerate(panels, start=1):
        top = 1 - (number - 1) * step
        placed |= _domains(number, (0.0, 1.0), (max(top - tall, 0.0), top))
        if panel.bar:
            over = tall + (panel.bar_over - 1) * step
            placed |= _bar(panel.bar, 1.0, top - tall + over / 2, over)
    return placed


def _domains(number: int, x: tuple[float, float], y: tuple[float, float]) -> dict[str, Any]:
    axis = "" if number == 1 else str(number)
    return {f"xaxis{axis}.domain": x, f"yaxis{axis}.domain": y}


def _bar(axis: str, x: float, y: float, over: float) -> dict[str, Any]:
    return {f"{axis}.colorbar.{name}": value for name, value in (("x", x), ("y", y), ("len", over))}
