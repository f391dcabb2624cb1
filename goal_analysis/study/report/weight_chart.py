"""The weights of a triplet as surfaces and as a field, with a slider for every hyperparameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.figure_factory import create_quiver

from goal_analysis.study.report.charts import Chart, Panel, chart, numbers
from goal_analysis.study.report.surfaces import Surface, Surfaces

EVERY = 4
"""Of the points of the grid, every so many-th has an arrow."""

PANELS = (
    Panel("w⁺, the pull"),
    Panel("w⁻, the push", "coloraxis", 2),
    Panel("descent and curl", "coloraxis2"),
)
AXES = ("", "2", "3")


def weight_chart(label: str, found: Surfaces) -> Chart:
    """The chart of an objective.

    Args:
        label: the objective's.
        found: its surfaces.
    """
    own, s = _drawn(found.own, found.s), numbers(found.s)
    at = "s_p %{x:.2f}, s_n %{y:.2f}<br>"
    surfaces = [
        go.Contour(
            x=s,
            y=s,
            z=z,
            coloraxis="coloraxis",
            contours={"coloring": "heatmap"},
            line={"width": 0.5},
            hovertemplate=f"{at}{name} %{{z:.3g}}<extra></extra>",
            xaxis=f"x{axis}",
            yaxis=f"y{axis}",
        )
        for name, axis, z in zip(("w⁺", "w⁻"), AXES, own["z"], strict=False)
    ]
    curl = go.Heatmap(
        x=s,
        y=s,
        z=own["z"][2],
        coloraxis="coloraxis2",
        hovertemplate=f"{at}curl %{{z:.3g}}<extra></extra>",
        xaxis="x3",
        yaxis="y3",
    )
    arrows = go.Scatter(
        x=own["x"],
        y=own["y"],
        mode="lines",
        line={"width": 1.2, "color": "#222"},
        hoverinfo="skip",
        showlegend=False,
        xaxis="x3",
        yaxis="y3",
    )
    figure = go.Figure([*surfaces, curl, arrows], layout=go.Layout(template="none"))
    if own["potential"] is not None:
        figure.add_trace(_potential(s, own["potential"]))
    bars = {
        axis: {"colorbar": {"thickness": 10, "outlinewidth": 0, "exponentformat": "power"}} for axis in own["colours"]
    }
    figure.update_layout(**_axes(s), **bars)
    figure.update_layout(**own["colours"])
    return chart(f"Weights of a triplet under {label}", figure, PANELS, _sliders(found))


def _potential(s: Sequence[float], z: list) -> go.Contour:
    return go.Contour(
        x=s,
        y=s,
        z=z,
        contours={"coloring": "none"},
        line={"width": 1, "color": "#777", "dash": "dot"},
        showscale=False,
        showlegend=False,
        hoverinfo="skip",
        xaxis="x3",
        yaxis="y3",
    )


def _axes(s: Sequence[float]) -> dict[str, Any]:
    found = {}
    for axis in AXES:
        fixed = {"range": (s[0], s[-1]), "fixedrange": True, "zeroline": False, "showgrid": False}
        found[f"xaxis{axis}"] = fixed | {"anchor": f"y{axis}", "title": {"text": "s_p", "standoff": 4}}
        found[f"yaxis{axis}"] = fixed | {"anchor": f"x{axis}", "title": {"text": "s_n", "standoff": 4}}
    return found


def _drawn(surface: Surface, s: np.ndarray) -> dict[str, Any]:
    """What a surface changes in the figure: all z, the arrows' lines, and the colours."""
    weights = np.stack([surface.positive, surface.negative])
    x, y = _arrows(surface, s)
    return {
        "z": [numbers(values) for values in (surface.positive, surface.negative, surface.curl)],
        "x": x,
        "y": y,
        "potential": None if surface.potential is None else numbers(surface.potential),
        "colours": {
            "coloraxis": _one_sided(weights) if _least(weights) >= 0 else _two_sided(weights),
            "coloraxis2": _two_sided(surface.curl),
        },
    }


def _arrows(surface: Surface, s: np.ndarray) -> tuple[list, list]:
    """The lines of arrows along (w⁺, −w⁻), where descent moves (s_p, s_n); the longest reach from one to the next."""
    some = slice(EVERY // 2, None, EVERY)
    x, y = (grid[some, some] for grid in np.meshgrid(s, s))
    u, v = (np.nan_to_num(w[some, some], posinf=0, neginf=0) for w in (surface.positive, -surface.negative))
    longest = np.hypot(u, v).max()
    acting = np.hypot(u, v) > 0.02 * longest
    if not acting.any():
        return [], []
    scale = float(EVERY * (s[1] - s[0]) / longest)
    lines = create_quiver(x[acting], y[acting], u[acting], v[acting], scale=scale).data[0]
    return _rounded(lines.x), _rounded(lines.y)


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(float(value), 3) for value in values]


def _least(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)].min(initial=0))


def _one_sided(values: np.ndarray) -> dict[str, Any]:
    most = float(values[np.isfinite(values)].max(initial=0))
    return {"colorscale": "Viridis", "reversescale": False, "cmin": 0, "cmax": most or 1}


def _two_sided(values: np.ndarray) -> dict[str, Any]:
    most = float(np.abs(values[np.isfinite(values)]).max(initial=0))
    return {"colorscale": "RdBu", "reversescale": True, "cmin": -most or -1, "cmax": most or 1}


def _sliders(found: Surfaces) -> list[dict[str, Any]]:
    """One for every hyperparameter; whichever moves, the others go back to the objective's own values."""
    own = {name: [value for value, _ in moved].index(found.settings[name]) for name, moved in found.moved.items()}
    return [
        {
            "active": own[name],
            "currentvalue": {"prefix": f"{name} = "},
            "steps": [
                {
                    "label": f"{value:g}",
                    "method": "update",
                    "args": _change(surface, found.s, own | {name: place}),
                }
                for place, (value, surface) in enumerate(moved)
            ],
        }
        for name, moved in found.moved.items()
    ]


def _change(surface: Surface, grid: np.ndarray, active: Mapping[str, int]) -> list[dict[str, Any]]:
    """What `Plotly.update` is handed: of all traces, and of the layout with every slider's place."""
    new, s = _drawn(surface, grid), numbers(grid)
    potential = [] if new["potential"] is None else [new["potential"]]
    more = [s] * len(potential)
    traces = {"x": [s, s, s, new["x"], *more], "y": [s, s, s, new["y"], *more], "z": [*new["z"], None, *potential]}
    colours = {f"{axis}.{key}": value for axis, keys in new["colours"].items() for key, value in keys.items()}
    return [traces, colours | {f"sliders[{i}].active": place for i, place in enumerate(active.values())}]
