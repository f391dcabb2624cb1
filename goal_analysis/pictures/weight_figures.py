"""An objective drawn: pair weights, surfaces, field, phase portrait; many beside each other; and whole figures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import sympy as sp
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from goal_analysis.pictures import KINDS
from goal_analysis.pictures.canvas import panels
from goal_analysis.pictures.cosine_frames import (
    OF_COSINES,
    RHO,
    comparison_frame,
    portrait_frame,
    trajectories_frame,
)
from goal_analysis.pictures.style import DASHES, FAINT, INK, LABELS, PULL, PUSH, RIGHT, Scale, scale_of, style, top_of
from goal_analysis.pictures.weight_frames import (
    Objective,
    arrow_frame,
    curl_frame,
    field_frame,
    field_of,
    is_bounded,
    matrix,
    pair_frame,
    reach,
    regions,
    span_of,
    surface_frame,
    thin_grid,
    weights_of,
)
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.similarity import COSINE, DOT, Similarity

EVERY = 8  # of so many samples in a row of a portrait one has an arrow
LETTERS, LINE = 13, 0.17  # letters of a title to an inch, and the height of its lines in inches
PANEL, GAP = 1.0, 0.12  # of a comparison: the side of one panel, and the gap between w⁺ and w⁻, in inches
BLOCK, ROW = 2 * PANEL + GAP + 0.4, PANEL + 0.25  # of a comparison: from pair to pair, and from row to row
LEFT, SIDE, BELOW, ABOVE = 0.5, 1.0, 0.5, 0.4  # of a comparison: the margins


# --- the square of (s_p, s_n) ---------------------------------------------------------------------


def similarity_label(
    symbol: str, similarity: Similarity = COSINE, span: tuple[float, float] | None = None, of: str = ""
) -> str:
    r"""A similarity's symbol with its range, for an axis; where there is no range, with what is drawn of it.

    >>> similarity_label("s_p")
    '$s_p \\in [-1, 1]$'
    >>> similarity_label("s", Similarity("log_ratio", "log p/q", -sp.oo, sp.oo), (-4.0, 4.0))
    '$s \\in (-\\infty, \\infty)$, drawn from $-4$ to $4$'
    """
    ends = similarity.opposite, similarity.identical
    if is_bounded(similarity):
        return rf"${symbol} \in {list(ends)}${of}"
    low, high = span or span_of(similarity)
    interval = sp.latex(sp.Interval(*ends)).replace(r"\left", "").replace(r"\right", "")
    return rf"${symbol} \in {interval}$, drawn from ${low:.3g}$ to ${high:.3g}${of}"


def similarity_axes(
    ax: Axes, similarity: Similarity = COSINE, span: tuple[float, float] | None = None, of: str = ""
) -> Axes:
    """Make ``ax`` the square of (s_p, s_n) in a span, by default the similarity's, labelled."""
    span = span or span_of(similarity)
    ax.set(xlim=span, ylim=span, aspect="equal")
    ax.set(xlabel=similarity_label("s_p", similarity, span, of), ylabel=similarity_label("s_n", similarity, span, of))
    if is_bounded(similarity):
        ax.set(xticks=np.linspace(*span, 5), yticks=np.linspace(*span, 5))
    return ax


def _on_mesh(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray]:
    return frame["s_p"].unique(), frame["s_n"].unique(), np.ma.masked_invalid(matrix(frame, column))


def draw_colours(frame: pd.DataFrame, column: str, ax: Axes, scale: Scale) -> ScalarMappable:
    """A column of a `grid` in colours, a cell a sample, so that a jump stays sharp; NaN is hatched."""
    *at, values = _on_mesh(frame, column)
    if values.mask.any():
        ax.patch.set(hatch="////", edgecolor=FAINT, facecolor="white")
    if scale.kind == "log":  # on a logarithmic scale zero is the least, not bad
        values = np.ma.maximum(values, scale.floor)
    return ax.pcolormesh(*at, values, norm=scale.norm, cmap=scale.colours, shading="nearest", rasterized=True)


def draw_colourbar(colours: ScalarMappable, ax: Axes, scale: Scale, label: str) -> None:
    """The scale beside ``ax``, with its note after the label."""
    room = " " if len(label) < 20 else "\n"
    label += f"{room}({scale.note})" if scale.note else ""
    bar = ax.figure.colorbar(colours, ax=ax, extend=scale.extend, label=label, fraction=0.05, pad=0.04)
    bar.outline.set_visible(False)
    if scale.kind == "symlog":
        bar.set_ticks(list(scale.marks))
        bar.minorticks_off()


