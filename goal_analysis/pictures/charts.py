"""Charts of a page by Plotly, as JSON, in a row of panels or a column: of training, and of an objective's weights."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import sympy as sp
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from plotly.colors import get_colorscale, hex_to_rgb
from plotly.subplots import make_subplots

from goal_analysis.numeric.lowering import lowered
from goal_analysis.pictures import style
from goal_analysis.pictures.run_frames import over_seeds
from goal_analysis.pictures.style import line_of
from goal_analysis.pictures.weight_frames import OFF, Objective, field_of, similarity_label, span_of, weights_and_curl
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, interval_text
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.proof.evaluation import program

PANEL, GAP, TOP, BOTTOM, LEFT = 270, 84, 34, 60, 56
"""Pixels: a panel's height, between panels one above the other, and above, below and left of all of them."""
WITH_BAR, WITHOUT = (300, 125, 90), (215, 45, 12)
"""Pixels that a panel needs of a page's width, between panels, and to the right, with a bar of colours and without."""

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}  # Plotly's words for the dashes of lines

CLEAR = "rgba(0,0,0,0)"

SHOWN = {quantity: style.NAMES[quantity] for quantity in ("rsum", "i2t_r1", "t2i_r1")}  # panels of training
TICKS = 6  # how many epochs are written at an axis at most


@dataclass(frozen=True)
class Chart:
    """What the page's script draws, with its ``live`` controls and the ``places`` of its panels, widest pages first."""

    name: str
    content: Markup
    height: int


def row_of_panels(count: int) -> go.Figure:
    """A figure with axes for panels, which no mouse moves."""
    figure = make_subplots(1, count)
    figure.update_layout(template="none", paper_bgcolor=CLEAR, plot_bgcolor=CLEAR, dragmode=False)
    figure.update_xaxes(fixedrange=True, zeroline=False)
    return figure.update_yaxes(fixedrange=True, zeroline=False)


