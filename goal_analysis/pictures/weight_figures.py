"""An objective drawn on Axes: pair weights, surfaces, the field, and where descent carries triplets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from goal_analysis.pictures import weight_frames as frames
from goal_analysis.pictures.canvas import wrap
from goal_analysis.pictures.style import CALM, DASHES, FAINT, INK, LABELS, PULL, PUSH, RIGHT, Scale, scale_of, top_of
from goal_analysis.symbolic.language.similarity import COSINE, DOT, Similarity

LETTERS = 26  # of a label in a line, which is then no longer than a panel: older matplotlib keeps no room for more
SAME = 5e-3  # curves that differ by less of their largest are told apart by nobody
EVERY = 8  # of so many samples in a row of a flow one has an arrow


# --- the square of (s_p, s_n) ---------------------------------------------------------------------


def similarity_axes(
    ax: Axes, similarity: Similarity = COSINE, span: tuple[float, float] | None = None, of: str = ""
) -> Axes:
    """Make ``ax`` the square of (s_p, s_n) in a span, by default the similarity's, labelled."""
    span = span or frames.span_of(similarity)
    labels = [wrap(frames.similarity_label(symbol, similarity, span) + of, LETTERS) for symbol in ("$s_p$", "$s_n$")]
    ax.set(xlim=span, ylim=span, aspect="equal", xlabel=labels[0], ylabel=labels[1])
    if frames.is_bounded(similarity):
        ax.set(xticks=np.linspace(*span, 5), yticks=np.linspace(*span, 5))
    return ax


def _on_mesh(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray]:
    return frame["s_p"].unique(), frame["s_n"].unique(), np.ma.masked_invalid(frames.matrix(frame, column))


def draw_colours(frame: pd.DataFrame, column: str, ax: Axes, scale: Scale) -> ScalarMappable:
    """A column of a `grid` in colours, a cell a sample, so that a jump stays sharp; NaN is hatched."""
    *at, values = _on_mesh(frame, column)
    if values.mask.any():
        ax.patch.set(hatch="////", edgecolor=FAINT, facecolor="white")
    if scale.kind == "log":  # on a logarithmic scale zero is the least, not bad
        values = np.ma.maximum(values, scale.floor)
    return ax.pcolormesh(*at, values, norm=scale.norm, cmap=scale.colours, shading="nearest", rasterized=True)


def draw_colourbar(colours: ScalarMappable, ax: Axes, scale: Scale, label: str) -> None:
    """The scale beside ``ax``, as tall as that, with its note after the label."""
    if scale.note:
        label += (" " if len(label + scale.note) < LETTERS else "\n") + wrap(f"({scale.note})", LETTERS)
    bar = ax.figure.colorbar(colours, cax=ax.inset_axes((1.04, 0, 0.05, 1)), extend=scale.extend, label=label)
    bar.outline.set_visible(False)
    if scale.kind == "symlog":
        bar.set_ticks(list(scale.marks))
        bar.minorticks_off()


def draw_contours(
    frame: pd.DataFrame, column: str, ax: Axes, levels: tuple[float, ...], colour: str = INK, width: float = 0.5
) -> int:
    """Draw contours of a column, each side of the kinks ``kink_0`` … by itself; return how many levels were drawn."""
    (*at, values), sides = _on_mesh(frame, column), frames.regions(frame)
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
    arrows = frames.arrow_frame(at, across, up)
    moves = (arrows[["across", "up"]] != 0).any(axis=1)
    ax.quiver(
        *arrows[moves].to_numpy().T, color=INK, angles="xy", pivot="middle", scale_units="x", scale=1,
        width=0.004, headwidth=4, headlength=4, headaxislength=3.5, minlength=0.6,
    )  # fmt: skip
    still = arrows[~moves]
    ax.plot(still["s_p"], still["s_n"], ".", color=FAINT, markersize=1.5)
    return ax


# --- what is drawn of an objective ---------------------------------------------------------------


