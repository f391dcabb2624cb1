"""Whole figures of one objective: its pictures, titled, a figure a kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from goal_analysis.plots.fields import curl_frame, draw_field, field_frame
from goal_analysis.plots.portraits import RHO, draw_portrait, portrait_frame, trajectories_frame
from goal_analysis.plots.sampling import Objective, Settings, field_of, weights_of
from goal_analysis.plots.saving import alone, panels
from goal_analysis.plots.style import style
from goal_analysis.plots.weights import draw_pair_weights, draw_surface, pair_frame, surface_frame
from goal_analysis.symbolic.algebra.identity import Undecided
from goal_analysis.symbolic.integrability import Integrability, integrability, smooth_curl
from goal_analysis.symbolic.recovery import potential

KINDS = ("pair", "triplet", "field", "portrait")


def figures(
    objective: Objective, title: str, kinds: Sequence[str] = KINDS, settings: Settings = None
) -> Iterator[tuple[str, Figure]]:
    """Every kind of picture of an objective, one figure each.

    Args:
        objective: a decomposed loss, or any field of weights.
        title: what it is called.
        kinds: of `KINDS`.
        settings: hyperparameters that differ from their defaults.

    Raises:
        ValueError: another kind, or settings that do not fit.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kind: got {kind!r} but expected one of {', '.join(KINDS)}")
        with style():
            figure = {"pair": _pair, "triplet": _triplet, "field": _field, "portrait": _portrait}[kind](
                objective, settings
            )
            figure.suptitle(
                _titled(objective, title, settings),
                x=0.1 / figure.get_figwidth(),
                y=1 - 0.08 / figure.get_figheight(),
                ha="left",
            )
        yield kind, figure


def _titled(objective: Objective, title: str, settings: Settings) -> str:
    field = field_of(objective)
    values = {h.name: float(field.values(settings)[h.symbol]) for h in field.hyperparameters}
    numbers = ", ".join(f"{name} = {value:g}" for name, value in values.items())
    relative = "relative similarities 0" if field.relative else ""
    beside = ", ".join(part for part in (numbers, relative) if part)
    return f"{title}\n{beside}" if beside else title


def _pair(objective: Objective, settings: Settings) -> Figure:
    figure, ax = alone(3.4, 3.3, (0.6, 0.15, 0.5, 1.1))
    draw_pair_weights(pair_frame(objective, settings), ax, field_of(objective).similarity)
    return figure


def _triplet(objective: Objective, settings: Settings) -> Figure:
    weights = [name for name in ("T", "w_p", "w_n") if name in weights_of(objective, settings)]
    figure, axes = panels(1, len(weights), 3.7, 3.3, (0.65, 0.75, 0.5, 0.6))
    for weight, ax in zip(weights, axes[0], strict=True):
        draw_surface(surface_frame(objective, weight, settings), ax, weight, field_of(objective).similarity)
    return figure


def _field(objective: Objective, settings: Settings) -> Figure:
    field = field_of(objective)
    try:
        verdict = integrability(objective)
        said = "the gradient of a loss" if verdict.integrable else "not the gradient of any loss"
    except Undecided as problem:
        verdict = Integrability(False, str(problem), smooth_curl(objective), (), potential(field), None)
        said = "undecided whether it is the gradient of a loss"
    figure, ax = alone(4.2, 3.7, (0.65, 0.95, 0.5, 0.75))
    draw_field(field_frame(objective, settings), curl_frame(objective, settings, verdict), ax, field.similarity)
    ax.set_title(said)
    return figure


def _portrait(objective: Objective, settings: Settings) -> Figure:
    figure, ax = alone(3.6, 3.9, (0.65, 0.2, 0.65, 0.8))
    frames = portrait_frame(objective, settings), trajectories_frame(objective, settings)
    draw_portrait(*frames, ax, field_of(objective).similarity)
    ax.text(1.0, -0.18, f"arrows: slice $\\rho = {RHO:g}$", transform=ax.transAxes, ha="right", va="top", fontsize=7)
    return figure
