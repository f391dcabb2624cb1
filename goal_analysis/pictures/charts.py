"""Charts of a page by Plotly, as JSON: panels in a row, on a narrow page in a column; the chart of training."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from matplotlib.colors import to_rgb
from plotly.subplots import make_subplots

from goal_analysis.pictures.run_frames import over_seeds
from goal_analysis.pictures.style import line_of

PANEL, GAP, TOP, BOTTOM, SLIDER, LINE = 270, 84, 34, 60, 84, 22
"""Pixels: a panel's height, between panels one above the other, above and below all of them, of a slider, and of a line
of the legend."""

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}  # Plotly's words for the dashes of lines

CLEAR = "rgba(0,0,0,0)"

SHOWN = (("rsum", "RSUM"), ("i2t_r1", "R@1 from images"), ("t2i_r1", "R@1 from captions"))  # panels of training
TICKS = 6  # how many epochs are written at an axis at most


@dataclass(frozen=True)
class Panel:
    """A pair of axes, its title, and the colour axis whose bar stands beside it, if any."""

    title: str
    bar: str = ""


@dataclass(frozen=True)
class Chart:
    """What the page's script draws.

    The content is JSON that may stand in a script element: ``data``, ``layout``, and the parts of the layout that
    differ where the page is ``wide`` and where it is ``narrow``. The height in pixels is that of the wide page, to keep
    the place.
    """

    name: str
    content: Markup
    height: int


def chart(
    name: str, figure: go.Figure, panels: Sequence[Panel], sliders: Sequence[dict[str, Any]] = (), below: int = 0
) -> Chart:
    """A figure for the page, with Plotly's sliders as JSON: its objects copy what they are handed, and this is most of
    a page.

    ``below`` is pixels for what stands below the panels besides the sliders.
    """
    under = BOTTOM + SLIDER * len(sliders) + below
    figure.update_layout(
        margin={"l": 56, "r": 90 if any(panel.bar for panel in panels) else 12, "t": TOP, "b": under},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        dragmode=False,
        font={"family": "system-ui, sans-serif"},
        annotations=[_title(panel.title, number) for number, panel in enumerate(panels)],
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
        "wide": {"height": height} | _placed(panels, 1, len(panels)),
        "narrow": {"height": high} | _placed(panels, len(panels), 1),
    }
    return Chart(name, script_json(spec), height)


def script_json(value: Any) -> Markup:
    r"""JSON that may stand in a script element, whatever its texts hold; a number that is not finite is a ValueError.

    >>> script_json({"a": "</script>"})
    Markup('{"a":"\\u003c/script\\u003e"}')
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # beyond ASCII everything is escaped already
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def numbers(values: Sequence[float] | np.ndarray | pd.Series) -> list:
    """An array as nested lists of three digits, None for what is not finite."""
    values = np.asarray(values, dtype=float)
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(f"{x:.3g}") if np.isfinite(x) else None for x in values]


def axes_of(place: int) -> dict[str, str]:
    """The axes of the panel at this place, as a trace names them."""
    return {"xaxis": f"x{_number(place)}", "yaxis": f"y{_number(place)}"}


def axis_layout(place: int, across: dict[str, Any], up: dict[str, Any]) -> dict[str, Any]:
    """The layout of the axes of the panel at this place, which no mouse moves."""
    fixed = {"fixedrange": True, "zeroline": False}
    number = _number(place)
    return {
        f"xaxis{number}": fixed | {"anchor": f"y{number}"} | across,
        f"yaxis{number}": fixed | {"anchor": f"x{number}"} | up,
    }


def _number(place: int) -> str:
    return "" if place == 0 else str(place + 1)


def _title(words: str, place: int) -> dict[str, Any]:
    where = {"xref": f"x{_number(place)} domain", "yref": f"y{_number(place)} domain", "x": 0, "y": 1}
    return where | {"text": words, "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"size": 14}}


def _placed(panels: Sequence[Panel], rows: int, columns: int) -> dict[str, Any]:
    beside, gap = (0.17 if any(panel.bar for panel in panels) else 0.07), GAP / (rows * (PANEL + GAP) - GAP)
    layout, placed = make_subplots(rows, columns, horizontal_spacing=beside, vertical_spacing=gap).layout, {}
    for place, panel in enumerate(panels):
        x, y = (layout[f"{axis}{_number(place)}"].domain for axis in ("xaxis", "yaxis"))
        placed |= {f"xaxis{_number(place)}.domain": x, f"yaxis{_number(place)}.domain": y}
        if panel.bar:
            bar = {"x": x[1], "y": sum(y) / 2, "len": y[1] - y[0]}
            placed |= {f"{panel.bar}.colorbar.{name}": value for name, value in bar.items()}
    return placed


# --- training -------------------------------------------------------------------------------------


def training_chart(frame: pd.DataFrame) -> Chart | None:
    """Retrieval of a `log_frame` of epochs: a line an objective, its mean over seeds, with the interval as a band."""
    if frame.empty:
        return None
    figure = go.Figure(layout=go.Layout(template="none"))
    last = frame["epoch"].max()
    ticks = {"dtick": 1} if last <= TICKS else {"nticks": TICKS}
    for place, (quantity, title) in enumerate(SHOWN):
        means = over_seeds(frame[frame["quantity"] == quantity], ("objective", "epoch"))
        for number, (label, line) in enumerate(means.groupby("objective", sort=False)):
            _add_line(figure, line.sort_values("epoch"), number, html.escape(str(label), quote=False), title, place)
        figure.update_layout(axis_layout(place, ticks | {"title": {"text": "epoch", "standoff": 4}}, {}))
    figure.update_layout(
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hovermode="x",
    )
    below = LINE * frame["objective"].nunique()
    return chart("Retrieval on dev after every epoch", figure, [Panel(title) for _, title in SHOWN], below=below)


def _add_line(figure: go.Figure, line: pd.DataFrame, number: int, label: str, title: str, place: int) -> None:
    looks, of_group = line_of(number), {"legendgroup": label, **axes_of(place)}
    several = line[line["low"].notna()]
    if len(several):
        red, green, blue = (round(255 * share) for share in to_rgb(looks["color"]))
        figure.add_scatter(
            x=numbers([*several["epoch"], *several["epoch"][::-1]]),
            y=numbers([*several["high"], *several["low"][::-1]]),
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},0.2)",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            **of_group,
        )
    spans = zip(line["low"], line["high"], strict=True)
    figure.add_scatter(
        x=numbers(line["epoch"]),
        y=numbers(line["mean"]),
        customdata=[f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else "" for low, high in spans],
        name=label,
        mode="lines+markers",
        line={"color": looks["color"], "dash": DASHES[looks["linestyle"]], "width": 2},
        marker={"size": 5},
        hovertemplate=f"{title} %{{y:.1f}}%{{customdata}}",
        showlegend=place == 0,
        **of_group,
    )
