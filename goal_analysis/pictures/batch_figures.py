"""A batch drawn: where its triplets lie, how its weights are distributed, how similarities move over training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from goal_analysis.files import write_whole
from goal_analysis.pictures.batch_frames import CELLS, joint_frame, triplets_frame
from goal_analysis.pictures.canvas import similarity_label, single_panel
from goal_analysis.pictures.style import INK, PULL, PUSH, Scale, scale_of, style
from goal_analysis.pictures.weight_figures import draw_surface
from goal_analysis.pictures.weight_frames import span_of
from goal_analysis.symbolic.language.similarity import COSINE, Similarity

SMALL = 8  # a weight this many powers of ten below the largest, or farther, is not drawn
WRITERS = {".gif": PillowWriter, ".mp4": FFMpegWriter}  # of films, by the ending of the file

SIDES = (("negative", "s_n", PUSH), ("positive", "s_p", PULL))


def draw_joint(
    triplets: pd.DataFrame,
    surface: pd.DataFrame,
    ax: Axes,
    weight: str = "T",
    similarity: Similarity = COSINE,
    scale: Scale | None = None,
    colourbar: bool = True,
) -> Axes:
    """The joint histogram of (s_p, s_n), squares whose area is the share of triplets, on the surface of a weight."""
    draw_surface(surface, ax, weight, similarity, scale, colourbar)
    cells = joint_frame(triplets, similarity)
    largest = 72 * ax.get_window_extent().width / ax.figure.dpi / CELLS  # pyright: ignore
    area = np.maximum(cells["share"] * largest**2, 0.15)
    ax.scatter(cells["s_p"], cells["s_n"], s=area, marker="s", color=PUSH, linewidths=0.3, edgecolors="white")
    ax.set_title(f"{len(triplets):,} triplets; area: share of them")
    return ax


def draw_weight_distribution(pairs: pd.DataFrame, ax: Axes) -> Axes:
    """The share of pairs with a weight of at least so much, of positives beside negatives, on log scales."""
    sizes = pairs["weight"].abs()
    floor = sizes.max() / 10**SMALL
    for kind, symbol, colour in (("positive", "w^+", PULL), ("negative", "w^-", PUSH)):
        of_kind = sizes[pairs["kind"] == kind].to_numpy()
        shown = np.sort(of_kind[of_kind > floor])
        left_out = 1 - len(shown) / len(of_kind) if len(of_kind) else 0.0
        below = "below" if (of_kind[of_kind <= floor] > 0).any() else "of them 0"
        label = f"$|{symbol}|$, {len(of_kind):,} pairs" + (f", {left_out:.0%} {below}" if left_out else "")
        share = np.arange(len(shown), 0, -1) / max(len(of_kind), 1)
        ax.step(shown, share, where="pre", color=colour, label=label)
    ax.set(xscale="log", yscale="log", xlabel="weight (log scale)")
    ax.set_ylabel("share of pairs with at least it (log scale)")
    _span_whole_decades(ax, sizes[sizes > floor])
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def _span_whole_decades(ax: Axes, sizes: pd.Series) -> None:
    if len(sizes):
        low, high = np.floor(np.log10(sizes.min())), np.ceil(np.log10(sizes.max()))
        ax.set_xlim(10.0**low, 10.0 ** max(high, low + 1))
    ax.set_ylim(10.0 ** min(np.floor(np.log10(ax.get_ylim()[0])), -1), 1.3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())


def draw_shares(anchors: pd.DataFrame, ax: Axes) -> Axes:
    """The anchors by the share of their weight that pushes; at ½ an anchor pulls as much as it pushes."""
    sns.histplot(x=anchors["push_share"].dropna(), ax=ax, bins=np.linspace(0, 1, 41).tolist(), **_BARS)
    still = anchors["push_share"].isna().sum()
    total = anchors["push"].sum() / max((anchors["push"] + anchors["pull"]).sum(), np.finfo(float).tiny)
    ax.axvline(total, color=INK, linewidth=0.8, linestyle="--", label=f"of the whole batch: {total:.2f}")
    ax.set(xlim=(0, 1), xlabel=r"push share  $\sum|w^-| / \sum(|w^+| + |w^-|) \in [0, 1]$", ylabel="anchors")
    without = f"{still} of {len(anchors)} without weight" if still else None
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), title=without)
    return ax


def draw_effective_negatives(anchors: pd.DataFrame, ax: Axes) -> Axes:
    """The anchors of an `anchors_frame` by how many negatives share the weight that pushes."""
    found = anchors["effective_negatives"].dropna()
    top = max(float(found.max()) if len(found) else 1.0, 1.01)
    many = top > 20
    sns.histplot(x=found, ax=ax, bins=np.geomspace(0.98, 1.02 * top, 31).tolist(), **_BARS)
    ax.axvline(found.mean(), color=INK, linewidth=0.8, linestyle="--", label=f"mean {found.mean():.1f}")
    ax.set(xscale="log" if many else "linear", ylabel="anchors")
    ax.set_xlabel("effective negatives\n$\\exp$ of the entropy of $|w^-|$" + (" (log scale)" if many else ""))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


_BARS = {"color": PUSH, "alpha": 1.0, "linewidth": 0}


def draw_ridgelines(frame: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE, overlap: float = 1.6) -> Axes:
    """The densities of a `ridges_frame` above each other, the first step at the top."""
    steps = sorted(frame["step"].unique())
    tallest = frame["density"].max() or 1.0
    for row, step in enumerate(steps):
        level = len(steps) - 1 - row
        for kind, symbol, colour in SIDES:
            ridge = frame[(frame["step"] == step) & (frame["kind"] == kind)]
            height = level + overlap * ridge["density"] / tallest
            label = f"${symbol}$" if row == 0 else None
            ax.fill_between(ridge["s"], level, height, color=colour, alpha=0.55, linewidth=0, zorder=row, label=label)
            ax.plot(ridge["s"], height, color="white", linewidth=0.7, zorder=row)
    ax.set_yticks(range(len(steps)), [f"{step:,}" for step in reversed(steps)])
    ax.set(xlabel=similarity_label("s", similarity), ylabel="step")
    span = span_of(similarity)
    ax.set(xlim=span, xticks=np.linspace(*span, 5), ylim=(0, len(steps) - 1 + 1.05 * overlap))
    ax.legend(loc="upper left")
    return ax


def save_film(
    snapshots: Mapping[int, pd.DataFrame],
    surface: pd.DataFrame,
    path: Path,
    weight: str = "T",
    similarity: Similarity = COSINE,
    frames_per_second: int = 4,
) -> None:
    """Write the joint histogram of a `pairs_frame` a step, on the surface of a weight, as a film ending in ``.gif`` or
    ``.mp4``.

    A ValueError says another ending, no snapshot, or a film that this machine has no program to write.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of {', '.join(WRITERS)}")
    if not snapshots:
        raise ValueError(f"{path}: got no snapshot but expected one a step")
    if not WRITERS[path.suffix].isAvailable():
        raise ValueError(f"{path}: got a film for ffmpeg, which is not installed; expected .gif, or ffmpeg")
    writer, scale = WRITERS[path.suffix](fps=frames_per_second), scale_of(surface["value"])
    figure, ax = single_panel(4.2, 3.6)
    with style(), tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / f"film{path.suffix}"
        steps = sorted(snapshots)

        def draw(step: int, colourbar: bool) -> None:
            draw_joint(triplets_frame(snapshots[step]), surface, ax, weight, similarity, scale, colourbar)
            ax.set_title(f"step {step:,}; area: share of triplets")

        draw(steps[0], True)
        for _ in range(2):  # the second time with the labels that the first has found room for
            figure.draw_without_rendering()
        figure.set_layout_engine("none")  # or the axes would move from frame to frame
        with writer.saving(figure, str(written), dpi=100):
            for step in steps:
                ax.clear()
                draw(step, False)
                writer.grab_frame()
        write_whole(path, written.read_bytes())