def one_number(values: pd.Series) -> str:
    """The number that all of these are in three digits, or nothing."""
    low, high = (f"{end:.3g}" for end in (values.min(), values.max()))
    return low if low == high and values.notna().all() else ""


def write_in(ax: Axes, words: str) -> Axes:
    """Write a sentence into a panel in the place of a drawing."""
    ax.set(facecolor=CALM, **({} if ax.get_xlabel() else {"xticks": [], "yticks": []}))
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center")
    return ax


def draw_pair_weights(frame: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """The curves of a `goal_analysis.pictures.weight_frames.pair_frame`; a dotted line joins the ends of a jump."""
    held_at = sorted(frame["held"].dropna().unique())
    for name, of in ((str(name), of) for name, of in frame.groupby("weight", sort=False)):
        at = {f"{held:g}": curve for held, curve in of.groupby("held", sort=False, dropna=False)}
        for helds, curve in frames.once(at, apart=SAME).items():
            _draw_pair_weight(curve, ax, name, helds, held_at)
    ax.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    top, clipped = top_of(frame["value"])
    if clipped:
        ax.set_ylim(-1.05 * top if (frame["value"] < 0).any() else -0.05 * top, 1.05 * top)
    label = f"weight (clipped at {top:.2g})" if clipped else "weight"
    span, sides = frames.span_of(similarity), frame["weight"].str[-1].unique()
    symbol = f"$s_{sides[0]}$" if len(sides) == 1 else "$s$"
    ax.set(xlim=span, xlabel=wrap(frames.similarity_label(symbol, similarity, span), LETTERS), ylabel=label)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(sides), handlelength=1.6, columnspacing=1.2)
    return ax


def _draw_pair_weight(curve: pd.DataFrame, ax: Axes, name: str, helds: Sequence[str], held_at: list[float]) -> None:
    held, other = curve["held"].iloc[0], "s_n" if name[-1] == "p" else "s_p"
    dash = DASHES[held_at.index(held) if np.isfinite(held) else int(name[-1] == "n")]  # curves may coincide
    at = f"$ at ${other} =$ {', '.join(helds)}" if np.isfinite(held) else f"(s_{name[-1]})$"
    said = one_number(curve["value"])
    label = f"${LABELS[name]}{at}" + f" $= {said}$" * bool(said)
    colour = PULL if name.endswith("p") else PUSH
    pieces = [piece for _, piece in curve.groupby("piece")]
    for i, piece in enumerate(pieces):
        ax.plot(piece["s"], piece["value"], color=colour, linestyle=dash, label=label if i == 0 else None)
    for ends in ((left.iloc[-1], right.iloc[0]) for left, right in pairwise(pieces)):
        ax.plot([e["s"] for e in ends], [e["value"] for e in ends], color=colour, linestyle=":", linewidth=0.8)


def draw_surface(
    frame: pd.DataFrame, ax: Axes, weight: str | Sequence[str] = "T", similarity: Similarity = COSINE
) -> Axes:
    """A `surface_frame` in colours, with contours and dashed kinks; a weight that is one number is written."""
    label = " = ".join(f"${LABELS[name]}$" for name in ([weight] if isinstance(weight, str) else weight))
    similarity_axes(ax, similarity, frames.reach(frame))
    values = frame["value"]
    if said := one_number(values):
        return write_in(ax, f"{label} = {said}\neverywhere")
    scale = scale_of(values)
    colours = draw_colours(frame, "value", ax, scale)
    draw_contours(frame, "value", ax, scale.levels)
    draw_kinks(frame, ax)
    draw_colourbar(colours, ax, scale, label)
    return ax


def draw_field(arrows: pd.DataFrame, curl: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """Arrows on the curl, with contours of the potential, and a thick line where the curl is concentrated."""
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


def draw_flow(frame: pd.DataFrame, trajectories: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE) -> Axes:
    """Arrows of a `flow_frame`, the nullclines of s_p and of s_n, and a `trajectories_frame` with its starts."""
    some = frames.thin_grid(frame, EVERY)
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