def chart(name: str, figure: go.Figure, panels: Mapping[str, str], live: Mapping[str, Any] | None = None) -> Chart:
    """A figure of `row_of_panels` for the page; the titles of the panels have the names of their colour axes, or ""."""
    corner = {"x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"size": 14}}
    axes = zip(panels, figure.select_xaxes(), figure.select_yaxes(), strict=True)
    figure.update_layout(
        margin={"l": LEFT, "r": (WITH_BAR if any(panels.values()) else WITHOUT)[2], "t": TOP, "b": BOTTOM},
        modebar={"bgcolor": CLEAR, "color": style.FAINT, "activecolor": style.FAINT},
        font={"family": "system-ui, sans-serif"},
        annotations=[
            corner | {"text": title, "xref": f"{y.anchor} domain", "yref": f"{x.anchor} domain"} for title, x, y in axes
        ],
    )
    drawn = json.loads(figure.to_json(engine="json") or "")
    places = [_placed(panels, columns) for columns in range(len(panels), 0, -1)]
    spec = {"data": drawn["data"], "layout": drawn["layout"], "places": places, "live": live}
    content = htmlsafe_json_dumps(spec, separators=(",", ":"), allow_nan=False)
    return Chart(name, content, places[0]["layout"]["height"])


def _placed(panels: Mapping[str, str], columns: int) -> dict[str, Any]:
    """The least width of a page that has so many panels in a row, and what its layout has then."""
    rows = -(-len(panels) // columns)
    high = rows * (PANEL + GAP) - GAP
    need, between, right = WITH_BAR if any(panels.values()) else WITHOUT
    beside = between / (columns * need - LEFT - right)
    grid, placed = make_subplots(rows, columns, horizontal_spacing=beside, vertical_spacing=GAP / high), {}
    for bar, x, y in zip(panels.values(), grid.select_xaxes(), grid.select_yaxes(), strict=False):
        placed |= {f"{axis.plotly_name}.domain": axis.domain for axis in (x, y)}
        if bar:
            of_bar = {"x": x.domain[1], "y": sum(y.domain) / 2, "len": y.domain[1] - y.domain[0]}
            placed |= {f"{bar}.colorbar.{name}": value for name, value in of_bar.items()}
    return {
        "least": columns * need * (columns > 1),
        "layout": placed | {"height": TOP + high + BOTTOM, "margin.b": BOTTOM},
    }


def numbers(values: Sequence[float] | np.ndarray | pd.Series) -> list:
    """An array as a list of three digits, None for what is not finite."""
    return [float(f"{x:.3g}") if np.isfinite(x) else None for x in np.asarray(values, dtype=float)]


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
                figure.add_scatter(
                    x=numbers([*several["epoch"], *several["epoch"][::-1]]),
                    y=numbers([*several["high"], *several["low"][::-1]]),
                    fill="toself",
                    fillcolor=f"rgba{(*hex_to_rgb(looks['color']), 0.2)}",
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
    return chart("Retrieval on dev after every epoch", figure, dict.fromkeys(SHOWN.values(), ""))


COUNT, EVERY = 60, 6  # samples along a side, and of so many in a row one has an arrow

PANELS = {"w⁺, the pull": "coloraxis", "w⁻, the push": "coloraxis2", "descent and curl": "coloraxis3"}


def weight_chart(
    label: str, objective: Objective, batch: pd.DataFrame | None = None, line: Mapping[str, Any] | None = None
) -> Chart:
    """The chart of an objective; ``batch`` has ``s_p``, ``s_n`` and ``hardest``, ``line`` its ``text``, ``head``,
    ``words`` and ``rest``. A function that programs do not know, and a number that is not finite, are ValueErrors.
    """
    field, formulas = field_of(objective), weights_and_curl(objective)
    values = field.values()
    read = [h for h in field.hyperparameters if any(f.has(h.symbol) for f in formulas.values())]
    figure = row_of_panels(len(PANELS))
    unseen = {"showlegend": False, "hoverinfo": "skip"}
    lines = unseen | {"showscale": False, "autocontour": False}
    for column, bar in enumerate(PANELS.values(), start=1):
        figure.add_heatmap(coloraxis=bar, zsmooth="best", row=1, col=column)
        if column < 3:
            figure.add_contour(line={"width": 0.5, "color": style.INK}, **lines, row=1, col=column)
    figure.add_scatter(mode="lines", line={"width": 1.2, "color": style.INK}, **unseen, row=1, col=3)
    if "potential" in formulas:
        figure.add_contour(line={"width": 1, "color": style.FAINT, "dash": "dot"}, **lines, row=1, col=3)
    shown = [] if batch is None else [(batch[~batch["hardest"]], 3, 0.35), (batch[batch["hardest"]], 6, 1.0)]
    for column in range(1, len(PANELS) + 1):
        for triplets, size, opacity in shown:
            dots = {"size": size, "opacity": opacity, "color": style.PUSH, "line": {"width": 0.5, "color": "white"}}
            places = {"x": numbers(triplets["s_p"]), "y": numbers(triplets["s_n"])}
            figure.add_scatter(mode="markers", marker=dots, **places, **unseen, row=1, col=column)
    sides = {"range": span_of(field.similarity), "showgrid": False}
    figure.update_xaxes(sides | {"title": {"text": similarity_label("s_p", field.similarity), "standoff": 4}})
    figure.update_yaxes(sides | {"title": {"text": similarity_label("s_n", field.similarity), "standoff": 4}})
    bar = {"thickness": 10, "outlinewidth": 0, "exponentformat": "power", "title": {"side": "right"}}
    figure.update_layout({axis: {"colorbar": bar} for axis in PANELS.values()})
    live = {
        "names": list(formulas),
        "program": _steps(list(formulas.values()), [s_p, s_n, *(h.symbol for h in read)]),
        "sliders": [_slider(h) for h in read],
        "fixed": {h.name: float(values[h.symbol]) for h in field.hyperparameters if h not in read},
        "line": line or {"text": label, "head": "", "words": [], "rest": ""},
        "grid": {"span": span_of(field.similarity), "count": COUNT, "every": EVERY, "off": OFF},
        "rule": {"decades": style.DECADES, "peak": style.PEAK, "contours": style.CONTOURS},
        "colours": {name: get_colorscale(name) for name in (style.SEQUENTIAL, style.DIVERGING)},
        "scales": [style.SEQUENTIAL, style.DIVERGING],
    }
    return chart(f"Weights of a triplet under {label}", figure, PANELS, live=live)


def _steps(formulas: Sequence[sp.Expr], inputs: Sequence[sp.Symbol]) -> dict[str, Any]:
    """The program as JSON: a step is a number, or an operation with the places of its operands."""
    p = lowered(program(formulas, inputs))
    steps = [[s.operation, *s.operands] if s.constant is None else float(s.constant) for s in p.steps]
    return {"steps": steps, "outputs": p.outputs}


def _slider(h: Hyperparameter) -> dict[str, Any]:
    low, high = map(float, h.around(4))
    closed = {"min": h.domain.start, "max": h.domain.end}
    ends = {name: float(end) for name, end in closed.items() if end.is_finite}
    open_at = {"min": bool(h.domain.left_open), "max": bool(h.domain.right_open)}
    about = {"name": h.name, "meaning": h.meaning, "domain": interval_text(h.domain)}
    return about | {"value": float(h.default), "low": low, "high": high, "ends": ends, "open": open_at}
