"""Whole figures of objectives: pictures of one, several beside each other, and two with their difference."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from typing import Any

import pandas as pd
import sympy as sp
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

from goal_analysis.declarations import expect_among
from goal_analysis.pictures import KINDS
from goal_analysis.pictures import cosine_frames as cosines
from goal_analysis.pictures import weight_figures as on
from goal_analysis.pictures import weight_frames as frames
from goal_analysis.pictures.batch import draw_pairs, draw_weight_distribution, made_up_pairs
from goal_analysis.pictures.canvas import fit, panels, wrap
from goal_analysis.pictures.style import LABELS, Scale, style
from goal_analysis.pictures.weight_frames import Objective, field_of
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.similarity import OF_COSINE
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.typesetting.pages import latex_label, weights_page

SIDE = 1.5  # of a panel where several objectives stand beside each other, in inches
PAGE = 6.0  # of a line of a portrait, in inches
LETTERS = 32  # that fit above such a panel in a line


def settings_of(objective: Objective) -> str:
    """The hyperparameters with their values, and the similarities of other pairs, which are 0 in a picture."""
    field = field_of(objective)
    values = [f"{h.name}\u00a0=\u00a0{float(field.values()[h.symbol]):g}" for h in field.hyperparameters]
    return ", ".join([*values, *(f"{relative.symbol}\u00a0=\u00a00" for relative in field.relative)])


def figures(objective: Objective, title: str, kinds: Sequence[str] | None = None) -> Iterator[tuple[str, Figure]]:
    """Kinds and pictures of an objective at its own values; another kind, or a flow without cosine, is a ValueError."""
    if kinds is None:
        kinds = [kind for kind in KINDS if kind != "flow" or field_of(objective).similarity in OF_COSINE]
    for kind in kinds:
        expect_among("kind", kind, KINDS)
        with style():
            drawn, said = _drawn(objective, kind)
            columns, side = (2, 1.9) if kind == "portrait" else (len(drawn), 2.4)
            figure, axes = panels(-(-len(drawn) // columns), columns, side, side)
            for ax, draw in zip_longest(axes.flat, drawn):
                if draw is None:
                    ax.set_visible(False)
                else:
                    draw(ax=ax, similarity=field_of(objective).similarity)
            yield kind, fit(figure, "\n".join(line for line in (title, settings_of(objective), *said) if line))


def _drawn(objective: Objective, kind: str) -> tuple[list[Any], list[str]]:
    """What draws the panels of a kind, and what its title says besides the values."""
    if kind == "pair":
        return [partial(on.draw_pair_weights, frames.pair_frame(objective))], []
    if kind == "triplet":
        return _surfaces(objective, ("T", "w_p", "w_n")), []
    flow = []
    if kind == "flow" or field_of(objective).similarity in OF_COSINE:
        flow = [partial(on.draw_flow, cosines.flow_frame(objective), cosines.trajectories_frame(objective))]
    if kind == "flow":
        return flow, [f"arrows and nullclines: slice $\\rho = {cosines.RHO:g}$"]
    verdict = integrability(objective)
    field = partial(on.draw_field, frames.field_frame(objective), frames.curl_frame(objective, verdict=verdict))
    if kind == "field":
        return [field], [verdict.said]
    of_batch = []
    if isinstance(objective, Decomposition):
        with suppress(ValueError):  # a similarity that tensors do not work out
            pairs = made_up_pairs(objective.loss)
            of_batch = [partial(draw_pairs, pairs), lambda ax, similarity: draw_weight_distribution(pairs, ax)]
    negative = partial(on.draw_pair_weights, frames.pair_frame(objective, ["w_n"]))
    drawn = [*_surfaces(objective, ("w_p", "w_n")), field, negative, *of_batch[:1], *flow, *of_batch[1:]]
    reason = f"{verdict.said}: {verdict.reason}".replace(" = ", "\u00a0=\u00a0")
    return drawn[:6], [*_formulas(objective), reason]


def _formulas(objective: Objective) -> list[str]:
    rows = [row for row in weights_page(objective).rows if isinstance(row.value, sp.Expr)]
    found = [(latex_label(row), row.label, row.value) for row in rows]
    if isinstance(objective, Decomposition) and objective.loss.is_loss:
        found.insert(0, ("L(s_p, s_n)", "L(s_p, s_n)", objective.loss.expression()))
    return [_typeset(f"{symbol} = {latex(value)}", f"{label} = {plain(value)}") for symbol, label, value in found]


def _typeset(formula: str, text: str) -> str:
    formula = re.sub(r"(\\mathrm\{\w+\}) ", r"\1\\,", formula)
    formula = f"${formula.replace(' ', '{}')}$"  # in one word, so that no line is broken in it
    try:
        wide, *_ = MathTextParser("path").parse(formula, dpi=72, prop=FontProperties(size=10))
    except ValueError:
        return text
    return formula if wide <= 72 * PAGE else text


def _surfaces(objective: Objective, weights: Sequence[str]) -> list[Any]:
    """What draws the surfaces of those of the weights that there are, equal ones once."""
    found = frames.weights_of(objective)
    surfaces = frames.once({weight: frames.surface_frame(objective, weight) for weight in weights if weight in found})
    return [partial(on.draw_surface, frame, weight=names) for names, frame in surfaces.items()]


# --- objectives beside each other -----------------------------------------------------------------


def comparison_figure(objectives: Sequence[Objective]) -> Figure:
    """Objectives in one figure: w⁺ beside w⁻, or both in one where they are equal; in columns that make it even."""
    return _beside(cosines.comparison_frame(objectives), [_named(objective) for objective in objectives])


def difference_figure(one: Objective, other: Objective) -> Figure:
    """The weights of two objectives beside each other, each as a share of its own largest, and their difference."""
    return _beside(cosines.difference_frame(one, other), [_named(one), _named(other), "the first minus the second"], 3)


@style()
def _beside(frame: pd.DataFrame, titles: Sequence[str], blocks: int = 0) -> Figure:
    surfaces = [
        frames.once({str(weight): panel for weight, panel in of.groupby("weight", sort=False)}, "share")
        for _, of in frame.groupby("objective", sort=False)
    ]
    shares = frame.groupby(frame["objective"] == cosines.DIFFERENCE)["share"]
    scales = {differing: _scale_of_shares(of, bool(differing)) for differing, of in shares}
    blocks = blocks or max(1, round(math.sqrt(1.2 * len(surfaces) / max(map(len, surfaces)))))
    rows = math.ceil(len(surfaces) / blocks)
    wide = [max(map(len, surfaces[first : first + rows])) for first in range(0, len(surfaces), rows)]
    figure, axes = panels(rows, sum(wide), SIDE, SIDE)
    for ax in axes.flat:
        ax.set_visible(False)
    with_bar = {(len(surfaces) - len(scales)) // rows * rows, *([len(surfaces) - 1] if len(scales) > 1 else [])}
    for place, (title, of_weights) in enumerate(zip(titles, surfaces, strict=True)):
        block, row = divmod(place, rows)
        beside = axes[row, sum(wide[:block]) : sum(wide[: block + 1])]
        differing, below = title == titles[-1] and len(scales) > 1, surfaces[place + 1 : (block + 1) * rows]
        colours = [
            _draw_share(panel, ax, scales[differing], weights, all(len(of) <= i for of in below), ax is axes[row, 0])
            for i, (ax, (weights, panel)) in enumerate(zip(beside, of_weights.items(), strict=False))
        ]
        if place in with_bar:
            label = "difference\nof the shares" if differing else "share of the\nlargest weight"
            on.draw_colourbar(colours[-1], beside[len(colours) - 1], scales[differing], label)
        beside[0].set_title(title, fontsize=8)
    return fit(figure)


def _scale_of_shares(shares: pd.Series, differing: bool) -> Scale:
    """From −1, or from 0, to 1; of a difference as far as it reaches."""
    top = shares.abs().max() or 1.0 if differing else 1.0
    low, beyond = -top if differing or (shares < 0).any() else 0.0, bool((shares.abs() > top * (1 + 1e-9)).any())
    levels = tuple(top * level for level in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75) if top * level > low)
    extend = ("both" if low else "max") if beyond else "neither"
    return Scale(low, top, levels=levels, extend=extend, note="poles clipped" * beyond)


def _draw_share(
    panel: pd.DataFrame, ax: Axes, scale: Scale, weights: Sequence[str], lowest: bool, leftmost: bool
) -> ScalarMappable:
    own = panel.dropna(axis="columns", how="all").reset_index(drop=True)
    ax.set_visible(True)
    colours = on.draw_colours(own, "share", ax, scale)
    on.draw_contours(own, "share", ax, scale.levels, width=0.35)
    on.draw_kinks(own, ax)
    ax.set(xlim=(-1, 1), ylim=(-1, 1), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.set(xlabel="cos(a, p)" * lowest, ylabel="cos(a, n)" * leftmost)
    ax.tick_params(labelbottom=lowest, labelleft=leftmost)
    label = " = ".join(f"${LABELS[weight]}$" for weight in weights)
    ground = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5}
    ax.text(0.96, 0.04, label, transform=ax.transAxes, ha="right", va="bottom", bbox=ground)
    return colours


def _named(objective: Objective) -> str:
    name, values = field_of(objective).name, settings_of(objective)
    unsaid = [one for one in values.split(", ") if one.replace("\u00a0", "") not in name]
    return "\n".join(wrap(said, LETTERS) for said in (name, ", ".join(unsaid)) if said)
