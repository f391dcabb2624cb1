"""What runs measured epoch by epoch: a line for every group's mean over its seeds, and its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from goal_analysis.study.comparison import interval
from goal_analysis.study.report.charts import COLOURS, DASHES, Chart, Panel, chart, numbers, text
from goal_analysis.study.report.runs import Group

SHOWN = (("rsum", "RSUM"), ("i2t_r1", "R@1 from images"), ("t2i_r1", "R@1 from captions"))
LINE = 22
"""Pixels of a line of the legend."""

TICKS = 6
"""Epochs that are written at an axis, at most."""


def training_chart(groups: Sequence[Group]) -> Chart | None:
    """The chart of runs on the same data; None where no epoch is done.

    Args:
        groups: each in a colour of its own.
    """
    figure = go.Figure(layout=go.Layout(template="none"))
    for number, group in enumerate(groups):
        for place, (measure, title) in enumerate(SHOWN, start=1):
            axis = "" if place == 1 else str(place)
            epochs, mean, low, high = by_epoch(group, measure)
            if len(epochs):
                _add(figure, number, text(group.label), title, axis, epochs, mean, low, high)
    if not figure.data:
        return None
    last = max(x for trace in figure.data for x in trace.x)
    fixed = {"fixedrange": True, "zeroline": False}
    ticks = {"dtick": 1} if last <= TICKS else {"nticks": TICKS}
    for place in range(1, len(SHOWN) + 1):
        axis = "" if place == 1 else str(place)
        figure.update_layout(
            {
                f"xaxis{axis}": fixed | ticks | {"anchor": f"y{axis}", "title": {"text": "epoch", "standoff": 4}},
                f"yaxis{axis}": fixed | {"anchor": f"x{axis}"},
            }
        )
    figure.update_layout(
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hovermode="x",
    )
    panels = [Panel(title) for _, title in SHOWN]
    return chart("Retrieval on dev after every epoch", figure, panels, below=LINE * len(groups))


def by_epoch(group: Group, measure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs, and there the mean over the seeds that got so far, with its interval, NaN for fewer than two.

    Args:
        group: whose runs.
        measure: one of `runs.MEASURES`.
    """
    found: dict[int, list[float]] = {}
    for run in group.runs:
        for record in run.epochs:
            found.setdefault(int(record["epoch"]), []).append(record[measure])
    rows = [(epoch, np.mean(v), *interval(np.array(v))) for epoch, v in sorted(found.items())]
    epochs, mean, low, high = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return epochs, mean, low, high


def _add(figure, number, label, title, axis, epochs, mean, low, high) -> None:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
    several = np.isfinite(low)
    if several.any():
        inside = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        figure.add_scatter(
            x=numbers(np.concatenate([epochs[several], epochs[several][::-1]])),
            y=numbers(np.concatenate([high[several], low[several][::-1]])),
            fill="toself",
            fillcolor=f"rgba({inside[0]},{inside[1]},{inside[2]},0.2)",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=label,
            xaxis=f"x{axis}",
            yaxis=f"y{axis}",
        )
    between = [f" [{a:.1f}, {b:.1f}]" if np.isfinite(a) else "" for a, b in zip(low, high, strict=True)]
    figure.add_scatter(
        x=numbers(epochs),
        y=numbers(mean),
        customdata=between,
        name=label,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        hovertemplate=f"{title} %{{y:.1f}}%{{customdata}}",
        legendgroup=label,
        showlegend=axis == "",
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
    )
