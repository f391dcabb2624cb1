"""Charts of a page by Plotly, as JSON: panels in a row, on a narrow page in a column; the chart of training."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
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

PANEL, GAP, TOP, BOTTOM, LINE = 270, 84, 34, 60, 22
"""Pixels: a panel's height, between panels one above the other, above and below all of them, and of a line of the
legend."""

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}  # Plotly's words for the dashes of lines

CLEAR = "rgba(0,0,0,0)"

SHOWN = {"rsum": "RSUM", "i2t_r1": "R@1 from images", "t2i_r1": "R@1 from captions"}  # panels of training
TICKS = 6  # how many epochs are written at an axis at most


@dataclass(frozen=True)
class Chart:
    """What the page's script draws.

    The content is JSON that may stand in a script element: ``data``, ``layout``, the parts of the layout that differ
    where the page is ``wide`` and where it is ``narrow``, and what is ``live``. The height in pixels is that of the
    wide page, to keep the place.
    """

    name: str
    content: Markup
    height: int


def row_of_panels(count: int) -> go.Figure:
    """A figure with axes for panels, which no mouse moves."""
    figure = make_subplots(1, count)
    figure.update_layout(template="none", paper_bgcolor=CLEAR, plot_bgcolor=CLEAR, dragmode=False)
    figure.update_xaxes(fixedrange=True, zeroline=False)
    return figure.update_yaxes(fixedrange=True, zeroline=False)


def chart(
    name: str, figure: go.Figure, panels: Mapping[str, str], below: int = 0, live: Mapping[str, Any] | None = None
) -> Chart:
    """A figure of `row_of_panels` for the page.

    ``panels`` are the titles, each with the name of the colour axis whose bar stands beside the panel, if any;
    ``below`` is pixels for what stands below the panels; ``live`` is what the page computes.
    """
    under = BOTTOM + below
    corner = {"x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"size": 14}}
    axes = zip(panels, figure.select_xaxes(), figure.select_yaxes(), strict=True)
    figure.update_layout(
        margin={"l": 56, "r": 90 if any(panels.values()) else 12, "t": TOP, "b": under},
        font={"family": "system-ui, sans-serif"},
        annotations=[
            corner | {"text": title, "xref": f"{y.anchor} domain", "yref": f"{x.anchor} domain"} for title, x, y in axes
        ],
    )
    drawn = json.loads(figure.to_json(engine="json") or "")
    height = TOP + PANEL + under
    high = height + (len(panels) - 1) * (PANEL + GAP)
    spec = {
        "data": drawn["data"],
        "layout": drawn["layout"],
        "wide": {"height": height} | _placed(panels, 1, len(panels)),
        "narrow": {"height": high} | _placed(panels, len(panels), 1),
        "live": live,
    }
    return Chart(name, script_json(spec), height)


def _placed(panels: Mapping[str, str], rows: int, columns: int) -> dict[str, Any]:
    beside, gap = (0.17 if any(panels.values()) else 0.07), GAP / (rows * (PANEL + GAP) - GAP)
    grid, placed = make_subplots(rows, columns, horizontal_spacing=beside, vertical_spacing=gap), {}
    for bar, x, y in zip(panels.values(), grid.select_xaxes(), grid.select_yaxes(), strict=True):
        placed |= {f"{axis.plotly_name}.domain": axis.domain for axis in (x, y)}
        if bar:
            of_bar = {"x": x.domain[1], "y": sum(y.domain) / 2, "len": y.domain[1] - y.domain[0]}
            placed |= {f"{bar}.colorbar.{name}": value for name, value in of_bar.items()}
    return placed


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


# --- training -------------------------------------------------------------------------------------


def training_chart(frame: pd.DataFrame) -> Chart | None:
    """Retrieval of a `log_frame` of epochs: a line an objective, its mean over seeds, with the interval as a band."""
    if frame.empty:
        return None
    figure = row_of_panels(len(SHOWN))
    for column, (quantity, title) in enumerate(SHOWN.items(), start=1):
        means = over_seeds(frame[frame["quantity"] == quantity], ("objective", "epoch"))
        for number, (label, line) in enumerate(means.groupby("objective", sort=False)):
            label, looks, line = html.escape(str(label), quote=False), line_of(number), line.sort_values("epoch")
            place, several = {"legendgroup": label, "row": 1, "col": column}, line[line["low"].notna()]
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
                    **place,
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
                showlegend=column == 1,
                **place,
            )
    ticks = {"dtick": 1} if frame["epoch"].max() <= TICKS else {"nticks": TICKS}
    figure.update_xaxes(ticks | {"title": {"text": "epoch", "standoff": 4}})
    legend = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
    figure.update_layout(legend=legend, hovermode="x")
    below = LINE * frame["objective"].nunique()
    return chart("Retrieval on dev after every epoch", figure, dict.fromkeys(SHOWN.values(), ""), below=below)
