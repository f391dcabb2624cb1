"""Pictures of runs: curves over seeds, rankings, recall, retrieved items, and a film of the moving weights."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from goal_analysis.files import write_whole
from goal_analysis.numeric.student import mean_interval
from goal_analysis.pictures import FILMS
from goal_analysis.pictures.canvas import fit, panels, wrap
from goal_analysis.pictures.run_frames import Records, log_frame
from goal_analysis.pictures.style import (
    DASHES,
    FAINT,
    INK,
    NAMES,
    PULL,
    PUSH,
    RIGHT,
    WRONG,
    line_of,
    style,
    weight_axis,
)
from goal_analysis.pictures.weight_figures import draw_surface
from goal_analysis.pictures.weight_frames import Objective, field_of, once, span_of, surface_frame

SIDES = {"p": PULL, "n": PUSH}
FOREMOST, LETTERS = 8, 56  # how many lines of a figure have colours of their own, and letters of a name in a line
BACK: dict[str, Any] = {"color": FAINT, "linewidth": 0.6, "alpha": 0.6, "zorder": 1}  # the lines of the others
RETRIEVAL = "Retrieval on dev: mean over seeds, from four on with Student's 95 % interval"
PROBED = ("effective_negatives", "push_share", "active_share")  # what is drawn of the probes of several objectives


def draw_curves(
    frame: pd.DataFrame, ax: Axes, quantity: str, along: str = "epoch", foremost: Sequence[str] | None = None
) -> Axes:
    """A mean over seeds with its interval, a line an objective; those not ``foremost`` stand back without a name."""
    found = frame[frame["quantity"] == quantity]
    names = list(found["objective"].unique()) if foremost is None else list(foremost)
    for name, line in ((str(name), line) for name, line in found.groupby("objective", sort=False)):
        seeds = int(line.groupby(along)["value"].count().max())
        looks: dict[str, Any] = BACK | {"errorbar": None}
        if name in names:
            label = f"{name} ({seeds} seed{'s' * (seeds > 1)})"
            looks = line_of(names.index(name)) | {"label": label, "errorbar": mean_interval}
        _draw_line(line, ax, along, **looks)
    ax.set_ylabel(NAMES.get(quantity, quantity))
    if quantity.endswith("_share"):  # what rounding makes of a share that never changes is no news
        ax.set_ylim(-0.02, 1.02)
    return ax


def draw_quantiles(frame: pd.DataFrame, ax: Axes, quantity: str) -> Axes:
    """The median of ``s`` or |``w``| by probes of one objective, the middle eight tenths as a band; means of seeds."""
    names = {f"{quantity}_{side}_q{level}": side for side in "pn" for level in (10, 50, 90)}
    means = frame[frame["quantity"].isin(names)].groupby(["quantity", "step"], as_index=False)["value"].mean()
    sides = means["quantity"].map(names)
    for (side, colour), dash, kind in zip(SIDES.items(), DASHES, ("positives", "negatives"), strict=False):
        # Of three quantiles the middle one is their median, and the others are as far as they reach.
        looks = {"estimator": "median", "errorbar": ("pi", 100), "label": kind, "color": colour, "linestyle": dash}
        _draw_line(means[sides == side], ax, "step", **looks)
    if quantity == "w":
        weight_axis(ax, means["value"], means["quantity"].where(means["quantity"].str.endswith("q50")), "|weight|")
    else:
        ax.set_ylabel("similarity")
    return ax


def _draw_line(line: pd.DataFrame, ax: Axes, along: str, **looks: Any) -> None:
    mark = "o" if line[along].nunique() == 1 else None
    sns.lineplot(line, x=along, y="value", ax=ax, err_kws={"linewidth": 0}, legend=False, marker=mark, **looks)
    if np.ptp(ends := ax.dataLim.intervalx) == 0:
        ax.set_xlim(ends[0] - 1, ends[1] + 1, auto=None)  # until another line is longer
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set_xlabel(along)


def draw_ranking(frame: pd.DataFrame, ax: Axes) -> Axes:
    """A line an ``objective``, the best first: the ``value`` (dev RSUM) of every seed, the mean and its interval."""
    found = frame.groupby("objective", sort=False)["value"].agg(["mean", "size"]).sort_values("mean", ascending=False)
    labels = {name: wrap(f"{name}\u00a0({size})", LETTERS) for name, size in found["size"].items()}
    seeds = frame.assign(name=frame["objective"].map(labels))
    of = {"x": "value", "y": "name", "order": list(labels.values()), "ax": ax}
    sns.stripplot(seeds, marker="|", edgecolor=INK, linewidth=0.7, size=9, jitter=False, **of)  # beside the interval
    looks: dict[str, Any] = {"linestyle": "none", "markersize": 4, "err_kws": {"linewidth": 2}}
    sns.pointplot(seeds, color=PULL, errorbar=mean_interval, **of, **looks)
    xlabel = "dev RSUM (of 600)\nmean over seeds, Student's 95 % interval"
    ax.set(ylim=(len(found) - 0.5, -0.5), xlabel=xlabel, ylabel="objective\n(seeds)")
    return ax


def draw_recall(frame: pd.DataFrame, ax: Axes, top: int = 100) -> Axes:
    """Recall@K over K up to ``top``: the share of the ranks up to K, by ``name`` and ``rank`` (from 1)."""
    ks = np.arange(1, top + 1)
    ranks = frame.groupby("name", sort=False)["rank"]
    shares = {name: 100 * (of.to_numpy() <= ks[:, None]).mean(axis=1) for name, of in ranks}
    names = sorted(shares, key=lambda name: -shares[name].mean())[:FOREMOST]
    for name, share in shares.items():
        looks: dict[str, Any] = BACK
        if name in names:  # both may be 0, or 100
            place = names.index(name)
            looks = line_of(place) | {"linestyle": DASHES[place % len(DASHES)], "label": name}
        sns.lineplot(x=ks, y=share, drawstyle="steps-post", ax=ax, clip_on=False, marker="." * (top == 1), **looks)
    marks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= top]
    ax.set_xscale("log")
    ax.set_xticks(marks, [str(k) for k in marks])
    ax.minorticks_off()
    ax.set(xlim=(1, max(top, 2)), ylim=(0, 100), xlabel="K (log scale)", ylabel=r"Recall@K $\in [0, 100]$ %")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return ax


@style()
def recall_figure(ranks: Mapping[str, np.ndarray], top: int, title: str) -> Figure:
    """`draw_recall` of the ranks by name as a figure."""
    figure, [[ax]] = panels(1, 1, 3.0, 2.3)
    draw_recall(pd.concat(pd.DataFrame({"name": name, "rank": of}) for name, of in ranks.items()), ax, top)
    return fit(figure, "\n".join([title, *_in_colour(len(ranks))]))


# --- whole figures --------------------------------------------------------------------------------


@style()
def figures_of_logs(runs: Sequence[Records]) -> dict[str, Figure]:
    """Whole figures of logs: ``retrieval`` and ``ranking`` of epochs, ``weights`` and ``quantiles`` of probes."""
    figures: dict[str, Figure] = {}
    epochs, probes = log_frame(runs, "epoch"), log_frame(runs, "probe")
    best = [(run.objective, best_rsum(run)) for run in runs]
    best = pd.DataFrame(best, columns=["objective", "value"]).dropna()
    ranked = list(best.groupby("objective")["value"].mean().sort_values(ascending=False).index)
    if len(epochs):
        figures["retrieval"] = _curves(epochs, ("rsum", "i2t_r1", "t2i_r1"), "epoch", ranked, RETRIEVAL)
        lines = max(wrap(name, LETTERS).count("\n") + 1 for name in ranked)
        figure, [[ax]] = panels(1, 1, 3.6, 0.3 + (0.13 + 0.13 * lines) * len(ranked))
        draw_ranking(best, ax)
        figures["ranking"] = fit(figure, "The best epoch of every run")
    if len(probes):
        figures["weights"] = _curves(probes, PROBED, "step", ranked, "What a batch does, by the probe")
        figures["quantiles"] = _quantiles(probes)
    return figures


def _curves(frame: pd.DataFrame, quantities: Sequence[str], along: str, ranked: Sequence[str], title: str) -> Figure:
    """The quantities that change, side by side; the title names the others, and that lines stand back."""
    spread = frame.groupby("quantity")["value"].agg(["min", "max"]).reindex(list(quantities)).dropna()
    moves = spread["max"] - spread["min"] > 1e-6 * spread["max"].abs()
    drawn = list(spread.index[moves]) or list(spread.index[:1])
    still = [f"{NAMES[name]}: {spread['max'][name]:.3g} throughout" for name in spread.index if name not in drawn]
    names = frame["objective"].unique()
    foremost = [name for name in ranked if name in names][:FOREMOST] if len(names) > FOREMOST else None
    still += _in_colour(len(names))
    figure, [axes] = panels(1, len(drawn), 2.6, 2.1)
    for ax, quantity in zip(axes, drawn, strict=True):
        draw_curves(frame, ax, quantity, along, foremost)
    _legend(figure, axes[0], 3.4 * len(drawn))
    return fit(figure, "\n".join([title, *still]))


def _in_colour(lines: int) -> list[str]:
    return [f"in colour the best {FOREMOST} of {lines}, the others faint"] * (lines > FOREMOST)


def _quantiles(probes: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(probes["objective"]))
    beside = 1 if len(names) < FOREMOST / 2 else 2
    figure, axes = panels(-(-len(names) // beside), 2 * beside, 2.3, 1.6)
    for ax in axes.flat[2 * len(names) :]:
        ax.set_visible(False)
    for place, name in enumerate(names):
        for quantity, ax in zip("sw", axes.flat[2 * place : 2 * place + 2], strict=True):
            draw_quantiles(probes[probes["objective"] == name], ax, quantity)
        axes.flat[2 * place].set_title(wrap(name, 40))
    _legend(figure, axes[0, 0], 6.0)
    return fit(figure, "What the pairs of a batch have and get, by the probe: median, and 10 % to 90 % as a band")


def _legend(figure: Figure, ax: Axes, width: float) -> None:
    handles, labels = ax.get_legend_handles_labels()
    longest = max(map(len, labels))
    columns = max(1, int(width / (0.6 + 0.07 * longest)))
    figure.legend(handles, [wrap(label, 90) for label in labels], ncols=columns)


@style()
def gallery_figure(frame: pd.DataFrame) -> Figure:
    """A row a query with what was retrieved; the columns are ``query``, ``place`` (0 for the query itself), ``item`` (a
    caption, or a picture of shape ``(height, width, 3)`` from 0 to 1), ``right`` and ``score``.
    """
    figure, axes = panels(frame["query"].nunique(), int(frame["place"].max()) + 1, 1.5, 1.55)
    for ax in axes.flat:
        ax.set_axis_off()
    for cell in frame.to_dict("records"):
        ax: Any = axes[cell["query"], cell["place"]]
        ax.set_axis_on()
        ax.set(xticks=[], yticks=[])
        said = (
            f"{'✓ ' * cell['right']}{cell['score']:{'.2f' if abs(cell['score']) < 1000 else '.2e'}}"
            if cell["place"]
            else "query"
        )
        ax.set_title(said, loc="left", fontsize=8, color=RIGHT if cell["right"] else FAINT)
        colour, weight = (RIGHT, 2.2) if cell["right"] else (WRONG, 0.8 * bool(cell["place"]))
        ax.spines[:].set(visible=True, color=colour, linewidth=weight)
        if isinstance(cell["item"], str):  # about 20 letters fit into a cell, and seven lines
            lines = textwrap.wrap(cell["item"], 20, max_lines=7, placeholder="…")
            ax.text(0.04, 0.95, "\n".join(lines), fontsize=7, color=INK, va="top", clip_on=True, parse_math=False)
        else:
            ax.imshow(np.clip(cell["item"], 0, 1), interpolation="nearest")
    return fit(figure, "Queries with what was retrieved, most similar first: ✓ marks what is right")


def best_rsum(run: Records) -> float | None:
    """The best RSUM of the epochs that a run logged; None where none has ended."""
    return max((float(record["rsum"]) for record in run.records if record["kind"] == "epoch"), default=None)


STILLS, RATE, DPI, SAMPLES = 60, 8, 110, 81  # at most so many stills, so many a second; their dots an inch


def cloud_frame(probes: pd.DataFrame) -> pd.DataFrame:
    """The quantiles ``s_p_q10`` … ``s_n_q90`` of a run's similarities, means over seeds; `STILLS` steps at most."""
    wide = probes.pivot_table(index="step", columns="quantity", values="value").filter(regex="^s_[pn]_q").dropna()
    return wide.iloc[:: -(-len(wide) // STILLS) or 1]


def draw_film(objective: Objective, probes: pd.DataFrame, path: Path, title: str) -> None:
    """Write a film of the middle eight tenths of the similarities on w⁺ and w⁻, beside the weights of pairs."""
    kind, cloud = path.suffix.removeprefix("."), cloud_frame(probes)
    if kind not in FILMS:
        raise ValueError(f"{path}: got the ending {path.suffix!r} but expected one of .{', .'.join(FILMS)}")
    if kind == "mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(f"{path}: got no program ffmpeg, which writes mp4, but expected it, or the ending .gif")
    if cloud.empty:
        raise ValueError(f"{title}: got a run without probes but expected one with training.probe_steps above 0")
    title += "\nthe box holds the middle eight tenths of the similarities, the dot is at their medians"
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

        def draw(place: int) -> None:
            at = cloud.iloc[place]
            said.set_text(f"{title}\nstep {cloud.index[place]} of {cloud.index[-1]}")
            now.set_xdata([cloud.index[place]] * 2)
            for box, trail, median in moving:
                box.set(xy=(at["s_p_q10"], at["s_n_q10"]))
                box.set(width=at["s_p_q90"] - at["s_p_q10"], height=at["s_n_q90"] - at["s_n_q10"])
                trail.set_data(cloud["s_p_q50"].iloc[: place + 1], cloud["s_n_q50"].iloc[: place + 1])
                median.set_data([at["s_p_q50"]], [at["s_n_q50"]])

        film = FuncAnimation(figure, draw, frames=len(cloud), cache_frame_data=False)  # pyright: ignore[reportArgumentType]
        even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]  # sides that its format can have
        writer = PillowWriter(RATE) if kind == "gif" else FFMpegWriter(RATE, extra_args=even)
        with TemporaryDirectory() as folder:
            whole = Path(folder) / path.name
            film.save(str(whole), writer, dpi=DPI)
            write_whole(path, whole.read_bytes())


def _marks(ax: Axes) -> tuple[Any, Any, Any]:
    box = ax.add_patch(Rectangle((0, 0), 0, 0, fill=False, edgecolor=PUSH, linewidth=1.4))
    (trail,) = ax.plot([], [], color=PUSH, linewidth=0.8)
    (median,) = ax.plot([], [], "o", color=PUSH, markeredgecolor="white", markersize=5)
    return box, trail, median