def draw_contours(
    frame: pd.DataFrame, column: str, ax: Axes, levels: tuple[float, ...], colour: str = INK, width: float = 0.5
) -> int:
    """Draw contours of a column, each side of the kinks ``kink_0`` … by itself; return how many levels were drawn."""
    (*at, values), sides = _on_mesh(frame, column), regions(frame)
    drawn: set[float] = set()
    for side in np.unique(sides):
        inside = np.ma.masked_where(sides != side, values)
        low, high = inside.min(), inside.max()
        within = [level for level in levels if low < level < high]
        # A plateau that rounding alone makes uneven has no contours.
        if within and high - low > 1e-9 * max(abs(low), abs(high)):
            ax.contour(*at, inside, levels=within, colors=[colour], linewidths=width, linestyles="solid")
            drawn.update(within)
    return len(drawn)


def draw_zeros(
    frame: pd.DataFrame, column: str, ax: Axes, colour: str = INK, dashes: str = "dashed", width: float = 0.7
) -> bool:
    """Draw the line along which a column is zero, across all kinks; return whether there is one."""
    *at, values = _on_mesh(frame, column)
    if not values.min() < 0 < values.max():
        return False
    ax.contour(*at, values, levels=[0.0], colors=[colour], linewidths=width, linestyles=dashes)
    return True


def draw_kinks(frame: pd.DataFrame, ax: Axes) -> None:
    """Draw the kinks of a `goal_analysis.pictures.weight_frames.grid` dashed."""
    for name in frame.filter(regex="^kink_"):
        draw_zeros(frame, str(name), ax)


def draw_arrows(at: pd.DataFrame, across: pd.Series, up: pd.Series, ax: Axes) -> Axes:
    """The arrows of `goal_analysis.pictures.weight_frames.arrow_frame`; a dot where nothing moves."""
    arrows = arrow_frame(at, across, up)
    moves = (arrows[["across", "up"]] != 0).any(axis=1)
    ax.quiver(
        *arrows[moves].to_numpy().T, color=INK, angles="xy", pivot="middle", scale_units="x", scale=1,
        width=0.004, headwidth=4, headlength=4, headaxislength=3.5, minlength=0.6,
    )  # fmt: skip
    still = arrows[~moves]
    ax.plot(still["s_p"], still["s_n"], ".", color=FAINT, markersize=1.5)
    return ax


# --- what is drawn of an objective ---------------------------------------------------------------


def draw_pair_weights(frame: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """The curves of a `goal_analysis.pictures.weight_frames.pair_frame`; a dotted line joins the ends of a jump."""
    held_at = sorted(frame["held"].dropna().unique())
    for (name, held), curve in frame.groupby(["weight", "held"], sort=False, dropna=False):
        name, held = str(name), float(str(held))
        dash = DASHES[held_at.index(held) if np.isfinite(held) else int(name == "P_n")]  # curves may coincide
        other = "s_n" if name == "w_p" else "s_p"
        label = f"${LABELS[name]}" + (f"$ at ${other} = {held:g}$" if np.isfinite(held) else f"(s_{name[-1]})$")
        colour = PULL if name.endswith("p") else PUSH
        pieces = [piece for _, piece in curve.groupby("piece")]
        for i, piece in enumerate(pieces):
            ax.plot(piece["s"], piece["value"], color=colour, linestyle=dash, label=label if i == 0 else None)
        for left, right in pairwise(pieces):
            ends = left.iloc[-1], right.iloc[0]
            ax.plot([e["s"] for e in ends], [e["value"] for e in ends], color=colour, linestyle=":", linewidth=0.8)
    ax.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    top, clipped = top_of(frame["value"])
    if clipped:
        ax.set_ylim(-1.05 * top if (frame["value"] < 0).any() else -0.05 * top, 1.05 * top)
    label = f"weight (clipped at {top:.2g})" if clipped else "weight"
    span = span_of(similarity)
    ax.set(xlim=span, xlabel=similarity_label("s", similarity, span), ylabel=label)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, handlelength=1.6, columnspacing=1.2)
    return ax


def draw_surface(
    frame: pd.DataFrame,
    ax: Axes,
    weight: str = "T",
    similarity: Similarity = COSINE,
) -> Axes:
    """A `goal_analysis.pictures.weight_frames.surface_frame` in colours, with contours, and with its kinks dashed."""
    scale = scale_of(frame["value"])
    colours = draw_colours(frame, "value", ax, scale)
    draw_contours(frame, "value", ax, scale.levels)
    draw_kinks(frame, ax)
    similarity_axes(ax, similarity, reach(frame))
    draw_colourbar(colours, ax, scale, f"${LABELS[weight]}$")
    return ax


