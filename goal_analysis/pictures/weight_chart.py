"""The chart of an objective: its weights as surfaces and as a field, with a slider for every hyperparameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from plotly.colors import get_colorscale

from goal_analysis.pictures.charts import Chart, chart, numbers, row_of_panels
from goal_analysis.pictures.style import FAINT, INK, scale_of
from goal_analysis.pictures.weight_frames import arrow_frame, is_bounded, matrix, span_of, thin_grid
from goal_analysis.symbolic.language.similarity import COSINE, Similarity

EVERY = 4  # of so many samples in a row one has an arrow

COLUMNS = {"w_p": "w⁺", "w_n": "w⁻", "curl": "curl"}
PANELS = {"w⁺, the pull": "coloraxis", "w⁻, the push": "coloraxis2", "descent and curl": "coloraxis3"}


def weight_chart(label: str, frame: pd.DataFrame, similarity: Similarity = COSINE) -> Chart:
    """The chart of an objective, from a `goal_analysis.pictures.weight_frames.moved_frame`."""
    drawn = "" if is_bounded(similarity) else ", a window: it has no range"
    own = frame[frame["moved"] == ""]
    traces, layout = _drawn(own)
    first, step = float(own["s_p"].iloc[0]), float(own["s_p"].iloc[1] - own["s_p"].iloc[0])
    samples = {"x0": first, "dx": step, "y0": first, "dy": step}
    unseen = {"showlegend": False, "hoverinfo": "skip"}
    lines = unseen | samples | {"showscale": False, "autocontour": False}
    figure = row_of_panels(len(PANELS))
    for column, bar in enumerate(PANELS.values(), start=1):
        figure.add_heatmap(coloraxis=bar, zsmooth="best", **samples, row=1, col=column)
        if column < 3:
            figure.add_contour(line={"width": 0.5, "color": INK}, **lines, row=1, col=column)
    figure.add_scatter(mode="lines", line={"width": 1.2, "color": INK}, **unseen, row=1, col=3)
    if "potential" in frame:
        figure.add_contour(line={"width": 1, "color": FAINT, "dash": "dot"}, **lines, row=1, col=3)
    for number, trace in enumerate(figure.data):
        trace.update({name: values[number] for name, values in traces.items() if values[number] is not None})
    sides = {"range": span_of(similarity), "showgrid": False}
    figure.update_xaxes(sides | {"title": {"text": "s_p" + drawn, "standoff": 4}})
    figure.update_yaxes(sides | {"title": {"text": "s_n" + drawn, "standoff": 4}})
    bar = {"thickness": 10, "outlinewidth": 0, "exponentformat": "power", "title": {"side": "right"}}
    figure.update_layout({axis: {"colorbar": bar} for axis in PANELS.values()})
    figure.update_layout({name.replace(".", "_"): value for name, value in layout.items()})
    return chart(f"Weights of a triplet under {label}", figure, PANELS, _sliders(frame))


def _drawn(rows: pd.DataFrame) -> tuple[dict[str, list], dict[str, Any]]:
    """The attributes of all traces, and the layout, that a surface changes.

    A surface is drawn on the even axis of its scale; on another scale than the linear, its values are texts.
    """
    traces, layout = [], {}
    for (column, name), axis in zip(COLUMNS.items(), PANELS.values(), strict=True):
        values, scale = matrix(rows, column), scale_of(rows[column], signed=column == "curl")
        linear, z = scale.kind == "linear", numbers(scale.even(values))
        value, marks = ("%{z:.3g}", ()) if linear else ("%{text}", scale.marks)
        hover = f"s_p %{{x:.2f}}, s_n %{{y:.2f}}<br>{name} {value}<extra></extra>"
        traces.append({"z": z, "text": None if linear else numbers(values), "hovertemplate": hover})
        levels = scale.even(scale.levels)
        if column == "curl":
            traces.append(_arrows(rows))
        elif scale.kind == "symlog" or len(levels) < 2:  # whose levels are not evenly apart, or none
            traces.append({"z": z} | _contours(0.0, 1.0, 1.0, shown=False))
        else:
            traces.append({"z": z} | _contours(float(levels[0]), float(levels[-1]), float(np.diff(levels).mean())))
        low, high = scale.even([scale.low, scale.high]).tolist()
        layout |= {
            f"{axis}.cmin": low,
            f"{axis}.cmax": high,
            f"{axis}.colorscale": get_colorscale(scale.colours),
            f"{axis}.colorbar.tickvals": numbers(scale.even(marks)) if marks else None,
            f"{axis}.colorbar.ticktext": [f"{mark:g}" for mark in marks] if marks else None,
            f"{axis}.colorbar.title.text": scale.note,
        }
    if "potential" in rows:
        # Between lines that are equally far apart by rank the potential takes equal shares of the square.
        reach = np.ptp(rows["potential"].dropna()) or 1.0
        rank = (rows["potential"] / reach).round(9).rank(pct=True)
        traces.append({"z": numbers(matrix(rows.assign(rank=rank), "rank"))} | _contours(0.1, 0.9, 0.1))
    names = dict.fromkeys(name for trace in traces for name in trace)
    return {name: [trace.get(name) for trace in traces] for name in names}, layout


def _contours(start: float, end: float, size: float, shown: bool = True) -> dict[str, Any]:
    return {"contours": {"start": start, "end": end, "size": size, "showlines": shown, "coloring": "none"}}


def _arrows(rows: pd.DataFrame) -> dict[str, Any]:
    """The lines of arrows along (w⁺, −w⁻), where descent moves (s_p, s_n)."""
    some = thin_grid(rows, EVERY)
    arrows = arrow_frame(some, some["w_p"], -some["w_n"])
    arrows = arrows[np.hypot(arrows["across"], arrows["up"]) > 0]
    if arrows.empty:
        return {"x": [], "y": []}
    from plotly.figure_factory import create_quiver  # with which half of SciPy is loaded

    x, y, u, v = arrows.to_numpy().T
    lines = create_quiver(x - u / 2, y - v / 2, u, v, scale=1).data[0]
    return {axis: [None if value is None else round(float(value), 3) for value in lines[axis]] for axis in "xy"}


def _sliders(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A slider for every hyperparameter; when one moves, the others go back to the objective's own values."""
    by_name = dict(list(frame[frame["moved"] != ""].groupby("moved", sort=False)))
    active = {name: int(own.groupby("setting")["own"].first().argmax()) for name, own in by_name.items()}
    sliders = []
    for name, own in by_name.items():
        steps = []
        for place, (value, rows) in enumerate(own.groupby("setting")):
            traces, layout = _drawn(rows)
            layout |= {f"sliders[{i}].active": at for i, at in enumerate((active | {name: place}).values())}
            steps.append({"label": f"{value:g}", "method": "update", "args": [traces, layout]})
        sliders.append({"active": active[name], "currentvalue": {"prefix": f"{name} = "}, "steps": steps})
    return sliders
