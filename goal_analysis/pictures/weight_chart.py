"""The chart of an objective on a page: its weights as surfaces and as a field, for any values of its hyperparameters.

The page is handed the formulas as a program, steps on earlier values, and works them out itself; so every
hyperparameter has a slider, and all may be moved at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import sympy as sp
from plotly.colors import get_colorscale

from goal_analysis.numeric.lowering import lowered
from goal_analysis.pictures import style
from goal_analysis.pictures.charts import Chart, chart, numbers, row_of_panels
from goal_analysis.pictures.weight_frames import OFF, Objective, field_of, is_bounded, span_of, weights_and_curl
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, exact, interval_text
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.proof.evaluation import program

COUNT, EVERY = 60, 6  # samples along a side, and of so many in a row one has an arrow

PANELS = {"w⁺, the pull": "coloraxis", "w⁻, the push": "coloraxis2", "descent and curl": "coloraxis3"}


def weight_chart(
    label: str, objective: Objective, batch: pd.DataFrame | None = None, line: Mapping[str, Any] | None = None
) -> Chart:
    """The chart of an objective.

    Args:
        label: how the page calls it.
        objective: what is drawn.
        batch: ``s_p``, ``s_n`` and ``hardest`` of triplets that are laid over the surfaces.
        line: the objective's ``text``; and the ``head``, ``words`` and ``rest`` of its line around its settings, empty
            where it has none.

    Raises:
        UnsupportedFunction: naming a function that programs do not know.
        ValueError: a number that is not finite.
    """
    field, formulas = field_of(objective), weights_and_curl(objective)
    drawn = "" if is_bounded(field.similarity) else ", a window: it has no range"
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
    figure.update_xaxes(sides | {"title": {"text": "s_p" + drawn, "standoff": 4}})
    figure.update_yaxes(sides | {"title": {"text": "s_n" + drawn, "standoff": 4}})
    bar = {"thickness": 10, "outlinewidth": 0, "exponentformat": "power", "title": {"side": "right"}}
    figure.update_layout({axis: {"colorbar": bar} for axis in PANELS.values()})
    live = {
        "names": list(formulas),
        "program": _steps(list(formulas.values()), [s_p, s_n, *(h.symbol for h in read)]),
        "sliders": [_slider(h, float(values[h.symbol])) for h in read],
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


def _slider(h: Hyperparameter, value: float) -> dict[str, Any]:
    low, high = span_around(h, value)
    closed = {"min": h.domain.start, "max": h.domain.end}
    ends = {name: float(end) for name, end in closed.items() if end.is_finite}
    open_at = {"min": bool(h.domain.left_open), "max": bool(h.domain.right_open)}
    about = {"name": h.name, "meaning": h.meaning, "domain": interval_text(h.domain)}
    return about | {"value": value, "low": low, "high": high, "ends": ends, "open": open_at}


def span_around(h: Hyperparameter, value: float) -> tuple[float, float]:
    """Between which values of its domain a slider moves: a quarter of the given one and four times it, or of 0 from −1
    to 1.

    >>> from goal_analysis.symbolic.language.hyperparameter import unit
    >>> span_around(Hyperparameter("share", 0.5, unit), 0.5)
    (0.125, 1.0)
    """
    low, high = sorted((value / 4, 4 * value)) if value else (-1.0, 1.0)
    inside = h.domain.intersect(sp.Interval(exact(low), exact(high)))
    return float(inside.inf), float(inside.sup)
