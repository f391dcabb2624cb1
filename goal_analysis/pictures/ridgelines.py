"""How similarities move over training: one ridge a step, and the same as a film."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.animation import FFMpegWriter, PillowWriter
from matplotlib.axes import Axes

from goal_analysis.files import write_whole
from goal_analysis.pictures.batch import draw_joint, triplets_frame
from goal_analysis.pictures.saving import alone
from goal_analysis.pictures.scales import scale_of
from goal_analysis.pictures.style import PULL, PUSH, style
from goal_analysis.pictures.surfaces import similarity_label
from goal_analysis.symbolic.language.similarity import COSINE, Similarity

WRITERS = {".gif": PillowWriter, ".mp4": FFMpegWriter}


def ridges_frame(
    snapshots: Mapping[int, pd.DataFrame], similarity: Similarity = COSINE, cells: int = 50
) -> pd.DataFrame:
    """The densities of s_p and of s_n at several steps.

    Args:
        snapshots: by step, the pairs of a batch as `goal_analysis.pictures.batch.pairs_frame` gives them.
        similarity: what s measures.
        cells: of the histogram.

    Returns:
        ``step``, ``kind``, ``s`` (the middle of a cell), ``density`` (its mean over s is one over the range).
    """
    edges = np.linspace(float(similarity.opposite), float(similarity.identical), cells + 1)
    parts = []
    for step, pairs in sorted(snapshots.items()):
        for kind in ("positive", "negative"):
            count, _ = np.histogram(pairs.loc[pairs["kind"] == kind, "s"], edges)
            density = count / max(count.sum(), 1) / np.diff(edges)
            middle = (edges[:-1] + edges[1:]) / 2
            parts.append(pd.DataFrame({"step": step, "kind": kind, "s": middle, "density": density}))
    return pd.concat(parts, ignore_index=True)


def draw_ridgelines(frame: pd.DataFrame, ax: Axes, similarity: Similarity = COSINE, overlap: float = 1.6) -> Axes:
    """The densities of `ridges_frame` above each other, the first step at the top.

    Args:
        frame: of `ridges_frame`.
        ax: where.
        similarity: what s measures.
        overlap: how many rows the highest ridge takes.
    """
    steps = sorted(frame["step"].unique())
    tallest = frame["density"].max() or 1.0
    for row, step in enumerate(steps):
        level = len(steps) - 1 - row
        for kind, symbol, colour in (("negative", "s_n", PUSH), ("positive", "s_p", PULL)):
            ridge = frame[(frame["step"] == step) & (frame["kind"] == kind)]
            height = level + overlap * ridge["density"] / tallest
            label = f"${symbol}$" if row == 0 else None
            ax.fill_between(ridge["s"], level, height, color=colour, alpha=0.55, linewidth=0, zorder=row, label=label)
            ax.plot(ridge["s"], height, color="white", linewidth=0.7, zorder=row)
    ax.set_yticks(range(len(steps)), [f"{step:,}" for step in reversed(steps)])
    ax.set(xlabel=similarity_label("s", similarity), ylabel="step")
    span = float(similarity.opposite), float(similarity.identical)
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
    """Write the joint histogram of every step, on the surface of a weight, as a film.

    Args:
        snapshots: by step, the pairs of a batch as `goal_analysis.pictures.batch.pairs_frame` gives them.
        surface: of `goal_analysis.pictures.weights.surface_frame`.
        path: ending in ``.gif`` or ``.mp4``.
        weight: what the surface is of.
        similarity: what s_p and s_n measure.
        frames_per_second: of the film.

    Raises:
        ValueError: another ending, no snapshot, or a film that this machine has no program to write.
        OSError: the file cannot be written; an old one is intact.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of {', '.join(WRITERS)}")
    if not snapshots:
        raise ValueError(f"{path}: got no snapshot but expected one a step")
    writer_class = WRITERS[path.suffix]
    if not writer_class.isAvailable():
        raise ValueError(f"{path}: got a film for ffmpeg, which is not installed; expected .gif, or ffmpeg")
    writer, scale = writer_class(fps=frames_per_second), scale_of(surface["value"])
    figure, ax = alone(4.2, 3.6)
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
