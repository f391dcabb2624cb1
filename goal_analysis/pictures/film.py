"""How the weights of a run move while it trains: its similarities on the surface of its weights, as a film."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from goal_analysis.files import write_whole
from goal_analysis.pictures import FILMS
from goal_analysis.pictures.canvas import fit, panels
from goal_analysis.pictures.run_figures import draw_quantiles
from goal_analysis.pictures.style import INK, PUSH, style
from goal_analysis.pictures.weight_figures import draw_surface
from goal_analysis.pictures.weight_frames import Objective, field_of, once, span_of, surface_frame

STILLS, RATE, DPI, SAMPLES = 60, 8, 110, 81  # at most so many stills, so many a second; their dots an inch


def cloud_frame(probes: pd.DataFrame) -> pd.DataFrame:
    """Where the similarities of a run lie, a row a step that was probed: the quantiles ``s_p_q10`` … ``s_n_q90``, means
    over the seeds of a `goal_analysis.pictures.run_frames.log_frame`; of more than `STILLS` steps some, evenly.
    """
    wide = probes.pivot_table(index="step", columns="quantity", values="value").filter(regex="^s_[pn]_q").dropna()
    return wide.iloc[:: -(-len(wide) // STILLS) or 1]


def draw_film(objective: Objective, probes: pd.DataFrame, path: Path, title: str) -> None:
    """Write a film in the format of the ending, one of `FILMS`: the middle eight tenths of the similarities, and the
    path of their medians, on the surfaces of w⁺ and w⁻; beside them the weights that pairs have got so far.

    Raises:
        ValueError: another ending; ``mp4`` without the program ffmpeg; a run without probes.
    """
    kind, cloud = path.suffix.removeprefix("."), cloud_frame(probes)
    if kind not in FILMS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of .{', .'.join(FILMS)}")
    if kind == "mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(f"{path}: got no program ffmpeg, which writes mp4, but expected it, or the ending .gif")
    if cloud.empty:
        raise ValueError(f"{title}: got a run without probes but expected one with training.probe_steps above 0")
    similarity = field_of(objective).similarity
    span = span_of(similarity, cloud.melt()["value"])
    found = once({weight: surface_frame(objective, weight, SAMPLES, span) for weight in ("w_p", "w_n")})
    with style():
        figure, [axes] = panels(1, len(found) + 1, 2.4, 2.4)
        for (weights, frame), ax in zip(found.items(), axes, strict=False):
            draw_surface(frame, ax, weights, similarity)
        draw_quantiles(probes, axes[-1], "w")
        axes[-1].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        moving = [_marks(ax) for ax in axes[:-1]]
        now = axes[-1].axvline(cloud.index[0], color=INK, linewidth=0.8)
        said = fit(figure, f"{title}\nstep {cloud.index[-1]} of {cloud.index[-1]}").texts[-1]

        def draw(place: int) -> list[Any]:
            at = cloud.iloc[place]
            said.set_text(f"{title}\nstep {cloud.index[place]} of {cloud.index[-1]}")
            now.set_xdata([cloud.index[place]] * 2)
            for box, trail, median in moving:
                box.set(xy=(at["s_p_q10"], at["s_n_q10"]))
                box.set(width=at["s_p_q90"] - at["s_p_q10"], height=at["s_n_q90"] - at["s_n_q10"])
                trail.set_data(cloud["s_p_q50"].iloc[: place + 1], cloud["s_n_q50"].iloc[: place + 1])
                median.set_data([at["s_p_q50"]], [at["s_n_q50"]])
            return []

        film = FuncAnimation(figure, draw, frames=len(cloud), cache_frame_data=False)  # pyright: ignore[reportArgumentType]
        even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]  # sides that its format can have
        writer = PillowWriter(RATE) if kind == "gif" else FFMpegWriter(RATE, extra_args=even)
        with TemporaryDirectory() as folder:
            whole = Path(folder) / path.name
            film.save(str(whole), writer, dpi=DPI)
            write_whole(path, whole.read_bytes())


def _marks(ax: Axes) -> tuple[Any, Any, Any]:
    """The middle eight tenths of the similarities, the path of their medians, and where they are now."""
    box = ax.add_patch(Rectangle((0, 0), 0, 0, fill=False, edgecolor=PUSH, linewidth=1.4))
    (trail,) = ax.plot([], [], color=PUSH, linewidth=0.8)
    (median,) = ax.plot([], [], "o", color=PUSH, markeredgecolor="white", markersize=5)
    return box, trail, median
