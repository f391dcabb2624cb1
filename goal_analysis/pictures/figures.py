"""Whole figures of one objective: its pictures, titled, a figure a kind."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from goal_analysis.pictures.fields import curl_frame, draw_field, field_frame
from goal_analysis.pictures.portraits import RHO, draw_portrait, portrait_frame, trajectories_frame
from goal_analysis.pictures.sampling import Objective, Settings, field_of, weights_of
from goal_analysis.pictures.saving import alone, panels
from goal_analysis.pictures.style import style
from goal_analysis.pictures.weights import draw_pair_weights, draw_surface, pair_frame, surface_frame
from goal_analysis.symbolic.analysis.integrability import integrability

LETTERS, LINE = 13, 0.17
"""Letters of a title to an inch, and the height of its lines in inches."""

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
            draw = {"pair": _pair, "triplet": _triplet, "field": _field, "portrait": _portrait}[kind]
            figure, said = draw(objective, settings)
            width, height = figure.get_size_inches()
            lines = [title, *textwrap.wrap(_values(objective, settings), int(LETTERS * width)), *said]
            # The title grows upwards: the picture below it keeps its size.
            figure.set_size_inches(width, height + LINE * len(lines))
            figure.subplots_adjust(**_lower(figure, height))
            figure.suptitle("\n".join(lines), x=0.1 / width, y=1 - 0.08 / figure.get_figheight(), ha="left")
        yield kind, figure


def _lower(figure: Figure, height: float) -> dict[str, float]:
    """The margins of a figure that was so high and has become higher, of what has kept its place."""
    share = height / figure.get_figheight()
    return {"bottom": figure.subplotpars.bottom * share, "top": figure.subplotpars.top * share}


def _values(objective: Objective, settings: Settings) -> str:
    field = field_of(objective)
    values = {h.name: float(field.values(settings)[h.symbol]) for h in field.hyperparameters}
    numbers = [f"{name}\u00a0=\u00a0{value:g}" for name, value in values.items()]
    return ", ".join([*numbers, *(f"{relative.symbol} = 0" for relative in field.relative)])


def _pair(objective: Objective, settings: Settings) -> tuple[Figure, list[str]]:
    several = field_of(objective).factors is None
    figure, ax = alone(3.4, 3.2 if several else 2.8, (0.6, 0.15, 0.5, 0.85 if several else 0.45))
    draw_pair_weights(pair_frame(objective, settings), ax, field_of(objective).similarity)
    return figure, []


def _triplet(objective: Objective, settings: Settings) -> tuple[Figure, list[str]]:
    weights = [name for name in ("T", "w_p", "w_n") if name in weights_of(objective, settings)]
    figure, axes = panels(1, len(weights), 3.7, 3.0, (0.65, 0.75, 0.5, 0.2))
    for weight, ax in zip(weights, axes[0], strict=True):
        draw_surface(surface_frame(objective, weight, settings), ax, weight, field_of(objective).similarity)
    return figure, []


def _field(objective: Objective, settings: Settings) -> tuple[Figure, list[str]]:
    field = field_of(objective)
    verdict = integrability(objective)
    said = {
        True: "the gradient of a loss",
        False: "not the gradient of any loss",
        None: "open whether it is the gradient of a loss",
    }[verdict.integrable]
    curl = curl_frame(objective, settings, verdict)
    scale_beside = 0.95 if curl["curl"].any() else 0.2
    figure, ax = alone(3.25 + scale_beside, 3.55, (0.65, scale_beside, 0.5, 0.45))
    draw_field(field_frame(objective, settings), curl, ax, field.similarity)
    return figure, [said]


def _portrait(objective: Objective, settings: Settings) -> tuple[Figure, list[str]]:
    figure, ax = alone(3.45, 3.65, (0.65, 0.2, 0.6, 0.45))
    frames = portrait_frame(objective, settings), trajectories_frame(objective, settings)
    draw_portrait(*frames, ax, field_of(objective).similarity)
    return figure, [f"arrows and nullclines: slice $\\rho = {RHO:g}$"]
