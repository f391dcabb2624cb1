"""The pictures of every loss, as `goal_analysis.plot` draws them, and a small one for the gallery."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import goal_analysis as ga
from goal_analysis.pictures.canvas import panels, save
from goal_analysis.pictures.style import SEQUENTIAL, scale_of
from goal_analysis.pictures.weight_figures import draw_arrows, draw_colours, draw_surface
from goal_analysis.pictures.weight_frames import field_frame, surface_frame

KINDS = {
    "field": "Where a triplet is moved, as arrows, above the curl in colour",
    "triplet": "The weight of a triplet over the similarities of its positive and its negative",
    "pair": "The weights of a pair over its similarity",
}
"""What is drawn of a loss, and what a reader is told who does not see it; the files are called NAME-KIND.png."""

SMALL = "How strongly a triplet is moved, in colour, and where to, as arrows"
SAMPLES, ARROWS = 61, 8  # along each side of a small picture
PALE = ListedColormap(colormaps[SEQUENTIAL](np.linspace(0, 0.6, 256)))  # on which black arrows are seen


def draw_catalog(folder: Path, losses: Iterable[ga.Objective]) -> None:
    """Draw the losses whose pictures are not there yet; `make clean` takes them away.

    Args:
        folder: where the pages of the losses are.
        losses: which.
    """
    for loss in losses:
        for kind in (*KINDS, "small"):
            path = folder / f"{loss.name}-{kind}.png"
            if not path.exists():
                save(draw_loss(loss, kind), path)


def draw_loss(loss: ga.Objective, kind: str) -> Figure:
    """One picture of a loss at its defaults, of `KINDS` or ``small``."""
    if kind == "small":
        return _small(loss)
    return _surface(loss) if kind == "triplet" else ga.plot(loss, kind=kind)


def _surface(loss: ga.Objective) -> Figure:
    """The triplet weight, or where there is none the weight of the negative."""
    decomposition = ga.decompose(loss)
    weight = "T" if decomposition.separable else "w_n"
    figure, [[ax]] = panels(width=4.0, height=3.4, margins=(0.65, 0.75, 0.5, 0.2))
    draw_surface(surface_frame(decomposition, weight), ax, weight, loss.similarity)
    return figure


def _small(loss: ga.Objective) -> Figure:
    """√(w⁺² + w⁻²) in colour and the field as arrows, without labels: s_p to the right, s_n upwards."""
    decomposition = ga.decompose(loss)
    frame, arrows = (field_frame(decomposition, count=count) for count in (SAMPLES, ARROWS))
    force = frame.assign(force=np.hypot(frame["w_p"], frame["w_n"]))
    figure, [[ax]] = panels(width=1.6, height=1.6, margins=(0.03, 0.03, 0.03, 0.03))
    draw_colours(force, "force", ax, scale_of(force["force"])).set_cmap(PALE)
    draw_arrows(arrows, arrows["w_p"], -arrows["w_n"], ax)
    ax.set(xticks=[], yticks=[], aspect="equal")
    return figure