def draw_field(
    arrows: pd.DataFrame,
    curl: pd.DataFrame,
    ax: Axes,
    similarity: Similarity = COSINE,
) -> Axes:
    """Arrows as long as the square root of their weights, above the curl in colour; contours of the potential.

    A curl of zero everywhere leaves the ground white. A kink at which the curl is concentrated is a thick line. The
    frames are of `goal_analysis.pictures.weight_frames.field_frame` and
    `goal_analysis.pictures.weight_frames.curl_frame`.
    """
    if (curl["curl"].abs() > 0).any():
        scale = scale_of(curl["curl"], signed=True)
        colours = draw_colours(curl, "curl", ax, scale)
        draw_colourbar(colours, ax, scale, r"curl  $\partial w^+\!/\partial s_n + \partial w^-\!/\partial s_p$")
    if "potential" in curl:
        levels = curl["potential"].dropna().quantile(np.linspace(0.1, 0.9, 9)).unique()
        draw_contours(curl, "potential", ax, tuple(levels), FAINT, 0.8)
    for i in range(sum(str(name).startswith("jump_") for name in curl)):
        there = curl.assign(here=curl[f"jump_{i}"].where(curl[f"concentrated_{i}"] != 0))
        if draw_zeros(there, "here", ax, PUSH, "solid", 2.0):
            ax.plot([], [], color=PUSH, linewidth=2.0, label="curl concentrated here")
    draw_arrows(arrows, arrows["w_p"], -arrows["w_n"], ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return similarity_axes(ax, similarity)


def draw_portrait(frame: pd.DataFrame, trajectories: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """Arrows of a `portrait_frame`, the nullclines of s_p and of s_n, and a `trajectories_frame` with its starts."""
    some = thin_grid(frame, EVERY)
    draw_arrows(some, some["ds_p"], some["ds_n"], ax)
    for column, symbol, colour in (("ds_p", "s_p", PULL), ("ds_n", "s_n", PUSH)):
        if draw_contours(frame, column, ax, (0.0,), colour, 1.4):
            ax.plot([], [], color=colour, label=rf"$\dot{{{symbol[0]}}}_{symbol[-1]} = 0$")
    for _, line in trajectories.groupby("trajectory"):
        ax.plot(line["s_p"], line["s_n"], color=RIGHT, linewidth=1.0, alpha=0.9)
        for end, size, inside in ((0, 4, "white"), (-1, 3, RIGHT)):
            at = line[["s_p", "s_n"]].iloc[end]
            ax.plot(*at, "o", color=RIGHT, markerfacecolor=inside, markersize=size, clip_on=False)
    ax.plot([], [], "-o", color=RIGHT, markerfacecolor="white", markersize=4, linewidth=1, label="from ○ to ●")
    similarity_axes(ax, COSINE if similarity == DOT else similarity, of=", unit vectors" if similarity == DOT else "")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=1.4, columnspacing=1.0)
    return ax


def comparison_figure(objectives: Sequence[Objective]) -> Figure:
    """Objectives, each at its own hyperparameters, in one figure: w⁺ beside w⁻, in columns that make the page even."""
    frame = comparison_frame(objectives)
    names = list(frame["objective"].unique())
    blocks = max(1, round(math.sqrt(len(names) / 3)))
    rows = math.ceil(len(names) / blocks)
    low = -1.0 if (frame["share"] < 0).any() else 0.0
    levels = tuple(level for level in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75) if level > low)
    scale = Scale(low, 1.0, levels=levels, extend="both" if low else "max", note=f"poles clipped at {'±' * bool(low)}1")
    width, height = blocks * BLOCK + LEFT + SIDE, rows * ROW + BELOW + ABOVE
    with style():
        figure = Figure(figsize=(width, height))  # every place is known, so that no layout has to be searched for
        for (name, weight), panel in frame.groupby(["objective", "weight"], sort=False):
            place, column = names.index(name), int(weight == "w_n")
            block, row = divmod(place, rows)
            corner = (LEFT + block * BLOCK + column * (PANEL + GAP), height - ABOVE - row * ROW - PANEL)
            ax = figure.add_axes((corner[0] / width, corner[1] / height, PANEL / width, PANEL / height))
            own = panel.dropna(axis="columns", how="all").reset_index(drop=True)
            draw_colours(own, "share", ax, scale)
            draw_contours(own, "share", ax, scale.levels, width=0.35)
            draw_kinks(own, ax)
            ax.set(xlim=(-1, 1), ylim=(-1, 1), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            last = row == rows - 1 or place == len(names) - 1
            ax.tick_params(labelbottom=last, labelleft=column == 0, labelsize=6, length=2)
            ax.text(0, 1.04, str(name) if column == 0 else "", transform=ax.transAxes, fontsize=6.5)
            if row == 0:
                ax.set_title(f"${LABELS[str(weight)]}$", fontsize=8, pad=12, loc="center")
        tall = min(height - ABOVE - BELOW, 3.0)
        beside = figure.add_axes((1 - (SIDE - 0.05) / width, 1 - (ABOVE + tall) / height, 0.1 / width, tall / height))
        bar = figure.colorbar(ScalarMappable(scale.norm, scale.colours), cax=beside, extend=scale.extend)
        bar.set_label(f"share of the loss's largest weight\n({scale.note})", fontsize=7)
        bar.outline.set_visible(False)
        middle = (LEFT + (width - SIDE)) / 2 / width
        figure.supxlabel(r"$\cos(a, p) \in [-1, 1]$", fontsize=8, x=middle, y=0.08 / height)
        figure.supylabel(r"$\cos(a, n) \in [-1, 1]$", fontsize=8, x=0.05 / width)
    return figure


# --- whole figures --------------------------------------------------------------------------------


def figures(objective: Objective, title: str, kinds: Sequence[str] | None = None) -> Iterator[tuple[str, Figure]]:
    """The pictures of an objective, at its own hyperparameters, with their kinds, one figure each; a portrait needs a
    similarity that is a function of the cosine. A kind that there is not is a ValueError.
    """
    field = field_of(objective)
    values = [f"{h.name}\u00a0=\u00a0{float(field.values()[h.symbol]):g}" for h in field.hyperparameters]
    values += [f"{relative.symbol} = 0" for relative in field.relative]
    if kinds is None:
        kinds = KINDS if field.similarity in OF_COSINES else KINDS[:-1]
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kind: got {kind!r} but expected one of {', '.join(KINDS)}")
        with style():
            figure, said = _figure(objective, kind)
            width, height = figure.get_size_inches()
            lines = [title, *textwrap.wrap(", ".join(values), int(LETTERS * width)), *said]
            # The title grows upwards: the picture below it keeps its size.
            figure.set_size_inches(width, height + LINE * len(lines))
            share = height / figure.get_figheight()
            figure.subplots_adjust(bottom=figure.subplotpars.bottom * share, top=figure.subplotpars.top * share)
            figure.suptitle("\n".join(lines), x=0.1 / width, y=1 - 0.08 / figure.get_figheight(), ha="left")
        yield kind, figure


def _figure(objective: Objective, kind: str) -> tuple[Figure, list[str]]:
    """A picture, and what its title says besides the values."""
    field = field_of(objective)
    if kind == "pair":
        above = 0.85 if field.factors is None else 0.45
        figure, [[ax]] = panels(1, 1, 3.4, 2.35 + above, (0.6, 0.15, 0.5, above))
        draw_pair_weights(pair_frame(objective), ax, field.similarity)
        return figure, []
    if kind == "triplet":
        weights = [name for name in ("T", "w_p", "w_n") if name in weights_of(objective)]
        figure, [axes] = panels(1, len(weights), 3.7, 3.0, (0.65, 0.75, 0.5, 0.2))
        for weight, ax in zip(weights, axes, strict=True):
            draw_surface(surface_frame(objective, weight), ax, weight, field.similarity)
        return figure, []
    if kind == "field":
        verdict = integrability(objective)
        curl = curl_frame(objective, verdict=verdict)
        scale_beside = 0.95 if curl["curl"].any() else 0.2
        figure, [[ax]] = panels(1, 1, 3.25 + scale_beside, 3.55, (0.65, scale_beside, 0.5, 0.45))
        draw_field(field_frame(objective), curl, ax, field.similarity)
        return figure, [verdict.said]
    figure, [[ax]] = panels(1, 1, 3.45, 3.65, (0.65, 0.2, 0.6, 0.45))
    draw_portrait(portrait_frame(objective), trajectories_frame(objective), ax, field.similarity)
    return figure, [f"arrows and nullclines: slice $\\rho = {RHO:g}$"]
