"""The pictures of every loss: each by itself, so that it is legible on a phone too, and a small one for the gallery."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

import goal_analysis as ga
from generating.at_once import over_cores
from goal_analysis.files import write_whole
from goal_analysis.pictures.canvas import fit, panels
from goal_analysis.pictures.cosine_frames import flow_frame, trajectories_frame
from goal_analysis.pictures.style import SEQUENTIAL, scale_of, style
from goal_analysis.pictures.weight_figures import (
    draw_arrows,
    draw_colours,
    draw_field,
    draw_flow,
    draw_pair_weights,
    draw_surface,
)
from goal_analysis.pictures.weight_frames import curl_frame, field_frame, pair_frame, surface_frame
from goal_analysis.symbolic.language.similarity import OF_COSINE

KINDS = {
    "pair": "The weights of a pair",
    "triplet": "The weight of a triplet",
    "field": "Where a triplet is moved, and the curl",
    "flow": "Where descent takes triplets",
    "small": "How strongly a triplet is moved, and where to",
}
"""The pictures of a loss, and what they say; the files are called NAME-KIND.png. A small one has no labels."""

SAMPLES, ARROWS = 61, 8  # along each side of a small picture
PALE = ListedColormap(colormaps[SEQUENTIAL](np.linspace(0, 0.6, 256)))  # on which black arrows are seen
COLOURS = 128  # of a file: as many are told apart, and it is a third as large


def kinds_of(loss: ga.Objective) -> list[str]:
    """The pictures that a loss has; a flow needs embeddings, and a similarity that is a function of their cosine."""
    flows = loss.similarity in OF_COSINE and "not of embeddings" not in loss.note
    return [kind for kind in KINDS if kind != "flow" or flows]


def draw_catalog(folder: Path, losses: Iterable[ga.Objective]) -> None:
    """Draw the pictures that are not there yet; `make clean` takes them away.

    Args:
        folder: where the pages of the losses are.
        losses: which.
    """
    lacking = [loss for loss in losses if any(not path.exists() for path in _files(folder, loss).values())]
    over_cores(partial(_draw, folder), lacking)


def _files(folder: Path, loss: ga.Objective) -> dict[str, Path]:
    return {kind: folder / f"{loss.name}-{kind}.png" for kind in kinds_of(loss)}


def _draw(folder: Path, loss: ga.Objective) -> None:
    for kind, path in _files(folder, loss).items():
        if not path.exists():
            write_whole(path, _png(figure_of(loss, kind)))


def figure_of(loss: ga.Objective, kind: str) -> Figure:
    """One picture of a loss at its defaults."""
    found, similarity = ga.decompose(loss), loss.similarity
    if kind == "small":
        return _small(found)
    figure, [[ax]] = panels(1, 1, 2.6, 2.6)
    with style():
        if kind == "pair":
            draw_pair_weights(pair_frame(found), ax, similarity)
        elif kind == "triplet":
            weight = "T" if found.separable else "w_n"
            draw_surface(surface_frame(found, weight), ax, [weight], similarity)
        elif kind == "field":
            draw_field(field_frame(found), curl_frame(found), ax, similarity)
        else:
            draw_flow(flow_frame(found), trajectories_frame(found), ax, similarity)
        return fit(figure, KINDS[kind])


def _small(found: ga.Decomposition) -> Figure:
    """√(w⁺² + w⁻²) in colour and the field as arrows: s_p to the right, s_n upwards."""
    frame, arrows = (field_frame(found, count=count) for count in (SAMPLES, ARROWS))
    force = frame.assign(force=np.hypot(frame["w_p"], frame["w_n"]))
    with style():
        figure = Figure(figsize=(1.6, 1.6))
        ax = figure.add_axes((0, 0, 1, 1))
        draw_colours(force, "force", ax, scale_of(force["force"])).set_cmap(PALE)
        draw_arrows(arrows, arrows["w_p"], -arrows["w_n"], ax)
    ax.set_axis_off()
    return figure


def _png(figure: Figure) -> bytes:
    drawn, found = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(found, "png", optimize=True)
    return found.getvalue()
